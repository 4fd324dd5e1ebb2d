"""What reading GRIB messages guarantees."""

from __future__ import annotations

import itertools
import pickle
from collections import Counter
from datetime import datetime, timedelta

import eccodes
import numpy as np
import pytest

from decoded_messages import GRIB1, VALUES, WITH_MISSING, assert_points_agree, decode, soak
from grib_messages import assemble, encode, encode_in_band_missing, section, sections
from gridmill.sources.grib.framing import GribCorrupt, GribRefused, iter_messages
from gridmill.sources.grib.gaussian import reduced_longitudes
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.messages import (
    decode_message_into,
    message_identity,
    open_message,
    read_grid,
)

HOUR = timedelta(hours=1)
CONSTANT = np.full((31, 16), 5.0)
CONSTANT_WITH_MISSING = np.where(VALUES > 290, np.nan, 5.0)


# Values


@pytest.mark.parametrize(
    ("sample", "packing"),
    [
        ("regular_ll_sfc_grib2", "grid_simple"),
        ("regular_ll_sfc_grib2", "grid_complex"),
        ("regular_ll_sfc_grib2", "grid_complex_spatial_differencing"),
        ("regular_ll_sfc_grib2", "grid_ccsds"),
        ("regular_ll_sfc_grib2", "grid_jpeg"),
        ("regular_ll_sfc_grib2", "grid_png"),
        ("regular_ll_sfc_grib2", "grid_ieee"),
        (GRIB1, "grid_simple"),
        (GRIB1, "grid_second_order"),
    ],
)
def test_every_packing_decodes(sample, packing):
    """Values come back within the packing's resolution, and NaN exactly where one is missing."""
    for values in (VALUES, WITH_MISSING, CONSTANT, CONSTANT_WITH_MISSING):
        if packing in ("grid_png", "grid_second_order") and np.nanstd(values) == 0:
            continue  # ecCodes 2.50 does not pack these
        message = encode(values, sample=sample, packing=packing)
        np.testing.assert_allclose(decode(message), values, rtol=0, atol=1.5e-3)


@pytest.mark.parametrize("management", [1, 2])
def test_missing_values_in_band_become_nan(management):
    """Codes and groups of all ones are NaN, and the next code below where the message says so."""
    message, expected = encode_in_band_missing(management)
    np.testing.assert_array_equal(decode(message), expected.astype(np.float32))


def test_the_buffer_may_be_part_of_a_larger_array():
    """Strided slices and flat buffers are filled, and nothing beside them is touched."""
    message = encode(WITH_MISSING)
    whole = decode(message)
    larger = np.full((33, 2, 20), -1, np.float32)
    decode_message_into(larger[1:32, 1, 2:18], message)
    np.testing.assert_array_equal(larger[1:32, 1, 2:18], whole)
    assert (larger == -1).sum() == larger.size - whole.size
    flat = np.empty(whole.size, np.float32)
    decode_message_into(flat, message)
    np.testing.assert_array_equal(flat, whole.ravel())


def test_a_buffer_that_does_not_fit_is_refused():
    """A grid of another shape is no reason to reshape, and float64 none to cast."""
    message = encode(VALUES)
    for shape in [(16, 31), (31, 17), (495,), (1, 31, 16)]:
        with pytest.raises(GribRefused, match=r"\(31, 16\)"):
            decode_message_into(np.empty(shape, np.float32), message)
    with pytest.raises(GribRefused):
        decode_message_into(np.empty(992, np.float32)[::2], message)
    with pytest.raises(TypeError, match="float64"):
        decode_message_into(np.empty((31, 16)), message)


def test_a_value_beyond_float32_is_an_error():
    """It would silently become infinite."""
    message = encode(np.linspace(3e38, 4e38, 496))
    with pytest.raises(GribCorrupt, match="float32"):
        decode(message)


def test_fields_of_one_message_are_decoded_one_by_one():
    """A message of wind components gives both; decoding it whole is refused, not half done."""
    u, v = (sections(encode(values)) for values in (VALUES, WITH_MISSING))
    packed = assemble(u[0], u[1], u[3], u[4], u[5], u[6], u[7], v[4], v[5], v[6], v[7])
    first, second = iter_messages(packed)
    np.testing.assert_allclose(decode(first.data), VALUES, atol=1.5e-3)
    np.testing.assert_allclose(decode(second.data), WITH_MISSING, atol=1.5e-3)
    with pytest.raises(GribRefused, match="several fields"):
        decode(packed)


# Scan order and coordinates


def scanned(grid, *, i_negative, j_positive, j_consecutive, alternating=False):
    """List (j, i) of a grid in the order of flag table 3.4; i eastward, j in the stored order."""
    n_j, n_i = grid
    columns = list(range(n_i))[:: -1 if i_negative else 1]
    rows = list(range(n_j))
    outer, inner = (columns, rows) if j_consecutive else (rows, columns)
    for place, a in enumerate(outer):
        line = inner[::-1] if alternating and place % 2 else inner
        for b in line:
            yield (b, a) if j_consecutive else (a, b)


