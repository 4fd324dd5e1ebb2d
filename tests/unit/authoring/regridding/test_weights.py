"""Fields on another grid, against plain NumPy that knows nothing of matrices, and the sphere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill import DataVar, Encoding
from gridmill.authoring.grids import (
    GaussianGrid,
    LatitudeLongitudeGrid,
    ProjectedGrid,
    RegionalGrid,
    RotatedGrid,
)
from gridmill.authoring.regridding import Regrid
from gridmill.authoring.regridding.applying import regrid_into
from gridmill.authoring.regridding.axes import Neighbours
from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.weights import Weights, key_of, make_weights
from gridmill.datasets.noaa.gefs_extended_forecast import twice_as_fine
from gridmill.model.fields.regrid import REGRID_METHODS
from regridded import areas, by_interp, cell_by_cell, places

GLOBE = LatitudeLongitudeGrid(step_degrees=1.0)
CELLS = RegionalGrid(
    first_latitude=89.0, first_longitude=1.0, step_degrees=(-2, 2), shape=(90, 180)
)
EUROPE = RegionalGrid(first_latitude=30.0, first_longitude=-20.0, step_degrees=0.5, shape=(61, 101))
HRRR = ProjectedGrid(
    mapping={
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": (38.5, 38.5),
        "longitude_of_central_meridian": 262.5,
        "latitude_of_projection_origin": 38.5,
        "earth_radius": 6371229.0,
    },
    first_latitude=21.138123,
    first_longitude=237.280472,
    step_m=30000,
    shape=(106, 180),
)
HRDPS = RotatedGrid(
    southern_pole=(-36.08852, 245.305142),
    first_latitude=-12.302501,
    first_longitude=-14.82122,
    step_degrees=0.225,
    shape=(129, 254),
)


def var(**encoding: Any) -> DataVar:
    return DataVar(
        name="v",
        dims=("time", "latitude", "longitude"),
        encoding=Encoding(chunks=(1, 2, 2), **encoding),
        attrs={"long_name": "v", "units": "1"},
    )


def even(step: float, *, first: float = 0.0) -> Target:
    """Return cells of the whole globe, whose ends are the poles."""
    rows, columns = round(180 / step), round(360 / step)
    latitudes = 90 - step * (np.arange(rows) + 0.5)
    return Target(latitudes, first + step * (np.arange(columns) + 0.5))


def smooth(latitudes, longitudes) -> np.ndarray:
    """Return what is linear in a place on the unit sphere, and so smooth at the poles, too."""
    phi, lam = np.radians(latitudes), np.radians(longitudes)
    return 3 + np.cos(phi) * np.cos(lam) + 0.5 * np.cos(phi) * np.sin(lam) + 0.7 * np.sin(phi)


def regridded(values, grid, target, method, *, at_least=1.0, **encoding) -> np.ndarray:
    weights = make_weights(grid, target, method)
    variable = var(**encoding)
    dtype = variable.encoding.value_dtype
    out = np.empty((*values.shape[:-2], *target.shape), dtype)
    how = Regrid(grid=grid, method=method, at_least=at_least)
    regrid_into(values.astype(dtype), weights, how, variable, out)
    return out


# -- conservative -----------------------------------------------------------------------------

grids = st.one_of(
    st.sampled_from([4, 5, 6, 10, 12, 20, 30]).map(
        lambda step: LatitudeLongitudeGrid(step_degrees=float(step), first_longitude=-180.0)
    ),
    st.sampled_from([4, 8, 13]).map(lambda n: GaussianGrid(parallels=n)),
    st.tuples(st.integers(3, 30), st.integers(3, 40), st.floats(-180, 180)).map(
        lambda of: RegionalGrid(
            first_latitude=-90 + 90 / of[0],
            first_longitude=of[2],
            step_degrees=(180 / of[0], 360 / of[1]),
            shape=of[:2],
        )
    ),
)
steps = st.sampled_from([3.0, 5.0, 7.5, 9.0, 15.0, 36.0])


@given(grids, steps, st.floats(-200, 200), st.integers(0, 2**32 - 1))
def test_the_integral_over_the_sphere_stays(grid, step, first, seed):
    """Whatever the values and wherever the grids begin: to 1e-6, of values in single precision."""
    target = even(step, first=first)
    rows, columns = places(grid)
    values = np.random.default_rng(seed).uniform(1, 2, (rows.size, columns.size)).astype("f4")
    found = regridded(values, grid, target, "conservative")
    before = (values.astype("f8") * areas(rows, columns)).sum()
    after = (found.astype("f8") * areas(target.rows, target.columns)).sum()
    assert before == pytest.approx(after, rel=1e-6)
    assert not np.isnan(found).any()
    assert values.min() <= found.min() <= found.max() <= values.max()


@pytest.mark.parametrize("at_least", [1.0, 0.5, 1e-3])
@pytest.mark.parametrize(
    ("grid", "target"),
    [
        (LatitudeLongitudeGrid(step_degrees=15.0), even(20.0, first=-175.0)),
        (GaussianGrid(parallels=4), Target(np.arange(-80.0, 81, 16), np.arange(-30.0, 100, 25))),
        (
            RegionalGrid(first_latitude=10, first_longitude=170, step_degrees=(4, 5), shape=(9, 8)),
            Target(np.arange(50.0, 0, -7), np.arange(-195.0, -140, 7)),
        ),
    ],
)
def test_cells_are_means_by_area(grid, target, at_least):
    """With missing values, over the seam, at poles, and where a source ends: as by plain loops."""
    rows, columns = places(grid)
    rng = np.random.default_rng(1)
    values = rng.uniform(200, 300, (rows.size, columns.size)).astype("f4")
    values[rng.random(values.shape) < 0.2] = np.nan
    found = regridded(values, grid, target, "conservative", at_least=at_least)
    wanted = cell_by_cell(values, grid, target, at_least)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_allclose(found, wanted.astype("f4"), rtol=2e-7)
    assert found.dtype == np.float32


def test_a_share_of_valid_area_is_the_authors():
    """Half a cell of sea gives the mean of the sea where half is enough, and nothing else."""
    values = np.full((2, 4), 5.0)
    values[:, 1] = np.nan
    grid = RegionalGrid(first_latitude=-0.5, first_longitude=0.5, step_degrees=1, shape=(2, 4))
    target = Target(np.array([-0.5, 0.5]), np.array([1.0, 3.0]))
    strict = regridded(values, grid, target, "conservative")
    np.testing.assert_array_equal(strict, [[np.nan, 5], [np.nan, 5]])
    lenient = regridded(values, grid, target, "conservative", at_least=0.5)
    np.testing.assert_array_equal(lenient, np.full((2, 2), 5.0))


# -- bilinear ---------------------------------------------------------------------------------


@given(
    st.sampled_from([2.0, 5.0, 7.5, 10.0]),
    st.sampled_from([0.0, -180.0, 3.3]),
    steps,
    st.floats(-400, 400),
    st.integers(0, 2**32 - 1),
)
def test_points_lie_between_their_four_neighbours(step, first, target_step, shift, seed):
    """As NumPy interpolates along each axis, also across the seam of the longitudes."""
    grid = LatitudeLongitudeGrid(step_degrees=step, first_longitude=first)
    rows, columns = places(grid)
    target = even(target_step, first=shift)
    values = np.random.default_rng(seed).uniform(1, 2, (rows.size, columns.size)).astype("f4")
    found = regridded(values, grid, target, "bilinear")
    wanted = by_interp(values, rows, columns, target)
    moved = [moved_to(rows, target.rows), moved_to(columns, target.columns, around=True)]
    # Neighbours differ by 1 at most, and values are at least 1.
    rounding = np.finfo("float32").eps
    assert (np.abs(found / wanted - 1) <= moved[0][:, None] + moved[1] + rounding).all()


def moved_to(labels: np.ndarray, wanted: np.ndarray, *, around: bool = False) -> np.ndarray:
    """Return by which share of a step each place is moved to the label that it is taken for.

    That is one from which it is off by a millionth of a step, or by what single precision is of the
    largest label.
    """
    step = abs(labels[1] - labels[0])
    known = np.append(labels, labels[0] + 360) if around else labels
    near = max(1e-6 * step, np.finfo("float32").eps * np.abs(known).max())
    apart = np.abs((wanted - labels[0] + step / 2) % step - step / 2)
    return np.where(apart <= 1.001 * near, apart / step, 0.0)


def test_half_a_step_is_what_the_forecast_of_two_resolutions_does():
    """To a unit in the last place: the other way to compute the same thing."""
    coarse = LatitudeLongitudeGrid(step_degrees=2.0)
    fine = LatitudeLongitudeGrid(step_degrees=1.0)
    rows, columns = places(coarse)
    values = np.random.default_rng(0).uniform(200, 300, (rows.size, columns.size)).astype("f4")
    found = regridded(values, coarse, Target(*places(fine)), "bilinear")
    np.testing.assert_array_max_ulp(found, twice_as_fine(values), 1)


def test_beyond_the_last_row_stands_the_mean_of_it():
    """A grid that ends short of the poles is known there by the row around them."""
    grid = GaussianGrid(parallels=4)
    rows, columns = places(grid)
    values = np.random.default_rng(0).uniform(1, 2, (rows.size, columns.size)).astype("f4")
    target = Target(np.array([90.0, 89.0, 0.0, -90.0]), np.array([0.0, 100.0]))
    found = regridded(values, grid, target, "bilinear")
    assert found[0] == pytest.approx(values[0].astype("f8").mean())
    assert found[3] == pytest.approx(values[-1].astype("f8").mean())
    share = (89.0 - rows[0]) / (90.0 - rows[0])
    wanted = share * values[0].astype("f8").mean() + (1 - share) * values[0, 0]
    assert found[1, 0] == pytest.approx(wanted)
    values[0, 3] = np.nan
    assert np.isnan(regridded(values, grid, target, "bilinear")[:2]).all()
    assert not np.isnan(regridded(values, grid, target, "bilinear", at_least=0.5)[:2]).any()


@pytest.mark.parametrize(
    ("grid", "target", "within"),
    [
        (GLOBE, even(0.7), 1e-4),
        (CELLS, even(1.3, first=-180.0), 4e-4),
        (EUROPE, Target(np.arange(31, 59, 0.3), np.arange(341.0, 389, 0.3)), 3e-5),
        (HRRR, Target(np.arange(25.0, 47, 0.3), np.arange(-120.0, -75, 0.3)), 2e-5),
        (HRDPS, Target(np.arange(46.0, 57, 0.2), np.arange(250.0, 280, 0.2)), 2e-5),
    ],
    ids=["global", "cells", "Europe", "Lambert", "rotated"],
)
def test_a_smooth_field_stays_what_it_is(grid, target, within):
    """By the places of the points on the sphere, whichever projection they have."""
    latitudes, longitudes = (
        (of[1] for of in (grid.auxiliary()["latitude"], grid.auxiliary()["longitude"]))
        if isinstance(grid, ProjectedGrid | RotatedGrid)
        else (places(grid)[0][:, None], places(grid)[1])
    )
    found = regridded(smooth(latitudes, longitudes), grid, target, "bilinear")
    wanted = smooth(target.rows[:, None], target.columns)
    assert np.abs(found - wanted).max() < within


def test_beyond_a_source_nothing_is_known():
    """A regional source is not continued, by either method."""
    target = Target(np.array([20.0, 29.9, 30.0, 60.0, 60.1]), np.array([-20.0, 30.0, 30.1]))
    values = np.ones((61, 101), "f4")
    known = ~np.isnan(regridded(values, EUROPE, target, "bilinear"))
    np.testing.assert_array_equal(known, np.outer([0, 0, 1, 1, 0], [1, 1, 0]))
    wide = Target(np.arange(20.0, 70, 5), np.arange(-40.0, 50, 5))
    cells = regridded(values, EUROPE, wide, "conservative", at_least=0.6)
    assert np.isnan(cells[0]).all()
    assert not np.isnan(cells[3:8, 5:14]).any()


def test_a_neighbour_that_does_not_count_may_be_missing():
    """A point of the archive that is one of the source's takes that one alone."""
    rows, columns = places(GLOBE)
    values = np.random.default_rng(0).random((rows.size, columns.size)).astype("f4")
    target = Target(rows[::2], columns[::2])
    wanted = values[::2, ::2].copy()
    values[1::2] = np.nan
    values[:, 1::2] = np.nan
    np.testing.assert_array_equal(regridded(values, GLOBE, target, "bilinear"), wanted)


