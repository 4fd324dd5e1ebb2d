"""Reference systems as WKT say what the grid mapping says: pyproj reads both alike."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest

from gridmill.authoring.describing.crs import crs_wkt
from gridmill.sources.grib.projections import project

SPHERE = {"earth_radius": 6371229.0}
WGS84 = {"semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.314245179}
PLANE = {"false_easting": 0.0, "false_northing": 0.0}
MAPPINGS = {
    "lambert": {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": 38.5,
        "longitude_of_central_meridian": -97.5,
        "latitude_of_projection_origin": 38.5,
        **PLANE,
    },
    "lambert of two parallels": {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": [30.0, 60.0],
        "longitude_of_central_meridian": 10.0,
        "latitude_of_projection_origin": 45.0,
        **PLANE,
    },
    "lambert true elsewhere": {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": 50.0,
        "longitude_of_central_meridian": 10.0,
        "latitude_of_projection_origin": 45.0,
        **PLANE,
    },
    "polar": {
        "grid_mapping_name": "polar_stereographic",
        "straight_vertical_longitude_from_pole": -150.0,
        "latitude_of_projection_origin": 90.0,
        "standard_parallel": 60.0,
        **PLANE,
    },
    "mercator": {
        "grid_mapping_name": "mercator",
        "longitude_of_projection_origin": -97.0,
        "standard_parallel": 20.0,
        **PLANE,
    },
    "azimuthal": {
        "grid_mapping_name": "lambert_azimuthal_equal_area",
        "longitude_of_projection_origin": 10.0,
        "latitude_of_projection_origin": 52.0,
        **PLANE,
    },
    "transverse": {
        "grid_mapping_name": "transverse_mercator",
        "longitude_of_central_meridian": 9.0,
        "latitude_of_projection_origin": 0.0,
        "scale_factor_at_central_meridian": 0.9996,
        "false_easting": 0.0,
        "false_northing": 0.0,
    },
    "rotated": {
        "grid_mapping_name": "rotated_latitude_longitude",
        "grid_north_pole_latitude": 36.08852,
        "grid_north_pole_longitude": 65.305142,
        "north_pole_grid_longitude": 0.0,
    },
    "geostationary": {
        "grid_mapping_name": "geostationary",
        "latitude_of_projection_origin": 0.0,
        "longitude_of_projection_origin": -75.0,
        "perspective_point_height": 35785831.0,
        "sweep_angle_axis": "y",
        **PLANE,
    },
}


@pytest.mark.parametrize("earth", [SPHERE, WGS84], ids=["sphere", "ellipsoid"])
@pytest.mark.parametrize("name", MAPPINGS)
def test_pyproj_places_points_where_our_grids_are(name, earth):
    """A place has the same x and y by the WKT and by gridmill's own equations."""
    mapping = {**MAPPINGS[name], **earth}
    crs = pyproj.CRS.from_wkt(crs_wkt(mapping))
    on_earth = crs.source_crs if crs.is_derived else crs.geodetic_crs
    longitudes, latitudes = np.array([8.0, 12.0, -100.0, -80.0]), np.array([48.0, 50, 45, 50])
    if name == "transverse":
        longitudes = longitudes[:2]
        latitudes = latitudes[:2]
    placed = pyproj.Transformer.from_crs(on_earth, crs, always_xy=True)
    x, y = placed.transform(longitudes, latitudes)
    # The plane of CF's satellites is counted in radians.
    height = mapping.get("perspective_point_height", 1.0)
    own = np.array(project(mapping, latitudes, longitudes)) * height
    seen = np.isfinite(own)
    np.testing.assert_allclose(np.array([x, y])[seen], own[seen], rtol=0, atol=1e-4)
    assert seen.any()


def test_degrees_are_longitude_and_latitude_on_the_same_figure():
    """Axes are in the order of x and y, and the sphere is the declared one."""
    crs = pyproj.CRS.from_wkt(crs_wkt({"grid_mapping_name": "latitude_longitude", **SPHERE}))
    assert [axis.direction for axis in crs.axis_info] == ["east", "north"]
    assert crs.ellipsoid.semi_major_metre == crs.ellipsoid.semi_minor_metre == 6371229.0


def test_what_has_no_text_has_none():
    """A mapping of another kind, or without a figure of the Earth, is left to its attributes."""
    assert crs_wkt({"grid_mapping_name": "healpix", **SPHERE}) is None
    assert crs_wkt({"grid_mapping_name": "mercator", **SPHERE}) is None
    assert crs_wkt({"grid_mapping_name": "latitude_longitude"}) is None