FLAGS = ["i_negative", "j_positive", "j_consecutive", "alternating"]
KEYS = dict(
    zip(
        FLAGS,
        ["iScansNegatively", "jScansPositively", "jPointsAreConsecutive", "alternativeRowScanning"],
        strict=True,
    )
)


def scan_keys(flags):
    return {KEYS[flag]: int(on) for flag, on in flags.items()}


ORDERS = [dict(zip(FLAGS, on, strict=True)) for on in itertools.product([False, True], repeat=4)]


@pytest.mark.parametrize("sample", ["regular_ll_sfc_grib2", GRIB1])
@pytest.mark.parametrize("flags", ORDERS, ids=str)
def test_every_scan_order_is_turned(sample, flags):
    """Each value lands at its own latitude and longitude, whatever the order it was stored in."""
    if sample == GRIB1:  # which has no alternating rows
        flags = {flag: on for flag, on in flags.items() if flag != "alternating"}
    north, south, west, east = 60.0, 0.0, 340.0, 10.0
    keys = {
        "latitudeOfFirstGridPointInDegrees": south if flags["j_positive"] else north,
        "latitudeOfLastGridPointInDegrees": north if flags["j_positive"] else south,
        "longitudeOfFirstGridPointInDegrees": east if flags["i_negative"] else west,
        "longitudeOfLastGridPointInDegrees": west if flags["i_negative"] else east,
        **scan_keys(flags),
    }
    longitudes = np.arange(16) * 2.0 - 20.0
    latitudes = np.linspace(keys["latitudeOfFirstGridPointInDegrees"],
                            keys["latitudeOfLastGridPointInDegrees"], 31)  # fmt: skip
    stored = [latitudes[j] * 100 + longitudes[i] for j, i in scanned((31, 16), **flags)]
    message = encode(np.array(stored), sample=sample, keys=keys, bits=24)
    grid = read_grid(message)
    np.testing.assert_array_equal(grid.latitudes, latitudes)
    np.testing.assert_array_equal(grid.longitudes, longitudes)
    expected = latitudes[:, None] * 100 + longitudes
    np.testing.assert_allclose(decode(message), expected, atol=1e-3)


@pytest.mark.parametrize("flags", ORDERS, ids=str)
def test_gaussian_and_projected_grids_are_turned_alike(flags):
    """Columns run east and rows in the stored order on every type of grid, coordinates too."""
    edge = 87.863799
    gaussian = {
        "latitudeOfFirstGridPointInDegrees": -edge if flags["j_positive"] else edge,
        "latitudeOfLastGridPointInDegrees": edge if flags["j_positive"] else -edge,
        "longitudeOfFirstGridPointInDegrees": 357.188 if flags["i_negative"] else 0,
        "longitudeOfLastGridPointInDegrees": 0 if flags["i_negative"] else 357.188,
        **scan_keys(flags),
    }
    shape = (64, 128)
    number = np.arange(np.prod(shape)).reshape(shape)
    stored = np.array([number[place] for place in scanned(shape, **flags)], float)
    message = encode(stored, sample="regular_gg_sfc_grib2", keys=gaussian)
    np.testing.assert_allclose(decode(message), number, atol=0.1)
    grid = read_grid(message)
    assert (np.sign(np.diff(grid.latitudes)) == (1 if flags["j_positive"] else -1)).all()
    np.testing.assert_allclose(grid.longitudes, np.arange(128) * 2.8125, atol=1e-3)

    stored = np.array([number[:31, :16][place] for place in scanned((31, 16), **flags)], float)
    message = encode(stored, keys=LAMBERT | scan_keys(flags))
    np.testing.assert_allclose(decode(message), number[:31, :16], atol=0.1)
    grid = read_grid(message)
    np.testing.assert_allclose(np.diff(grid.x), 30_000)
    np.testing.assert_allclose(np.diff(grid.y), 30_000 if flags["j_positive"] else -30_000)
    latitudes, longitudes = grid.points()
    corner = (0, -1 if flags["i_negative"] else 0)
    assert (latitudes[corner], longitudes[corner]) == pytest.approx((25.0, -110.0), abs=1e-9)


