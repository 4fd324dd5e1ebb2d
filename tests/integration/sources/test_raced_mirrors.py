"""Mirrors that are raced: the first whole file wins, and nobody is asked more than it allows."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import daily_grib
import daily_netcdf as daily
from clusters import local_client, one_worker
from daily_netcdf import DAYS, LATS, LONS, Held, field, write
from gridmill import Address, DownloadFailed, DownloadSettings, NotAvailable, SourceFileStatus
from gridmill.sources.racing import MOST_HANGING, NoneWonError, Stopped, quickest, stop_of_this
from gridmill.testing import ArchiveServer
from gridmill.testing.faults import Hang, HtmlBody, Latency, Slow, Status, Truncated
from tiny import dataset_of, snapshot

END, LATE = "2020-01-09", DAYS[-1] + (DAYS[-1] - DAYS[-3])
NOW = DAYS[-1] + (DAYS[1] - DAYS[0]) / 2
FIRST, SECOND = "first", "second"
# Slow enough that the other one always wins, on a machine with much else to do.
SLOW = Latency(seconds=2.0)


client = one_worker()


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[tuple[ArchiveServer, ArchiveServer]]:
    """Two servers on loopback, each with all files."""
    for name in (FIRST, SECOND):
        (tmp_path / name).mkdir()
    with ArchiveServer(tmp_path / FIRST) as first, ArchiveServer(tmp_path / SECOND) as second:
        for server in (first, second):
            put(server)
            server.release_all()
        yield first, second


def name_of(day: int) -> str:
    """Return what the file of a day is called."""
    return DAYS[day].strftime("%Y%m%d.nc")


def put(server: ArchiveServer, shift: int = 0) -> None:
    """Let a server have the files of days, or those of other days under their names."""
    for number in range(len(DAYS)):
        held = Held(values=field(number), lats=LATS, lons=LONS, time=DAYS[number - shift])
        write(server.root / name_of(number), held, "NETCDF3_CLASSIC")


def raced_at(
    path: Path,
    *servers: ArchiveServer,
    asks: bool = False,
    races: bool = True,
    given: Any = None,
    **settings: Any,
) -> Any:
    """Return a dataset of daily files whose mirrors are raced.

    `given` returns the addresses of a name.
    """
    bases = tuple(server.url for server in servers)

    def get_url(self: Any) -> Any:
        name = f"{self.label:%Y%m%d}.nc"
        return given(name) if given else tuple(f"{base}/{name}" for base in bases)

    day = type("Day", (daily.Day,), {"get_url": get_url, "races_mirrors": races})
    parts = {
        "generate_source_file_coords": lambda self, ds, group: [
            day(label=label) for label in ds.get_index("time")
        ],
        "download_settings": DownloadSettings(**{"attempts": 1, **settings}),
        "asks_for_revisions": asks,
    }
    return dataset_of(template=daily.Template, job=type("Job", (daily.Job,), parts))(path)


def taken_from(dataset: Any) -> list[str]:
    """Return by day from which server a record says that its file was taken."""
    records = list(dataset.store.tracker.all_records())
    found = {f.start + r.start: f for r in records for group in r.groups for f in group}
    return [str(found[at].fetched_from or found[at].url).rpartition("/")[0] for at in sorted(found)]


def check_values(dataset: Any) -> None:
    """Check every value."""
    with dataset.store.open_dataset() as ds:
        found = ds["t2m"].values
    np.testing.assert_array_equal(found, np.stack([field(n) for n in range(len(DAYS))]))


def test_the_faster_one_wins_and_is_named(tmp_path, client, servers):
    """Same bytes as from one; what was taken from either is no revision at the other."""
    first, second = servers
    first.inject("2020010[1-3].nc", SLOW, times=None)
    second.inject("2020010[6-8].nc", SLOW, times=None)
    dataset = raced_at(tmp_path / "a.zarr", first, second, asks=True)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.positions_after == len(DAYS)
    winners = taken_from(dataset)
    assert winners[:3] + winners[-3:] == [second.url] * 3 + [first.url] * 3
    assert not any("first address" in note for note in report.notes)
    # A slow one that was not asked yet as the other won is not asked any more.
    _until(lambda: not _racers())
    for server in servers:
        paths = [request.path for request in server.requests]
        assert len(paths) == len(set(paths))
        server.clear_faults()
    plain = raced_at(tmp_path / "b.zarr", first)
    plain.backfill(END, client=client, now=LATE)
    assert snapshot(tmp_path / "a.zarr") == snapshot(tmp_path / "b.zarr")
    idle = dataset.reformat_operational_update(client=client, now=NOW)
    assert (idle.variables_done, idle.published_anything) == (0, False)


FAULTS = {
    "down": Status(status=503),
    "absent": Status(status=404),
    "truncated": Truncated(nbytes=100),
    "html": HtmlBody(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_that_fails_fast_does_not_win(tmp_path, client, servers, fault):
    """It says no, or sends what is no whole file, before the other one answers."""
    first, second = servers
    first.inject("*", FAULTS[fault], times=None)
    second.inject("*", Latency(seconds=0.3), times=None)
    dataset = raced_at(tmp_path / "a.zarr", first, second)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.positions_after, report.new_gaps) == (len(DAYS), 0)
    assert taken_from(dataset) == [second.url] * len(DAYS)
    check_values(dataset)


@pytest.mark.parametrize("lie", ["cut", "another_day"])
def test_one_that_lies_does_not_win(tmp_path, client, servers, lie):
    """Whole as it is served, and less than its header says; or another day's under this name."""
    first, second = servers
    second.inject("*", Latency(seconds=0.3), times=None)
    if lie == "cut":
        for path in first.root.glob("*.nc"):
            path.write_bytes(path.read_bytes()[:-40])
    else:
        put(first, shift=3)
    dataset = raced_at(tmp_path / "a.zarr", first, second)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.positions_after, report.new_gaps) == (len(DAYS), 0)
    assert taken_from(dataset) == [second.url] * len(DAYS)
    check_values(dataset)


