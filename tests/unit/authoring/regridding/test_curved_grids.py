"""Curvilinear sources, and cells of projections: against slow ways, and the integral."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridmill import DataVar, Encoding
from gridmill.authoring.grids import (
    CurvilinearGrid,
    GaussianGrid,
    LatitudeLongitudeGrid,
    ProjectedGrid,
    RegionalGrid,
    RotatedGrid,
    ScanningGrid,
)
from gridmill.authoring.regridding import Regrid
from gridmill.authoring.regridding.applying import regrid_into
from gridmill.authoring.regridding.geometry.sphere import areas as polygon_areas
from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.reading import regridding_of
from gridmill.authoring.regridding.weights import key_of, make_weights
from gridmill.sources.evidence.expected import ExpectedAxis
from gridmill.sources.grib.projections import unproject
from regridded import areas, places
from regridded_on_sphere import by_newton, by_samples, to_plane, unit

R = 6371229.0
LAMBERT = {
    "grid_mapping_name": "lambert_conformal_conic",
    "standard_parallel": (38.5, 38.5),
    "longitude_of_central_meridian": 262.5,
    "latitude_of_projection_origin": 38.5,
    "earth_radius": R,
}
OF_LAMBERT = f"+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=262.5 +R={R}"
POLAR = {
    "grid_mapping_name": "polar_stereographic",
    "latitude_of_projection_origin": 90.0,
    "straight_vertical_longitude_from_pole": 249.0,
    "standard_parallel": 60.0,
    "earth_radius": R,
}
OF_POLAR = f"+proj=stere +lat_0=90 +lat_ts=60 +lon_0=249 +R={R}"
HRRR = ProjectedGrid(
    mapping=LAMBERT,
    first_latitude=21.138123,
    first_longitude=237.280472,
    step_m=60000,
    shape=(53, 90),
)
PLANE = Target(*places(HRRR), LAMBERT)
ROTATED = RotatedGrid(
    southern_pole=(-30.0, 10.0),
    first_latitude=-88.5,
    first_longitude=-178.5,
    step_degrees=3.0,
    shape=(60, 120),
)
GLOBE = LatitudeLongitudeGrid(step_degrees=3.0)
OURS = Target(np.arange(88.0, -90, -4.0), np.arange(-178.0, 180, 4.0))
LARGE = Target(np.arange(75.0, -90, -30), np.arange(-170.0, 180, 30))


class Polar:
    """Cells of 60 km around the pole, shifted by a part of one."""

    mapping = POLAR

    def __init__(self, shift: float, many: int = 60, step: float = 60000.0) -> None:
        self.at = (np.arange(many) - many / 2) * step + shift

    def labels(self) -> dict[str, Any]:
        """Return rows and columns."""
        return {"y": self.at, "x": self.at}


def smooth(latitudes: Any, longitudes: Any) -> np.ndarray:
    """Return what is linear in a place on the unit sphere."""
    return 3 + unit(latitudes, longitudes) @ [1.0, 0.5, 0.7]


def var(**encoding: Any) -> DataVar:
    return DataVar(
        name="v",
        dims=("time", "latitude", "longitude"),
        encoding=Encoding(chunks=(1, 2, 2), dtype="float64", **encoding),
        attrs={"long_name": "v", "units": "1"},
    )


def regridded(values: Any, grid: Any, target: Target, method: Any, at_least: float = 1.0) -> Any:
    out = np.empty(target.shape)
    how = Regrid(grid=grid, method=method, at_least=at_least)
    regrid_into(values, make_weights(grid, target, method), how, var(), out)
    return out


def curved(rotated: RotatedGrid = ROTATED) -> CurvilinearGrid:
    """Return a rotated grid of which only the places of its points are known."""
    rows, columns = places(rotated)
    x, y = np.broadcast_arrays(columns, rows[:, None])
    return CurvilinearGrid(places=unproject(rotated.mapping, x, y))


def tripolar(rows: int = 40, columns: int = 72) -> CurvilinearGrid:
    """Return an ocean's grid: parallels to 60° north, then two poles in the continents.

    The northern rows become flatter towards the line between these, along which the last one is
    folded.
    """
    step = 360 / columns
    longitudes = step * (np.arange(columns) + 0.5)
    south = np.linspace(-78, 59, rows)
    lat, lon = (of.astype("float64") for of in np.meshgrid(south, longitudes, indexing="ij"))
    # Ellipses about the pole, in the plane of a stereographic projection.
    rim = np.tan(np.radians(90 - 60) / 2)
    many = 12
    share = (np.arange(many) + 0.5) / many
    angle = np.radians(longitudes)
    height = rim * (1 - share)[:, None]
    x, y = rim * np.cos(angle) * np.ones((many, 1)), height * np.sin(angle)
    lat_cap = 90 - 2 * np.degrees(np.arctan(np.hypot(x, y)))
    lon_cap = np.degrees(np.arctan2(y, x)) % 360
    return CurvilinearGrid(
        places=(np.concatenate([lat, lat_cap]), np.concatenate([lon, lon_cap])),
        dims=("j", "i"),
    )


# -- bilinear ---------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [curved(), tripolar()], ids=["rotated", "tripolar"])
def test_a_smooth_field_of_a_curvilinear_grid_stays_what_it_is(grid):
    """Around the globe, over both seams, at the poles: to the square of the step."""
    found = regridded(smooth(*grid.points), grid, OURS, "bilinear")
    wanted = smooth(*OURS.places())
    is_south = OURS.rows < -78  # beyond the ocean's grid
    if grid.points[0].min() > -80:
        assert np.isnan(found[is_south]).all()
        found, wanted = found[~is_south], wanted[~is_south]
    missing = np.isnan(found).mean()
    assert missing < 0.01
    assert np.nanmax(np.abs(found - wanted)) < 2.5e-3


def test_an_oceans_grid_is_whole_across_its_fold():
    """Between the halves of the last row, up to the pole, nothing is missing."""
    grid = tripolar()
    target = Target(np.arange(90.0, 60, -1.5), np.arange(-180.0, 180, 5))
    found = regridded(smooth(*grid.points), grid, target, "bilinear")
    assert np.abs(found - smooth(*target.places())).max() < 1e-3


def test_points_are_where_newtons_method_finds_them():
    """One after the other, in each quadrangle in turn: the same values, and the same missing."""
    grid = curved(
        RotatedGrid(
            southern_pole=(-40.0, 10.0),
            first_latitude=-20,
            first_longitude=-30,
            step_degrees=5,
            shape=(9, 13),
        )
    )
    values = np.random.default_rng(0).uniform(1, 2, grid.points[0].shape)
    values[3, 4] = np.nan
    target = Target(np.arange(75.0, 20, -6.3), np.arange(-40.0, 60, 7.1))
    found = regridded(values, grid, target, "bilinear")
    vectors = unit(*target.places()).reshape(-1, 3)
    wanted = by_newton(values, *grid.points, vectors).reshape(target.shape)
    assert 20 < np.isfinite(wanted).sum() < wanted.size - 20
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.floats(-89, 89), st.floats(-180, 180), st.floats(0, 359), st.integers(0, 2**32 - 1))
def test_every_point_of_the_sphere_lies_between_four_of_a_global_grid(lat, lon, first, seed):
    """Wherever its poles are: nothing falls between two quadrangles."""
    grid = curved(
        RotatedGrid(
            southern_pole=(lat, lon),
            first_latitude=-87.5,
            first_longitude=first,
            step_degrees=5.0,
            shape=(36, 72),
        )
    )
    values = np.random.default_rng(seed).uniform(1, 2, grid.points[0].shape)
    target = Target(np.arange(80.0, -90, -20), np.arange(first - 200, first + 150, 40))
    found = regridded(values, grid, target, "bilinear")
    # The poles of the grid itself lie beyond its last rows: where they fold over, between two.
    known = np.isfinite(found)
    assert known.sum() >= known.size - 2
    assert 1 <= np.nanmin(found) <= np.nanmax(found) <= 2


def test_a_curvilinear_grid_that_is_none_gives_what_latitudes_and_longitudes_give():
    """Given as fields, from 0 or -180, with rows either way."""
    regular = RegionalGrid(first_latitude=-88, first_longitude=1, step_degrees=2, shape=(89, 180))
    rows, columns = places(regular)
    values = np.random.default_rng(0).uniform(1, 2, (89, 180))
    target = Target(np.arange(80.0, -80, -8), np.arange(-170.0, 170, 17))
    wanted = regridded(values, regular, target, "bilinear")
    for order in (slice(None), slice(None, None, -1)):
        lat, lon = np.meshgrid(rows[order], (columns + 180) % 360 - 180, indexing="ij")
        found = regridded(values[order], CurvilinearGrid(places=(lat, lon)), target, "bilinear")
        # A quadrangle's sides are great circles, and parallels are none.
        np.testing.assert_allclose(found, wanted, atol=1.5e-3)


def test_points_that_are_none_and_those_that_are_masked_are_missing():
    """Places of NaN, or of zeros as some files fill them, are no corners; values of NaN are."""
    whole = curved(
        RotatedGrid(
            southern_pole=(-40.0, 10.0),
            first_latitude=-20,
            first_longitude=-30,
            step_degrees=1,
            shape=(41, 61),
        )
    )
    values = smooth(*whole.points)
    target = Target(np.arange(65.0, 35, -0.7), np.arange(-10.0, 30, 0.7))
    wanted = regridded(values, whole, target, "bilinear")
    assert np.isfinite(wanted).all()
    masked = values.copy()
    masked[10:20, 20:40] = np.nan
    expected = np.isnan(regridded(masked, whole, target, "bilinear"))
    assert 0 < expected.sum() < expected.size / 2
    for nothing in (np.nan, 0.0):
        lat, lon = (of.copy() for of in whole.points)
        lat[10:20, 20:40] = lon[10:20, 20:40] = nothing
        found = regridded(values, CurvilinearGrid(places=(lat, lon)), target, "bilinear")
        np.testing.assert_array_equal(np.isnan(found), expected)
        np.testing.assert_allclose(found[~expected], wanted[~expected])


def test_single_precision_of_places_takes_the_point_that_was_meant():
    """A point of the archive that is the source's own takes that one alone."""
    lat, lon = np.meshgrid(np.arange(30, 40, 0.1), np.arange(5, 15, 0.1), indexing="ij")
    grid = CurvilinearGrid(places=(lat.astype("float32"), lon.astype("float32")))
    values = np.random.default_rng(0).uniform(1, 2, lat.shape)
    holes = values.copy()
    holes[1::2] = np.nan
    target = Target(lat[10:-10:2, 0], lon[0, 10:-10])
    found = regridded(holes, grid, target, "bilinear")
    np.testing.assert_array_equal(found, values[10:-10:2, 10:-10])


