"""What an author's code reads level by level and stacks is compared with its place, too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from daily_netcdf import DAYS, FORMATS, LATS, Job, Template
from gridmill import Coordinate, DataVar, Encoding, read_netcdf, read_xarray
from tiny import dataset_of

LATE = DAYS[-1] + pd.Timedelta(days=2)
LEVELS = np.array([1000.0, 850.0, 500.0])
LONS = np.arange(0.0, 360.0, 30.0)
CHANGED = 5


class Levels(Template):
    """Daily temperature on three levels."""

    dims = ("time", "level", "latitude", "longitude")
    coords = (*Template.coords, Coordinate(name="level", attrs={"units": "hPa"}))
    data_vars = (
        DataVar(
            name="t",
            encoding=Encoding(chunks=(4, 3, 3, LONS.size)),
            attrs={"long_name": "t", "units": "K"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"level": LEVELS, "latitude": LATS, "longitude": LONS}


def fields(day: int) -> np.ndarray:
    """Return a day's temperatures, different at every place."""
    return np.random.default_rng(day).uniform(200, 300, (3, 3, LONS.size)).astype("float32")


Held = dict[str, Any]


def write(path: Path, held: Held, kind: str) -> None:
    """Write a file as a provider does."""
    with netCDF4.Dataset(path, "w", format=kind) as file:
        for name, units in (("level", "hPa"), ("lat", "degrees_north"), ("lon", "degrees_east")):
            file.createDimension(name, len(held[name]))
            file.createVariable(name, "f8", (name,))[:] = held[name]
            file[name].units = units
        file.createVariable("time", "f8", ()).units = "hours since 2020-01-01"
        file["time"][...] = netCDF4.date2num(held["time"].to_pydatetime(), file["time"].units)
        for number, values in enumerate(held["values"]):
            stored = file.createVariable(f"t{number}", "f4", ("lat", "lon"))
            stored[:] = values
        stored = file.createVariable("t", "f4", ("level", "lat", "lon"))
        stored.units = held.get("units", "K")
        stored[:] = held["values"]


def by_position(path: Path) -> list[np.ndarray]:
    """Read level by level."""
    return [read_netcdf(path, "t", index={"level": at}) for at in range(3)]


def by_name(path: Path) -> list[np.ndarray]:
    """Read a variable for each level, which says none."""
    return [read_netcdf(path, f"t{at}") for at in range(3)]


def by_xarray(path: Path) -> list[np.ndarray]:
    """Read what was opened, level by level."""
    with xr.open_dataset(path, engine="netcdf4") as ds:
        return [read_xarray(ds.isel(level=at), "t") for at in range(3)]


def doubled(path: Path) -> list[np.ndarray]:
    """Read level by level, and calculate with each."""
    return [one * np.float32(2) for one in by_position(path)]


def joined(path: Path) -> list[np.ndarray]:
    """Read west and east of each level, and join them."""
    halves = (slice(0, 6), slice(6, 12))
    return [
        np.concatenate(
            [read_netcdf(path, "t", index={"level": at, "lon": half}) for half in halves], axis=1
        )
        for at in range(3)
    ]


def of_two(path: Path) -> list[np.ndarray]:
    """Calculate each level of two fields."""
    fields = by_position(path)
    above = [read_netcdf(path, f"t{(at + 1) % 3}") for at in range(3)]
    return [np.hypot(one, other) for one, other in zip(fields, above, strict=True)]


def exponential(path: Path) -> list[np.ndarray]:
    """Calculate each level of its field."""
    return [np.exp(one / 100) for one in by_position(path)]


READERS = [by_position, by_name, by_xarray, doubled]


def flipped(held: Held) -> None:
    held["lat"], held["values"] = held["lat"][::-1], held["values"][:, ::-1]


def rolled(held: Held) -> None:
    west = np.where(LONS >= 180, LONS - 360, LONS)
    held["lon"], held["values"] = np.roll(west, 6), np.roll(held["values"], 6, axis=2)


def shifted(held: Held) -> None:
    held["lon"] = held["lon"] + 15.0


