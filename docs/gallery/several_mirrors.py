"""Mirrors, in order of preference.

`source_base` takes several addresses, and `get_url` may return several. The first that has a
whole file is used; the record says which. Here the first mirror lacks a day and has a truncated
one.
"""

from pathlib import Path

import xarray as xr
from daily import Daily, write_source

from gridmill.testing import ArchiveServer


def main(folder: Path) -> xr.Dataset:
    """Build from two servers on this machine."""
    for name in ("near", "far"):
        (folder / name).mkdir()
        write_source(folder / name)
    (folder / "near" / "20250103.nc").unlink()
    truncated = folder / "near" / "20250107.nc"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    with ArchiveServer(folder / "near") as near, ArchiveServer(folder / "far") as far:
        near.release_all()
        far.release_all()
        dataset = Daily(folder / "daily.zarr", source_base=[near.url, far.url])
        dataset.backfill("2025-01-21")
        fetched = [request.path for request in far.requests]
    assert any("20250103" in path for path in fetched)
    stored = xr.open_zarr(folder / "daily.zarr")
    assert float(stored.temperature.sel(time="2025-01-03").mean()) == 282
    assert float(stored.temperature.sel(time="2025-01-07").mean()) == 286
    return stored