@pytest.mark.parametrize(
    ("grid", "within"),
    [
        (GLOBE, 1e-3),
        (GaussianGrid(parallels=30), 2e-3),
        (ROTATED, 1e-3),
        (curved(), 1e-3),
    ],
    ids=["global", "Gaussian", "rotated", "curvilinear"],
)
@pytest.mark.parametrize(
    "target",
    [PLANE, Target(*places(Polar(0.0)), POLAR), Target(*places(ROTATED), ROTATED.mapping)],
    ids=["Lambert", "polar", "onto a rotated grid"],
)
def test_a_smooth_field_comes_to_a_projected_grid(grid, within, target):
    """At every point, and at the pole."""
    if isinstance(grid, CurvilinearGrid):
        own = grid.points
    elif isinstance(grid, RotatedGrid):
        own = curved(grid).points
    else:
        rows, columns = places(grid)
        own = np.broadcast_arrays(rows[:, None], columns)
    found = regridded(smooth(*own), grid, target, "bilinear")
    wanted = smooth(*target.places())
    assert np.isfinite(found).mean() > 0.995
    assert np.nanmax(np.abs(found - wanted)) < within


# -- conservative -----------------------------------------------------------------------------


def with_corners() -> CurvilinearGrid:
    """Return a rotated grid of which only points and corners are known."""
    y, x = np.meshgrid(np.arange(-90, 91, 3.0), np.arange(-180, 181, 3.0), indexing="ij")
    return CurvilinearGrid(places=curved().points, corners=unproject(ROTATED.mapping, x, y))


