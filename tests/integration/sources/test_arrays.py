"""Somebody's Zarr archive as a source, on loopback: whole, revised, lacking and lying."""

from __future__ import annotations

import json
import pickle
import sys
import traceback
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from distributed.core import error_message

from gridmill import (
    BearerToken,
    DataVar,
    DownloadSettings,
    Encoding,
    S3Access,
    SourceFileStatus,
)
from gridmill.authoring.sources.arrays import ArrayRegion, ArrayRegionJob
from gridmill.sources.arrays.opened import Remote
from gridmill.sources.arrays.region import (
    CHUNKS_AT_ONCE,
    Selected,
    fetch_region,
    identify_region,
)
from gridmill.sources.fetch.credentials.access import kept_by, using
from gridmill.sources.fetch.download import DownloadFailed
from gridmill.sources.racing import quickest
from gridmill.testing import ArchiveServer, S3Server
from gridmill.testing.faults import Status, Truncated
from guarded import Guarded
from tiny import GridTemplate, dataset_of, snapshot

LATS, LONS = np.array([60.0, 20.0, -40.0]), np.arange(0.0, 360.0, 45.0)
TIMES = pd.date_range("2020-01-01", periods=24, freq="h")
END, LATE = "2020-01-01T16:00", pd.Timestamp("2020-01-02")
# Positions of a region, and of a chunk of the source: regions begin within chunks.
REGION, CHUNK = 4, 3


