"""Grids that authors declare: what a template has of them, and which messages are on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from grib_messages import encode, packed_in_steps
from gridmill import Encoding
from gridmill.authoring.forecasts.reading import Asked, Place, read_field, write_listing
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level, Window
from gridmill.authoring.grids import (
    CellGrid,
    GaussianGrid,
    HorizontalGrid,
    LatitudeLongitudeGrid,
    ProjectedGrid,
    RegionalGrid,
    RotatedGaussianGrid,
    RotatedGrid,
    SatelliteGrid,
)
from gridmill.authoring.transforms.resolution import resolutions_told
from gridmill.sources.grib.inventory.message import InventoryMismatch
from gridmill.sources.grib.inventory.selection import Selector
from gridmill.sources.grib.messages import message_identity, read_grid

REGION = RegionalGrid(
    first_latitude=60.0, first_longitude=0.0, step_degrees=(-2.0, 2.0), shape=(31, 16)
)
ROTATED = RotatedGrid(
    southern_pole=(-40.0, 10.0),
    first_latitude=60.0,
    first_longitude=0.0,
    step_degrees=(-2.0, 2.0),
    shape=(31, 16),
)
AZIMUTHAL = ProjectedGrid(
    mapping={
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "latitude_of_projection_origin": 52.0,
        "longitude_of_projection_origin": 10.0,
        "false_easting": 0.0,
        "false_northing": 0.0,
        "earth_radius": 6371229.0,
    },
    first_latitude=45.0,
    first_longitude=0.0,
    step_m=(50e3, 25e3),
    shape=(31, 16),
)
CELLS = CellGrid(latitudes=np.linspace(-90, 90, 12), longitudes=np.arange(12) * 30.0 - 180)
SATELLITE = SatelliteGrid(
    satellite_longitude=9.5,
    distance=6.61,
    diameter=(40, 40),
    centre=(5, 5),
    shape=(10, 12),
    earth={"semi_major_axis": 6378169.0, "semi_minor_axis": 6356583.8},
)
GRIDS = [
    REGION,
    ROTATED,
    AZIMUTHAL,
    CELLS,
    LatitudeLongitudeGrid(step_degrees=15.0),
    GaussianGrid(parallels=8),
    RotatedGaussianGrid(southern_pole=(-40.0, 10.0), parallels=8),
    SATELLITE,
]


def rotated_message(**keys: object) -> bytes:
    """Make a message about another pole, on the sample's grid."""
    pole = {"latitudeOfSouthernPole": -40_000_000, "longitudeOfSouthernPole": 10_000_000}
    return encode(sample="rotated_ll_sfc_grib2", keys={"shapeOfTheEarth": 6, **pole, **keys})


def template_on(grid: HorizontalGrid) -> ForecastTemplate:
    """Declare forecasts of one variable on a grid."""
    dims = ("init_time", "lead_time", *grid.labels())
    chunks = (1, 1, *(len(values) for values in grid.labels().values()))
    attrs = {"long_name": "Temperature", "units": "K", "grid_mapping": "spatial_ref"}
    var = GribVar(
        name="t",
        dims=dims,
        encoding=Encoding(chunks=chunks),
        attrs=attrs,
        parameter="TMP",
        levels=(Level("surface"),),
    )
    about = {"dataset_id": "on-a-grid", "title": "On a grid", "Conventions": "CF-1.11"}
    members = {
        "dims": dims,
        "append_dim_start": "2025-01-01",
        "dataset_attributes": about,
        "data_vars": (var,),
        "grid": grid,
        "lead_hours": (0,),
    }
    return type("Template", (ForecastTemplate,), members)()


@pytest.mark.parametrize("grid", GRIDS, ids=lambda grid: type(grid).__name__)
def test_every_grid_gives_a_template_with_places_and_mapping(grid):
    """Readers find latitude and longitude of each value, and the figure of the Earth."""
    ds = template_on(grid).get_template("2025-01-02")
    sizes = {dim: n for dim, n in ds.t.sizes.items() if dim not in ("init_time", "lead_time")}
    places = {"latitude": "latitude", "longitude": "longitude"}
    assert {ds[name].attrs["standard_name"] for name in places} == set(places)
    for name in places:
        assert set(ds[name].dims) <= set(sizes)
    assert np.isfinite(ds.latitude).all()
    assert ds.spatial_ref.attrs["grid_mapping_name"]
    about = ds.spatial_ref.attrs
    assert about.get("earth_radius", about.get("semi_major_axis")) in (6371229.0, 6378169.0)


