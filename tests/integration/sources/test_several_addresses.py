"""A source file that is to be had at several addresses: which is used, and what the records say."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

import daily_grib
import daily_netcdf as daily
from clusters import local_client
from daily_netcdf import DAYS, LATS, LONS, Held, field, write
from gridmill import DownloadSettings, SourceFileStatus
from gridmill.operations.accept import accept_files
from gridmill.testing import ArchiveServer
from gridmill.testing.faults import Status, Truncated
from tiny import dataset_of, snapshot

END, LATE = "2020-01-09", DAYS[-1] + (DAYS[-1] - DAYS[-3])
# An update reaches up to here.
NOW = pd.Timestamp(END) - pd.Timedelta(hours=1)
ONCE = DownloadSettings(attempts=1)
ALL_DAYS = range(len(DAYS))
FIRST, SECOND = "first", "second"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One worker with all stages, in this process."""
    with local_client(n_workers=1, processes=False) as client:
        yield client


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[ArchiveServer, ArchiveServer]]:
    """Two servers on loopback that serve all they have: nothing yet."""
    for name in (FIRST, SECOND):
        (tmp_path / name).mkdir()
    with ArchiveServer(tmp_path / FIRST) as first, ArchiveServer(tmp_path / SECOND) as second:
        first.release_all()
        second.release_all()
        yield first, second


def put(server: ArchiveServer, days: Any = ALL_DAYS, shift: float = 0.0) -> None:
    """Let a server have the files of days."""
    for number in days:
        held = Held(values=field(number) + shift, lats=LATS, lons=LONS, time=DAYS[number])
        path = server.root / DAYS[number].strftime("%Y%m%d.nc")
        write(path, held, "NETCDF3_CLASSIC")


def day_at(bases: tuple[str, ...]) -> type[daily.Day]:
    """Return files that are at each of these servers."""

    def get_url(self: Any) -> tuple[str, ...]:
        return tuple(f"{base}/{self.label:%Y%m%d}.nc" for base in bases)

    return type("Day", (daily.Day,), {"get_url": get_url})


def job_at(*servers: ArchiveServer, asks: bool = False) -> type[daily.Job]:
    """Return a job whose files are at each of these servers."""
    day = day_at(tuple(server.url for server in servers))

    def generate(self: Any, ds: Any, group: Any) -> list[daily.Day]:
        return [day(label=label) for label in ds.get_index("time")]

    parts = {
        "generate_source_file_coords": generate,
        "download_settings": ONCE,
        "asks_for_revisions": asks,
    }
    return type("Job", (daily.Job,), parts)


def netcdf_at(path: Path, *servers: ArchiveServer, asks: bool = False) -> Any:
    """Return a dataset of daily files that are at each of these servers."""
    kind = dataset_of(template=daily.Template, job=job_at(*servers, asks=asks))
    return kind(path)


def files_of(dataset: Any) -> list[Any]:
    """Return what is recorded of the source files, in order."""
    records = list(dataset.store.tracker.all_records())
    found = {f.start + r.start: f for r in records for group in r.groups for f in group}
    return [found[at] for at in sorted(found)]


def taken_from(file: Any) -> str:
    """Return from which address a record says that a file was taken."""
    return str(file.fetched_from or file.url)


def test_the_first_that_has_it_is_used(tmp_path, client, servers):
    """404 leads to the next address; values are right, and the records say where they are from."""
    first, second = servers
    put(first, range(0, 5))
    put(second)
    dataset = netcdf_at(tmp_path / "a.zarr", first, second)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.positions_after == len(DAYS)
    files = files_of(dataset)
    assert [taken_from(f).startswith(first.url) for f in files] == [True] * 5 + [False] * 3
    assert all(f.url.startswith(first.url) for f in files)
    asked_second = {request.path for request in second.requests}
    assert asked_second == {DAYS[n].strftime("%Y%m%d.nc") for n in range(5, 8)}
    assert any("not from its first address" in note for note in report.notes)
    put(first)
    plain = netcdf_at(tmp_path / "b.zarr", first)
    plain.backfill(END, client=client, now=LATE)
    assert snapshot(tmp_path / "a.zarr") == snapshot(tmp_path / "b.zarr")
    assert {f.fetched_from for f in files_of(plain)} == {None}


