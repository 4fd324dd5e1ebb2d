"""A plan counts what a field on its own grid takes, which may be far more than the archive's."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from gridmill import Encoding
from gridmill.authoring.grids import CurvilinearGrid, LatitudeLongitudeGrid
from gridmill.authoring.regridding import Regrid
from gridmill.authoring.regridding.applying import regrid_into
from gridmill.authoring.regridding.footprint import regridding_nbytes
from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.weights import make_weights
from gridmill.datasets.noaa.hrrr_forecast import GRID as HRRR
from gridmill.pipeline.slabs.dividing import SLABS_HELD
from gridmill.runs.plan import WORKER_NBYTES
from hourly import START, HourlyTemplate, dataset, var
from regridded import places

OURS = LatitudeLongitudeGrid(step_degrees=30.0)
FINE = LatitudeLongitudeGrid(step_degrees=0.1)
COARSE = replace(HRRR, step_m=9000, shape=(353, 599))


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
    counted, _, applying = measured(grid, Target(*places(OURS)), "bilinear")
    assert 0.5 * counted < applying < 1.1 * counted


def curved(grid) -> CurvilinearGrid:
    """Return a grid of which only the places of its points are known."""
    return CurvilinearGrid(places=Target(*places(grid), grid.mapping).places())


@pytest.mark.parametrize(
    ("grid", "step", "method"),
    [
        (HRRR, 0.05, "bilinear"),
        (curved(COARSE), 0.1, "bilinear"),
        (curved(HRRR), 0.5, "bilinear"),
        (curved(COARSE), 0.2, "conservative"),
        (COARSE, 0.1, "conservative"),
    ],
    ids=[
        "of a plane",
        "of quadrangles",
        "of many quadrangles",
        "to larger cells",
        "to smaller cells",
    ],
)
def test_making_weights_is_counted_too(grid, step, method):
    """Whichever way they are found, and however many points the archive has."""
    target = Target(np.arange(50.0, 24, -step), np.arange(-125.0, -70, step))
    counted, making, applying = measured(grid, target, method)
    assert 0.5 * counted < max(making, applying) < 1.1 * counted


def measured(grid, target: Target, method) -> tuple[int, int, int]:
    """Return what is counted, and at most held while weights are made and while they are used."""
    how = Regrid(grid=grid, method=method)
    one = var("u", "m s-1", regridded=how)
    job = type("Job", (), {"grid_of": lambda self, coord: None})()
    counted = regridding_nbytes(job, None, one, target.shape)
    tracemalloc.start()
    try:
        weights = make_weights(grid, target, method)
        weights.to_bytes()
        _, making = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        read = np.ones(weights.source, "float32")
        room = read.copy()
        out = np.empty(target.shape, "float32")
        regrid_into(room, weights, how, one, out)
        _, applying = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return counted, making, applying