@pytest.mark.parametrize(
    ("first", "last", "count", "expected"),
    [
        (0.0, 359.75, 1440, (0.0, 0.25, 359.75)),
        (180.0, 179.75, 1440, (-180.0, -179.75, 179.75)),
        (348.0, 16.0, 1121, (-12.0, -11.975, 16.0)),
        (210.0, 250.0, 241, (210.0, 210.166666667, 250.0)),
        (230.005, 299.995, 7000, (230.005, 230.015, 299.995)),
        (90.0, 89.0, 360, (90.0, 91.0, 449.0)),
    ],
)
def test_longitudes_increase_without_a_jump(first, last, count, expected):
    """Axes across Greenwich or from 180°E start west of Greenwich; the ends are exact."""
    keys = {"Ni": count, "Nj": 3, "latitudeOfFirstGridPointInDegrees": 1,
            "latitudeOfLastGridPointInDegrees": -1, "jDirectionIncrementInDegrees": 1,
            "longitudeOfFirstGridPointInDegrees": first, "longitudeOfLastGridPointInDegrees": last,
            "iDirectionIncrementInDegrees": expected[1] - expected[0]}  # fmt: skip
    longitudes = read_grid(encode(np.zeros((3, count)), keys=keys)).longitudes
    assert tuple(longitudes[[0, 1, -1]]) == expected
    assert (np.diff(longitudes) > 0).all()


def test_a_grid_that_contradicts_itself_is_an_error():
    """Ends, count and increment must agree, and the spacing must be one."""
    for keys in (
        {"iDirectionIncrementInDegrees": 3.0},
        {"jScansPositively": 1},
        {"longitudeOfLastGridPointInDegrees": 0},
        LAMBERT | {"DxInMetres": 0},
    ):
        with pytest.raises(GribCorrupt, match="grid"):
            read_grid(encode(VALUES, keys=keys))


LAMBERT = {"gridType": "lambert", "Nx": 16, "Ny": 31, "DxInMetres": 30_000, "DyInMetres": 30_000,
           "LaDInDegrees": 25, "Latin1InDegrees": 25, "Latin2InDegrees": 25, "LoVInDegrees": 265,
           "latitudeOfFirstGridPointInDegrees": 25, "jScansPositively": 1,
           "longitudeOfFirstGridPointInDegrees": 250, "shapeOfTheEarth": 6}  # fmt: skip
POLAR = {"gridType": "polar_stereographic", "Nx": 16, "Ny": 31, "DxInMetres": 30_000,
         "DyInMetres": 30_000, "LaDInDegrees": 60, "orientationOfTheGridInDegrees": 250,
         "latitudeOfFirstGridPointInDegrees": 30, "jScansPositively": 1,
         "longitudeOfFirstGridPointInDegrees": 225, "shapeOfTheEarth": 6}  # fmt: skip
SOUTH = POLAR | {"projectionCentreFlag": 128, "latitudeOfFirstGridPointInDegrees": -50,
                 "LaDInDegrees": -71, "longitudeOfFirstGridPointInDegrees": 200}  # fmt: skip
MERCATOR = {"gridType": "mercator", "Ni": 16, "Nj": 31, "DiInMetres": 30_000, "DjInMetres": 30_000,
            "LaDInDegrees": 20, "latitudeOfFirstGridPointInDegrees": 10, "jScansPositively": 1,
            "longitudeOfFirstGridPointInDegrees": 195, "latitudeOfLastGridPointInDegrees": 18,
            "longitudeOfLastGridPointInDegrees": 200, "shapeOfTheEarth": 6}  # fmt: skip


@pytest.mark.parametrize(
    "keys",
    [
        LAMBERT,
        LAMBERT | {"Latin1InDegrees": 33, "Latin2InDegrees": 45, "LaDInDegrees": 39},
        LAMBERT | {"shapeOfTheEarth": 5},
        POLAR,  # ecCodes 2.50 has no positions of it on an ellipsoid
        SOUTH,
        MERCATOR,
        MERCATOR | {"shapeOfTheEarth": 4},
    ],
)
def test_projected_coordinates_lead_to_the_positions_that_eccodes_computes(keys):
    """x, y and the CF mapping say where each point is, to a metre, on spheres and ellipsoids."""
    message = encode(VALUES, keys=keys)
    grid = read_grid(message)
    assert (grid.dims, grid.shape) == (("y", "x"), (31, 16))
    assert grid.latitudes is None
    assert_points_agree(grid, *positions(message))


def positions(message):
    """Latitudes and longitudes from ecCodes' iterator, in the stored order."""
    handle = eccodes.codes_new_from_message(message)
    try:
        triples = eccodes.codes_get_array(handle, "latLonValues").reshape(-1, 3)
    finally:
        eccodes.codes_release(handle)
    return triples[:, 0], triples[:, 1]