def test_a_satellite_sees_space_beside_the_earth(tmp_path):
    """There no place is known, and the archive keeps that."""
    grid = replace(SATELLITE, diameter=(8, 10))
    template = template_on(grid)
    ds = template.get_template("2025-01-02")
    assert np.isnan(ds.latitude.values[0, 0])
    assert abs(float(ds.latitude.values[5, 5])) < 1e-6
    assert float(ds.longitude.values[5, 5]) == pytest.approx(9.5)
    ds.to_zarr(tmp_path / "a.zarr", compute=False)
    with xr.open_zarr(tmp_path / "a.zarr") as stored:
        np.testing.assert_array_equal(stored.latitude.values, ds.latitude.values)
        np.testing.assert_array_equal(stored.longitude.values, ds.longitude.values)


def test_a_region_is_compared_with_its_messages():
    """Another start, another step or fewer rows is named; another count of turns is the same."""
    grid = read_grid(encode())
    assert REGION.differences(grid) == []
    assert replace(REGION, first_longitude=-360.0).differences(grid) == []
    for change in (
        {"first_latitude": 60.5},
        {"first_longitude": 2.0},
        {"step_degrees": (-2.0, 1.0)},
        {"shape": (30, 16)},
    ):
        (told,) = replace(REGION, **change).differences(grid)
        assert "itude" in told


def test_a_rotated_grid_is_compared_with_its_messages():
    """Its pole and its rows are; the places are those of the message."""
    grid = read_grid(rotated_message())
    assert ROTATED.differences(grid) == []
    latitudes, longitudes = grid.points()
    np.testing.assert_allclose(ROTATED.auxiliary()["latitude"][1], latitudes, atol=1e-5)
    np.testing.assert_allclose(ROTATED.auxiliary()["longitude"][1], longitudes, atol=2e-5)
    assert (
        "grid_north_pole_latitude"
        in replace(ROTATED, southern_pole=(-41.0, 10.0)).differences(grid)[0]
    )
    assert "rlat runs from" in replace(ROTATED, first_latitude=59.0).differences(grid)[0]
    assert "not 31 rlat" in ROTATED.differences(read_grid(encode()))[-1]


def test_longitudes_about_a_pole_do_not_jump():
    """A region across the grid's own meridian is counted from below it, as is one west of it."""
    crossing = {"longitudeOfFirstGridPoint": 345_000_000, "longitudeOfLastGridPoint": 15_000_000}
    assert read_grid(rotated_message(**crossing)).x[[0, -1]].tolist() == [-15.0, 15.0]
    west = {"longitudeOfFirstGridPoint": 200_000_000, "longitudeOfLastGridPoint": 230_000_000}
    assert read_grid(rotated_message(**west)).x[[0, -1]].tolist() == [-160.0, -130.0]


def test_an_author_without_a_grid_stores_what_decodes(tmp_path):
    """The values of a grid that nothing here can place, in the shape that the message says."""
    message = rotated_message(angleOfRotation=5)
    identity = message_identity(message)
    path = tmp_path / "a.grib2"
    path.write_bytes(message)
    (var,) = template_on(REGION).data_vars
    selector = Selector(parameter="TMP", level="surface", start_step=None, end_step=None)
    asked = Asked(replace(var, statistic=None), Level("surface"), replace(selector, statistic=None))
    write_listing(path, {asked.key: Place(start=0)})
    init = pd.Timestamp(identity.reference_time)
    assert read_field(path, asked, init, None).shape == (31, 16)
    with pytest.raises(ValueError, match="besides") as error:
        read_field(path, asked, init, ROTATED)
    assert not isinstance(error.value, InventoryMismatch)


@pytest.mark.parametrize(
    ("message", "step"),
    [
        (packed_in_steps(encode(), np.arange(496.0) * 10, -1), 10.0),
        (packed_in_steps(encode(), np.arange(496.0) / 100, 2), 0.01),
        (encode(np.linspace(0, 1, 496).reshape(31, 16), packing="grid_ieee"), 0.0),
        (encode(np.full((31, 16), 3.0)), 0.0),
    ],
)
def test_readers_tell_in_which_steps_a_message_is_packed(tmp_path, message, step):
    """In the units of what is stored, with what float32 cannot hold; nothing of an instant."""
    path = tmp_path / "a.grib2"
    path.write_bytes(message)
    (instant,) = template_on(REGION).data_vars
    units = {"K": 1000.0}
    var = replace(instant, window=Window(kind="accumulation"), factors=units, statistic=None)
    selector = Selector(parameter="TMP", level="surface", start_step=None, end_step=None)
    selector = replace(selector, statistic=None)
    asked = Asked(var, Level("surface"), selector)
    write_listing(path, {asked.key: Place(start=0)})
    init = pd.Timestamp(message_identity(message).reference_time)
    with resolutions_told() as told:
        values = read_field(path, asked, init, REGION)
    assert told == [pytest.approx(1000 * step + np.spacing(values.max()), rel=1e-6)]
    with resolutions_told() as told:
        read_field(path, asked._replace(var=replace(var, window=None)), init, REGION)
    assert told == []
