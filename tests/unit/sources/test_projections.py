"""What the map projections guarantee."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from gridmill.datasets.noaa.hrrr_forecast import GRID as HRRR
from gridmill.sources.grib.projections import project, unproject

SPHERE = {"earth_radius": 6371229.0}
WGS84 = {"semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.314245}


def lambert(*parallels, origin, **earth):
    return {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": parallels[0] if len(parallels) == 1 else parallels,
        "longitude_of_central_meridian": -96.0,
        "latitude_of_projection_origin": origin,
        **earth,
    }


def polar(pole, true_scale, meridian=-100.0, **earth):
    return {
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": pole,
        "standard_parallel": true_scale,
        "straight_vertical_longitude_from_pole": meridian,
        **earth,
    }


def mercator(true_scale, meridian=0.0, **earth):
    return {
        "grid_mapping_name": "mercator",
        "standard_parallel": true_scale,
        "longitude_of_projection_origin": meridian,
        **earth,
    }


CLARKE_1866 = {"semi_major_axis": 6378206.4, "semi_minor_axis": 6378206.4 * (1 - 0.00676866) ** 0.5}
INTERNATIONAL = {
    "semi_major_axis": 6378388.0,
    "semi_minor_axis": 6378388.0 * (1 - 0.00672267) ** 0.5,
}


@pytest.mark.parametrize(
    ("mapping", "latitude", "longitude", "x", "y"),
    [
        # Snyder (1987), appendix A: numerical examples.
        (lambert(33.0, 45.0, origin=23.0, earth_radius=1.0), 35.0, -75.0, 0.2966785, 0.2462112),
        (lambert(33.0, 45.0, origin=23.0, **CLARKE_1866), 35.0, -75.0, 1894410.9, 1564649.5),
        (polar(-90.0, -71.0, **INTERNATIONAL), -75.0, 150.0, -1540033.6, -560526.4),
        (mercator(0.0, 180.0, earth_radius=1.0), 35.0, -75.0, 1.8325957, 0.6528366),
        (mercator(0.0, 180.0, **CLARKE_1866), 35.0, -75.0, 11688673.7, 4139145.6),
    ],
)  # fmt: skip
def test_the_worked_examples_of_the_manual(mapping, latitude, longitude, x, y):
    """Spheres and ellipsoids give the coordinates that Snyder's manual prints."""
    printed = 6e-8 if "earth_radius" in mapping else 0.06
    got = project(mapping, latitude, longitude)
    np.testing.assert_allclose(got, (x, y), rtol=0, atol=printed)


def transform(mapping, first, second, direction):
    """Give what PROJ makes of degrees east and north, or of metres."""
    crs = CRS.from_cf({"false_easting": 0.0, "false_northing": 0.0, **mapping})
    geodetic = crs.geodetic_crs
    assert geodetic is not None
    transformer = Transformer.from_crs(geodetic, crs, always_xy=True)
    return transformer.transform(first, second, direction=direction)


MAPPINGS = [
    lambert(38.5, origin=38.5, **SPHERE),
    lambert(33.0, 45.0, origin=39.0, **WGS84),
    lambert(-20.0, -40.0, origin=-30.0, **SPHERE),
    polar(90.0, 60.0, **SPHERE),
    polar(90.0, 90.0, **WGS84),
    polar(-90.0, -71.0, **WGS84),
    mercator(20.0, **SPHERE),
    mercator(0.0, **WGS84),
]


def azimuthal(latitude, longitude, **earth):
    return {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "latitude_of_projection_origin": latitude,
        "longitude_of_projection_origin": longitude,
        **earth,
    }


def transverse(latitude, longitude, scale=0.9996, **earth):
    return {
        "grid_mapping_name": "transverse_mercator",
        "latitude_of_projection_origin": latitude,
        "longitude_of_central_meridian": longitude,
        "scale_factor_at_central_meridian": scale,
        "false_easting": 4e5,
        "false_northing": -1e5,
        **earth,
    }