def test_grid_mappings_are_in_cf_terms():
    """Attributes are those of CF's appendix F, with longitudes from -180 and the Earth's figure."""
    assert dict(read_grid(encode(VALUES, keys=LAMBERT)).grid_mapping) == {
        "grid_mapping_name": "lambert_conformal_conic",
        "standard_parallel": 25.0,
        "longitude_of_central_meridian": -95.0,
        "latitude_of_projection_origin": 25.0,
        "false_easting": 0.0,
        "false_northing": 0.0,
        "earth_radius": 6371229.0,
    }
    polar = read_grid(encode(VALUES, keys=SOUTH | {"shapeOfTheEarth": 5})).grid_mapping
    assert polar["latitude_of_projection_origin"] == -90.0
    assert polar["standard_parallel"] == -71.0
    assert polar["semi_minor_axis"] == pytest.approx(6356752.314245)
    assert read_grid(encode(VALUES, sample=GRIB1)).grid_mapping == {
        "grid_mapping_name": "latitude_longitude",
        "earth_radius": 6367470.0,
    }


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"shapeOfTheEarth": 1, "scaleFactorOfRadiusOfSphericalEarth": 1,
          "scaledValueOfRadiusOfSphericalEarth": 63712000}, {"earth_radius": 6371200.0}),
        ({"shapeOfTheEarth": 3, "scaleFactorOfEarthMajorAxis": 3,
          "scaledValueOfEarthMajorAxis": 6378137, "scaleFactorOfEarthMinorAxis": 3,
          "scaledValueOfEarthMinorAxis": 6356752},
         {"semi_major_axis": 6378137.0, "semi_minor_axis": 6356752.0}),
        ({"shapeOfTheEarth": 8}, {"earth_radius": 6371200.0}),
    ],
)  # fmt: skip
def test_the_earth_has_the_shape_that_the_message_gives(keys, expected):
    """Radii and axes come from the table or from the message, kilometres included."""
    mapping = dict(read_grid(encode(VALUES, keys=keys)).grid_mapping)
    assert mapping.pop("grid_mapping_name") == "latitude_longitude"
    assert mapping == pytest.approx(expected)


@pytest.mark.parametrize("edition", [1, 2])
def test_reduced_gaussian_grids_are_points(edition):
    """Rows of different lengths give one dimension, with the position of each point."""
    sample = f"reduced_gg_pl_32_grib{edition}"
    values = np.random.default_rng(3).normal(size=6114)
    message = encode(values, sample=sample, bits=24)
    grid = read_grid(message)
    assert (grid.dims, grid.shape) == (("point",), (6114,))
    np.testing.assert_allclose(decode(message), values, atol=1e-5)
    assert_points_agree(grid, *positions(message))
    assert grid.longitudes.min() >= -180
    assert grid.longitudes.max() < 180


@pytest.mark.parametrize("edition", [1, 2])
@pytest.mark.parametrize("off", [-1, 0, 1, 2])
def test_gaussian_latitudes_are_our_own(edition, off):
    """A first latitude that is rounded up or down ends no process; latitudes are those of N."""
    scale = 1 if edition == 1 else 1_000
    keys = {"latitudeOfFirstGridPoint": (87_864 + off) * scale}
    grid = read_grid(encode(sample=f"regular_gg_sfc_grib{edition}", keys=keys))
    zeros = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(64)[0]))[::-1]
    np.testing.assert_allclose(grid.latitudes, zeros, rtol=0, atol=1e-12)


@pytest.mark.parametrize("keys", [{"N": 16}, {"N": 48}, {"latitudeOfFirstGridPoint": 87_000_000}])
def test_gaussian_headers_that_contradict_themselves_are_errors(keys):
    """N, number of rows and ends must agree, within the rounding of edition 1."""
    with pytest.raises(GribCorrupt, match="Gaussian latitudes of N"):
        read_grid(encode(sample="regular_gg_sfc_grib2", keys=keys))


def test_rows_of_part_of_a_reduced_grid_have_the_points_between_its_meridians():
    """Each row has those of its points that lie in the area; another number is an error."""
    counts, longitudes = reduced_longitudes(np.array([4, 8]), 0.0, 90.0, 5)
    assert counts.tolist() == [2, 3]
    assert longitudes.tolist() == [0.0, 90.0, 0.0, 45.0, 90.0]
    counts, longitudes = reduced_longitudes(np.array([4, 8]), 270.0, 405.0, 6)
    assert counts.tolist() == [2, 4]
    assert longitudes.tolist() == [-90.0, 0.0, -90.0, -45.0, 0.0, 45.0]
    with pytest.raises(GribCorrupt, match="contradicts itself"):
        reduced_longitudes(np.array([4, 8]), 0.0, 90.0, 6)


def test_grids_are_values():
    """Equal grids are equal, hash alike, pickle, and cannot be changed."""
    grid = read_grid(encode(VALUES, keys=LAMBERT))
    same = read_grid(encode(WITH_MISSING, keys=LAMBERT))
    assert grid == same == pickle.loads(pickle.dumps(grid))
    assert len({grid, same}) == 1
    for keys in ({"DxInMetres": 31_000}, {"LoVInDegrees": 266}, {"uvRelativeToGrid": 1}):
        assert read_grid(encode(VALUES, keys=LAMBERT | keys)) != grid
    assert grid != read_grid(encode(VALUES))
    assert grid != "grid"
    for copy in (grid, pickle.loads(pickle.dumps(grid))):
        with pytest.raises(ValueError, match="read-only"):
            copy.x[0] = 0
        with pytest.raises(TypeError):
            copy.grid_mapping["earth_radius"] = 1


