"""Where grids of every kind say that they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr

from gridmill.authoring.describing.acdd import described_coords
from gridmill.authoring.describing.extents import (
    georeference,
    horizontal_extent,
    vertical_extent,
)
from gridmill.authoring.grids import (
    CellGrid,
    GaussianGrid,
    HorizontalGrid,
    LatitudeLongitudeGrid,
    ProjectedGrid,
    RegionalGrid,
    RotatedGrid,
    SatelliteGrid,
)

KEEPS = {"Conventions": "ACDD-1.3"}
HRRR = ProjectedGrid(
    mapping={
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": 38.5,
        "longitude_of_central_meridian": -97.5,
        "latitude_of_projection_origin": 38.5,
        "false_easting": 0.0,
        "false_northing": 0.0,
        "earth_radius": 6371229.0,
    },
    first_latitude=21.138123,
    first_longitude=237.280472,
    step_m=30000.0,
    shape=(106, 180),
)
POLAR = {
    "grid_mapping_name": "polar_stereographic",
    "straight_vertical_longitude_from_pole": -150.0,
    "latitude_of_projection_origin": 90.0,
    "standard_parallel": 60.0,
    "false_easting": 0.0,
    "false_northing": 0.0,
    "earth_radius": 6371229.0,
}
# The Bering Sea, on both sides of the 180th meridian.
ALASKA = ProjectedGrid(
    mapping=POLAR, first_latitude=50.0, first_longitude=170.0, step_m=50000.0, shape=(30, 60)
)
NORTH_POLE = ProjectedGrid(
    mapping=POLAR, first_latitude=60.0, first_longitude=165.0, step_m=100000.0, shape=(80, 60)
)
ROTATED = RotatedGrid(
    southern_pole=(-36.08852, 245.305142),
    first_latitude=-12.302501,
    first_longitude=-14.82122,
    step_degrees=0.225,
    shape=(129, 254),
)


def on(grid: HorizontalGrid) -> xr.Dataset:
    """Return a grid's coordinates, with the attributes that a template gives them."""
    ds = xr.Dataset(coords={**grid.labels(), **grid.auxiliary()})
    for coord in described_coords(grid.coords, KEEPS):
        ds[coord.name].attrs = dict(coord.attrs)
    return ds


def placed(transform: list[float], column: float, row: float) -> tuple[float, float]:
    """Return x and y of a place in the grid, as rasterio's transforms do."""
    a, b, c, d, e, f = transform
    return a * column + b * row + c, d * column + e * row + f


def ends(grid: HorizontalGrid) -> list[float]:
    about = horizontal_extent(on(grid))
    return [about[f"geospatial_{end}"] for end in ("lat_min", "lat_max", "lon_min", "lon_max")]


def test_a_global_grid_goes_round_the_earth():
    """With the ends of its labels, however they are counted."""
    assert ends(LatitudeLongitudeGrid(step_degrees=0.25)) == [-90, 90, 0, 359.75]
    west = LatitudeLongitudeGrid(step_degrees=1.0, first_longitude=-180.0)
    assert ends(west) == [-90, 90, -180, 179]
    about = horizontal_extent(on(west))
    assert about["geospatial_lat_resolution"] == about["geospatial_lon_resolution"] == 1.0
    assert about["geospatial_bounds"] == "POLYGON((-90 -180, 90 -180, 90 179, -90 179, -90 -180))"


def test_a_region_that_crosses_the_180th_meridian_is_counted_on():
    """As its labels are."""
    grid = RegionalGrid(
        first_latitude=10.0, first_longitude=170.0, step_degrees=(-0.5, 0.5), shape=(5, 61)
    )
    assert ends(grid) == [8, 10, 170, 200]


def test_a_projected_grid_has_the_ends_of_its_cells():
    """And an outline that is no rectangle of degrees."""
    ds = on(HRRR)
    latitudes, longitudes = ds["latitude"].values, ds["longitude"].values
    wanted = [latitudes.min(), latitudes.max(), longitudes.min(), longitudes.max()]
    np.testing.assert_allclose(ends(HRRR), wanted, atol=1e-5)
    outline = horizontal_extent(ds)["geospatial_bounds"]
    assert outline.startswith("POLYGON((21.13812")
    assert outline.count(",") == 4 * 7