def geostationary(longitude, **earth):
    return {
        "grid_mapping_name": "geostationary",
        "latitude_of_projection_origin": 0.0,
        "longitude_of_projection_origin": longitude,
        "perspective_point_height": 35785831.0,
        "sweep_angle_axis": "y",
        **earth,
    }


def rotated(latitude, longitude):
    return {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": latitude,
        "grid_north_pole_longitude": longitude,
        "north_pole_grid_longitude": 0.0,
        "earth_radius": 6371229.0,
    }


# Of those that do not show the whole Earth: the centre of what is compared, and how far it reaches.
REGIONAL = [
    (azimuthal(90.0, 0.0, **WGS84), (60.0, 0.0), (29.9, 170.0)),
    (azimuthal(-90.0, 30.0, **SPHERE), (-60.0, 0.0), (29.9, 170.0)),
    (azimuthal(52.0, 10.0, **WGS84), (50.0, 10.0), (35.0, 60.0)),
    (azimuthal(0.0, -60.0, **SPHERE), (0.0, -60.0), (60.0, 60.0)),
    (transverse(49.0, -2.0, **WGS84), (50.0, -2.0), (35.0, 15.0)),
    (transverse(0.0, 243.0, **SPHERE), (-30.0, -117.0), (40.0, 20.0)),
    (geostationary(0.0, **WGS84), (0.0, 0.0), (50.0, 50.0)),
    (geostationary(-135.0, **SPHERE), (0.0, -135.0), (50.0, 50.0)),
]
ROTATED = [rotated(40.0, -170.0), rotated(36.08852, 65.305142), rotated(-30.0, 0.0)]


@pytest.mark.parametrize(("mapping", "centre", "reach"), REGIONAL)
def test_proj_finds_the_same_regions(mapping, centre, reach):
    """PROJ agrees to 0.02 mm, and the way back leads to 2 mm: GRIB writes tenths of a metre."""
    parts = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 17))
    latitude, longitude = (c + r * part for c, r, part in zip(centre, reach, parts, strict=True))
    x, y = project(mapping, latitude, longitude)
    # PROJ gives metres at the height of the satellite.
    metres = mapping.get("perspective_point_height", 1.0)
    by_proj = transform(mapping, longitude, latitude, "FORWARD")
    np.testing.assert_allclose((x * metres, y * metres), by_proj, rtol=1e-13, atol=2e-5)
    back_latitude, back_longitude = unproject(mapping, x, y)
    np.testing.assert_allclose(back_latitude, latitude, rtol=0, atol=2e-8)
    np.testing.assert_allclose((back_longitude - longitude + 180) % 360, 180, rtol=0, atol=2e-8)


@pytest.mark.parametrize("mapping", ROTATED)
def test_proj_turns_the_same_way(mapping):
    """Latitudes and longitudes about another pole are PROJ's, poles and all."""
    latitude, longitude = np.meshgrid(np.linspace(-90, 90, 37), np.linspace(-170, 170, 35))
    x, y = project(mapping, latitude, longitude)
    crs = CRS.from_cf(mapping)
    transformer = Transformer.from_crs(crs.source_crs, crs, always_xy=True)
    east, north = transformer.transform(longitude, latitude)
    np.testing.assert_allclose(y, north, rtol=0, atol=1e-6)  # PROJ's sines lose that at the poles
    is_pole = np.abs(north) > 89.999
    np.testing.assert_allclose(((x - east + 180) % 360)[~is_pole], 180, rtol=0, atol=1e-9)
    back_latitude, back_longitude = unproject(mapping, x, y)
    np.testing.assert_allclose(back_latitude, latitude, rtol=0, atol=1e-9)
    is_pole = np.abs(latitude) == 90
    turned = (back_longitude - longitude + 180) % 360
    np.testing.assert_allclose(turned[~is_pole], 180, rtol=0, atol=1e-9)


def test_what_lies_beyond_the_earth_has_no_place():
    """A satellite sees space around the Earth, and nothing of its far side."""
    view = geostationary(0.0, **WGS84)
    assert np.isnan(unproject(view, 0.16, 0.0)).all()
    assert np.isnan(project(view, 0.0, 179.0)).all()
    assert np.isnan(unproject(azimuthal(0.0, 0.0, **SPHERE), 2e7, 0.0)).any()