def test_a_message_says_how_its_winds_are_oriented():
    """HRRR's components follow the grid; that is told from the message, not guessed."""
    assert read_grid(encode(VALUES, keys=LAMBERT | {"uvRelativeToGrid": 1})).winds_follow_grid
    assert not read_grid(encode(VALUES, keys=LAMBERT)).winds_follow_grid


# Identity


def identity(**keys):
    return message_identity(encode(VALUES, keys=keys))


def test_a_message_is_identified_by_its_figures():
    """Discipline, category, number and surface are there where no name is."""
    found = identity(
        dataDate=20250801, dataTime=630, discipline=209, parameterCategory=6, parameterNumber=1,
        typeOfFirstFixedSurface=103, scaleFactorOfFirstFixedSurface=1,
        scaledValueOfFirstFixedSurface=25, forecastTime=6, centre="kwbc",
    )  # fmt: skip
    assert (found.edition, found.centre) == (2, "kwbc")
    assert (found.discipline, found.category, found.number) == (209, 6, 1)
    assert found.first_surface == Surface(103, 2.5)
    assert found.second_surface is None
    assert found.reference_time == datetime(2025, 8, 1, 6, 30)
    assert (found.start_step, found.end_step) == (6 * HOUR, 6 * HOUR)
    assert found.statistic is Statistic.INSTANT
    assert (found.member, found.derived_forecast) == (None, None)
    assert pickle.loads(pickle.dumps(found)) == found


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"parameterCategory": 0, "parameterNumber": 0}, ("t", "K")),
        ({"discipline": 209, "parameterCategory": 6}, ("unknown", "unknown")),
    ],
)
def test_names_are_those_of_the_decoder(keys, names):
    """They are read on demand, and a parameter without a name is no error."""
    with open_message(encode(VALUES, keys=keys)) as opened:
        assert (opened.short_name, opened.units) == names
        assert opened.identity == message_identity(opened.message)


def test_layers_have_two_surfaces():
    """Soil layers are told apart by both of their bounds."""
    found = identity(
        typeOfFirstFixedSurface=106, scaleFactorOfFirstFixedSurface=1,
        scaledValueOfFirstFixedSurface=1, typeOfSecondFixedSurface=106,
        scaleFactorOfSecondFixedSurface=-1, scaledValueOfSecondFixedSurface=4,
    )  # fmt: skip
    assert (found.first_surface, found.second_surface) == (Surface(106, 0.1), Surface(106, 40.0))


@pytest.mark.parametrize("body", [b"\1", b"\1\2", b"\xff" * 30])
def test_a_local_section_that_the_decoder_does_not_know_is_passed_over(body):
    """Its contents are its centre's own: it hides neither values nor what they are."""
    parts = sections(encode(VALUES, keys={"parameterNumber": 2, "Ni": 16, "Nj": 31}))
    parts[2] = section(2, body)
    message = assemble(*(parts[key] for key in sorted(parts)))
    assert message_identity(message).number == 2
    with open_message(message) as opened:
        assert (opened.shape, opened.units) == ((31, 16), "K")
    np.testing.assert_allclose(decode(message), VALUES, atol=2e-3)


def octets_of(number, first, octets, **keys):
    """A message whose section `number` has other octets, counted from 1, from `first` on."""
    parts = sections(encode(VALUES, keys=keys))
    changed = bytearray(parts[number])
    changed[first - 1 : first - 1 + len(octets)] = octets
    return assemble(*({**parts, number: bytes(changed)}[key] for key in sorted(parts)))


@pytest.mark.parametrize(("first", "which"), [(23, "first_surface"), (29, "second_surface")])
def test_a_level_below_zero_has_its_sign(first, which):
    """PV=-2e-06 of GFS: the first bit is the sign, which ecCodes takes for 2**31."""
    message = octets_of(4, first, bytes([109, 9]) + (0x80000000 | 2000).to_bytes(4, "big"))
    assert getattr(message_identity(message), which) == Surface(109, -2e-6)
    message = octets_of(4, first, bytes([109, 9]) + b"\xff" * 4)
    assert getattr(message_identity(message), which) == Surface(109, None)


def test_a_step_that_is_missing_is_none():
    """All bits set: no number of hours in the past or the future."""
    found = message_identity(octets_of(4, 19, b"\xff" * 4))
    assert (found.start_step, found.end_step) == (None, None)
    found = message_identity(octets_of(4, 50, b"\xff" * 4, productDefinitionTemplateNumber=8))
    assert (found.start_step, found.end_step) == (None, None)
    found = message_identity(octets_of(4, 19, b"\x80\0\0\3"))
    assert (found.start_step, found.end_step) == (-3 * HOUR, -3 * HOUR)