def between_corners(latitudes: Any, longitudes: Any) -> np.ndarray:
    """Return areas of cells between corners, whose edges are great circles."""
    ring = ((0, 0), (0, 1), (1, 1), (1, 0))
    height, width = (length - 1 for length in latitudes.shape)
    lat, lon = (
        np.stack([of[i : i + height, j : j + width] for i, j in ring], axis=-1)
        for of in (latitudes, longitudes)
    )
    return polygon_areas(lat, lon)


def exact_areas(grid: Any) -> np.ndarray:
    """Return areas of a projection's cells, by PROJ at points along their edges."""
    rows, columns = places(grid)
    _, back = to_plane(OF_POLAR if grid.mapping is POLAR else OF_LAMBERT)
    step_y, step_x = rows[1] - rows[0], columns[1] - columns[0]
    along = np.linspace(-0.5, 0.5, 33)[:-1]
    ring_x = np.concatenate([along, np.full(32, 0.5), -along, np.full(32, -0.5)])
    ring_y = np.concatenate([np.full(32, -0.5), along, np.full(32, 0.5), -along])
    x = columns[None, :, None] + ring_x * step_x
    y = rows[:, None, None] + ring_y * step_y
    return polygon_areas(*(np.asarray(of) for of in back(*np.broadcast_arrays(x, y))))