class Template(GridTemplate):
    """Two variables on a global grid."""

    data_vars = tuple(
        DataVar(
            name=name,
            encoding=Encoding(chunks=(REGION, 3, 8)),
            attrs={"long_name": name, "units": units},
        )
        for name, units in (("t2m", "K"), ("tp", "m"))
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Hours(ArrayRegion):
    """The hours of a region."""

    first: Any
    last: Any

    def out_loc(self) -> dict[str, Any]:
        """Give the hours."""
        return {"time": slice(self.first, self.last)}


class Job(ArrayRegionJob[DataVar, Hours]):
    """A source file a region."""

    download_settings = DownloadSettings(attempts=2, wait_initial_s=0.01)
    publication_delay = timedelta(hours=2)
    kind = Hours

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give the region."""
        times = processing_region_ds.get_index("time")
        names = tuple(var.name for var in data_var_group)
        return [self.kind(store="era.zarr", arrays=names, first=times[0], last=times[-1])]


def era(times: pd.DatetimeIndex = TIMES, **changes: Any) -> xr.Dataset:
    """Return what the provider has."""
    at = np.arange(len(times))[:, None, None] * 100 + np.arange(24).reshape(3, 8)
    dims = ("time", "latitude", "longitude")
    ds = xr.Dataset(
        {
            "t2m": (dims, 200 + at.astype("float32") / 16, {"units": "K"}),
            "tp": (dims, at.astype("float32") / 1024, {"units": "m"}),
            "unused": (dims, at.astype("float64")),
        },
        {
            "time": ("time", times, {"standard_name": "time"}),
            "latitude": ("latitude", LATS, {"units": "degrees_north"}),
            "longitude": ("longitude", LONS, {"units": "degrees_east"}),
        },
    )
    return ds.assign_coords(**changes) if changes else ds


def write(folder: Path, ds: xr.Dataset, **how: Any) -> None:
    """Write it as the provider does."""
    how = {"zarr_format": 2, "consolidated": True, **how}
    encoding = {name: {"chunks": (CHUNK, 2, 8)} for name in ds.data_vars}
    ds.to_zarr(folder / "era.zarr", mode="w", encoding=encoding, **how)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ArchiveServer]:
    """A server with an archive of format 2."""
    (tmp_path / "source").mkdir()
    write(tmp_path / "source", era())
    with ArchiveServer(tmp_path / "source") as server:
        server.release_all()
        yield server


def dataset_at(tmp_path: Path, server: ArchiveServer, job: type[Job] = Job) -> Any:
    """Return the dataset."""
    return dataset_of(template=Template, job=job)(tmp_path / "a.zarr", source_base=server.url)


def details(dataset: Any) -> list[str]:
    """Return why source files were not taken."""
    records = dataset.store.tracker.all_records()
    files = [f for record in records for group in record.groups for f in group]
    unread = [
        why for r in records for var in r.variables.values() for _, why in var.unread.values()
    ]
    return [f.detail or "" for f in files] + unread


@pytest.mark.parametrize(
    "how",
    [
        {"zarr_format": 2, "consolidated": True},
        {"zarr_format": 2, "consolidated": False},
        {"zarr_format": 3, "consolidated": True},
        {"zarr_format": 3, "consolidated": False},
    ],
    ids=["v2", "v2 plain", "v3", "v3 plain"],
)
def test_regions_are_read_as_xarray_reads_the_whole(tmp_path, provider, client, how):
    """Bit for bit, with chunks that lie across regions; only what is needed is fetched."""
    write(provider.root, era(), **how)
    dataset = dataset_at(tmp_path, provider)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.succeeded, report.positions_after, report.new_gaps) == (True, 16, 0)
    expected = era().isel(time=slice(0, 16))
    stored = dataset.store.open_dataset()
    for name in ("t2m", "tp"):
        np.testing.assert_array_equal(stored[name].values, expected[name].values)
    chunks = [one.path for one in provider.requests if "/unused/" in one.path]
    assert [path for path in chunks if not path.endswith((".zarray", ".zattrs", "zarr.json"))] == []


def test_metadata_and_coordinates_are_fetched_once_for_all_regions(tmp_path, provider, client):
    """By whichever task of the machine asks first."""
    dataset_at(tmp_path, provider).backfill(END, client=client, now=LATE)
    got = [one.path for one in provider.requests if one.status == 200]
    assert got.count("era.zarr/.zmetadata") == 1
    assert got.count("era.zarr/time/0") == 1


def test_metadata_and_coordinates_are_asked_for_once_for_all_regions(tmp_path, provider, client):
    """By an update that finds nothing new; the next one asks anew."""
    dataset = dataset_at(tmp_path, provider)
    dataset.backfill(END, client=client, now=pd.Timestamp(END))
    for update in range(2):
        before = len(provider.requests)
        report = dataset.reformat_operational_update(
            until=END, now=pd.Timestamp(END), client=client
        )
        assert (report.variables_done, update) == (0, update)
        paths = [one.path for one in provider.requests[before:]]
        assert len({path for path in paths if path.startswith("era.zarr/t2m/")}) > 4
        for small in ("time/0", "latitude/0", "longitude/0", ".zmetadata"):
            assert paths.count(f"era.zarr/{small}") == 1


def test_a_revision_of_a_chunk_remakes_its_regions_and_no_other(tmp_path, provider, client):
    """An append changes the metadata, and nothing of what was taken."""
    dataset = dataset_at(tmp_path, provider)
    dataset.backfill(END, client=client, now=pd.Timestamp(END))
    before = snapshot(tmp_path / "a.zarr")
    longer = era(pd.date_range("2020-01-01", periods=48, freq="h"))
    longer.isel(time=slice(24, 48)).to_zarr(provider.root / "era.zarr", append_dim="time")
    report = dataset.reformat_operational_update(until=END, now=pd.Timestamp(END), client=client)
    assert report.variables_done == 0
    assert snapshot(tmp_path / "a.zarr") == before
    zarr.open_array(provider.root / "era.zarr" / "t2m")[7, 0, 0] = 999
    report = dataset.reformat_operational_update(until=END, now=pd.Timestamp(END), client=client)
    # Its chunk, hours 6 to 8, lies in two regions of two variables.
    assert report.variables_done == 4
    stored = dataset.store.open_dataset()
    assert stored.t2m[7, 0, 0] == 999
    np.testing.assert_array_equal(stored.tp.values, era().tp.values[:16])


def test_hours_that_the_archive_does_not_have_yet_are_not_available(tmp_path, provider, client):
    """The axis of the source ends before the region does."""
    write(provider.root, era(TIMES[:10]))
    dataset = dataset_at(tmp_path, provider)
    report = dataset.backfill(END, client=client, now=pd.Timestamp("2020-01-01T10:00"))
    assert report.positions_after == 8
    assert any("without 2020-01-01 08:00:00 … 2020-01-01 11:00:00" in d for d in details(dataset))


def test_chunks_that_are_absent_are_no_fill_unless_it_is_declared(tmp_path, provider, client):
    """Metadata written ahead of data shows NaN for months: that is not taken for data."""
    (provider.root / "era.zarr" / "tp" / "2.0.0").unlink()
    dataset = dataset_at(tmp_path, provider)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.new_gaps == 2
    assert any("1 of 8 chunks are absent, like tp/2.0.0; if it" in d for d in details(dataset))

    @dataclass(frozen=True, kw_only=True)
    class Filled(Hours):
        absent_chunks = "fill"

    job = type("FilledJob", (Job,), {"kind": Filled})
    other = dataset_of(template=Template, job=job)(tmp_path / "b.zarr", source_base=provider.url)
    report = other.backfill(END, client=client, now=LATE)
    assert (report.new_gaps, report.positions_after) == (0, 16)
    stored = other.store.open_dataset()
    assert np.isnan(stored.tp[6:9, :2]).all()
    assert not np.isnan(stored.tp[6:9, 2]).any()
    assert any("taken for its fill" in note for note in report.notes)


def test_a_region_of_which_no_chunk_is_there_is_never_fill(tmp_path, provider, client):
    """Even where absent chunks are declared to be."""
    for path in (provider.root / "era.zarr").glob("t*/[0-9].*"):
        path.unlink()

    @dataclass(frozen=True, kw_only=True)
    class Filled(Hours):
        absent_chunks = "fill"

    dataset = dataset_at(tmp_path, provider, type("FilledJob", (Job,), {"kind": Filled}))
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.new_gaps == 4
    assert np.isnan(dataset.store.open_dataset().t2m.values).all()


@pytest.mark.parametrize("lie", ["other grid", "other units", "other time"])
def test_an_archive_that_lies_is_not_believed(tmp_path, provider, client, lie):
    """Its coordinates and units are compared as those of a file."""
    wrong = era()
    if lie == "other grid":
        wrong = era(latitude=("latitude", LATS + 5, {"units": "degrees_north"}))
    elif lie == "other units":
        wrong["t2m"].attrs["units"] = "m"
    else:
        wrong = era(time=("time", TIMES + pd.Timedelta(days=9), {"standard_name": "time"}))
    write(provider.root, wrong)
    dataset = dataset_at(tmp_path, provider)
    report = dataset.backfill(END, client=client, now=LATE)
    assert np.isnan(dataset.store.open_dataset().t2m.values).all()
    told = {"other grid": "latitude", "other units": "units", "other time": "without 2020-01-01"}
    causes = [*details(dataset), *(problem.detail for problem in report.problems)]
    assert any(told[lie] in cause for cause in causes)


def test_a_flipped_latitude_is_turned(tmp_path, provider, client):
    """The same labels in another order."""
    write(provider.root, era().isel(latitude=slice(None, None, -1)))
    dataset = dataset_at(tmp_path, provider)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.new_gaps == 0
    np.testing.assert_array_equal(dataset.store.open_dataset().t2m.values, era().t2m.values[:16])


@pytest.mark.parametrize("fault", [Status(status=503), Truncated(nbytes=10)], ids=["503", "cut"])
@pytest.mark.parametrize("what", ["era.zarr/t2m/1.0.0", "era.zarr/.zmetadata", "era.zarr/time/0"])
def test_what_does_not_arrive_is_a_failure_and_heals(tmp_path, provider, client, fault, what):
    """A chunk, the metadata or a coordinate: nothing of the region is stored, and never fill."""
    provider.inject(what, fault, times=None)
    dataset = dataset_at(tmp_path, provider)
    report = dataset.backfill(END, client=client, now=pd.Timestamp(END))
    assert not report.succeeded
    provider.clear_faults()
    again = dataset.backfill(END, client=client, now=pd.Timestamp(END))
    assert (again.succeeded, again.positions_after) == (True, 16)
    assert not np.isnan(dataset.store.open_dataset().t2m.values).any()


def test_one_fault_is_retried(tmp_path, provider, client):
    """As of any download."""
    provider.inject("era.zarr/t2m/1.0.0", Truncated(nbytes=10))
    dataset = dataset_at(tmp_path, provider)
    assert dataset.backfill(END, client=client, now=LATE).new_gaps == 0
    files = [f for r in dataset.store.tracker.all_records() for g in r.groups for f in g]
    assert {f.status for f in files} == {SourceFileStatus.SUCCEEDED}
    assert all(f.etag and f.etag.startswith('"chunks-') and f.checksum for f in files)
    assert all("#t2m&tp&time=2020-01-01T" in f.url for f in files)


# -- What the threads that fetch chunks know ------------------------------------------------------

TOKEN = "tok-5f3a9c-first"
WHOLE = Selected(arrays=("t2m", "tp"), labels={"time": slice(TIMES[0], TIMES[-1])})


def test_each_chunk_is_asked_for_with_the_credential_of_its_host(tmp_path, provider, monkeypatch):
    """By the threads that fetch chunks, and those that ask which version they are."""
    monkeypatch.setenv("EXAMPLE_TOKEN", TOKEN)
    with Guarded(provider.root, valid=[TOKEN]) as server:
        access, keeper = kept_by([BearerToken(server.url, env="EXAMPLE_TOKEN")])
        with using(access):
            remote = Remote(f"{server.url}/era.zarr", DownloadSettings(attempts=1))
            done = fetch_region(remote, WHOLE, tmp_path / "region.zip")
            assert identify_region(remote, WHOLE).etag
    assert set(server.statuses) <= {200, 404}
    assert done.nbytes
    assert keeper.rules


def test_a_mirror_that_lost_is_asked_for_no_more_chunks(tmp_path, provider):
    """Those under way end; without the race's stop all 32 would be fetched."""
    is_over = Event()

    def is_chunk(asked: Any) -> bool:
        return "/.z" not in asked.path and ("/t2m/" in asked.path or "/tp/" in asked.path)

    class Slow(Guarded):
        def file(self, asked: Any) -> Any:
            if is_chunk(asked):
                assert is_over.wait(60)
            return super().file(asked)

    ended: SimpleQueue[str] = SimpleQueue()

    def fetch(url: str) -> str:
        remote = Remote(f"{url}/era.zarr", DownloadSettings(attempts=1))
        fetch_region(remote, WHOLE, tmp_path / f"{url[-5:].strip(':')}.zip")
        return url

    with Slow(provider.root, valid=[""]) as slow, Guarded(provider.root, valid=[""]) as fast:
        asks = {one.url: partial(fetch, one.url) for one in (slow, fast)}
        assert quickest(asks, (DownloadFailed,), ended.put) == fast.url
        is_over.set()
        assert ended.get(timeout=60) == slow.url
        assert len([one for one in slow.asked if is_chunk(one)]) <= CHUNKS_AT_ONCE


# -- Icechunk -------------------------------------------------------------------------------------


def commit(repository: Any, ds: xr.Dataset, message: str, **how: Any) -> None:
    """Write to a repository as its owner does."""
    session = repository.writable_session("main")
    ds.to_zarr(session.store, zarr_format=3, consolidated=False, **how)
    session.commit(message)


def test_an_array_that_is_renamed_stops_no_other_variable(tmp_path, provider, client):
    """It is a gap that heals, and what was published of it stays; no run ends by it."""
    first = pd.Timestamp("2020-01-01T08:00")
    dataset = dataset_at(tmp_path, provider)
    dataset.backfill(first.isoformat(), client=client, now=first)
    write(provider.root, era().rename(t2m="2t"))
    report = dataset.reformat_operational_update(until=END, now=LATE, client=client)
    assert report.positions_after == 16, list(report.problems)
    assert any("t2m" in problem.detail for problem in report.problems)
    with dataset.store.open_dataset() as stored:
        np.testing.assert_array_equal(stored.tp.values, era().tp.values[:16])
        np.testing.assert_array_equal(stored.t2m.values[:8], era().t2m.values[:8])
        assert np.isnan(stored.t2m.values[8:]).all()
    write(provider.root, era().rename(t2m="2t", tp="rain"))
    later = LATE + pd.Timedelta(days=10)
    assert dataset.reformat_operational_update(until=END, now=later, client=client).new_gaps == 0
    write(provider.root, era())
    later += pd.Timedelta(days=10)
    dataset.reformat_operational_update(until=END, now=later, client=client)
    with dataset.store.open_dataset() as stored:
        np.testing.assert_array_equal(stored.t2m.values, era().t2m.values[:16])
    assert dataset.status(now=later).pending == 0


@pytest.mark.parametrize("where", ["local", "s3"])
def test_regions_of_an_icechunk_repository_are_read_and_revised(tmp_path, s3_server, client, where):
    """An append changes no region; a commit to a chunk remakes those that it lies in."""
    icechunk = pytest.importorskip("icechunk")
    options: dict[str, Any] = {}
    if where == "local":
        storage, store = icechunk.local_filesystem_storage(str(tmp_path / "repo")), "repo"
        base = str(tmp_path)
    else:
        options = {
            "key": s3_server.access_key,
            "secret": s3_server.secret_key,
            "endpoint_url": s3_server.endpoint_url,
            "client_kwargs": {"region_name": s3_server.region},
        }
        storage, store, base = (
            icechunk.s3_storage(
                bucket="public",
                prefix="repo",
                region=s3_server.region,
                endpoint_url=s3_server.endpoint_url,
                allow_http=True,
                force_path_style=True,
                access_key_id=s3_server.access_key,
                secret_access_key=s3_server.secret_key,
            ),
            "repo",
            "s3://public",
        )
    repository = icechunk.Repository.create(storage)
    chunks = {name: {"chunks": (CHUNK, 2, 8)} for name in era().data_vars}
    commit(repository, era(), "first", encoding=chunks)

    @dataclass(frozen=True, kw_only=True)
    class Committed(Hours):
        branch = "main"

    class IcechunkJob(Job):
        download_settings = DownloadSettings(attempts=1, s3_options=options)

        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            times = processing_region_ds.get_index("time")
            names = tuple(var.name for var in data_var_group)
            return [Committed(store=store, arrays=names, first=times[0], last=times[-1])]

    dataset = dataset_of(template=Template, job=IcechunkJob)(tmp_path / "a.zarr", source_base=base)
    now = pd.Timestamp(END)
    assert dataset.backfill(END, client=client, now=now).succeeded
    np.testing.assert_array_equal(dataset.store.open_dataset().t2m.values, era().t2m.values[:16])
    longer = era(pd.date_range("2020-01-01", periods=48, freq="h"))
    commit(repository, longer.isel(time=slice(24, 48)), "append", append_dim="time")
    assert (
        dataset.reformat_operational_update(until=END, now=now, client=client).variables_done == 0
    )
    session = repository.writable_session("main")
    zarr.open_group(session.store)["t2m"][7, 0, 0] = 999
    session.commit("revise")
    report = dataset.reformat_operational_update(until=END, now=now, client=client)
    assert report.variables_done == 4
    assert dataset.store.open_dataset().t2m[7, 0, 0] == 999


@pytest.fixture
def committed(tmp_path) -> Any:
    """A local repository of one commit."""
    icechunk = pytest.importorskip("icechunk")
    storage = icechunk.local_filesystem_storage(str(tmp_path / "repo"))
    repository = icechunk.Repository.create(storage)
    chunks = {name: {"chunks": (CHUNK, 3, 8)} for name in era().data_vars}
    commit(repository, era(), "first", encoding=chunks)
    return repository


def revise_hour(repository: Any, hour: int) -> str:
    """Commit another value for an hour; the snapshot that it follows."""
    session = repository.writable_session("main")
    zarr.open_group(session.store)["t2m"][hour, 0, 0] = 999
    before = session.snapshot_id
    session.commit("revise")
    return str(before)


def count(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[Any]:
    """Return what grows by one with each call."""
    calls: list[Any] = []
    method = getattr(owner, name)

    def counted(*args: Any, **how: Any) -> Any:
        calls.append(args)
        return method(*args, **how)

    monkeypatch.setattr(owner, name, counted)
    return calls


FIRST_HOURS = ["t2m/c/0/0/0"]


@pytest.mark.parametrize("is_collected", [False, True], ids=["expired", "collected"])
def test_of_an_expired_snapshot_nobody_knows_what_changed(
    tmp_path, committed, monkeypatch, is_collected
):
    """That is asked once for all regions that were read from it."""
    import icechunk

    from gridmill.sources.arrays.icechunk import IcechunkRemote

    first = revise_hour(committed, 20)
    second = revise_hour(committed, 20)
    now = pd.Timestamp.now("UTC").to_pydatetime()
    committed.expire_snapshots(now)
    if is_collected:
        committed.garbage_collect(now)
    remote = IcechunkRemote(str(tmp_path / "repo"), DownloadSettings(), "main")
    opened = count(monkeypatch, icechunk.Repository, "open")
    compared = count(monkeypatch, icechunk.Repository, "diff")
    for one in (first, second, "NEVER0WAS0ONE0AT0ALL", "short"):
        for _ in range(3):
            before = remote.before(f'"@{one}"')
            assert before is None or remote.has_changed(before, ["t2m"], FIRST_HOURS)
    assert (len(opened), len(compared)) == (4, 0 if is_collected else 2)


def test_what_changed_is_compared_once_for_all_regions(tmp_path, committed, monkeypatch):
    """Some snapshots are kept open, and more of them are opened again."""
    import icechunk

    from gridmill.sources.arrays.icechunk import MOST_EARLIER, IcechunkRemote

    earlier = [revise_hour(committed, 20) for _ in range(MOST_EARLIER + 2)]
    remote = IcechunkRemote(str(tmp_path / "repo"), DownloadSettings(), "main")
    opened = count(monkeypatch, icechunk.Repository, "open")
    compared = count(monkeypatch, icechunk.Repository, "diff")
    for one in earlier:
        for _ in range(3):
            before = remote.before(f'"@{one}"')
            assert before.snapshot == one
            assert not remote.has_changed(before, ["t2m"], FIRST_HOURS)
            assert remote.has_changed(before, ["t2m"], ["t2m/c/6/0/0"])
    assert (len(opened), len(compared)) == (len(earlier), len(earlier))
    assert remote.before(f'"@{earlier[0]}"').snapshot == earlier[0]
    assert len(opened) == len(earlier) + 1


def test_while_a_repository_is_away_nothing_is_told_to_have_changed(tmp_path, committed):
    """It cannot be asked, which is no answer, and not kept for one."""
    from gridmill.sources.arrays.icechunk import IcechunkRemote

    place, away = tmp_path / "repo", tmp_path / "away"
    etag = f'"@{revise_hour(committed, 20)}"'
    remote = IcechunkRemote(str(place), DownloadSettings(), "main")
    place.rename(away)
    with pytest.raises(DownloadFailed):
        remote.before(etag)
    away.rename(place)
    before = remote.before(etag)
    place.rename(away)
    with pytest.raises(DownloadFailed):
        remote.has_changed(before, ["t2m"], FIRST_HOURS)
    away.rename(place)
    assert not remote.has_changed(before, ["t2m"], FIRST_HOURS)


def test_while_keys_are_refused_nothing_is_told_to_have_changed(tmp_path, s3_server, owned):
    """Icechunk itself says then that there is no such snapshot."""
    from gridmill.sources.arrays.icechunk import IcechunkRemote

    right = {"AccessKeyId": s3_server.access_key, "SecretAccessKey": s3_server.secret_key}
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(right))
    access, keeper = kept_by([S3Access("s3://owned", command=("cat", str(path)))])
    with using(access):
        remote = IcechunkRemote(owned, of_nobody(s3_server.endpoint_url), "main")
        secret = keeper.secret(0, owned)
        wrong = {**right, "SecretAccessKey": "long-gone"}
        path.write_text(json.dumps(wrong))
        secret.value = json.dumps({**wrong, "SessionToken": None})
        with pytest.raises(DownloadFailed):
            remote.before('"@NEVER0WAS0ONE0AT0ALL"')


class Valid(ArrayRegionJob[DataVar, Hours]):
    """A source file a region, of a repository that says how far it is final."""

    publication_delay = timedelta(hours=2)

    def why_provisional(self, coord, attributes):
        """Read an attribute."""
        is_final = coord.last <= pd.Timestamp(attributes["final_until"])
        return None if is_final else f"final until {attributes['final_until']}"

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give the region."""

        @dataclass(frozen=True, kw_only=True)
        class Committed(Hours):
            branch = "main"

        times = processing_region_ds.get_index("time")
        names = tuple(var.name for var in data_var_group)
        return [Committed(store="repo", arrays=names, first=times[0], last=times[-1])]


def rescale(group: zarr.Group) -> None:
    """Correct a scale factor that was wrong, as a provider does."""
    group["t2m"].attrs["scale_factor"] = 2.0


def shift(group: zarr.Group) -> None:
    """Correct an offset that was wrong."""
    group["t2m"].attrs["add_offset"] = 1.0


def rename_units(group: zarr.Group) -> None:
    """Correct units that were wrong."""
    group["t2m"].attrs["units"] = "mK"


def roll_times(group: zarr.Group) -> None:
    """Correct an axis that was an hour late: other chunks are meant."""
    group["time"][:] = group["time"][:] - 1


def finish(group: zarr.Group) -> None:
    """Say that the third region is final."""
    group.attrs["final_until"] = "2020-01-01T11:00"


def note(group: zarr.Group) -> None:
    """Say what is of no region."""
    group.attrs["history"] = "read by many"


@pytest.mark.parametrize(
    ("revise", "remade"),
    [(rescale, 8), (shift, 8), (rename_units, 8), (roll_times, 8), (finish, 2), (note, 0)],
)
def test_what_a_commit_changes_of_metadata_remakes_the_regions(tmp_path, client, revise, remade):
    """Their decoding, place or finality: no chunk of data changed."""
    icechunk = pytest.importorskip("icechunk")
    storage = icechunk.local_filesystem_storage(str(tmp_path / "repo"))
    repository = icechunk.Repository.create(storage)
    chunks = {name: {"chunks": (CHUNK, 2, 8)} for name in era().data_vars}
    provided = era().assign_attrs(final_until="2020-01-01T07:00")
    commit(repository, provided, "first", encoding=chunks)
    kind = dataset_of(template=Template, job=Valid)
    dataset = kind(tmp_path / "a.zarr", source_base=str(tmp_path))
    now = pd.Timestamp(END)
    dataset.backfill(END, client=client, now=now)
    session = repository.writable_session("main")
    revise(zarr.open_group(session.store))
    session.commit("revise")
    for expected in (remade, 0):
        report = dataset.reformat_operational_update(until=END, now=now, client=client)
        assert report.variables_done == expected
    with xr.open_zarr(repository.readonly_session("main").store, consolidated=False) as meant:
        meant = meant.t2m.sel(time=TIMES[:16]) / (1000 if revise is rename_units else 1)
        stored = dataset.store.open_dataset().t2m
        np.testing.assert_allclose(stored.values, meant.values, rtol=1e-6)


def test_labels_are_taken_of_what_is_fetched(tmp_path, provider):
    """In the archive's order; what else the source has there is left."""
    some = [-40.0, 60.0]

    class Fewer(Template):
        data_vars = tuple(
            replace(var, encoding=Encoding(chunks=(REGION, 2, 8))) for var in Template.data_vars
        )

        def dimension_coordinates(self) -> dict[str, Any]:
            """Give two latitudes of three."""
            return {"latitude": np.array(some), "longitude": LONS}

    class Picks(Job):
        selected = {"latitude": some}

    dataset = dataset_of(template=Fewer, job=Picks)(tmp_path / "a.zarr", source_base=provider.url)
    report = dataset.backfill(END, client="none", now=LATE)
    assert (report.positions_after, report.new_gaps) == (16, 0), details(dataset)
    with dataset.store.open_dataset() as ds:
        wanted = era().t2m[:16].sel(latitude=some)
        np.testing.assert_array_equal(ds.t2m, wanted)


@pytest.fixture
def owned(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository in a bucket that nobody reads without a key; where the process has none."""
    import botocore.exceptions

    pytest.importorskip("icechunk")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with suppress(botocore.exceptions.ClientError):  # another test made it
        s3_server.create_bucket("owned")
    prefix = uuid.uuid4().hex
    make_repository(s3_server, "owned", prefix)
    return f"s3://owned/{prefix}"


def make_repository(server: S3Server, bucket: str, prefix: str) -> None:
    """Commit what the provider has, as its owner."""
    import icechunk

    storage = icechunk.s3_storage(
        bucket=bucket,
        prefix=prefix,
        region=server.region,
        endpoint_url=server.endpoint_url,
        allow_http=True,
        force_path_style=True,
        access_key_id=server.access_key,
        secret_access_key=server.secret_key,
    )
    commit(icechunk.Repository.create(storage), era(), "first")


def of_nobody(endpoint: str) -> DownloadSettings:
    """Return how an endpoint is reached, without keys."""
    options = {"endpoint_url": endpoint, "anon": True, "client_kwargs": {"region_name": "x-1"}}
    return DownloadSettings(attempts=1, s3_options=options)


def region_of(url: str, settings: DownloadSettings, path: Path, rules: Sequence[Any] = ()) -> int:
    """Fetch a region of a repository with what is declared; its length in chunks' bytes."""
    from gridmill.sources.arrays.icechunk import IcechunkRemote

    access, keeper = kept_by(rules)
    with using(access):
        done = fetch_region(IcechunkRemote(url, settings, "main"), WHOLE, path)
    assert keeper.rules == tuple(rules)
    return done.file_nbytes or 0


@pytest.mark.parametrize("where", ["variables", "command", "profile", "settings"])
def test_a_repository_is_read_with_the_keys_of_its_bucket(
    tmp_path, s3_server, owned, monkeypatch, where
):
    """Those that are declared, before what the settings say of who asks; or of their profile."""
    monkeypatch.setenv("THEIR_ID", s3_server.access_key)
    monkeypatch.setenv("THEIR_SECRET", s3_server.secret_key)
    (tmp_path / "aws").write_text(
        f"[theirs]\naws_access_key_id = {s3_server.access_key}\n"
        f"aws_secret_access_key = {s3_server.secret_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws"))
    keys = {"AccessKeyId": s3_server.access_key, "SecretAccessKey": s3_server.secret_key}
    rules = {
        "variables": [S3Access("s3://owned", env=("THEIR_ID", "THEIR_SECRET"))],
        "command": [S3Access("s3://owned", command=("echo", json.dumps(keys)))],
        "profile": [S3Access("s3://owned", profile="theirs")],
        "settings": [],
    }[where]
    settings = of_nobody(s3_server.endpoint_url)
    if where == "settings":
        options = {k: v for k, v in settings.s3_options.items() if k != "anon"}
        settings = replace(settings, s3_options={**options, "profile": "theirs"})
    assert region_of(owned, settings, tmp_path / "r.zip", rules)


def test_a_repository_that_nobody_may_read_fails(tmp_path, s3_server, owned):
    """So that the tests beside it prove something."""
    with pytest.raises(DownloadFailed, match="IcechunkError"):
        region_of(owned, of_nobody(s3_server.endpoint_url), tmp_path / "r.zip")


def test_refused_keys_of_a_repository_are_renewed(tmp_path, s3_server, owned):
    """The command is called again, as for a file; Icechunk itself does not tell a refusal."""
    count = tmp_path / "count"
    wrong = {"AccessKeyId": s3_server.access_key, "SecretAccessKey": "long-gone"}
    right = {"AccessKeyId": s3_server.access_key, "SecretAccessKey": s3_server.secret_key}
    (tmp_path / "keys.py").write_text(
        f"import json, pathlib\ncount = pathlib.Path({str(count)!r})\n"
        f"print(json.dumps({right!r} if count.exists() else {wrong!r}))\ncount.touch()\n"
    )
    rules = [S3Access("s3://owned", command=(sys.executable, str(tmp_path / "keys.py")))]
    settings = of_nobody(s3_server.endpoint_url)
    assert region_of(owned, settings, tmp_path / "r.zip", rules)


def test_keys_that_expire_while_a_region_is_read_are_renewed(tmp_path, s3_server, owned):
    """The rest comes with the new ones, of the same snapshot."""
    from gridmill.sources.arrays.icechunk import IcechunkRemote

    before = {"AccessKeyId": "gridmill-early", "SecretAccessKey": "until-then"}
    after = {"AccessKeyId": s3_server.access_key, "SecretAccessKey": s3_server.secret_key}
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(after))
    access, keeper = kept_by([S3Access("s3://owned", command=("cat", str(path)))])
    with using(access):
        remote = IcechunkRemote(owned, of_nobody(s3_server.endpoint_url), "main")
        snapshot = remote.snapshot
        # As if they were refused from now on.
        secret = keeper.secret(0, owned)
        secret.value, secret.is_good = json.dumps({**before, "SessionToken": None}), True
        assert fetch_region(remote, WHOLE, tmp_path / "r.zip").file_nbytes
    assert remote.snapshot == snapshot
    assert keeper.secret(0, owned).version == secret.version + 1


