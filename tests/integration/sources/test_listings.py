"""Folders of real servers on loopback, listed; and what a lying listing does to an archive."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ftpd import Served, files_over_ftp
from gridmill import DownloadFailed, DownloadSettings, ListedFileCoord, SourceFileStatus, fetch
from gridmill.operations.follow import follow_cycle
from gridmill.sources.fetch.download import limit_hosts
from gridmill.sources.listings.asking import Limits
from gridmill.sources.listings.listings import Listings
from gridmill.testing import ArchiveServer, S3Server
from gridmill.testing.faults import HtmlBody, Reset, Status, Truncated
from sshd import files_over_ssh, sshd_missing
from tiny import NAMES, TinyJob, TinyTemplate, dataset_of, snapshot

ONCE = DownloadSettings(attempts=1, deadline_s=20)
TWICE = DownloadSettings(attempts=2, deadline_s=20, wait_initial_s=0.01)
HOURS = pd.date_range("2020-01-01", periods=8, freq="h")
PATTERN = "scene_s{start:%Y%m%d%H%M}_c{created:d}.npy"
END, LATE = "2020-01-01T08:00", pd.Timestamp("2020-01-02")


def put(folder: Path, hour: pd.Timestamp, created: int, shift: float = 0.0) -> Path:
    """Write the file of an hour, with a number in its name that nobody can know."""
    path = folder / f"{hour:%Y%m%d}" / f"scene_s{hour:%Y%m%d%H%M}_c{created}.npy"
    path.parent.mkdir(exist_ok=True, parents=True)
    with path.open("wb") as out:
        np.save(out, np.full((2, 2, 3), hour.hour + shift, "float32"))
    return path


@dataclass(frozen=True, kw_only=True)
class Scene(ListedFileCoord):
    """The newest file of an hour."""

    label: Any

    def out_loc(self) -> dict[str, Any]:
        """Give the hour."""
        return {"time": self.label}


class SceneJob(TinyJob):
    """Names are resolved by the listing of a day."""

    download_settings = ONCE
    publication_delay = timedelta(hours=2)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give the newest file of each hour."""
        return [
            Scene(
                label=label,
                listed=self.listings.of(f"{label:%Y%m%d}/", PATTERN).newest(start=label),
            )
            for label in processing_region_ds.get_index("time")
        ]


SCENES = dataset_of(template=TinyTemplate, job=SceneJob)


class ListedTemplate(TinyTemplate):
    """Scenes at the times that the listing tells."""

    append_dim_frequency = None

    def append_dim_coordinates(self, end):
        """Give the starts of the scenes that are listed."""
        files = self.listings.of("20200101/", PATTERN).files
        return pd.DatetimeIndex(sorted({f["start"] for f in files if f["start"] < end}))


@pytest.fixture
def ftp(tmp_path: Path) -> Iterator[Served]:
    """A server over FTP with an empty folder."""
    pytest.importorskip("pyftpdlib")
    (tmp_path / "ftp").mkdir()
    with files_over_ftp(tmp_path / "ftp") as served:
        yield served


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ArchiveServer]:
    """A server that lists what it has: a file of each hour."""
    (tmp_path / "source").mkdir()
    with ArchiveServer(tmp_path / "source", lists=True) as server:
        server.release_all()
        for number, hour in enumerate(HOURS):
            put(server.root, hour, 100 + number)
        yield server


def listed(server: ArchiveServer) -> list[str]:
    """Return the folders that were asked for, once for each request."""
    return [one.path for one in server.requests if one.path.endswith("/")]


# -- servers ------------------------------------------------------------------------------------


def test_an_index_page_is_listed_once_for_all_who_ask_at_once(provider):
    """Threads that want the same folder wait for one request."""
    listings = Listings([provider.url], ONCE)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: listings.of("20200101/", PATTERN).files, range(50)))
    assert {tuple(f["start"] for f in files) for files in found} == {tuple(HOURS)}
    assert listed(provider) == ["20200101/"]
    cost = listings.cost
    assert (cost.folders, cost.pages, cost.files, cost.failed) == (1, 1, 8, 0)


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> S3Server:
    """A bucket that anyone may list, with a folder of 1100 files."""
    client = s3_server._client()

    def put_one(number: int) -> None:
        client.put_object(Bucket="public", Key=f"day/f{number:04d} +.nc", Body=b"x" * 10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put_one, range(1100)))
    return s3_server