@pytest.mark.parametrize(
    ("grid", "target"),
    [
        (HRRR, Target(np.arange(60.0, 15, -0.5), np.arange(-145.0, -50, 0.5))),
        (HRRR, Target(np.arange(61.0, 15, -2.5), np.arange(210.0, 312, 3.0))),
        (HRRR, Target(*places(ROTATED), ROTATED.mapping)),
        (Polar(0.0), OURS),
        (Polar(30000.0), OURS),
        (Polar(12345.0), OURS),
        (Polar(12345.0, 20), Target(*places(Polar(7000.0, 40, 50000.0)), POLAR)),
        (ROTATED, OURS),
        (GLOBE, Target(*places(ROTATED), ROTATED.mapping)),
        (
            RegionalGrid(
                first_latitude=77.0, first_longitude=1.0, step_degrees=2.0, shape=(7, 180)
            ),
            Target(*places(Polar(0.0)), POLAR),
        ),
        (
            RegionalGrid(
                first_latitude=30.5, first_longitude=-115.5, step_degrees=1.0, shape=(15, 30)
            ),
            PLANE,
        ),
        (with_corners(), OURS),
    ],
    ids=[
        "Lambert to 0.5",
        "Lambert to 3",
        "Lambert to rotated",
        "pole at a corner",
        "pole in a cell",
        "pole anywhere",
        "polar to polar",
        "rotated to 4",
        "3 to rotated",
        "Arctic to polar",
        "America to Lambert",
        "curvilinear to 4",
    ],
)
def test_the_integral_over_the_sphere_stays_from_and_to_every_projection(grid, target):
    """To 1e-6 where the target covers the source; areas are those of latitudes, or PROJ's."""
    if isinstance(grid, CurvilinearGrid):
        before = between_corners(*grid.ends)
    else:
        is_projected = isinstance(grid, ProjectedGrid | Polar)
        before = exact_areas(grid) if is_projected else areas(*places(grid))
    values = np.random.default_rng(0).uniform(1, 2, before.shape)
    weights = make_weights(grid, target, "conservative")
    (matrix,) = weights.matrices
    plane_areas = areas_of(target)
    after = (matrix @ values.ravel() * plane_areas.ravel()).sum()
    assert after == pytest.approx((values * before).sum(), rel=1e-6)


def areas_of(target: Target) -> np.ndarray:
    """Return the areas of a target's cells."""
    if target.mapping is None or (target.mapping is not POLAR and target.mapping is not LAMBERT):
        return areas(target.rows, target.columns)

    class Grid:
        mapping = target.mapping

        def labels(self) -> dict[str, Any]:
            return {"y": target.rows, "x": target.columns}

    return exact_areas(Grid())


