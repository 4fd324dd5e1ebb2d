"""A plan counts what a field on its own grid takes, which may be far more than the archive's."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from gridmill import Encoding
from gridmill.authoring.grids import LatitudeLongitudeGrid, ProjectedGrid
from gridmill.authoring.regridding import Regrid
from gridmill.authoring.regridding.applying import regrid_into
from gridmill.authoring.regridding.footprint import regridding_nbytes
from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.weights import make_weights
from gridmill.datasets.noaa.hrrr_forecast import GRID as HRRR
from gridmill.runs.plan import SLABS_HELD, WORKER_NBYTES
from hourly import START, HourlyTemplate, dataset, var
from regridded import places

OURS = LatitudeLongitudeGrid(step_degrees=30.0)
FINE = LatitudeLongitudeGrid(step_degrees=0.1)


def template_of(grid) -> type[HourlyTemplate]:
    how = Regrid(grid=grid, method="bilinear")
    one = replace(var("u", "m s-1", regridded=how), encoding=Encoding(chunks=(4, 7, 12)))

    class Template(HourlyTemplate):
        coords = (HourlyTemplate.coords[0], *OURS.coords)
        data_vars = (one,)

        def dimension_coordinates(self):
            return OURS.labels()

        def derive_coordinates(self, ds):
            return OURS.auxiliary()

    return Template


@pytest.mark.parametrize(("grid", "points"), [(FINE, 1801 * 3600), (HRRR, 1059 * 1799)])
def test_a_plan_counts_the_field_of_the_source(tmp_path, grid, points):
    """The archive has 84 points; what a worker needs follows from the millions of the file."""
    made = dataset(tmp_path / "a.zarr", tmp_path, template_of(grid))
    plan = made.plan(START.replace(hour=4)).describe()
    needed = plan["memory_nbytes_per_worker"] - WORKER_NBYTES
    assert needed > 2 * 4 * points > SLABS_HELD * 4 * 84 * 4


@pytest.mark.parametrize("grid", [HRRR, LatitudeLongitudeGrid(step_degrees=0.5)])
def test_what_is_counted_is_what_it_takes(grid):
    """Room for the field, the reader's own and what regridding makes: as Python counts them."""
    assert isinstance(grid, ProjectedGrid | LatitudeLongitudeGrid)
    how = Regrid(grid=grid, method="bilinear")
    one = var("u", "m s-1", regridded=how)
    target = Target(*places(OURS))
    weights = make_weights(grid, target, "bilinear")
    job = type("Job", (), {"grid_of": lambda self, coord: None})()
    tracemalloc.start()
    try:
        read = np.ones(weights.source, "float32")
        room = read.copy()
        out = np.empty(target.shape, "float32")
        regrid_into(room, weights, how, one, out)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    counted = regridding_nbytes(job, None, one, target.shape)
    assert 0.5 * counted < peak < 1.1 * counted