# -- both -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", REGRID_METHODS)
def test_what_is_regridded_in_blocks_is_what_is_regridded_at_once(monkeypatch, method):
    """Bit for bit: memory is bounded by the block, and nothing rests on where it ends."""
    rng = np.random.default_rng(3)
    values = rng.random((2, 90, 180)).astype("f4")
    values[0, 20:40, 30:60] = np.nan
    target = even(1.5)
    at_once = regridded(values, CELLS, target, method, at_least=0.4)
    for most in (1, 500, 5000):
        monkeypatch.setattr("gridmill.authoring.regridding.applying.BLOCK_VALUES", most)
        in_blocks = regridded(values, CELLS, target, method, at_least=0.4)
        np.testing.assert_array_equal(in_blocks, at_once)


@pytest.mark.parametrize("method", REGRID_METHODS)
@pytest.mark.parametrize(
    "encoding", [{"fill_value": -9.0}, {"dtype": "int16", "scale_factor": 0.5, "fill_value": -1}]
)
def test_what_says_missing_is_the_variables(method, encoding):
    """A fill value is no value, and stands where none is known."""
    values = np.full((90, 180), 4.0)
    packed = "scale_factor" in encoding
    values[:45] = np.nan if packed else -9.0
    found = regridded(values, CELLS, even(4.0), method, **encoding)
    missing = np.isnan(found) if packed else found == -9.0
    assert missing[:22].all()
    assert (found[23:] == 4.0).all()


