"""Validate, and draw a page.

`validate` checks what readers see against the records and the template. Somebody deleted an
object; the finding names the command that repairs it.
"""

from pathlib import Path

import xarray as xr
from daily import Daily, write_source


def main(folder: Path) -> xr.Dataset:
    """Damage an archive, find it, repair it."""
    source = folder / "source"
    source.mkdir()
    write_source(source)
    dataset = Daily(folder / "daily.zarr", source_base=str(source))
    dataset.backfill("2025-01-21")
    assert dataset.validate().succeeded
    (folder / "daily.zarr" / "temperature" / "c" / "1" / "0" / "0").unlink()
    validation = dataset.validate()
    assert not validation.succeeded
    print(*validation.findings, sep="\n")
    dataset.backfill("2025-01-21", start="2025-01-11", end="2025-01-21", redo=True)
    assert dataset.validate().succeeded
    return xr.open_zarr(folder / "daily.zarr")
