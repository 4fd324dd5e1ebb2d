"""A provider that changes what its NetCDF files hold publishes nothing wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
from distributed import Client

from clusters import local_client
from gridmill import Coordinate, DataVar, Encoding, RegionJob, SourceFileCoord, read_netcdf
from gridmill.operations.run_one import run_one_chain
from tiny import TinyTemplate, dataset_of, time_coordinate

DAYS = pd.date_range("2020-01-01", periods=8, freq="D")
LATS = np.array([60.0, 20.0, -40.0])
# As large as what is read without netCDF4: chunks of 64 KiB.
LONS = np.arange(0.0, 360.0, 1 / 16)
LATE = DAYS[-1] + pd.Timedelta(days=2)
CHANGED = 5
FORMATS = ("NETCDF4", "NETCDF3_CLASSIC")


def field(day: int) -> np.ndarray:
    """Return a day's temperatures in kelvin, different at every place."""
    values = 250 + 10 * day + np.arange(3.0)[:, None] + np.cos(np.deg2rad(LONS))
    return values.astype("float32")


class Template(TinyTemplate):
    """Daily temperature."""

    dims = ("time", "latitude", "longitude")
    append_dim_frequency = "D"
    coords = (
        time_coordinate(attrs={"standard_name": "time"}),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        DataVar(
            name="t2m",
            encoding=Encoding(chunks=(4, 3, LONS.size)),
            attrs={"long_name": "t", "units": "K"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Day(SourceFileCoord):
    """The file of a day."""

    label: Any

    def get_url(self) -> str:
        """Give its name."""
        return self.label.strftime("%Y%m%d.nc")

    def out_loc(self) -> dict[str, Any]:
        """Give its day."""
        return {"time": self.label}


class Job(RegionJob[DataVar, Day]):
    """Reads as the README shows."""

    publication_delay = timedelta(hours=2)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a day."""
        return [Day(label=label) for label in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Read the file's variable whole."""
        return read_netcdf(coord.downloaded_path, "t2m")


@dataclass(kw_only=True)
class Held:
    """What a file holds."""

    values: np.ndarray
    lats: np.ndarray
    lons: np.ndarray
    time: pd.Timestamp | None
    units: str = "K"
    since: str = "hours since 1900-01-01"
    scale: Any = None


def write(path: Path, held: Held, kind: str) -> None:
    """Write a file as a provider does."""
    with netCDF4.Dataset(path, "w", format=kind) as file:
        for name, labels, units in (
            ("latitude", held.lats, "degrees_north"),
            ("longitude", held.lons, "degrees_east"),
        ):
            file.createDimension(name, len(labels))
            coordinate = file.createVariable(name, "f8", (name,))
            coordinate.units = units
            coordinate[:] = labels
        if held.time is not None:
            file.createDimension("time", 1)
            time = file.createVariable("time", "f8", ("time",))
            time.units = held.since
            time[:] = netCDF4.date2num(held.time.to_pydatetime(), held.since)
        options = {"zlib": True, "chunksizes": held.values.shape} if kind == "NETCDF4" else {}
        stored = file.createVariable("t2m", "f4", ("latitude", "longitude"), **options)
        stored.units = held.units
        stored[:] = held.values
        if held.scale is not None:
            stored.scale_factor = held.scale


def flipped(held: Held) -> None:
    """From south to north."""
    held.values, held.lats = held.values[::-1], held.lats[::-1]


def rolled(held: Held) -> None:
    """From -180 to 180."""
    half = LONS.size // 2
    held.values, held.lons = np.roll(held.values, half, 1), np.roll(LONS, half)
    held.lons = np.where(held.lons >= 180, held.lons - 360, held.lons)


def celsius(held: Held) -> None:
    """In degrees Celsius."""
    held.values, held.units = held.values - 273.15, "degC"


def the_day_before(held: Held) -> None:
    """A stale copy."""
    held.values, held.time = held.values - 10, held.time - pd.Timedelta(days=1)


def another_grid(held: Held) -> None:
    """Half a step to the east."""
    held.lons = held.lons + 1 / 32


def another_quantity(held: Held) -> None:
    """No temperature."""
    held.units = "Pa"


def packed_by_text(held: Held) -> None:
    """By what is no number."""
    held.scale = "0.01"


CONVERTED = {
    flipped: "read with latitude in another order, and turned",
    rolled: "read with longitude in another order, and turned",
    celsius: "read with t2m in 'degC', converted to 'K'",
}
REFUSED = {
    the_day_before: "its time is 2020-01-05 00:00, and it is to fill 2020-01-06",
    another_grid: "its longitude goes from 0.03125 to",
    another_quantity: "its t2m is in 'Pa', and the archive's in 'K'",
    packed_by_text: "scale_factor='0.01', which is no number",
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One worker with all stages, in this process."""
    with local_client(n_workers=1, processes=False) as client:
        yield client


@pytest.fixture(params=FORMATS)
def publish(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., None]:
    """A function that writes the files, those from a day on as a fault says."""
    folder = tmp_path / "provider"
    folder.mkdir()

    def publish(fault: Callable[[Held], None], first: int = CHANGED) -> None:
        for number, day in enumerate(DAYS):
            held = Held(values=field(number), lats=LATS, lons=LONS, time=day)
            if number >= first:
                fault(held)
            write(folder / day.strftime("%Y%m%d.nc"), held, request.param)

    return publish


def archive(tmp_path: Path, job: Any = Job) -> Any:
    """Return the dataset."""
    kind = dataset_of(template=Template, job=job)
    return kind(tmp_path / "a", source_base=str(tmp_path / "provider"))


def stored(dataset: Any) -> np.ndarray:
    """Return what readers see."""
    with dataset.store.open_dataset() as ds:
        return ds["t2m"].values


def expected(n: int = len(DAYS)) -> np.ndarray:
    """Return what the provider measured."""
    return np.stack([field(day) for day in range(n)])


@pytest.mark.parametrize("fault", CONVERTED)
def test_what_is_only_told_otherwise_is_converted_and_said(client, publish, tmp_path, fault):
    """In the midst of its history."""
    publish(fault)
    dataset = archive(tmp_path)
    report = dataset.backfill("2020-01-09", client=client, now=LATE)
    np.testing.assert_allclose(stored(dataset), expected(), rtol=1e-6)
    assert report.notes == [f"3 source files were {CONVERTED[fault]}; the first is 20200106.nc"]


@pytest.mark.parametrize("fault", REFUSED)
def test_what_is_something_else_is_a_failure_to_read_that_names_both(
    client, publish, tmp_path, fault
):
    """Nothing of it is published, and what the provider mends is."""
    publish(fault)
    dataset = archive(tmp_path)
    report = dataset.backfill("2020-01-09", client=client, now=LATE)
    assert report.positions_after == CHANGED
    np.testing.assert_array_equal(stored(dataset), expected(CHANGED))
    assert {gap.url for gap in report.gaps} >= {"20200106.nc"}
    details = [problem.detail for problem in report.problems]
    assert REFUSED[fault] in details[0]
    publish(fault, first=len(DAYS))
    dataset.backfill("2020-01-09", client=client, now=LATE + pd.Timedelta(days=2))
    np.testing.assert_array_equal(stored(dataset), expected())


def test_files_without_a_time_are_published_and_counted(client, publish, tmp_path):
    """Nothing speaks against them, and nothing for them."""

    def untimed(held: Held) -> None:
        held.time = None

    publish(untimed, first=0)
    dataset = archive(tmp_path)
    report = dataset.backfill("2020-01-09", client=client, now=LATE)
    np.testing.assert_array_equal(stored(dataset), expected())
    (note,) = report.notes
    assert note.startswith("8 source files were without a time of their own to compare")


class Lenient(Job):
    """Its labels are meant to differ."""

    unchecked = ("longitude",)


class Turning(Job):
    """Turns what it reads, as authors had to."""

    def read_data(self, coord, data_var):
        """Read a field from the south, from the north."""
        return read_netcdf(coord.downloaded_path, "t2m")[::-1]


@pytest.mark.parametrize(("job", "fault"), [(Lenient, another_grid), (Turning, flipped)])
def test_what_an_author_sees_to_is_left_to_them(client, publish, tmp_path, job, fault):
    """What they say is meant to differ, and what their code has turned."""
    publish(fault, first=0)
    dataset = archive(tmp_path, job)
    report = dataset.backfill("2020-01-09", client=client, now=LATE)
    np.testing.assert_array_equal(stored(dataset), expected())
    assert report.notes == []


def test_a_chain_by_itself_compares_too(publish, tmp_path):
    """Who debugs a reader sees what a run would say."""
    publish(the_day_before)
    outcome = run_one_chain(archive(tmp_path), DAYS[CHANGED].isoformat(), "t2m", now=LATE)
    assert "its time is 2020-01-05" in str(outcome.failed[0])
