"""Readers see how complete each day is.

With `Completeness` among the coordinates, readers filter what has not arrived. Day 19 is late;
the dataset waits six hours for it, and then publishes it as a gap.
"""

from datetime import timedelta
from pathlib import Path

import numpy as np
import xarray as xr
from daily import Daily, Job, Template, write_source

from gridmill import Completeness


class WithCompleteness(Template):
    """The same structure, with a coordinate that gridmill fills."""

    coords = (*Template.coords, Completeness(dims=("time",)))


class PatientJob(Job):
    """A file that is absent six hours after its label is a gap."""

    publication_delay = timedelta(hours=6)


class Observed(Daily):
    """Ties them together."""

    template_config = WithCompleteness
    region_job = PatientJob


def main(folder: Path) -> xr.Dataset:
    """Publish twenty days of which one is missing, then fill it."""
    source = folder / "source"
    source.mkdir()
    write_source(source)
    late = (source / "20250119.nc").rename(source / "late")
    dataset = Observed(folder / "observed.zarr", source_base=str(source))
    dataset.backfill("2025-01-21")
    stored = xr.open_zarr(folder / "observed.zarr")
    assert stored.completeness.values.tolist() == [1.0] * 18 + [0.0, 1.0]
    whole = stored.where(stored.completeness.load() == 1)
    assert np.isnan(whole.temperature[-2]).all()
    late.rename(source / "20250119.nc")
    dataset.reformat_operational_update(now="2025-01-22")
    return xr.open_zarr(folder / "observed.zarr")
