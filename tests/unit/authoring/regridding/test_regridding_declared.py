"""What cannot be regridded is refused when it is declared; the rest says how it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridmill import Coordinate, DataVar, Encoding
from gridmill.authoring.derived import Aggregation, wind_speed
from gridmill.authoring.describing.acdd import described_variables
from gridmill.authoring.grids import (
    EARTH_RADIUS,
    CellGrid,
    LatitudeLongitudeGrid,
    RegionalGrid,
    RotatedGrid,
)
from gridmill.authoring.regridding import Regrid
from hourly import DailyTemplate, HourlyTemplate, var

GLOBE = LatitudeLongitudeGrid(step_degrees=1.0)
ROTATED = RotatedGrid(
    southern_pole=(-30.0, 10.0),
    first_latitude=-10.0,
    first_longitude=-10.0,
    step_degrees=1.0,
    shape=(20, 20),
)
CELLS = CellGrid(latitudes=np.zeros(3), longitudes=np.arange(3.0))
MEANS = Regrid(grid=GLOBE, method="conservative")
POINTS = Regrid(grid=GLOBE, method="bilinear")


def template_of(*variables: DataVar, base: Any = HourlyTemplate, **more: Any) -> Any:
    return type("Template", (base,), {"data_vars": variables, **more})()


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"method": "nearest"}, "'nearest' is none of bilinear, conservative"),
        ({"at_least": 0.0}, "at_least 0.0 must be above 0"),
        ({"at_least": 1.5}, "at_least 1.5 must be above 0 and at most 1"),
    ],
)
def test_what_is_no_way_to_regrid_is_refused(given, why):
    """With the value, and what it may be."""
    with pytest.raises(ValueError, match=why):
        Regrid(**{"grid": GLOBE, "method": "bilinear", **given})


@pytest.mark.parametrize(
    ("variable", "why"),
    [
        (
            var("d", derived=wind_speed(var("u"), var("v")), regridded=POINTS),
            "declare regridded= on its inputs",
        ),
        (
            replace(var("d", regridded=POINTS), encoding=Encoding(chunks=(2, 3, 4), dtype="int16")),
            "its dtype int16 has no fractions",
        ),
        (
            replace(var("d", regridded=POINTS), dims=("time", "longitude", "latitude")),
            "its last two dims must be the archive's latitude and longitude",
        ),
        (var("d", regridded=Regrid(grid=CELLS, method="bilinear")), "CellGrid has no rows"),
        (
            var(
                "d",
                regridded=Regrid(
                    grid=RegionalGrid(
                        first_latitude=0, first_longitude=0, step_degrees=1, shape=(9, 361)
                    ),
                    method="bilinear",
                ),
            ),
            "name a meridian twice",
        ),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(variable, why):
    """When the dataset is made, before anything is fetched; with the variable's name."""
    with pytest.raises(ValueError, match=why) as error:
        template_of(variable).get_template("2020-01-02")
    assert "'d'" in str(error.value)


@pytest.mark.parametrize("labels", [[50.0, 50.0, 30.0], [50.0, 30.0, 40.0], [50.0]])
def test_an_archive_whose_rows_are_in_no_order_is_refused(labels):
    """Cells and neighbours are between labels that rise or fall."""
    config = template_of(
        var("d", regridded=POINTS),
        dimension_coordinates=lambda self: {
            "latitude": np.array(labels),
            "longitude": np.arange(0.0, 40, 10),
        },
    )
    with pytest.raises(ValueError, match=r"the archive's latitudes .* must be at least two"):
        config.get_template("2020-01-02")


PLANE = {
    "dims": ("time", "y", "x"),
    "dimension_coordinates": lambda self: {
        "y": np.arange(0.0, 40e4, 1e5),
        "x": np.arange(0.0, 50e4, 1e5),
    },
}
ROWS = Coordinate(name="y", attrs={"standard_name": "projection_y_coordinate", "units": "m"})
COLUMNS = Coordinate(name="x", attrs={"standard_name": "projection_x_coordinate", "units": "m"})