def upside_down(held: Held) -> None:
    held["level"], held["values"] = held["level"][::-1], held["values"][::-1]


@pytest.fixture(params=FORMATS)
def publish(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """A function that writes the files, those from a day on as a fault says."""
    (tmp_path / "provider").mkdir()

    def publish(fault: Callable[[Held], None]) -> None:
        for number, day in enumerate(DAYS):
            held = {"level": LEVELS, "lat": LATS, "lon": LONS, "time": day}
            held["values"] = fields(number)
            if number >= CHANGED:
                fault(held)
            write(tmp_path / "provider" / day.strftime("%Y%m%d.nc"), held, request.param)

    return publish


def archive(tmp_path: Path, read: Callable[[Path], list[np.ndarray]]) -> Any:
    """Return a dataset whose author stacks what a function reads."""

    class Stacking(Job):
        def read_data(self, coord, data_var):
            return np.stack(read(coord.downloaded_path))

    kind = dataset_of(template=Levels, job=Stacking)
    return kind(tmp_path / "a", source_base=str(tmp_path / "provider"))


def made_by(read: Callable[[Path], list[np.ndarray]], values: np.ndarray) -> np.ndarray:
    """Return what a reader makes of fields."""
    if read is of_two:
        return np.hypot(values, np.roll(values, -1, axis=1))
    return values * np.float32(1 + (read is doubled))


@pytest.mark.parametrize(
    ("read", "fault", "dim"),
    [
        *((read, flipped, "latitude") for read in (*READERS, of_two, joined)),
        *((read, rolled, "longitude") for read in (*READERS, of_two)),
    ],
)
def test_stacked_fields_in_another_order_are_turned(publish, tmp_path, read, fault, dim):
    """In the midst of their history, and it is said."""
    publish(fault)
    dataset = archive(tmp_path, read)
    report = dataset.backfill("2020-01-09", client="none", now=LATE)
    with dataset.store.open_dataset() as ds:
        stored = ds["t"].values
    expected = np.stack([fields(day) for day in range(len(DAYS))])
    np.testing.assert_array_equal(stored, made_by(read, expected))
    said = f"3 source files were read with {dim} in another order, and turned"
    assert [note.partition(";")[0] for note in report.notes] == [said]


@pytest.mark.parametrize(
    ("read", "fault", "why"),
    [
        *((read, shifted, "its lon goes from 15 to 345") for read in (*READERS, of_two)),
        (joined, shifted, "its lon goes from 15 to 165"),
        (joined, rolled, "its lon goes from -180 to -30, and the archive's longitude from 0 to"),
        (joined, upside_down, "its level is 500, and it is to fill 1000"),
        (exponential, upside_down, "its level is 500, and it is to fill 1000"),
        (of_two, upside_down, "its t was read with level in another order than the archive"),
        *(
            (read, upside_down, "its level is 500, and it is to fill 1000")
            for read in READERS
            if read is not by_name
        ),
    ],
)
def test_stacked_fields_of_other_labels_are_a_failure_to_read(publish, tmp_path, read, fault, why):
    """That names both; nothing of it is published."""
    publish(fault)
    report = archive(tmp_path, read).backfill("2020-01-09", client="none", now=LATE)
    assert report.positions_after == CHANGED
    assert why in report.problems[0].detail


TROPICS, WEST = slice(1, 3), slice(2, 8)


class Area(Levels):
    """A part of what the files have."""

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the area."""
        return {"level": LEVELS, "latitude": LATS[TROPICS], "longitude": LONS[WEST]}

    data_vars = (
        DataVar(
            name="t",
            encoding=Encoding(chunks=(4, 3, 2, 6)),
            attrs={"long_name": "t", "units": "K"},
        ),
    )


def celsius(held: Held) -> None:
    held["units"], held["values"] = "degC", held["values"] - np.float32(273.15)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (flipped, "its lat goes from "),
        (rolled, "its lon goes from -120 to 30"),
        (shifted, "its lon goes from 75 to 225"),
        (upside_down, None),
        (celsius, None),
    ],
)
def test_an_area_that_an_author_takes_by_numbers_is_compared(publish, tmp_path, fault, why):
    """Of a file that lies otherwise one day, nothing of another area is published."""
    publish(fault)

    class Taking(Job):
        def read_data(self, coord, data_var):
            return read_netcdf(coord.downloaded_path, "t")[:, TROPICS, WEST]

    dataset = dataset_of(template=Area, job=Taking)(
        tmp_path / "a", source_base=str(tmp_path / "provider")
    )
    report = dataset.backfill("2020-01-09", client="none", now=LATE)
    if why is not None:
        assert report.positions_after == CHANGED
        assert why in report.problems[0].detail
        return
    with dataset.store.open_dataset() as ds:
        stored = ds["t"].values
    expected = np.stack([fields(day)[:, TROPICS, WEST] for day in range(len(DAYS))])
    np.testing.assert_allclose(stored, expected, rtol=1e-6)


EVERY, SOME = slice(None, None, 2), slice(1, None, 4)


class Points(Levels):
    """Some of the points that the files have."""

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give every second latitude, and every fourth longitude."""
        return {"level": LEVELS, "latitude": LATS[EVERY], "longitude": LONS[SOME]}

    data_vars = (
        DataVar(
            name="t",
            encoding=Encoding(chunks=(4, 3, 2, 3)),
            attrs={"long_name": "t", "units": "K"},
        ),
    )


@pytest.mark.parametrize(
    ("fault", "why", "formula"),
    [
        *((flipped, None, of) for of in (np.copy, np.log)),
        *((rolled, "its lon goes from -150 to 90", of) for of in (np.copy, np.log)),
        (shifted, "its lon goes from 45 to 285", np.copy),
        *((upside_down, None, of) for of in (np.copy, np.log)),
    ],
)
def test_points_that_an_author_picks_by_numbers_are_compared(
    publish, tmp_path, fault, why, formula
):
    """The same points in another order are turned, and others are not published."""
    publish(fault)

    class Picking(Job):
        def read_data(self, coord, data_var):
            return formula(read_netcdf(coord.downloaded_path, "t")[:, EVERY, SOME])

    dataset = dataset_of(template=Points, job=Picking)(
        tmp_path / "a", source_base=str(tmp_path / "provider")
    )
    report = dataset.backfill("2020-01-09", client="none", now=LATE)
    if why is not None:
        assert report.positions_after == CHANGED
        assert why in report.problems[0].detail
        return
    with dataset.store.open_dataset() as ds:
        stored = ds["t"].values
    expected = np.stack([formula(fields(day)[:, EVERY, SOME]) for day in range(len(DAYS))])
    np.testing.assert_allclose(stored, expected, rtol=1e-6)


def each_level(path: Path) -> np.ndarray:
    """Take the area of each level as it is read."""
    return np.stack([read_netcdf(path, "t", index={"level": at})[TROPICS, WEST] for at in range(3)])


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (flipped, "its lat goes from "),
        (rolled, "its lon goes from -120 to 30"),
        (shifted, "its lon goes from 75 to 225"),
        (upside_down, "its level is 500, and it is to fill 1000"),
        (celsius, None),
    ],
)
def test_an_area_of_each_level_is_compared_before_it_is_stacked(publish, tmp_path, fault, why):
    """As one that is taken of all levels at once."""
    publish(fault)

    class Taking(Job):
        def read_data(self, coord, data_var):
            return each_level(coord.downloaded_path)

    dataset = dataset_of(template=Area, job=Taking)(
        tmp_path / "a", source_base=str(tmp_path / "provider")
    )
    report = dataset.backfill("2020-01-09", client="none", now=LATE)
    if why is not None:
        assert report.positions_after == CHANGED
        assert why in report.problems[0].detail
        return
    with dataset.store.open_dataset() as ds:
        stored = ds["t"].values
    expected = np.stack([fields(day)[:, TROPICS, WEST] for day in range(len(DAYS))])
    np.testing.assert_allclose(stored, expected, rtol=1e-6)