@pytest.mark.parametrize("over_http", [True, False], ids=["http", "s3"])
def test_all_pages_of_a_bucket_are_read(tmp_path, bucket, over_http):
    """A page holds a thousand keys; what is found can be fetched, with the same identity."""
    settings = DownloadSettings(
        attempts=1, s3_options={"anon": True, "endpoint_url": bucket.endpoint_url}
    )
    base = f"{bucket.endpoint_url}/public" if over_http else "s3://public"
    listings = Listings([base], settings)
    files = listings.of("day/", "f{number:04d} +.nc", "bucket" if over_http else "by address").files
    assert [f["number"] for f in files] == list(range(1100))
    assert listings.cost.pages == 2
    assert {f.nbytes for f in files} == {10}
    got = fetch(f"{base}/{files[7].address}", tmp_path / "f.nc", settings=settings)
    assert (got.etag, got.nbytes) == (files[7].etag, 10)


def test_a_folder_over_ftp_is_listed_and_fetched(tmp_path, ftp):
    """With names that a URL quotes; a folder that is not there is an absence."""
    (ftp.root / "day one").mkdir()
    (ftp.root / "day one" / "a b.nc").write_bytes(b"0123456789" * 100)
    listings = Listings([ftp.url], TWICE)
    (found,) = listings.of("day%20one/", "{name}.nc").files
    assert (found["name"], found.nbytes) == ("a b", 1000)
    got = fetch(f"{ftp.url}/{found.address}", tmp_path / "whole", settings=TWICE)
    assert (got.nbytes, got.path.read_bytes()[:10]) == (1000, b"0123456789")
    part = fetch(
        f"{ftp.url}/{found.address}", tmp_path / "part", settings=TWICE, byte_ranges=[(5, 12)]
    )
    assert part.path.read_bytes() == b"5678901"
    gone = listings.of("no/", "{name}.nc")
    assert (gone.files, gone.newest(name="x").is_listed) == ((), False)


@pytest.mark.skipif(bool(sshd_missing()), reason=sshd_missing() or "there is one")
def test_a_folder_over_sftp_is_listed_and_fetched(tmp_path):
    """A real OpenSSH server; the key is in the options."""
    with files_over_ssh() as served:
        (served.folder / "day").mkdir()
        (served.folder / "day" / "a.nc").write_bytes(b"0123456789")
        settings = DownloadSettings(attempts=1, filesystem_options=served.storage_options)
        (found,) = Listings([served.address], settings).of("day/", "{name}.nc").files
        got = fetch(f"{served.address}/{found.address}", tmp_path / "a.nc", settings=settings)
        assert (got.nbytes, got.last_modified) == (10, found.last_modified)


# -- failures are no empty folders ----------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [Status(status=503), Reset(), HtmlBody(), Truncated(nbytes=120), Status(status=401)],
    ids=["503", "reset", "login page", "truncated", "401"],
)
def test_a_listing_that_fails_is_no_empty_one(provider, fault):
    """Its files cannot be taken; the place of one of them is a failed download."""
    provider.inject("20200101/", fault, times=None)
    listing = Listings([provider.url], TWICE).of("20200101/", PATTERN)
    with pytest.raises(DownloadFailed):
        _ = listing.files
    with pytest.raises(DownloadFailed, match="not listed"):
        listing.newest(start=HOURS[0]).require()


def test_a_listing_is_retried_as_a_download(provider):
    """One failure costs an attempt."""
    provider.inject("20200101/", Truncated(nbytes=120))
    assert len(Listings([provider.url], TWICE).of("20200101/", PATTERN).files) == 8
    assert len(listed(provider)) == 2


