"""Preliminary and final files.

The provider replaces a preliminary file by a final one weeks later, at another address. Readers see
the preliminary values at once, and `Finality` tells them apart; the update that finds the final
file reprocesses its day. The dataset is that of "One file a day".
"""

from pathlib import Path

import daily
import xarray as xr

from gridmill import Address, Completeness, DynamicalDataset, Finality


class Template(daily.Template):
    """What arrived, and what is final of it."""

    coords = (
        *daily.Template.coords,
        Completeness(dims=("time",)),
        Finality(dims=("time",)),
    )


class DailyFile(daily.DailyFile):
    """The file of one day, final or preliminary."""

    def get_url(self):
        """Return where the final file will be, and where the preliminary one is."""
        name = super().get_url()
        why = "preliminary, final after two weeks"
        return [f"final/{name}", Address(f"preliminary/{name}", provisional=why)]


class Job(daily.Job):
    """Reads either."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file for each day."""
        return [DailyFile(day=day) for day in processing_region_ds.get_index("time")]


class PreliminaryDaily(DynamicalDataset):
    """Daily temperature, preliminary at first."""

    template_config = Template
    region_job = Job


def main(folder: Path) -> xr.Dataset:
    """Build with one preliminary day, and take the final one in."""
    source = folder / "source"
    for name in ("final", "preliminary"):
        (source / name).mkdir(parents=True)
        daily.write_source(source / name)
    final = source / "final" / "20250103.nc"
    final.rename(folder / final.name)
    dataset = PreliminaryDaily(folder / "daily.zarr", source_base=str(source))
    dataset.backfill("2025-01-21", now="2025-01-21")
    with xr.open_zarr(folder / "daily.zarr") as seen:
        provisional = seen.time[(seen.finality < seen.completeness).values]
        assert [str(day)[:10] for day in provisional.values] == ["2025-01-03"]
    (folder / final.name).rename(final)
    report = dataset.reformat_operational_update(now="2025-03-01", until="2025-01-21")
    assert [revision.final for revision in report.revised] == [True]
    return xr.open_zarr(folder / "daily.zarr")