@pytest.mark.parametrize(
    "fault", [Status(status=503), Truncated(nbytes=100)], ids=["down", "truncated"]
)
def test_one_that_fails_is_passed_over(tmp_path, client, servers, fault):
    """A server that is down, or sends half a file, leads to the next address after its retries."""
    first, second = servers
    put(first)
    put(second)
    first.inject("*", fault, times=None)
    dataset = netcdf_at(tmp_path / "a.zarr", first, second)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.positions_after, report.new_gaps) == (len(DAYS), 0)
    assert all(taken_from(f).startswith(second.url) for f in files_of(dataset))


def test_a_file_that_was_cut_when_it_was_mirrored_is_passed_over(tmp_path, client, servers):
    """Whole as it is served, and less than its own header says."""
    first, second = servers
    put(first)
    put(second)
    for path in first.root.glob("*.nc"):
        path.write_bytes(path.read_bytes()[:-40])
    dataset = netcdf_at(tmp_path / "a.zarr", first, second)
    assert dataset.backfill(END, client=client, now=LATE).positions_after == len(DAYS)
    assert all(taken_from(f).startswith(second.url) for f in files_of(dataset))


def test_none_of_them_has_it(tmp_path, client, servers):
    """It is absent if all say so; where one fails, nobody knows, and the message names both."""
    first, second = servers
    put(first, range(0, 7))
    put(second)
    second.inject("20200108.nc", Status(status=500), times=1)
    dataset = netcdf_at(tmp_path / "a.zarr", first, second)
    dataset.backfill(END, client=client, now=LATE)
    last = files_of(dataset)[-1]
    assert (last.status, last.settled) == (SourceFileStatus.DOWNLOAD_FAILED, False)
    assert "HTTP 500" in last.detail
    assert f"at {first.url}/20200108.nc: HTTP 404" in last.detail
    (second.root / "20200108.nc").unlink()
    dataset.backfill(END, client=client, now=LATE)
    last = files_of(dataset)[-1]
    assert (last.status, last.settled) == (SourceFileStatus.NOT_YET_AVAILABLE, True)
    assert second.url in last.detail


def test_a_revision_is_asked_for_where_the_file_was_taken(tmp_path, client, servers):
    """Another server names the same version in another way: it is no revision, up or down."""
    first, second = servers
    put(first, range(0, 5))
    put(second)
    dataset = netcdf_at(tmp_path / "a.zarr", first, second, asks=True)
    dataset.backfill(END, client=client, now=LATE)
    put(first, range(5, 8))  # it has them now, as other versions
    idle = dataset.reformat_operational_update(client=client, now=NOW)
    assert (idle.variables_done, idle.published_anything) == (0, False)
    first.inject("*", Status(status=503), times=None)
    idle = dataset.reformat_operational_update(client=client, now=NOW)
    assert (idle.variables_done, idle.published_anything) == (0, False)
    second.hold("*")
    first.clear_faults()
    put(first, [3], shift=1.0)
    report = dataset.reformat_operational_update(client=client, now=NOW)
    assert report.variables_done > 0
    assert taken_from(files_of(dataset)[3]).startswith(first.url)


def test_an_address_more_makes_nothing_anew(tmp_path, client, servers):
    """Nor does another order: what is done is believed, also while the old one does not answer."""
    first, second = servers
    put(first)
    put(second, shift=1.0)
    dataset = netcdf_at(tmp_path / "a.zarr", first, asks=True)
    dataset.backfill(END, client=client, now=LATE)
    before = snapshot(tmp_path / "a.zarr")
    first.hold("*")
    for order in ((first, second), (second, first)):
        again = netcdf_at(tmp_path / "a.zarr", *order, asks=True)
        assert again.plan(END, now=LATE).summary()["chains"] == 0
        assert again.backfill(END, client=client, now=LATE).variables_done == 0
        idle = again.reformat_operational_update(client=client, now=NOW)
        assert (idle.variables_done, idle.published_anything) == (0, False)
    assert snapshot(tmp_path / "a.zarr") == before