@pytest.mark.parametrize("limits", [Limits(entries=7), Limits(nbytes=200)], ids=repr)
def test_a_folder_beyond_the_limits_is_a_failure(provider, limits):
    """It is never cut."""
    with pytest.raises(DownloadFailed, match=r"more than|longer than"):
        _ = Listings([provider.url], ONCE, limits=limits).of("20200101/", PATTERN).files


def test_a_second_base_is_asked_where_the_first_fails(provider):
    """As for downloads; where both fail, what failed is told rather than what is absent."""
    provider.inject("20200101/", Status(status=500), times=1)
    listings = Listings([f"{provider.url}/nothing", provider.url, provider.url], ONCE)
    assert len(listings.of("20200101/", PATTERN).files) == 8
    provider.inject("20200101/", Status(status=500), times=None)
    with pytest.raises(DownloadFailed):
        _ = Listings([f"{provider.url}/nothing", provider.url], ONCE).of("20200101/", PATTERN).files


def test_the_caps_of_hosts_hold_for_listings(provider):
    """They take their places as downloads do."""
    taken: list[str] = []
    lock = threading.Lock()

    class Counting:
        def __call__(self, host: str, most: int, /) -> Any:
            with lock:
                taken.append(host)
            return threading.Lock()

        def close(self) -> None:
            pass

    limit_hosts(self := object(), Counting())  # type: ignore[arg-type]
    try:
        Listings([provider.url], ONCE).of("20200101/", PATTERN)
    finally:
        limit_hosts(self, None)
    assert taken == [provider.url]


# -- archives -------------------------------------------------------------------------------------


def test_a_run_lists_each_folder_once_over_all_workers_and_jobs(tmp_path, provider, client):
    """Two regions, two variables, two workers: one request for the folder of their day."""
    report = SCENES(tmp_path / "a.zarr", source_base=provider.url).backfill(END, client=client)
    assert (report.positions_after, report.new_gaps) == (8, 0)
    assert listed(provider) == ["20200101/"]
    with np.errstate(all="raise"):
        stored = SCENES(tmp_path / "a.zarr").store.open_dataset()
    assert stored.a[:, 0, 0].values.tolist() == list(range(8))


def test_the_newest_of_several_is_taken(tmp_path, provider, client):
    """Of two that were made of one hour."""
    put(provider.root, HOURS[3], 900, shift=0.5)
    put(provider.root, HOURS[3], 90, shift=0.25)
    dataset = SCENES(tmp_path / "a.zarr", source_base=provider.url)
    dataset.backfill(END, client=client)
    assert dataset.store.open_dataset().a[3, 0, 0] == 3.5


def test_a_later_revision_under_another_name_is_noticed(tmp_path, provider, client):
    """An update asks for it at its new address."""
    dataset = SCENES(tmp_path / "a.zarr", source_base=provider.url)
    dataset.backfill(END, client=client, now=pd.Timestamp(END))
    put(provider.root, HOURS[3], 900, shift=0.5)
    dataset.reformat_operational_update(until=END, now=pd.Timestamp(END), client=client)
    assert dataset.store.open_dataset().a[3, 0, 0] == 3.5


def test_what_a_listing_does_not_show_is_a_gap_with_an_address(tmp_path, provider, client):
    """Listed in the record, and asked of nobody; it heals when the listing shows it."""
    missed = next(provider.root.glob(f"*/scene_s{HOURS[5]:%Y%m%d%H%M}*"))
    missed.rename(tmp_path / missed.name)
    dataset = SCENES(tmp_path / "a.zarr", source_base=provider.url)
    plan = dataset.plan(END).describe()
    assert plan["source_files"] == 8
    assert plan["listings"]["folders"] == 1
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.positions_after, report.new_gaps) == (8, 1)
    gaps = [
        f
        for record in dataset.store.tracker.all_records()
        for group in record.groups
        for f in group
        if f.status is SourceFileStatus.NOT_YET_AVAILABLE
    ]
    assert {f.url for f in gaps} == {"20200101/scene_s202001010500_c*.npy"}
    assert all("listing of its folder shows none of 7 files" in (f.detail or "") for f in gaps)
    assert not any("*" in one.path for one in provider.requests)
    assert dataset.status(now=LATE).gaps == 1
    shutil.move(tmp_path / missed.name, missed)
    healed = dataset.reformat_operational_update(until=END, now=LATE, client=client)
    assert healed.succeeded
    assert dataset.store.open_dataset().a[5, 0, 0] == 5
    assert dataset.status(now=LATE).gaps == 0