PERIOD = {"productDefinitionTemplateNumber": 8, "forecastTime": 6, "lengthOfTimeRange": 3}


@pytest.mark.parametrize(
    ("keys", "start", "end", "statistic"),
    [
        ({"forecastTime": 495, "indicatorOfUnitOfTimeRange": 0}, 8.25, 8.25, Statistic.INSTANT),
        ({"forecastTime": 2, "indicatorOfUnitOfTimeRange": 11}, 12, 12, Statistic.INSTANT),
        ({"forecastTime": 90, "indicatorOfUnitOfTimeRange": 13}, 0.025, 0.025, Statistic.INSTANT),
        ({"forecastTime": 1, "indicatorOfUnitOfTimeRange": 3}, None, None, Statistic.INSTANT),
        (PERIOD | {"typeOfStatisticalProcessing": 0}, 6, 9, Statistic.AVERAGE),
        (PERIOD | {"typeOfStatisticalProcessing": 1}, 6, 9, Statistic.ACCUMULATION),
        (PERIOD | {"typeOfStatisticalProcessing": 2}, 6, 9, Statistic.MAXIMUM),
        (PERIOD | {"typeOfStatisticalProcessing": 3}, 6, 9, Statistic.MINIMUM),
        (PERIOD | {"typeOfStatisticalProcessing": 9}, 6, 9, Statistic.OTHER),
        (PERIOD | {"typeOfStatisticalProcessing": 255}, 6, 9, None),
        (PERIOD | {"typeOfStatisticalProcessing": 1, "indicatorOfUnitForTimeRange": 3}, None, None,
         Statistic.ACCUMULATION),
        (PERIOD | {"typeOfStatisticalProcessing": 1, "indicatorOfUnitOfTimeRange": 0,
                   "indicatorOfUnitForTimeRange": 0}, 0.1, 0.15, Statistic.ACCUMULATION),
    ],
)  # fmt: skip
def test_periods_are_durations_whatever_their_unit(keys, start, end, statistic):
    """Steps and lengths may have different units; months and years have no fixed length."""
    units = {"indicatorOfUnitOfTimeRange": 1}
    if "lengthOfTimeRange" in keys:
        units["indicatorOfUnitForTimeRange"] = 1
    found = message_identity(encode(VALUES, keys=ordered(units | keys)))
    hours = [None if value is None else value * HOUR for value in (start, end)]
    assert [found.start_step, found.end_step] == hours
    assert found.statistic is statistic


def ordered(keys):
    """The template first: it brings the keys that follow."""
    return dict(sorted(keys.items(), key=lambda item: item[0] != "productDefinitionTemplateNumber"))


@pytest.mark.parametrize(
    ("kind", "number", "member"), [(3, 7, 7), (2, 7, -7), (1, 0, 0), (0, 0, 0), (255, 4, 4)]
)
def test_members_are_numbered_as_the_inventory_does(kind, number, member):
    """ENS=+7 is 7, ENS=-7 is -7 and a control is 0, so that both agree on what was selected."""
    found = identity(
        productDefinitionTemplateNumber=1, typeOfEnsembleForecast=kind, perturbationNumber=number
    )
    assert found.member == member


def test_a_derived_forecast_is_no_member():
    """The ensemble mean is told by its own figure."""
    found = identity(productDefinitionTemplateNumber=2, derivedForecast=0)
    assert (found.member, found.derived_forecast) == (None, 0)


@pytest.mark.parametrize(
    ("keys", "is_plain"),
    [
        ({}, True),
        ({"productDefinitionTemplateNumber": 1, "perturbationNumber": 3}, False),
        ({"productDefinitionTemplateNumber": 2, "derivedForecast": 4}, False),
        ({"productDefinitionTemplateNumber": 5, "probabilityType": 1}, False),
        ({"productDefinitionTemplateNumber": 6, "percentileValue": 50}, False),
    ],
)
def test_a_forecast_itself_is_told_from_what_is_made_of_an_ensemble(keys, is_plain):
    """Members, deviations, probabilities and percentiles have figures of their own."""
    assert identity(**keys).is_plain is is_plain


@pytest.mark.parametrize(
    ("kind", "coded", "first", "second"),
    [
        (100, {"level": 500}, 50_000.0, None),
        (115, {"level": 30}, 3_000.0, None),
        (111, {"level": 7}, 0.07, None),
        (105, {"level": 2}, 2.0, None),
        (109, {"level": 60}, 60.0, None),
        (107, {"level": 9950}, 0.995, None),
        (101, {"topLevel": 50, "bottomLevel": 100}, 50_000.0, 100_000.0),
        (112, {"topLevel": 10, "bottomLevel": 40}, 0.1, 0.4),
        (121, {"topLevel": 100, "bottomLevel": 250}, 100_000.0, 85_000.0),
    ],
)
def test_levels_of_edition_1_are_in_the_units_of_edition_2(kind, coded, first, second):
    """Pa, m and fractions, whatever the table of edition 1 says a figure stands for."""
    message = encode(sample=GRIB1, keys={"indicatorOfTypeOfLevel": kind, **coded})
    found = message_identity(message)
    assert found.first_surface == (kind, pytest.approx(first))
    assert found.second_surface == (None if second is None else (kind, pytest.approx(second)))


