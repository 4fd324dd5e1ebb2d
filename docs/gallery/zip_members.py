"""Files that come in zip archives.

The provider puts each day into a zip archive, with a file for every variable. `compression` and
`get_member` say which one to take; it is unpacked on the worker.
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import xarray as xr
from daily import Daily, DailyFile, Job, write_source


@dataclass(frozen=True, kw_only=True)
class ZippedFile(DailyFile):
    """One file of a day's archive."""

    compression = "zip"

    def get_url(self):
        """Return the name of the archive."""
        return f"{self.day:%Y%m%d}.zip"

    def get_member(self):
        """Return the name of the file inside, or a pattern."""
        return f"*{self.day:%Y%m%d}.nc"


class ZippedJob(Job):
    """Reads as before."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each day of the region."""
        return [ZippedFile(day=day) for day in processing_region_ds.get_index("time")]


class Zipped(Daily):
    """Ties them together."""

    region_job = ZippedJob


def main(folder: Path) -> xr.Dataset:
    """Build from archives alone."""
    source = folder / "source"
    source.mkdir()
    write_source(source)
    for path in source.glob("*.nc"):
        with zipfile.ZipFile(path.with_suffix(".zip"), "w") as archive:
            archive.write(path, f"data/{path.name}")
            archive.writestr("README.txt", "not this one")
        path.unlink()
    Zipped(folder / "zipped.zarr", source_base=str(source)).backfill("2025-01-21")
    stored = xr.open_zarr(folder / "zipped.zarr")
    assert float(stored.temperature[-1].mean()) == 299
    return stored
