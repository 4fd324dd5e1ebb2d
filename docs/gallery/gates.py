"""A gate holds implausible values.

Day 12 comes in degrees Celsius by mistake. The gate keeps its values from readers until
somebody decides; here they are rejected. The dataset is that of "One file a day".
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from daily import Daily, Template, write_source

from gridmill import ValidRange
from gridmill.operations.decisions.held import reject_files


class GatedTemplate(Template):
    """The same structure, and what its fields must be like."""

    data_vars = tuple(replace(var, gates=(ValidRange(170, 340),)) for var in Template.data_vars)


class Gated(Daily):
    """Ties them together."""

    template_config = GatedTemplate


def main(folder: Path) -> xr.Dataset:
    """Publish up to the day before; reject; publish the rest."""
    source = folder / "source"
    source.mkdir()
    write_source(source)
    wrong = xr.Dataset({"temperature": (("y", "x"), np.full((18, 36), 18.5, "float32"))})
    wrong.to_netcdf(source / "20250112.nc")
    dataset = Gated(folder / "gated.zarr", source_base=str(source))
    report = dataset.backfill("2025-01-21")
    assert not report.succeeded
    assert report.positions_after == 11  # readers see the days before
    reject_files(dataset, ["20250112.nc"], who="operator", why="Celsius, ticket 4711")
    dataset.backfill("2025-01-21")
    stored = xr.open_zarr(folder / "gated.zarr")
    assert np.isnan(stored.temperature.sel(time="2025-01-12")).all()
    assert float(stored.temperature.sel(time="2025-01-13").mean()) == 292
    return stored