def test_a_first_address_that_lies_is_not_all(tmp_path, client, servers):
    """Also where addresses are tried in order: what cannot be read is fetched from the other."""
    first, second = servers
    put(first, shift=3)
    dataset = raced_at(tmp_path / "a.zarr", first, second, races=False)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.positions_after, report.new_gaps) == (len(DAYS), 0)
    assert taken_from(dataset) == [second.url] * len(DAYS)
    check_values(dataset)


def test_none_of_them_has_it(tmp_path, client, servers):
    """It is absent if all say so; where one fails, nobody knows, and the message names both."""
    first, second = servers
    first.hold(name_of(7))
    second.inject(name_of(7), Status(status=500), times=None)
    dataset = raced_at(tmp_path / "a.zarr", first, second)
    dataset.backfill(END, client=client, now=LATE)
    last = _last_file(dataset)
    assert (last.status, last.settled) == (SourceFileStatus.DOWNLOAD_FAILED, False)
    assert "HTTP 500" in last.detail
    assert f"at {first.url}/{name_of(7)}: HTTP 404" in last.detail
    second.clear_faults()
    second.hold(name_of(7))
    dataset.backfill(END, client=client, now=LATE)
    last = _last_file(dataset)
    assert (last.status, last.settled) == (SourceFileStatus.NOT_YET_AVAILABLE, True)


def _last_file(dataset: Any) -> Any:
    return list(dataset.store.tracker.all_records())[-1].groups[0][-1]


def test_the_loser_is_stopped(tmp_path, client, servers):
    """A body that drips is not read to its end, and a server that hangs is not asked for all."""
    first, second = servers
    first.inject("2020010[1-4].nc", Slow(nbytes_per_s=2_000), times=None)
    first.inject("2020010[5-8].nc", Hang(timeout_s=20), times=None)
    dataset = raced_at(tmp_path / "a.zarr", first, second)
    dataset.backfill(END, client=client, now=LATE)
    check_values(dataset)
    assert taken_from(dataset) == [second.url] * len(DAYS)
    whole = (first.root / name_of(0)).stat().st_size
    first.end_hangs()
    _until(lambda: not _racers())
    assert max(request.nbytes for request in first.requests) < whole
    assert len(first.requests) <= 4 + len(DAYS)


def _racers() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("mirror ")]


def _until(is_so: Any) -> None:
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError("it does not become so")


@pytest.mark.parametrize("most", [{"most_at_host": 1}, {"most_a_minute": 60}])
def test_no_host_is_asked_more_than_it_allows(tmp_path, servers, most):
    """By all workers and runs together, whoever wins: each mirror has its own budget."""
    first, second = servers
    for server in servers:
        server.inject("*", Latency(seconds=0.1), times=None)
    with local_client(n_workers=2, processes=True) as client:
        dataset = raced_at(tmp_path / "a.zarr", first, second, **most)
        other = raced_at(tmp_path / "b.zarr", first, second, **most)
        runs = [
            threading.Thread(
                target=one.backfill, args=(END,), kwargs={"client": client, "now": LATE}
            )
            for one in (dataset, other)
        ]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
    for one in (dataset, other):
        check_values(one)
    for server in servers:
        times = sorted(request.time for request in server.requests)
        if "most_at_host" in most:
            assert all(b - a >= 0.09 for a, b in itertools.pairwise(times))
        else:  # five at once, each for five seconds
            assert all(b - a >= 4.9 for a, b in zip(times, times[5:], strict=False))