def nearest_in(grid: Any, proj: str) -> Any:
    """Return what finds the cell of a projection in which places lie, by PROJ."""
    to, _ = to_plane(proj)
    rows, columns = places(grid)

    def find(latitudes: Any, longitudes: Any) -> tuple[np.ndarray, np.ndarray]:
        x, y = to(latitudes, longitudes)
        found = []
        for at, labels in ((y, rows), (x, columns)):
            number = np.floor((at - labels[0]) / (labels[1] - labels[0]) + 0.5)
            inside = (number >= 0) & (number < labels.size)
            found.append(np.where(inside, number, -1).astype(int))
        return found[0], found[1]

    return find


def test_cells_are_the_means_that_many_sample_points_give():
    """Of a Lambert grid on latitudes and longitudes: 250,000 points in each of some cells."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0, 1, HRRR.shape)
    target = Target(np.arange(52.0, 20, -1.5), np.arange(-130.0, -62, 1.5))
    found = regridded(values, HRRR, target, "conservative", at_least=0.3)
    rows, columns = np.unravel_index(rng.choice(found.size, 40, replace=False), found.shape)
    share = (np.arange(500) + 0.5) / 500 - 0.5
    lat = target.rows[rows][:, None, None] + 1.5 * share[:, None]
    lon = target.columns[columns][:, None, None] + 1.5 * share
    lat, lon = (of.reshape(40, -1) for of in np.broadcast_arrays(lat, lon))
    wanted, covered = by_samples(
        (lat, lon), np.cos(np.radians(lat)), nearest_in(HRRR, OF_LAMBERT), values
    )
    far = np.abs(covered - 0.3) > 1e-3
    wanted[covered < 0.3] = np.nan
    assert 10 < np.isfinite(wanted).sum() < 40
    np.testing.assert_allclose(found[rows, columns][far], wanted[far], atol=1e-3)


def test_cells_of_a_projection_are_the_means_that_many_sample_points_give():
    """Of latitudes and longitudes on a polar grid, the pole among them."""
    rng = np.random.default_rng(1)
    grid = RegionalGrid(first_latitude=61, first_longitude=1, step_degrees=2, shape=(15, 180))
    values = rng.uniform(0, 1, (15, 180))
    plane = Polar(12345.0, 40, 150000.0)
    target = Target(*places(plane), POLAR)
    found = regridded(values, grid, target, "conservative")
    _, back = to_plane(OF_POLAR)
    rows, columns = np.indices((6, 6)).reshape(2, -1) + 17
    share = ((np.arange(500) + 0.5) / 500 - 0.5) * 150000
    y = plane.at[rows][:, None, None] + share[:, None]
    x = plane.at[columns][:, None, None] + share
    x, y = (of.reshape(36, -1) for of in np.broadcast_arrays(x, y))
    lat, lon = (np.asarray(of) for of in back(x, y))
    # The scale of a stereographic projection is 2 / (1 + sin) by that at the standard parallel.
    scale = 1 / (1 + np.sin(np.radians(lat)))

    def find(latitudes: Any, longitudes: Any) -> tuple[np.ndarray, np.ndarray]:
        return ((latitudes - 60) // 2).astype(int), (longitudes % 360 // 2).astype(int)

    wanted, covered = by_samples((lat, lon), scale**-2, find, values)
    assert covered.min() == 1
    np.testing.assert_allclose(found[rows, columns], wanted, atol=1.5e-3)


def test_a_satellites_view_is_a_source_and_an_archive():
    """By both methods; where it sees no Earth nothing is known."""
    seen = ScanningGrid(
        mapping={
            "grid_mapping_name": "geostationary",
            "latitude_of_projection_origin": 0.0,
            "longitude_of_projection_origin": -75.0,
            "perspective_point_height": 35786023.0,
            "sweep_angle_axis": "x",
            "semi_major_axis": 6378137.0,
            "semi_minor_axis": 6356752.31414,
        },
        first=(0.15, -0.15),
        step=(-0.006, 0.006),
        shape=(51, 51),
    )
    below = Target(np.arange(40.0, -41, -5), np.arange(-110.0, -39, 5))
    disc = Target(*places(seen), seen.mapping)
    # A mean over a cell is off by the gradient over half of one: of 2.5 and of 3 degrees.
    for method, within in (("bilinear", 2e-3), ("conservative", 0.05)):
        own = smooth(*(np.nan_to_num(of) for of in disc.places()))
        found = regridded(own, seen, below, method)
        assert np.abs(found - smooth(*below.places())).max() < within
        globe = smooth(*np.broadcast_arrays(places(GLOBE)[0][:, None], places(GLOBE)[1]))
        found = regridded(globe, GLOBE, disc, method)
        is_earth = np.isfinite(disc.places()[0])
        inner = np.hypot(*np.meshgrid(disc.columns, disc.rows)) < 0.13
        assert np.isnan(found[~is_earth]).all()
        assert np.abs(found - smooth(*disc.places()))[inner].max() < within


def test_what_is_on_the_archives_own_projection_is_stored_as_it_is():
    """And the same labels in the plane of another one are another grid."""
    job = type("Job", (), {"grid_of": lambda self, coord: None})()
    small = replace(HRRR, shape=(5, 6))
    axes = {dim: ExpectedAxis(labels=of) for dim, of in small.labels().items()}
    for mapping, is_same in ((LAMBERT, True), ({**LAMBERT, "earth_radius": 6.37e6}, False)):
        how = Regrid(grid=small, method="bilinear", onto=mapping)
        one = replace(var(), dims=("time", "y", "x"), regridded=how)
        assert (regridding_of(job, None, one, axes, {}) is None) == is_same


def test_corners_that_are_given_are_the_cells():
    """Instead of those midway between points."""
    lat, lon = np.meshgrid([0.5, 1.5], [0.5, 1.5, 2.5], indexing="ij")
    corners = np.meshgrid([0.0, 1, 2], [0.0, 0.5, 2, 3], indexing="ij")
    values = np.array([[1.0, 2, 3], [1, 2, 3]])
    target = Target(np.array([0.5, 1.5]), np.array([0.5, 1.5, 2.5]))
    own = regridded(values, CurvilinearGrid(places=(lat, lon)), target, "conservative", 0.99)
    np.testing.assert_allclose(own, values, rtol=1e-3)
    grid = CurvilinearGrid(places=(lat, lon), corners=tuple(corners))
    given_them = regridded(values, grid, target, "conservative")
    np.testing.assert_allclose(given_them[0], [1.5, 2, 3])
    with pytest.raises(ValueError, match="one row and one column more"):
        CurvilinearGrid(places=(lat, lon), corners=(lat, lon)).ends  # noqa: B018


def test_a_cell_is_whole_beside_corners_that_are_none():
    """On each side of them: only cells that have one of these are lost."""
    lat, lon = np.meshgrid(np.arange(0.5, 6), np.arange(0.5, 7), indexing="ij")
    corners = np.meshgrid(np.arange(0.0, 7), np.arange(0.0, 8), indexing="ij")
    for of in corners:
        of[3, 4] = np.nan
    grid = CurvilinearGrid(places=(lat, lon), corners=tuple(corners))
    target = Target(lat[:, 0], lon[0])
    found = regridded(np.ones(lat.shape), grid, target, "conservative", 0.5)
    wanted = np.ones(lat.shape, bool)
    wanted[2:4, 3:5] = False
    np.testing.assert_array_equal(np.isfinite(found), wanted)


@pytest.mark.parametrize(
    ("grid", "target"),
    [
        (HRRR, Target(np.arange(60.0, 15, -2.5), np.arange(-145.0, -50, 2.5))),
        (replace(ROTATED, step_degrees=7.5, shape=(24, 48)), LARGE),
        (RegionalGrid(first_latitude=60, first_longitude=5, step_degrees=10, shape=(4, 36)), PLANE),
        (tripolar(12, 24), LARGE),
    ],
    ids=["Lambert", "rotated", "onto Lambert", "tripolar"],
)
@pytest.mark.parametrize("method", ["bilinear", "conservative"])
def test_weights_do_not_rest_on_how_many_are_made_at_once(monkeypatch, grid, target, method):
    """To the last bit: of points, of cells with their vertices, and of pairs that are cut."""
    wanted = make_weights(grid, target, method).to_bytes()
    of = "gridmill.authoring.regridding."
    for name in ("weights.POINTS_AT_ONCE", "weights.VERTICES_AT_ONCE"):
        monkeypatch.setattr(of + name, 500)
    monkeypatch.setattr(of + "geometry.clipping.PAIRS_AT_ONCE", 2000)
    assert make_weights(grid, target, method).to_bytes() == wanted


def test_tasks_carry_the_name_of_a_function_that_knows_the_places():
    """And never what was computed from them."""
    grid = CurvilinearGrid(places=known_places)
    wanted = make_weights(grid, OURS, "bilinear")
    sent = pickle.dumps(grid)
    assert len(sent) < 500
    again = pickle.loads(sent)
    assert key_of(again, OURS, "bilinear") == key_of(grid, OURS, "bilinear")
    other = CurvilinearGrid(places=tuple(of + 1e-3 for of in known_places()))
    assert key_of(other, OURS, "bilinear") != key_of(grid, OURS, "bilinear")
    assert (make_weights(again, OURS, "bilinear").matrices[0] != wanted.matrices[0]).nnz == 0


def known_places() -> tuple[Any, Any]:
    return tripolar().points


def test_places_that_are_no_grid_are_refused():
    """With both shapes."""
    grid = CurvilinearGrid(places=(np.zeros((3, 4)), np.zeros((3, 5))))
    with pytest.raises(ValueError, match=r"shape \(3, 4\) and longitudes of shape \(3, 5\)"):
        grid.labels()


@settings(max_examples=15, deadline=None)
@given(
    nothing=st.sampled_from([np.nan, 0.0, -1.0, -999.0, 1e20]),
    rows=st.tuples(st.integers(2, 25), st.integers(3, 25)),
    columns=st.tuples(st.integers(2, 60), st.integers(3, 40)),
    method=st.sampled_from(["bilinear", "conservative"]),
)
def test_what_stands_where_there_is_no_point_joins_nothing(nothing, rows, columns, method):
    """However a provider fills land: no cell leads there, and the cells beside it stay whole."""
    whole = curved()
    values = smooth(*whole.points)
    at = tuple(slice(first, first + many) for first, many in (rows, columns))
    values[at] = np.nan
    lat, lon = (of.copy() for of in whole.points)
    lat[at] = lon[at] = nothing
    filled = CurvilinearGrid(places=(lat, lon))
    most, wanted, fewest = (regridded(values, whole, OURS, method, of) for of in (0.2, 0.3, 0.4))
    found = regridded(values, filled, OURS, method, 0.3)
    there = np.isfinite(found)
    assert (there <= np.isfinite(most)).all()
    if method == "conservative":
        assert (np.isfinite(fewest) <= there).all()
    np.testing.assert_allclose(found[there], most[there], atol=0.05)
    assert wanted.shape == found.shape


@settings(max_examples=15, deadline=None)
@given(
    before=st.integers(0, 3),
    after=st.integers(0, 3),
    folds=st.booleans(),
    fill=st.sampled_from([0.0, 1.0]),
)
def test_columns_and_rows_that_come_again_count_once(before, after, folds, fill):
    """As oceans' grids have them beyond the seam and the fold, whatever stands in these."""
    grid = tripolar()
    values = np.random.default_rng([before, after]).uniform(1, 2, grid.points[0].shape)
    wanted = regridded(values, grid, OURS, "conservative", 0.5)

    def with_halo(of: Any) -> Any:
        of = np.concatenate([of, of[-1:, ::-1]]) if folds else of
        many = of.shape[1]
        return np.concatenate([of[:, many - before :], of, of[:, :after]], axis=1)

    halo = tuple(with_halo(of) for of in grid.points)
    found = regridded(with_halo(values), CurvilinearGrid(places=halo), OURS, "conservative", 0.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, equal_nan=True)
    np.testing.assert_allclose(
        regridded(with_halo(values), CurvilinearGrid(places=halo), OURS, "bilinear", 0.5),
        regridded(values, grid, OURS, "bilinear", 0.5),
        rtol=1e-6,
        equal_nan=True,
    )