def test_wrong_keys_of_a_repository_are_one_error(tmp_path, s3_server, owned, monkeypatch):
    """It names the bucket and the variables, and no key."""
    monkeypatch.setenv("THEIR_ID", s3_server.access_key)
    monkeypatch.setenv("THEIR_SECRET", "hush-hush")
    rules = [S3Access("s3://owned", env=("THEIR_ID", "THEIR_SECRET"))]
    with pytest.raises(DownloadFailed, match="from s3://owned: the access key from the") as caught:
        region_of(owned, of_nobody(s3_server.endpoint_url), tmp_path / "r.zip", rules)
    assert "THEIR_SECRET is refused; put a valid one there" in str(caught.value)
    assert "hush" not in repr(caught.value)


def test_what_icechunk_says_is_shown_and_sent_without_credentials(tmp_path, monkeypatch):
    """Nor does a traceback show what was raised before, nor what Dask sends of it."""
    icechunk = pytest.importorskip("icechunk")

    def fail(storage: Any) -> None:
        raise icechunk.IcechunkError("GET https://b.example.org/x?X-Amz-Signature=SECRETSIG")

    monkeypatch.setattr(icechunk.Repository, "open", fail)
    with pytest.raises(DownloadFailed, match="IcechunkError: GET") as caught:
        region_of(str(tmp_path), DownloadSettings(attempts=1), tmp_path / "r.zip")
    assert "SECRETSIG" not in "".join(traceback.format_exception(caught.value))
    assert b"SECRETSIG" not in pickle.dumps(error_message(caught.value))


def test_that_the_requester_pays_is_said_for_a_repository_too(tmp_path, monkeypatch):
    """Where it is declared of its bucket; at the endpoint that the environment names."""
    icechunk = pytest.importorskip("icechunk")
    storage = icechunk.local_filesystem_storage(str(tmp_path / "pays" / "repo"))
    commit(icechunk.Repository.create(storage), era(), "first")

    class Paid(Guarded):
        def file(self, asked: Any) -> Any:
            status, _, body = super().file(asked)
            lacks = b"<Error><Code>NoSuchKey</Code></Error>"
            return (200, {"ETag": '"1"'}, body) if status == 200 else (404, {}, lacks)

    with Paid(tmp_path, "header", ["requester"], name="x-amz-request-payer") as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        options = {"anon": True, "client_kwargs": {"region_name": "x-1"}}
        settings = DownloadSettings(attempts=1, s3_options=options)
        rules = [S3Access("s3://pays", requester_pays=True)]
        assert region_of("s3://pays/repo", settings, tmp_path / "r.zip", rules)
        with pytest.raises(DownloadFailed):
            region_of("s3://pays/repo", settings, tmp_path / "s.zip")