def test_pressure_has_one_unit_in_both_editions():
    """500 hPa are 50,000 Pa, by edition 1 and by edition 2."""
    for edition in (1, 2):
        found = message_identity(encode(sample=f"regular_ll_pl_grib{edition}", keys={"level": 500}))
        assert found.first_surface == (100, 50_000.0)


@pytest.mark.parametrize(
    ("indicator", "p1", "p2", "unit", "start", "end", "statistic"),
    [
        (0, 6, 0, 1, 6, 6, Statistic.INSTANT),
        (1, 6, 0, 1, 0, 0, Statistic.INSTANT),
        (10, 1, 44, 1, 300, 300, Statistic.INSTANT),
        (2, 0, 6, 1, 0, 6, None),
        (3, 6, 12, 1, 6, 12, Statistic.AVERAGE),
        (4, 0, 2, 11, 0, 12, Statistic.ACCUMULATION),
        (4, 0, 1, 3, None, None, None),
        (113, 0, 6, 1, None, None, None),
    ],
)
def test_edition_1_is_identified_too(indicator, p1, p2, unit, start, end, statistic):
    """Table, indicator, level and the time range indicator's periods are understood."""
    keys = {"indicatorOfUnitOfTimeRange": unit, "timeRangeIndicator": indicator, "P1": p1}
    message = encode(VALUES, sample=GRIB1, keys=keys)
    place = message.index(bytes([unit, p1]), 24)  # P1 is followed by P2
    found = message_identity(message[: place + 2] + bytes([p2]) + message[place + 3 :])
    hours = [None if value is None else value * HOUR for value in (start, end)]
    assert [found.start_step, found.end_step, found.statistic] == [*hours, statistic]
    assert (found.edition, found.discipline) == (1, None)
    assert (found.category, found.number) == (128, 167)
    assert found.reference_time == datetime(2007, 3, 23, 12)


# Refusals and errors


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (encode(sample="sh_pl_grib2"), "spectral"),
        (encode(sample="sh_pl_grib1"), "spectral"),
        (encode(sample="lambert_bf_grib2"), "spectral"),
        (encode(sample="rotated_ll_sfc_grib2", keys={"angleOfRotation": 5}), "besides"),
        (encode(VALUES, keys={"scanningMode": 0x08}), "staggered"),
        (encode(sample="reduced_gg_pl_32_grib2", keys={"iScansNegatively": 1}), "west to east"),
        (encode(VALUES, keys={"shapeOfTheEarth": 11}), "shape of the Earth 11"),
        (encode(VALUES, keys=MERCATOR | {"orientationOfTheGrid": 5_000_000}), "turned by"),
        (encode(VALUES, keys=LAMBERT | {"Latin2InDegrees": -25}), "no cone"),
    ],
)
def test_what_is_not_taken_is_refused_with_the_reason(message, reason):
    """A message that gridmill cannot place or decode says why, and is no corruption."""
    with pytest.raises(GribRefused, match=reason):
        decode(message)


def test_values_of_a_grid_that_has_no_coordinates_here_still_decode():
    """Decoding needs the shape alone; only the coordinates of a grid turned twice are refused."""
    message = encode(VALUES, sample="rotated_ll_sfc_grib2", keys={"angleOfRotation": 5})
    with pytest.raises(GribRefused, match="besides"):
        read_grid(message)
    buffer = np.empty((31, 16), np.float32)
    decode_message_into(buffer, message)
    np.testing.assert_allclose(buffer, VALUES, atol=1.5e-3)


def test_what_cannot_be_decoded_can_be_identified():
    """Searching a file without an inventory does not fail at a message that nobody asked for."""
    for sample in ("sh_pl_grib2", "sh_pl_grib1", "lambert_bf_grib2"):
        assert message_identity(encode(sample=sample)).reference_time.year == 2007


def test_handles_are_released_whatever_happens(monkeypatch):
    """Every handle that ecCodes gave is released, after success, refusal and corruption."""
    corrupt = bytearray(encode(VALUES, packing="grid_ccsds"))
    corrupt[-200:-4] = bytes(196)
    messages = [
        encode(VALUES), encode(sample="sh_pl_grib1"), encode(VALUES, keys={"jScansPositively": 1}),
        encode(VALUES, keys={"month": 13}), bytes(corrupt),
    ]  # fmt: skip
    counts = Counter()
    for name in ("codes_new_from_message", "codes_release"):
        real = getattr(eccodes, name)

        def counted(*arguments, name=name, real=real):
            counts[name] += 1
            return real(*arguments)

        monkeypatch.setattr(eccodes, name, counted)
    failures = 0
    for message, read in itertools.product(messages, (decode, read_grid, message_identity)):
        try:
            read(message)
        except (GribCorrupt, GribRefused):
            failures += 1
    assert failures >= 5
    assert counts["codes_new_from_message"] == counts["codes_release"] > 10