def test_who_follows_a_cycle_sees_what_is_listed_later(tmp_path, provider):
    """Its folder is listed anew at each turn, and its address is known then."""
    missed = next(provider.root.glob(f"*/scene_s{HOURS[7]:%Y%m%d%H%M}*"))
    missed.rename(tmp_path / missed.name)
    dataset = SCENES(tmp_path / "a.zarr", source_base=provider.url)
    dataset.backfill(HOURS[6].isoformat(), client="none", now=HOURS[6])

    def arrive(waiting: Any) -> None:
        if not missed.exists():
            shutil.move(tmp_path / missed.name, missed)

    followed = follow_cycle(
        dataset,
        deadline_s=60,
        client="none",
        now=pd.Timestamp(END),
        on_wait=arrive,
        longest_pause_s=0.05,
    )
    *_, last = followed
    assert (last.succeeded, last.positions_after) == (True, 8)
    assert dataset.store.open_dataset().a[7, 0, 0] == 7


def test_a_folder_that_cannot_be_listed_fails_its_run_and_heals(tmp_path, provider, client):
    """The run does not succeed, names the folder, and the next one goes on."""
    provider.inject("20200101/", Status(status=503), times=1)
    dataset = SCENES(tmp_path / "a.zarr", source_base=provider.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert not report.succeeded
    assert report.positions_after == 0
    again = dataset.backfill(END, client=client, now=LATE)
    assert (again.succeeded, again.positions_after) == (True, 8)


@pytest.mark.parametrize("lie", ["empty", "truncated", "down", "gone"])
def test_a_lying_listing_takes_nothing_from_readers(tmp_path, provider, client, lie):
    """Neither values nor positions, whether names or the axis come from the listing."""
    named = SCENES(tmp_path / "a.zarr", source_base=provider.url)
    axis = dataset_of(template=ListedTemplate, job=SceneJob)
    listed_axis = axis(tmp_path / "b.zarr", source_base=provider.url)
    for dataset in (named, listed_axis):
        dataset.backfill(END, client=client, now=LATE)
    before = [snapshot(tmp_path / name) for name in ("a.zarr", "b.zarr")]
    if lie == "empty":
        for path in provider.root.glob("*/*"):
            path.unlink()
    elif lie == "gone":
        shutil.rmtree(provider.root / "20200101")
    else:
        fault = Truncated(nbytes=150) if lie == "truncated" else Status(status=503)
        provider.inject("20200101/", fault, times=None)
    for dataset in (named, listed_axis):
        try:
            dataset.reformat_operational_update(until=END, now=LATE, client=client)
        except (DownloadFailed, ValueError):
            assert dataset is listed_axis
    assert [snapshot(tmp_path / name) for name in ("a.zarr", "b.zarr")] == before


def test_only_what_asks_for_work_lists(tmp_path, provider):
    """The structure of an irregular axis is shown without asking; a plan says what it cost."""
    dataset = dataset_of(template=ListedTemplate, job=SceneJob)
    assert dataset.template_config().get_template(END).sizes["time"] == 0
    assert listed(provider) == []
    found = dataset(tmp_path / "a.zarr", source_base=provider.url).plan(END).describe()
    assert (found["positions"], found["listings"]["pages"]) == (8, 1)
    assert listed(provider) == ["20200101/"]


def test_a_worker_cannot_list(tmp_path, provider):
    """The folder would be asked for by each of them: the driver does it, and says so."""
    dataset = SCENES(tmp_path / "a.zarr", source_base=provider.url)
    (job, _) = dataset.plan(END).jobs
    with pytest.raises(AttributeError, match="listings"):
        job.for_worker(job.data_vars).listings.of("20200101/", PATTERN)
    assert [var.name for var in job.data_vars] == list(NAMES)