@pytest.mark.parametrize("mapping", [*MAPPINGS, *ROTATED])
@given(latitude=st.floats(-80, 80), longitude=st.floats(-180, 179.9))
@settings(deadline=None)  # the machine may be busy
def test_unproject_undoes_project(mapping, latitude, longitude):
    """There and back again is the same point, whatever the projection and the Earth."""
    back_latitude, back_longitude = unproject(mapping, *project(mapping, latitude, longitude))
    assert back_latitude == pytest.approx(latitude, abs=1e-8)
    assert (back_longitude - longitude + 180) % 360 - 180 == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize("mapping", [*MAPPINGS, dict(HRRR.mapping)])
def test_proj_finds_the_same_places(mapping):
    """PROJ, made by others, agrees to a hundredth of a millimetre, there and back."""
    latitude, longitude = np.meshgrid(np.linspace(-80, 80, 41), np.linspace(-170, 170, 35))
    x, y = project(mapping, latitude, longitude)
    by_proj = transform(mapping, longitude, latitude, "FORWARD")
    np.testing.assert_allclose((x, y), by_proj, rtol=1e-13, atol=1e-5)
    east, north = transform(mapping, x, y, "INVERSE")
    back_latitude, back_longitude = unproject(mapping, x, y)
    np.testing.assert_allclose(back_latitude, north, rtol=0, atol=1e-10)
    np.testing.assert_allclose((back_longitude - east + 180) % 360, 180, rtol=0, atol=1e-10)


def test_proj_finds_the_published_places_of_hrrr():
    """Each of the 1.9 million cells lies where PROJ puts it, x and y to a micrometre."""
    labels, places = HRRR.labels(), HRRR.auxiliary()
    corner = HRRR.first_longitude, HRRR.first_latitude
    x, y = transform(HRRR.mapping, *corner, "FORWARD")
    assert (labels["x"][0], labels["y"][0]) == pytest.approx((x, y), abs=1e-6)
    east, north = transform(HRRR.mapping, *np.meshgrid(labels["x"], labels["y"]), "INVERSE")
    np.testing.assert_allclose(places["latitude"][1], north, rtol=1e-7)
    np.testing.assert_allclose(places["longitude"][1], east, rtol=1e-7)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_axes_broadcast_to_the_whole_grid(mapping):
    """A row of x and a column of y give latitudes and longitudes of the grid's shape."""
    x, y = np.arange(4)[None, :] * 1e5, np.arange(3)[:, None] * 1e5
    latitudes, longitudes = unproject(mapping, x, y)
    assert latitudes.shape == longitudes.shape == (3, 4)
    one = unproject(mapping, 2e5, 1e5)
    assert (latitudes[1, 2], longitudes[1, 2]) == pytest.approx(one, abs=1e-12)


def test_an_unknown_mapping_is_named():
    """What has no formula here is an error, not a guess."""
    with pytest.raises(KeyError, match="sinusoidal"):
        project({"grid_mapping_name": "sinusoidal"}, 0.0, 0.0)
    with pytest.raises(KeyError, match="earth_radius"):
        project(mercator(0.0), 0.0, 0.0)


@pytest.mark.parametrize("mapping", [polar(90.0, 70.0), lambert(33.0, 45.0, origin=23.0)])
def test_the_figure_of_the_earth_is_known_by_either_of_cfs_two_numbers(mapping):
    """As NSIDC's files write it, by the inverse flattening."""
    axis = {"semi_major_axis": 6378137.0}
    places = np.array([61.0, 70.0, 84.5]), np.array([-45.0, 17.0, 140.0])
    wanted = project({**mapping, **axis, "semi_minor_axis": 6356752.314245179}, *places)
    found = project({**mapping, **axis, "inverse_flattening": 298.257223563}, *places)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    ball = project({**mapping, **axis, "inverse_flattening": 0.0}, *places)
    np.testing.assert_allclose(ball, project({**mapping, "earth_radius": 6378137.0}, *places))
    with pytest.raises(KeyError, match="inverse_flattening"):
        project({**mapping, **axis}, *places)