def test_waiting_asks_both(tmp_path, servers):
    """Whether a file is there is known as soon as one of them says so, though the other hangs."""
    first, second = servers
    first.inject("*", Hang(timeout_s=30), times=None)
    dataset = raced_at(tmp_path / "a.zarr", first, second)
    job = dataset.plan(END, now=LATE).jobs[0]
    (coord, *_) = job.generate_source_file_coords(job.processing_region_ds(), job.data_vars)
    answer = job.ask_file(coord)
    assert answer is not None
    assert answer.url == f"{second.url}/{name_of(0)}"
    first.end_hangs()
    second.hold("*")
    first.clear_faults()
    answer = job.ask_file(coord)
    assert answer is not None
    assert answer.url == f"{first.url}/{name_of(0)}"
    first.hold("*")
    assert job.ask_file(coord) is None


def test_provisional_mirrors_race_among_themselves(tmp_path, client, servers):
    """However fast one is, it does not win against a final file."""
    first, second = servers
    first.hold("2020010[5-8].nc")
    first.inject("*", Latency(seconds=0.3), times=None)
    one, other = first.url, second.url

    def given(name: str) -> list[Any]:
        return [Address(f"{other}/{name}", provisional="fast"), f"{one}/{name}"]

    dataset = raced_at(tmp_path / "a.zarr", given=given)
    dataset.backfill(END, client=client, now=LATE)
    assert taken_from(dataset) == [first.url] * 4 + [second.url] * 4
    assert dataset.status(now=LATE).provisional == 4


@pytest.mark.parametrize("lie", ["", "cut_message"])
def test_grib_by_ranges(tmp_path, client, servers, lie):
    """Each mirror has its own inventory, and one that lacks messages does not win."""
    first, second = servers
    for number in range(len(DAYS)):
        daily_grib.publish(first.root, number, lie, random.Random(number))
        daily_grib.publish(second.root, number, "", random.Random(0))
    second.inject("*", Latency(seconds=0.1), times=None)
    bases = (first.url, second.url)

    def get_url(self: Any) -> tuple[str, ...]:
        return tuple(f"{base}/{self.init_time:%Y%m%d}.grib2" for base in bases)

    day = type("Day", (daily_grib.Day,), {"get_url": get_url, "races_mirrors": True})
    once = DownloadSettings(attempts=1)
    job = type("Job", (daily_grib.Job,), {"file_type": day, "download_settings": once})
    dataset = dataset_of(template=daily_grib.Template, job=job)(tmp_path / "a.zarr")
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.positions_after, report.new_gaps) == (len(DAYS), 0)
    if lie:
        assert taken_from(dataset) == [second.url] * len(DAYS)
    with dataset.store.open_dataset() as ds:
        for number in range(len(DAYS)):
            np.testing.assert_array_equal(ds["t2m"].values[number, 0], daily_grib.field(number, 0))


# -- the race itself -----------------------------------------------------------------------------


def failing(url: str) -> Any:
    def ask() -> str:
        raise NotAvailable(url, "HTTP 404")

    return ask


def test_what_everybody_says_is_kept():
    """Who asks learns from all of them why there is nothing."""
    asks = {f"http://{name}/x": failing(name) for name in "ab"}
    with pytest.raises(NoneWonError) as caught:
        quickest(asks, (NotAvailable, DownloadFailed))
    assert {error.url for error in caught.value.errors} == {"a", "b"}


def test_an_error_in_code_ends_the_race():
    """It is raised as it is, and the others are stopped."""
    stopped = threading.Event()

    def waits() -> str:
        stop = stop_of_this()
        try:
            stop.wait(60)
        except Stopped:
            stopped.set()
            raise
        return ""

    def fails() -> str:
        raise KeyError("in code")

    with pytest.raises(KeyError):
        quickest({"http://a/x": fails, "http://b/x": waits}, (NotAvailable,))
    assert stopped.wait(10)


def test_a_host_that_hangs_is_left_alone():
    """Some threads hang there, and then it is asked only where nobody else has the file."""
    free, asked = threading.Event(), []
    forgotten: list[str] = []

    def hangs() -> str:
        asked.append(1)
        free.wait(30)
        return "late"

    url = "http://hangs.example.org/x"
    for _ in range(3 * MOST_HANGING):
        asks = {url: hangs, "http://b.example.org/x": lambda: "here"}
        assert quickest(asks, (NotAvailable,), forgotten.append) == "here"
    assert len(asked) == MOST_HANGING
    free.set()
    _until(lambda: len(forgotten) == MOST_HANGING)
    asks = {url: hangs, "http://b.example.org/x": failing("b")}
    assert quickest(asks, (NotAvailable,)) == "late"