def test_a_projected_grid_on_both_sides_of_the_180th_meridian_goes_from_west_to_east():
    """The western end is a higher number than the eastern one, as ACDD has it."""
    south, north, west, east = ends(ALASKA)
    assert 150 < west < 180
    assert -180 < east < -100
    assert 30 < south < north < 90
    assert "geospatial_bounds" in horizontal_extent(on(ALASKA))


def test_around_a_pole_there_is_no_outline():
    """A polygon in degrees would leave the pole outside."""
    about = horizontal_extent(on(NORTH_POLE))
    assert about["geospatial_lat_max"] > 89
    assert about["geospatial_lon_max"] - about["geospatial_lon_min"] > 350
    assert "geospatial_bounds" not in about


def test_a_rotated_grid_and_cells_have_the_ends_of_their_places():
    """Cells without rows have a rectangle around them."""
    ds = on(ROTATED)
    np.testing.assert_allclose(ends(ROTATED)[:2], [ds.latitude.min(), ds.latitude.max()], atol=1e-5)
    cells = CellGrid(latitudes=np.array([40.0, 42.0, 41.0]), longitudes=np.array([350.0, 3.0, 10]))
    assert ends(cells) == [40, 42, 350, 10]
    bounds = horizontal_extent(on(cells))["geospatial_bounds"]
    assert bounds == "POLYGON((40 350, 42 350, 42 370, 40 370, 40 350))"
    assert "spatial:transform" not in georeference(on(cells))


@pytest.mark.parametrize(
    "grid", [LatitudeLongitudeGrid(step_degrees=0.25), HRRR, ROTATED, ALASKA], ids=str
)
def test_the_transform_leads_to_the_labels(grid):
    """The middle of a cell is its label; the outer edges are the box."""
    ds = on(grid)
    about = georeference(ds)
    y, x = (ds[dim] for dim in about["spatial:dimensions"])
    transform = about["spatial:transform"]
    for row, column in ((0, 0), (y.size - 1, x.size - 1), (3, 7)):
        place = placed(transform, column + 0.5, row + 0.5)
        np.testing.assert_allclose(place, (x[column], y[row]), rtol=1e-9, atol=1e-3)
    assert about["spatial:shape"] == [y.size, x.size]
    corners = [placed(transform, 0, 0), placed(transform, x.size, y.size)]
    xs, ys = zip(*corners, strict=True)
    np.testing.assert_allclose(about["spatial:bbox"], [min(xs), min(ys), max(xs), max(ys)])


def test_what_a_satellite_sees_is_in_the_metres_of_its_reference_system():
    """Its labels are radians; where it sees no Earth, there is no place."""
    grid = SatelliteGrid(
        satellite_longitude=0.0,
        distance=6.6107,
        diameter=(40.0, 40.0),
        centre=(24.0, 24.0),
        shape=(49, 49),
        earth={"semi_major_axis": 6378169.0, "semi_minor_axis": 6356583.8},
    )
    ds = on(grid)
    about = georeference(ds)
    height = ds["spatial_ref"].attrs["perspective_point_height"]
    x, _ = placed(about["spatial:transform"], 0.5, 0.5)
    assert x == pytest.approx(float(ds["x"][0]) * height)
    extent = horizontal_extent(ds)
    assert "geospatial_bounds" not in extent
    assert np.isfinite([v for v in extent.values() if isinstance(v, float)]).all()


def test_uneven_rows_have_no_transform():
    """A Gaussian grid has a reference system and no affine transform."""
    about = georeference(on(GaussianGrid(parallels=48)))
    assert "proj:wkt2" in about
    assert "spatial:transform" not in about


def test_what_goes_up_or_down_has_its_ends():
    """With its units, and which way is positive."""
    levels: Any = ("level", [1000.0, 850.0], {"axis": "Z", "units": "hPa", "positive": "down"})
    about = vertical_extent(xr.Dataset(coords={"level": levels}))
    assert (about["geospatial_vertical_min"], about["geospatial_vertical_max"]) == (850, 1000)
    assert about["geospatial_vertical_positive"] == "down"
    assert vertical_extent(xr.Dataset()) == {}