def test_an_archive_in_the_plane_of_a_projection_must_say_of_which():
    """And then each variable knows it, also the inputs of a formula."""
    coords = (HourlyTemplate.coords[0], ROWS, COLUMNS)
    made = var("d", derived=wind_speed(var("u", regridded=POINTS), var("v", regridded=POINTS)))
    variables = (var("e", regridded=MEANS), made)
    with pytest.raises(ValueError, match="declare the grid mapping"):
        template_of(*variables, coords=coords, **PLANE)
    mapping = {
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": 90.0,
        "straight_vertical_longitude_from_pole": 249.0,
        "standard_parallel": 60.0,
        "earth_radius": EARTH_RADIUS,
    }
    told = Coordinate(name="spatial_ref", dims=(), dtype="int32", attrs=mapping)
    config = template_of(
        *variables,
        coords=(*coords, told),
        derive_coordinates=lambda self, ds: {"spatial_ref": ((), np.int32(0))},
        **PLANE,
    )
    config.get_template("2020-01-02")
    known = [source.regridded for one in config.data_vars for source in one.sources]
    assert [how.onto for how in known] == [mapping] * 3
    assert known[0].content != MEANS.content


def test_a_formula_takes_inputs_that_are_regridded():
    """Each from its own grid, and the variable says of both."""
    other = Regrid(grid=ROTATED, method="bilinear", at_least=0.5)
    made = var("d", derived=wind_speed(var("u", regridded=POINTS), var("v", regridded=other)))
    (found,) = template_of(made).data_vars
    assert found.attrs["regridding"] == (
        "bilinear interpolation, from 181 latitudes from 90 to -90 and 360 longitudes from 0 to "
        "359; weights by gridmill, applied by SciPy; bilinear interpolation, from 20 rlat from -10 "
        "to 9 and 20 rlon from -10 to 9 (rotated_latitude_longitude), where at least 0.5 of it has "
        "values; weights by gridmill, applied by SciPy"
    )


@pytest.mark.parametrize(
    ("given", "more", "wanted"),
    [
        (None, {}, "area: mean"),
        ("time: maximum", {}, "time: maximum area: mean"),
        ("area: mean (of the sea)", {}, "area: mean (of the sea)"),
        (
            "time: mean",
            {"aggregated": Aggregation(method="mean", every="h")},
            "area: mean time: mean",
        ),
    ],
)
def test_cell_methods_say_the_mean_over_the_area(given, more, wanted):
    """In the order in which things were done; what the author says of the area stands."""
    variable = var("d", regridded=MEANS, **more)
    if given is not None:
        variable = replace(variable, attrs={**variable.attrs, "cell_methods": given})
    base = DailyTemplate if more else HourlyTemplate
    (found,) = template_of(variable, base=base).data_vars
    assert found.attrs["cell_methods"] == wanted


def test_bilinear_values_are_of_points():
    """No mean over an area is claimed, and the author's own words stand."""
    attrs = {"long_name": "d", "units": "1", "regridding": "as we do"}
    (found,) = template_of(replace(var("d", regridded=POINTS), attrs=attrs)).data_vars
    assert found.attrs == attrs


def test_a_mean_over_the_area_says_nothing_of_the_time():
    """What ACDD's step type is taken from is the method along time."""
    instant = replace(
        var("d"), attrs={"long_name": "d", "units": "1", "cell_methods": "area: mean"}
    )
    highest = replace(
        var("e"),
        attrs={"long_name": "e", "units": "1", "cell_methods": "area: mean time: maximum"},
    )
    found = described_variables([instant, highest], {"Conventions": "CF-1.11, ACDD-1.3"})
    assert [one.attrs.get("step_type") for one in found] == [None, "max"]


def test_what_decides_of_a_grid_is_what_it_is():
    """The same grid declared twice is the same; another step, place, method or share is not."""
    rotated = replace(ROTATED, earth={"earth_radius": EARTH_RADIUS})
    assert Regrid(grid=rotated, method="bilinear").content == (
        Regrid(grid=ROTATED, method="bilinear").content
    )
    contents = [
        Regrid(grid=grid, method=method, at_least=share).content
        for grid in (
            GLOBE,
            LatitudeLongitudeGrid(step_degrees=0.5),
            LatitudeLongitudeGrid(step_degrees=1.0, first_longitude=-180.0),
            ROTATED,
            replace(ROTATED, southern_pole=(-31.0, 10.0)),
        )
        for method in ("bilinear", "conservative")
        for share in (1.0, 0.5)
    ]
    assert len({str(one) for one in contents}) == len(contents)


def test_latitude_is_known_by_its_standard_name_or_units():
    """Whatever the dims are called."""
    coords = (
        HourlyTemplate.coords[0],
        Coordinate(name="y", attrs={"standard_name": "latitude"}),
        Coordinate(name="x", attrs={"units": "degrees_east"}),
    )
    template_of(
        var("d", regridded=POINTS),
        dims=("time", "y", "x"),
        coords=coords,
        dimension_coordinates=lambda self: {
            "y": np.array([50.0, 40, 30]),
            "x": np.arange(0.0, 40, 10),
        },
    ).get_template("2020-01-02")
