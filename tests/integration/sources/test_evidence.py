"""A provider that changes what its NetCDF files hold publishes nothing wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from clusters import one_worker
from daily_netcdf import (
    DAYS,
    FORMATS,
    LATS,
    LONS,
    Held,
    Job,
    Template,
    another_grid,
    another_quantity,
    celsius,
    field,
    flipped,
    packed_by_text,
    rolled,
    the_day_before,
    write,
)
from gridmill import Download, read_h5py, read_netcdf, read_xarray
from gridmill.operations.run_one import run_one_chain
from tiny import dataset_of

LATE = DAYS[-1] + pd.Timedelta(days=2)
CHANGED = 5

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


client = one_worker()


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


class Tenth(Job):
    """Calculates with what it read."""

    def read_data(self, coord, data_var):
        """Give a tenth."""
        return read_netcdf(coord.downloaded_path, "t2m") * 0.1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_author_calculates_as_precisely_as_the_variable_is_stored(
    client, publish, tmp_path, dtype
):
    """In float32 as ever: the same source bytes give the same bytes; in float64 with all digits."""

    def in_double(held: Held) -> None:
        held.dtype, held.values = "f8", held.values / np.float64(3)

    publish(in_double, first=0)
    encoding = replace(Template.data_vars[0].encoding, dtype=dtype)
    variables = (replace(Template.data_vars[0], encoding=encoding),)
    kind = dataset_of(template=type("Of", (Template,), {"data_vars": variables}), job=Tenth)
    dataset = kind(tmp_path / "a", source_base=str(tmp_path / "provider"))
    dataset.backfill("2020-01-09", client=client, now=LATE)
    measured = np.stack([field(day) / np.float64(3) for day in range(len(DAYS))])
    np.testing.assert_array_equal(stored(dataset), measured.astype(dtype) * 0.1)


def test_a_chain_by_itself_compares_too(publish, tmp_path):
    """Who debugs a reader sees what a run would say."""
    publish(the_day_before)
    outcome = run_one_chain(archive(tmp_path), DAYS[CHANGED].isoformat(), "t2m", now=LATE)
    assert "its time is 2020-01-05" in str(outcome.failed[0])


class Opening(Job):
    """Reads with xarray."""

    def read_data(self, coord, data_var):
        """Read the file's variable whole."""
        with xr.open_dataset(coord.downloaded_path, engine="netcdf4") as ds:
            return read_xarray(ds, "t2m")


class OpeningHdf5(Job):
    """Reads with h5py."""

    def read_data(self, coord, data_var):
        """Read the file's variable whole."""
        with h5py.File(coord.downloaded_path) as file:
            return read_h5py(file["t2m"])


@pytest.mark.parametrize(
    ("publish", "job"),
    [("NETCDF4", Opening), ("NETCDF3_CLASSIC", Opening), ("NETCDF4", OpeningHdf5)],
    indirect=["publish"],
)
def test_what_an_author_opens_is_compared_too(client, publish, tmp_path, job):
    """Turned where that is said, and refused where it is of another day or quantity."""
    publish(flipped)
    report = archive(tmp_path, job).backfill("2020-01-09", client=client, now=LATE)
    np.testing.assert_array_equal(stored(archive(tmp_path, job)), expected())
    assert report.notes == [f"3 source files were {CONVERTED[flipped]}; the first is 20200106.nc"]
    for fault in (the_day_before, another_quantity):
        publish(fault)
        chain = run_one_chain(archive(tmp_path, job), DAYS[CHANGED].isoformat(), "t2m", now=LATE)
        assert REFUSED[fault] in str(chain.failed[0])


class Converting(Job):
    """Converts in place what it read."""

    def read_data(self, coord, data_var):
        """Read a field, and make kelvins of it."""
        values = super().read_data(coord, data_var)
        values += np.float32(273.15)
        return values


@pytest.mark.parametrize(
    ("publish", "job"),
    [("NETCDF4", Job), ("NETCDF3_CLASSIC", Job), ("NETCDF4", Opening), ("NETCDF4", OpeningHdf5)],
    indirect=["publish"],
)
def test_what_an_author_converted_in_place_is_not_converted_again(client, publish, tmp_path, job):
    """Whichever reader gave it: what was read is known though its array was changed."""
    publish(celsius, first=0)
    dataset = archive(tmp_path, type("Of", (Converting, job), {}))
    report = dataset.backfill("2020-01-09", client=client, now=LATE)
    np.testing.assert_allclose(stored(dataset), expected(), rtol=1e-6)
    assert report.notes == []


class Drawing(Job):
    """Gives values in which nothing of the file is seen."""

    def read_data(self, coord, data_var):
        """Read a field, and give noise."""
        values = super().read_data(coord, data_var)
        return np.random.default_rng(0).normal(size=values.shape)


def test_a_turned_file_of_which_values_show_no_order_is_refused_by_its_name(publish, tmp_path):
    """With the variable, the rule and the next step."""
    publish(flipped)
    chain = run_one_chain(archive(tmp_path, Drawing), DAYS[CHANGED].isoformat(), "t2m", now=LATE)
    told = str(chain.failed[0])
    for part in (
        "20200106.nc",
        "its t2m lies with latitude in another order",
        "'latitude' to unch",
    ):
        assert part in told


class Silent(Job):
    """Reads with netCDF4, and tells nobody."""

    def read_data(self, coord, data_var):
        """Read the file's variable whole."""
        with netCDF4.Dataset(coord.downloaded_path) as file:
            return np.asarray(file["t2m"][:])


def test_files_that_say_what_they_hold_to_nobody_are_counted(client, publish, tmp_path):
    """Whatever they hold: the report says how they are compared."""
    publish(the_day_before)
    report = archive(tmp_path, Silent).backfill("2020-01-09", client=client, now=LATE)
    assert report.positions_after == len(DAYS)
    (note,) = report.notes
    assert note.startswith("8 source files were not compared with their place: read_netcdf,")


class Copying(Job):
    """Fetches files by code of its own."""

    def download_file(self, coord):
        """Copy it."""
        path = self.download_path(coord)
        shutil.copy(Path(self.source_base[0]) / coord.get_url(), path)
        return path


class Telling(Copying):
    """Says of them what it knows."""

    def download_file(self, coord):
        """Copy it, and give its size."""
        path, told = super().download_file(coord), {"etag": None, "last_modified": None}
        return Download(path=path, nbytes=path.stat().st_size, attempts=1, **told)


@pytest.mark.parametrize("job", [Copying, Telling])
def test_a_cut_file_that_an_author_fetched_is_refused_by_its_header(publish, tmp_path, job):
    """The library would take what is not there for zeros, or for other places' values."""
    publish(flipped, first=len(DAYS))
    dataset = archive(tmp_path, job)
    cut = tmp_path / "provider" / DAYS[CHANGED].strftime("%Y%m%d.nc")
    nbytes = cut.stat().st_size
    os.truncate(cut, nbytes - 4 * LONS.size)
    report = dataset.backfill("2020-01-09", client="none", now=LATE)
    seen = expected()
    seen[CHANGED] = np.nan
    np.testing.assert_array_equal(stored(dataset), seen)
    assert report.new_gaps == 1
    (problem,) = report.problems
    assert f"it has {nbytes - 4 * LONS.size:,} bytes, and its " in problem.detail
    publish(flipped, first=len(DAYS))
    dataset.backfill("2020-01-09", client="none", now=LATE + pd.Timedelta(days=2))
    np.testing.assert_array_equal(stored(dataset), expected())