def test_a_date_that_does_not_exist_is_an_error():
    """A damaged header is not read as some other time."""
    with pytest.raises(GribCorrupt, match="does not exist"):
        identity(month=13)
    # Year 9999, and seconds that lead beyond it, or to another minute.
    for octets in (bytes([0x27, 0x0F, 12, 31, 23, 59, 60]), bytes([0x07, 0xE9, 8, 1, 0, 0, 75])):
        with pytest.raises(GribCorrupt, match="does not exist"):
            message_identity(octets_of(1, 13, octets))


def test_a_second_that_is_not_given_is_no_offset():
    """255 is missing, as for hours and minutes."""
    message = octets_of(1, 13, bytes([0x07, 0xE9, 8, 1, 6, 0, 255]))
    assert message_identity(message).reference_time == datetime(2025, 8, 1, 6)


def test_a_step_beyond_all_that_can_be_is_an_error():
    """A damaged number of days is not read as some other step, nor raises what nobody expects."""
    with pytest.raises(GribCorrupt, match="beyond all that can be"):
        identity(indicatorOfUnitOfTimeRange=2, forecastTime=1_069_547_521)


# Threads


def test_threads_decode_what_one_thread_decodes():
    """Eight threads on every packing and several grids give the serial values and identities."""
    packings = ["simple", "complex_spatial_differencing", "ccsds", "jpeg", "png"]
    messages = [encode(WITH_MISSING, packing=f"grid_{packing}") for packing in packings]
    messages += [encode(VALUES, keys=keys) for keys in (LAMBERT, POLAR, MERCATOR)]
    messages += [encode(WITH_MISSING, sample=GRIB1), encode(sample="reduced_gg_pl_32_grib2")]
    assert soak(messages, 20) == (0, 200)


def test_identities_agree_with_the_inventories(shared_data):
    """What a real message says it is, is what its line in the provider's inventory says."""
    compared = 0
    for inventory in sorted((shared_data / "S2_inventories").rglob("*.grib2.idx")):
        if not inventory.with_suffix("").exists():
            continue
        lines = parse_inventory(inventory.read_text())
        for line, message in zip(lines, iter_messages(inventory.with_suffix("")), strict=True):
            found = message_identity(message.data)
            assert message.offset == line.start
            assert found.reference_time == line.reference_time
            assert (found.start_step, found.end_step) == (line.start_step, line.end_step)
            assert (found.statistic, found.member) == (line.statistic, line.member)
            compared += 1
    assert compared == 38


# Grids of other kinds, whose messages the tests make


SPACE_VIEW = {
    "gridDefinitionTemplateNumber": 90,
    "shapeOfTheEarth": 6,
    "Nx": 16,
    "Ny": 31,
    "numberOfDataPoints": 496,
    "latitudeOfSubSatellitePoint": 0,
    "longitudeOfSubSatellitePoint": 0,
    "dx": 40,
    "dy": 40,
    "Xp": 8000,
    "Yp": 15000,
    "orientationOfTheGrid": 0,
    "Nr": 6_610_700,
    "Xo": 0,
    "Yo": 0,
}


def test_a_satellite_scans_where_its_message_says():
    """From the north-west or from the south-east, x increases and the centre is below it."""
    north_west = read_grid(encode(keys=SPACE_VIEW))
    assert north_west.grid_mapping["grid_mapping_name"] == "geostationary"
    assert (north_west.x[8], north_west.y[15]) == (0.0, 0.0)
    assert north_west.x[9] > 0 > north_west.y[16]
    latitudes, longitudes = north_west.points()
    assert (latitudes[15, 8], longitudes[15, 8]) == (0.0, 0.0)
    assert latitudes[10, 8] > 0
    south_east = read_grid(encode(keys={**SPACE_VIEW, "scanningMode": 0xC0}))
    assert (south_east.x[7], south_east.y[15]) == (0.0, 0.0)
    assert south_east.x[8] > 0
    assert south_east.y[16] > 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"latitudeOfSubSatellitePoint": 5_000_000}, "not geostationary"),
        ({"Nr": 0xFFFFFFFE}, "not geostationary"),
        ({"dx": 0}, "apparent diameter of 0"),
        ({"orientationOfTheGrid": 90_000_000}, "turned by 90"),
    ],
)
def test_a_view_that_is_no_geostationary_one_says_why(change, reason):
    """No coordinates are made up for what CF cannot say, or no satellite sees."""
    message = encode(keys={**SPACE_VIEW, **change})
    with pytest.raises((GribRefused, GribCorrupt), match=reason):
        read_grid(message)