@pytest.mark.parametrize("grid", [GLOBE, HRRR])
def test_weights_are_the_same_when_they_were_kept(grid):
    """Whole, in a file that needs no pickle."""
    weights = make_weights(grid, even(5.0), "bilinear")
    again = Weights.from_bytes(weights.to_bytes())
    assert (again.source, again.shape) == (weights.source, weights.shape)
    for one, other in zip(again.matrices, weights.matrices, strict=True):
        assert (one != other).nnz == 0


def test_weights_are_named_by_what_they_follow_from():
    """Another grid, target or method has other weights; the same has the same."""
    keys = {
        key_of(grid, target, method)
        for grid in (GLOBE, CELLS, HRRR)
        for target in (even(5.0), even(5.0, first=1.0))
        for method in REGRID_METHODS
    }
    assert len(keys) == 12
    same = LatitudeLongitudeGrid(step_degrees=1.0)
    assert key_of(same, even(5.0), "bilinear") == key_of(GLOBE, even(5.0), "bilinear")


@pytest.mark.parametrize("step", [0.1, 0.25, 1 / 3])
def test_labels_of_single_precision_are_those_that_were_meant(step):
    """An archive that declares them as float32 has the source's values as they are."""
    labels = np.arange(0.0, 360.0, step)
    single = labels.astype("float32").astype("float64")
    _, _, share, inside = Neighbours(labels, turn=360.0).entries(single)
    assert inside.all()
    assert set(np.unique(share)) <= {0.0, 1.0}