def test_a_word_about_a_file_holds_whichever_address_comes_first(tmp_path, client, servers):
    """What somebody accepted stays accepted, and is not listed as a gap again."""
    first, second = servers
    put(first, range(0, 7))
    dataset = netcdf_at(tmp_path / "a.zarr", first, second)
    dataset.backfill(END, client=client, now=LATE)
    accept_files(dataset, [f"{first.url}/20200108.nc"], why="never came", who="me", now=LATE)
    for order in ((first, second), (second, first)):
        again = netcdf_at(tmp_path / "a.zarr", *order)
        again.backfill(END, client=client, now=LATE, redo=True)
        assert files_of(again)[-1].accepted is not None


def forecasts_at(path: Path, *servers: ArchiveServer) -> Any:
    """Return a dataset of daily GRIB files that are at each of these servers."""
    bases = tuple(server.url for server in servers)

    def get_url(self: Any) -> tuple[str, ...]:
        return tuple(f"{base}/{self.init_time:%Y%m%d}.grib2" for base in bases)

    day = type("Day", (daily_grib.Day,), {"get_url": get_url})
    job = type("Job", (daily_grib.Job,), {"file_type": day, "download_settings": ONCE})
    return dataset_of(template=daily_grib.Template, job=job)(path)


@pytest.mark.parametrize("lie", ["", "cut_message", "stale_index"])
def test_each_address_has_its_own_inventory(tmp_path, client, servers, lie):
    """Messages lie elsewhere in the second's file; a cut file at the first is passed over."""
    first, second = servers
    for number in range(len(DAYS)):
        daily_grib.publish(first.root, number, lie, random.Random(number))
        daily_grib.publish(second.root, number, "", random.Random(0))
    for path in second.root.glob("*.grib2"):
        path.write_bytes(bytes(24) + path.read_bytes())
        index = path.with_name(f"{path.name}.idx")
        one, two = index.read_text().splitlines()
        fields = two.split(":")
        moved = ":".join([fields[0], str(int(fields[1]) + 24), *fields[2:]])
        index.write_text(f"{one.replace('1:0:', '1:24:')}\n{moved}\n")
    if not lie:
        first.hold("2020010[1-4].grib2")
    dataset = forecasts_at(tmp_path / "a.zarr", first, second)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.positions_after == len(DAYS)
    assert report.new_gaps == 0
    files = files_of(dataset)
    of_second = [taken_from(f).startswith(second.url) for f in files]
    assert (
        of_second
        == {
            "": [True] * 4 + [False] * 4,
            "cut_message": [True] * 8,
            "stale_index": [False] * 8,  # the whole file is used without it
        }[lie]
    )
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        for number in range(len(DAYS)):
            found = ds["t2m"].values[number, 0]
            np.testing.assert_array_equal(found, daily_grib.field(number, 0))


def test_parts_are_taken_where_no_address_has_all(tmp_path, client, servers):
    """Both files are cut: what there is of the first is read, and the rest is a gap."""
    first, second = servers
    for number in range(len(DAYS)):
        for server in servers:
            daily_grib.publish(server.root, number, "", random.Random(0))
            path = server.root / DAYS[number].strftime("%Y%m%d.grib2")
            path.write_bytes(path.read_bytes()[:-10])
    dataset = forecasts_at(tmp_path / "a.zarr", first, second)
    dataset.backfill(END, client=client, now=LATE)
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        found = ds["t2m"].values
        assert np.isnan(ds["u10"].values).all()
    np.testing.assert_array_equal(found[0, 0], daily_grib.field(0, 0))
    # What the first lacks is looked for at the second, until that was in vain some times.
    records = list(dataset.store.tracker.all_records())
    used = {
        name: [taken_from(f) for r in records for f in r.groups[r.variables[name].group]]
        for name in ("t2m", "u10")
    }
    assert all(url.startswith(first.url) for url in used["t2m"])
    assert any(url.startswith(second.url) for url in used["u10"])
