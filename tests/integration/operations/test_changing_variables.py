"""Variables come, go and are renamed: beside updates, and whatever dies at whatever step."""

from __future__ import annotations

import importlib
import shutil
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from click.testing import CliRunner

import changing
import scenes
from changing import (
    BEFORE,
    ChangingJob,
    dataset,
    declared,
    killed_at_every_step,
    provide,
    static_var,
)
from gridmill.cli import cli
from gridmill.operations.axis.reindex import reindex
from gridmill.operations.history.feed import read_feed
from gridmill.operations.history.history import read_history
from gridmill.operations.migrate import migrate_metadata
from gridmill.operations.truncate import truncate
from gridmill.operations.variables import renaming
from gridmill.operations.variables.removing import check_removal, remove_variables
from gridmill.operations.variables.renaming import rename_variables
from gridmill.runs.additions import addition
from gridmill.runs.additions.showing import nobody_at_work
from gridmill.stores.icechunk.store import IcechunkStore
from gridmill.stores.state.leases import Lease
from gridmill.testing import S3Server
from quirky_s3 import QuirkyS3, as_aws
from scenes import scene, scenes_of
from steps import PATIENCE_S, meanwhile, wait_until
from tiny import hours, snapshot, tiny_var, until, url_of, values_at

ADDED = (*BEFORE, tiny_var("c", 2), static_var())
RENAMED = (BEFORE[0], tiny_var("new", 1, previously="b"))
NOW = scene(200)
NUMBERS = {"a": 0, "b": 1, "c": 2, "s": 0, "new": 1}


@pytest.fixture(params=["a.zarr", "a.icechunk"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Place of an archive of six positions with a replica, which has two variables."""
    provide(tmp_path / "provider", 12)
    where = {
        "store": str(tmp_path / request.param),
        "source_base": str(tmp_path / "provider"),
        "replicas": [str(tmp_path / "replica.zarr")],
    }
    assert dataset(BEFORE, where).backfill(until(6), client="none", now=until(6)).succeeded
    return where


def assert_readers_see(ds: Any, names: str, positions: int) -> None:
    """Compare what readers of an archive and its replicas see with the truth."""
    for store in (ds.store, *ds.replicas):
        with store.open_dataset(chunks=None) as opened:
            assert set(opened.data_vars) == set(names.split()), store.url
            assert opened.sizes["time"] == positions
            assert changing.wrong_with(opened, NUMBERS) is None


@pytest.mark.parametrize(
    ("scenario", "kind", "every"),
    [
        ("add", "zarr", 2),
        ("add", "icechunk", 5),
        ("add", "icechunk zarr", 9),
        ("remove", "zarr icechunk", 9),
        ("rename", "zarr", 7),
        ("rename", "icechunk zarr", 11),
        ("rename-and-keep", "icechunk", 7),
    ],
)
def test_nobody_sees_what_died(scenario: str, kind: str, every: int, tmp_path: Path) -> None:
    """Killed at any step: readers see whole variables meanwhile, and the same call completes it."""
    found = killed_at_every_step(scenario, tmp_path, kind, every=every)
    assert found["wrong"] == {}
    assert found["steps"] > every
    assert found["looks"] > found["steps"] / every


@pytest.mark.parametrize(
    ("scenario", "kind", "every"),
    [
        ("add", "zarr", 13),
        ("add", "icechunk zarr", 17),
        ("remove", "zarr", 11),
        ("remove", "zarr zarr", 13),
        ("rename", "zarr", 17),
        ("rename", "zarr zarr", 19),
    ],
)
def test_nobody_sees_what_died_in_a_bucket(
    scenario: str, kind: str, every: int, tmp_path: Path, s3_server: S3Server
) -> None:
    """The same holds there, also with a replica."""
    endpoint = {"bucket": "public", "storage_options": s3_server.storage_options}
    found = killed_at_every_step(scenario, tmp_path, kind, endpoint=endpoint, every=every)
    assert found["wrong"] == {}
    assert found["steps"] > every


# -- requests for records ---------------------------------------------------------------------


def of_a_region(asked: list[tuple[str, str]], number: int) -> Counter[str]:
    """Count the GETs of the record of a region, and of the one kept apart, by its folder."""
    keys = [key for _, key in asked if key.endswith(f"regions/{4 * number:010d}.json")]
    return Counter("adding" if "/adding/" in key else "" for key in keys)


def test_records_are_asked_for_few_times(tmp_path: Path) -> None:
    """As a variable is added: once to make it, to judge it, to record it, to show it, to forget."""
    provide(tmp_path / "provider", 12)
    with QuirkyS3(as_aws) as server:
        where = {
            "store": "s3://bucket/a.zarr",
            "source_base": str(tmp_path / "provider"),
            "storage_options": server.storage_options,
        }
        few = {"client": "none", "now": until(12)}
        assert dataset(BEFORE, where).backfill(until(12), **few).succeeded
        server.asked.clear()
        added = dataset(ADDED, where).backfill(until(12), variables=["c", "s"], **few)
        assert added.stops_because is None
        assert [of_a_region(server.asked, i) for i in range(3)] == [{"adding": 4, "": 3}] * 3
        server.asked.clear()
        remove_variables(dataset(BEFORE, where), ["c"], grace_s=0, now=until(12))
        assert [of_a_region(server.asked, i) for i in range(3)] == [{"": 1}] * 3
        assert_readers_see(dataset(BEFORE, where), "a b s", 12)


# -- adding -----------------------------------------------------------------------------------


class Held(ChangingJob):
    """Waits before it reads the added variable, until it is let on."""

    may_go: ClassVar = threading.Event()
    waits: ClassVar = threading.Event()

    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Read one of the file's arrays, later."""
        if data_var.name == "c":
            self.waits.set()
            assert self.may_go.wait(PATIENCE_S)
        return super().read_data(coord, data_var)


def test_updates_go_on_while_a_variable_is_added(where: dict[str, Any]) -> None:
    """They write the very regions; what they publish meanwhile is made before it is shown.

    What was described otherwise meanwhile stays so.
    """
    Held.may_go.clear()
    Held.waits.clear()
    adding = dataset(ADDED, where, Held)

    def add() -> Any:
        return adding.backfill(until(6), variables=["c", "s"], client="none", now=until(6))

    with meanwhile(add) as added:
        wait_until(Held.waits.is_set)
        for positions in (7, 9):
            report = dataset(ADDED, where).reformat_operational_update(
                client="none", now=until(positions)
            )
            assert report.succeeded
            assert_readers_see(dataset(ADDED, where), "a b", positions)
        attributes = {**adding.declared.dataset_attributes, "title": "Neat"}
        described = declared(ADDED, dataset_attributes=attributes)(**where)
        migrate_metadata(described, who="me", now=until(9))
        assert not added.done()
        Held.may_go.set()
    assert added.result().stops_because is None
    assert added.result().notes[-1] == "added c, s"
    assert_readers_see(dataset(ADDED, where), "a b c s", 9)
    for store in (adding.store, *adding.replicas):
        assert store.open_dataset(chunks=None).attrs["title"] == "Neat"
    update = dataset(ADDED, where).reformat_operational_update(client="none", now=until(12))
    assert update.succeeded
    assert_readers_see(dataset(ADDED, where), "a b c s", 12)


def test_what_is_published_in_the_last_moment_is_made_before_it_is_shown(
    where: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Updates may publish after the last look, until none is at work."""
    begins = [10, 7]

    def after_an_update(state: Any, run: str) -> Any:
        if begins:
            other = dataset(BEFORE, where)
            assert other.reformat_operational_update(
                client="none", now=until(begins.pop())
            ).succeeded
        return nobody_at_work(state, run)

    monkeypatch.setattr(addition, "nobody_at_work", after_an_update)
    adding = dataset(ADDED, where)
    added = adding.backfill(until(6), variables=["c", "s"], client="none", now=until(6))
    assert added.stops_because is None
    assert begins == []
    assert_readers_see(dataset(ADDED, where), "a b c s", 10)


def test_a_second_addition_is_told_who_adds(where: dict[str, Any]) -> None:
    """It waits for nobody: the first may take weeks."""
    Held.may_go.clear()
    Held.waits.clear()

    def add() -> Any:
        of = dataset(ADDED, where, Held)
        return of.backfill(until(6), variables=["c"], client="none", now=until(6))

    with meanwhile(add):
        wait_until(Held.waits.is_set)
        with pytest.raises(RuntimeError, match="is held by the backfill"):
            dataset(ADDED, where).backfill(until(6), variables=["s"], client="none", now=until(6))
        Held.may_go.set()
    assert_readers_see(dataset(ADDED, where), "a b c", 6)


def test_a_replica_that_was_away_gets_the_variable_later(
    where: dict[str, Any], tmp_path: Path
) -> None:
    """The next update with it copies what it lacks, and shows it whole."""
    alone = {**where, "replicas": []}
    report = dataset(ADDED, alone).backfill(until(6), variables=["c"], client="none", now=until(6))
    assert report.stops_because is None
    report = dataset(ADDED, where).reformat_operational_update(client="none", now=until(7))
    assert [replica.failure for replica in report.replicas] == [None]
    assert_readers_see(dataset(ADDED, where), "a b c", 7)


# -- what the code no longer declares ----------------------------------------------------------


def test_a_variable_that_the_code_drops_stays(where: dict[str, Any]) -> None:
    """Updates go on and name it; its values stay, and later positions lack it."""
    report = dataset(BEFORE[:1], where).reformat_operational_update(client="none", now=until(10))
    assert report.succeeded
    assert [note for note in report.notes if "no longer declares b" in note]
    for store in (dataset(BEFORE[:1], where).store, *dataset(BEFORE[:1], where).replicas):
        with store.open_dataset(chunks=None) as opened:
            assert opened.sizes["time"] == 10
            assert changing.wrong_with(opened[["a"]], NUMBERS) is None
            assert changing.wrong_with(opened[["b"]].isel(time=slice(0, 6)), NUMBERS) is None
            assert np.isnan(opened["b"].values[6:]).all()
    # Where it is declared again it is filled where it lacks.
    report = dataset(BEFORE, where).backfill(until(10), client="none", now=until(10))
    assert report.succeeded
    assert_readers_see(dataset(BEFORE, where), "a b", 10)


class Whole(ChangingJob):
    """Gives whole numbers."""

    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Read one of the file's arrays, in hundredths."""
        return (100 * super().read_data(coord, data_var)).round()


@pytest.mark.parametrize("kind", ["zarr", "icechunk"])
def test_it_is_said_where_readers_would_take_what_is_missing_for_a_value(
    tmp_path: Path, kind: str
) -> None:
    """Where nothing says missing in what the code drops."""
    provide(tmp_path / "provider", 12)
    where = {"store": str(tmp_path / f"a.{kind}"), "source_base": str(tmp_path / "provider")}
    counts = replace(BEFORE[1], encoding=replace(BEFORE[1].encoding, dtype="int16"))
    before = (BEFORE[0], counts)
    assert dataset(before, where, Whole).backfill(until(6), client="none", now=until(6)).succeeded
    ds = dataset(BEFORE[:1], where)
    report = ds.reformat_operational_update(client="none", now=until(10))
    assert [note for note in report.notes if "nothing says missing in b: readers see 0" in note]
    assert (ds.store.open_dataset(chunks=None)["b"][6:] == 0).all()


@pytest.mark.parametrize("length", [2, 5])
def test_no_object_of_a_variable_that_the_code_drops_is_cut(
    where: dict[str, Any], tmp_path: Path, length: int
) -> None:
    """What it holds beyond would come back; it can where its objects end, or it has none."""
    ds = dataset(BEFORE[:1], where)
    assert ds.reformat_operational_update(client="none", now=until(10)).succeeded
    before = {k: v for k, v in snapshot(tmp_path).items() if "/leases/" not in k}
    refused = r"no longer declares b.*--end 2020-01-01T04:00.* remove-variable b; nothing was"
    with pytest.raises(ValueError, match=refused):
        truncate(ds, until(length), now=until(10))
    assert {k: v for k, v in snapshot(tmp_path).items() if "/leases/" not in k} == before
    for cut in (9, 4):
        truncate(ds, until(cut), now=until(10))
        assert ds.reformat_operational_update(client="none", now=until(10)).succeeded
        for store in (ds.store, *ds.replicas):
            with store.open_dataset(chunks=None) as opened:
                assert opened.sizes["time"] == 10
                there = np.flatnonzero(~np.isnan(opened["b"].values).any((1, 2)))
                assert list(there) == list(range(min(cut, 6)))
                assert changing.wrong_with(opened[["b"]].isel(time=there), NUMBERS) is None


def test_it_is_removed_by_a_command(where: dict[str, Any], tmp_path: Path) -> None:
    """From the archive, its replicas and the records; a run finds nothing to do."""
    ds = dataset(BEFORE[:1], where)
    report = remove_variables(ds, ["b"], grace_s=0, now=until(6))
    assert report.succeeded
    assert "removed b" in report.notes[-1]
    assert_readers_see(ds, "a", 6)
    assert not any(key.startswith("b/") for key in snapshot(tmp_path / "replica.zarr"))
    assert {n for record in ds.store.progress() for n in record.variables} == {"a"}
    assert ds.backfill(until(6), client="none", now=until(6)).variables_done == 0
    assert ds.reformat_operational_update(client="none", now=until(9)).succeeded
    assert_readers_see(ds, "a", 9)


def test_a_replica_that_was_away_loses_the_variable_by_the_same_command(
    where: dict[str, Any],
) -> None:
    """Until then runs leave it alone, and name the command; nothing else is removed by it."""
    alone, ds = dataset(BEFORE[:1], {**where, "replicas": []}), dataset(BEFORE[:1], where)
    assert remove_variables(alone, ["b"], grace_s=0, now=until(6)).succeeded
    report = ds.reformat_operational_update(client="none", now=until(7))
    assert "gridmill remove-variable b" in (report.replicas[0].failure or "")
    for name in ("b", "time", "row"):
        with pytest.raises(ValueError, match=f"no variable {name}"):
            remove_variables(alone, [name], grace_s=0, now=until(7))
    with pytest.raises(ValueError, match="no variable time"):
        remove_variables(ds, ["time"], grace_s=0, now=until(7))
    (replica,) = remove_variables(ds, ["b"], grace_s=0, now=until(7)).replicas
    assert replica.failure == "shows 6 of 7 positions: the next run continues it"
    assert ds.reformat_operational_update(client="none", now=until(9)).succeeded
    assert_readers_see(ds, "a", 9)
    (line,) = [one for one in ds.store.tracker.feed.since("2000-01-01T00:00:00") if one.removed]
    assert line.removed == ("b",)


def test_what_must_stay_is_not_removed(where: dict[str, Any]) -> None:
    """The line says why, and nothing changed."""
    with pytest.raises(ValueError, match="the dataset's code declares b"):
        check_removal(dataset(BEFORE, where), ["b"])
    with pytest.raises(ValueError, match="has no variable nothing to be removed; it has a, b"):
        check_removal(dataset(BEFORE, where), ["nothing"])


def test_what_makes_regions_long_is_not_removed(tmp_path: Path) -> None:
    """Its records would fit no region without it."""
    provide(tmp_path / "provider")
    where = {"store": str(tmp_path / "a.zarr"), "source_base": str(tmp_path / "provider")}
    long = replace(BEFORE[1], encoding=replace(BEFORE[1].encoding, shards=(8, 2, 3)))
    before = (BEFORE[0], long)
    assert dataset(before, where).backfill(until(6), client="none", now=until(6)).succeeded
    with pytest.raises(ValueError, match="regions of 8 positions are as long as they are because"):
        check_removal(dataset(BEFORE[:1], where), ["b"])
    report = dataset(BEFORE[:1], where).backfill(until(6), client="none", now=until(6))
    assert report.variables_done == 0


def test_the_feed_says_what_came_and_went(where: dict[str, Any]) -> None:
    """A line for what was added, renamed and removed, and from when on readers see it."""
    renamed = (*RENAMED, *ADDED[2:])
    adding = {"variables": ["c", "s"], "client": "none", "now": until(6)}
    assert dataset(ADDED, where).backfill(until(6), **adding).stops_because is None
    ds = dataset(renamed, where)
    assert rename_variables(ds, grace_s=0, now=until(6)).succeeded
    without = (*renamed[:2], *renamed[3:])
    assert remove_variables(dataset(without, where), ["c"], grace_s=0, now=until(6)).succeeded
    lines = list(read_feed(dataset(without, where), datetime.now(UTC) - timedelta(days=1)))
    came = [line for line in lines if line.added or line.removed]
    told = [(line.added, line.removed) for line in came]
    came_and_went = [(("c", "s"), ()), (("new",), ()), ((), ("b",)), ((), ("c",))]
    assert told in (came_and_went, [came_and_went[0], (("new",), ("b",)), came_and_went[3]])
    assert {(line.before, line.after) for line in came} == {(6, 6)}
    history = read_history(ds, until(3), ["new"], now=until(6))
    assert [place.visible.is_published for place in history.places] == [True]


# -- another name -----------------------------------------------------------------------------


def test_a_rename_asks_no_provider(where: dict[str, Any], tmp_path: Path) -> None:
    """Values and records follow by copies; updates go on by the former name until then."""
    ds = dataset(RENAMED, where)
    report = ds.reformat_operational_update(client="none", now=until(7))
    assert report.succeeded
    assert [note for note in report.notes if "calls new b" in note]
    assert_readers_see(ds, "a b", 7)
    (tmp_path / "provider").rename(tmp_path / "away")
    report = rename_variables(ds, grace_s=0, who="me", now=until(7))
    assert report.succeeded
    assert "me renamed b to new" in report.notes
    assert_readers_see(ds, "a new", 7)
    again = ds.backfill(until(7), client="none", now=until(7))
    assert (again.variables_done, again.succeeded) == (0, True)
    (tmp_path / "away").rename(tmp_path / "provider")
    assert ds.reformat_operational_update(client="none", now=until(12)).succeeded
    assert_readers_see(ds, "a new", 12)


def test_what_is_known_to_be_lost_stays_known_by_the_new_name(where: dict[str, Any]) -> None:
    """Objects that were gone as a region was made are named as readers find them from then on."""
    ds = dataset(RENAMED, where)
    for store in (ds.store, *ds.replicas):
        record = next(store.tracker.records())
        lost = replace(record.variables["b"], holes=("b/c/9/9/9",))
        store.tracker.write(replace(record, variables={**record.variables, "b": lost}))
    rename_variables(ds, grace_s=0, now=until(6))
    for store in (ds.store, *ds.replicas):
        known = next(store.tracker.records()).variables
        assert known["new"].holes == ("new/c/9/9/9",)


def test_what_a_place_held_before_is_told_by_the_new_name(
    where: dict[str, Any], tmp_path: Path
) -> None:
    """Which version was replaced by which run, in each region; nothing of it by the former one."""
    revised = dataset(BEFORE, where)
    for hour in (1, 5):
        made_of = tmp_path / "provider" / url_of(hours(1, hour)[0])
        np.save(made_of, np.load(made_of) + 1)
    run = revised.backfill(until(6), client="none", now=until(6), revalidate=True).run

    def told(ds: Any, name: str) -> list[Any]:
        before = []
        for hour in (1, 5):
            (place,) = read_history(ds, until(hour), [name], now=until(6)).places
            assert [was.by for was in place.before] == [run]
            before.append(place.before)
        return before

    was = told(revised, "b")
    ds = dataset(RENAMED, where)
    assert rename_variables(ds, grace_s=0, now=until(6)).succeeded
    assert told(ds, "new") == was
    names = {n for r in ds.store.tracker.records() for was in r.history for n in was.variables}
    assert names == {"a", "new"}


@pytest.mark.parametrize("keep_until", [None, "2030-01-01"])
def test_what_no_reader_sees_yet_has_the_new_name_too(
    where: dict[str, Any], tmp_path: Path, keep_until: str | None
) -> None:
    """Regions behind one that waits are copied, and shown by the new name when it is there."""
    late = tmp_path / "provider" / url_of(hours(1, 6)[0])
    late.rename(tmp_path / "late")
    dataset(BEFORE, where).backfill(until(12), client="none", now=until(12))
    ds = dataset(RENAMED, where)
    assert_readers_see(ds, "a b", 6)
    (tmp_path / "provider").rename(tmp_path / "away")
    assert rename_variables(ds, keep_until=keep_until, grace_s=0, now=until(12)).succeeded
    (tmp_path / "away").rename(tmp_path / "provider")
    names = "a new" if keep_until is None else "a b new"
    assert_readers_see(ds, names, 6)
    (tmp_path / "late").rename(late)
    report = ds.reformat_operational_update(client="none", now=until(12))
    assert report.succeeded
    # One region lacked a file; the one behind it has all, and is not made again.
    assert report.variables_done == len(names.split())
    assert_readers_see(ds, names, 12)


def test_a_replica_that_could_not_show_the_new_name_gets_it_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the call is rerun for: what it holds is copied by the next run, and shown whole."""
    provide(tmp_path / "provider", 12)
    where = {
        "store": str(tmp_path / "a.icechunk"),
        "source_base": str(tmp_path / "provider"),
        "replicas": [str(tmp_path / "replica.icechunk")],
    }
    assert dataset(BEFORE, where).backfill(until(6), client="none", now=until(6)).succeeded
    ds = dataset(RENAMED, where)
    publish = IcechunkStore.publish

    def fails(self: Any, *args: Any, **options: Any) -> bool:
        if self.url.endswith("replica.icechunk"):
            raise OSError("no answer")
        return publish(self, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(IcechunkStore, "publish", fails)
        assert not rename_variables(ds, grace_s=0, now=until(6)).succeeded

    def seen() -> set[str]:
        with ds.replicas[0].open_dataset(chunks=None) as opened:
            assert changing.wrong_with(opened, NUMBERS) is None
            return set(opened.data_vars)

    assert seen() == {"a", "b"}
    assert rename_variables(ds, grace_s=0, now=until(6)).succeeded
    assert seen() == {"a", "new"}
    assert ds.reformat_operational_update(client="none", now=until(12)).succeeded
    assert_readers_see(ds, "a new", 12)


def test_removing_shows_nothing_of_what_a_replica_lacks(tmp_path: Path) -> None:
    """A replica that was away as a variable was added gets it whole, or not yet."""
    provide(tmp_path / "provider", 12)
    where = {"store": str(tmp_path / "a.icechunk"), "source_base": str(tmp_path / "provider")}
    both = {**where, "replicas": [str(tmp_path / "b.icechunk")]}
    assert dataset(BEFORE, both).backfill(until(6), client="none", now=until(6)).succeeded
    added = (*BEFORE, tiny_var("c", 2))
    dataset(added, where).backfill(until(6), variables=["c"], client="none", now=until(6))
    ds = dataset((added[0], added[2]), both)
    remove_variables(ds, ["b"], grace_s=0, now=until(6))
    with ds.replicas[0].open_dataset(chunks=None) as opened:
        assert set(opened.data_vars) == {"a"}
        assert changing.wrong_with(opened, NUMBERS) is None
    assert ds.reformat_operational_update(client="none", now=until(7)).succeeded
    assert_readers_see(ds, "a c", 7)


def test_uploads_that_were_copied_too_early_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gridmill once did behind a region that waits: their array became visible without them."""
    provide(tmp_path / "provider", 12)
    where = {"store": tmp_path / "a.icechunk", "source_base": str(tmp_path / "provider")}
    late = tmp_path / "provider" / url_of(hours(1, 2)[0])
    late.rename(tmp_path / "late")
    dataset(BEFORE, where).backfill(until(12), client="none", now=until(12))
    copy = renaming._copy

    def copy_all(archive: Any, store: Any, *rest: Any, **options: Any) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(type(store), "published_length", lambda self, dim: 12)
            copy(archive, store, *rest, **options)

    ds = dataset(RENAMED, where)
    with monkeypatch.context() as patched:
        patched.setattr(renaming, "_copy", copy_all)
        assert rename_variables(ds, grace_s=0, now=until(12)).succeeded
    (tmp_path / "late").rename(late)
    assert ds.reformat_operational_update(client="none", now=until(12)).succeeded
    assert_readers_see(ds, "a new", 12)


def test_an_archive_of_some_variables_goes_on_with_the_new_name(tmp_path: Path) -> None:
    """What was declared of it names that, or updates would leave it out."""
    provide(tmp_path / "provider")
    where = {"store": tmp_path / "a.zarr", "source_base": str(tmp_path / "provider")}
    some = {"variables": ["a", "b"], "client": "none", "now": until(6)}
    assert dataset(ADDED, where).backfill(until(6), **some).succeeded
    ds = dataset((*RENAMED, *ADDED[2:]), where)
    rename_variables(ds, grace_s=0, now=until(6))
    assert (ds.store.tracker.read_declaration() or {})["variables"] == ["a", "new"]


def test_the_former_name_stays_until_a_date(where: dict[str, Any]) -> None:
    """Updates fill both; it is not removed before, unless by force."""
    ds = dataset(RENAMED, where)
    assert rename_variables(ds, keep_until="2020-02-01", now=until(6)).succeeded
    assert_readers_see(ds, "a b new", 6)
    assert ds.reformat_operational_update(client="none", now=until(9)).succeeded
    assert_readers_see(ds, "a b new", 9)
    with pytest.raises(ValueError, match="b is kept for readers until 2020-02-01"):
        check_removal(ds, ["b"], now=until(9))
    assert remove_variables(ds, ["b"], grace_s=0, now="2020-02-02").succeeded
    assert_readers_see(ds, "a new", 9)


def test_a_rename_waits_for_a_run(where: dict[str, Any]) -> None:
    """A run that began with the former name ends with it; what it published is shown, too."""
    ds = dataset(RENAMED, where)
    kept = ds.store.tracker.adding

    def rename() -> Any:
        return rename_variables(ds, grace_s=0, now=until(6))

    with Lease(ds.store.state, run="other", kind="update", positions=[(100, 104)]):
        # In a thread, which goes on as soon as the lease is given back.
        thread = threading.Thread(target=rename, daemon=True)
        thread.start()
        wait_until(lambda: len(list(kept.all_records())) == 2)
        other = dataset(BEFORE, where)
        assert other.reformat_operational_update(client="none", now=until(10)).succeeded
        assert_readers_see(ds, "a b", 10)
    thread.join(PATIENCE_S)
    assert_readers_see(ds, "a new", 10)


def test_labels_that_came_late_during_a_rename_are_those_of_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They move what was copied: no value is shown under another's label."""
    provider = scenes.Provider(tmp_path / "source")
    provider.publish(*(scene(minutes) for minutes in (0, 10, 20, 40, 50, 60)))
    scenes_of(tmp_path, "icechunk").backfill(NOW.isoformat(), client="none", now=NOW)
    new = replace(tiny_var("b", 1), name="new", previously="b")
    others = [var for var in scenes.Frozen.data_vars if var.name != "b"]
    template = type("Renamed", (scenes.Frozen,), {"data_vars": (*others, new)})
    ds = scenes_of(
        tmp_path, "icechunk", type("Renamed", (scenes.Scenes,), {"template_config": template})
    )
    copy_all = renaming._copy_all

    def copy_and_reindex(*args: Any) -> None:
        copy_all(*args)
        provider.publish(scene(30))
        reindex(scenes_of(tmp_path, "icechunk"), who="me", now=NOW)

    monkeypatch.setattr(renaming, "_copy_all", copy_and_reindex)
    rename_variables(ds, keep_until="2030-01-01", now=NOW)
    truth = late_truth_of(ds)
    truth[3] = np.nan  # the next update fills it
    for name in ("b", "new"):
        np.testing.assert_array_equal(ds.store.open_dataset(chunks=None)[name], truth)


def late_truth_of(ds: Any) -> np.ndarray:
    """Give what its variable b is to hold, once readers see the labels with the late one."""
    labels = [scene(minutes) for minutes in (0, 10, 20, 30, 40, 50, 60)]
    assert list(ds.store.open_dataset(chunks=None).get_index("time")) == labels
    return np.stack([values_at(label)[1] for label in labels])


class LateJob(scenes.SceneJob):
    """Something is done in the moment in which it first reads the added variable."""

    meanwhile: ClassVar[list[Any]] = []

    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Read one of the file's arrays, afterwards."""
        if data_var.name == "b" and self.meanwhile:
            self.meanwhile.pop()()
        return super().read_data(coord, data_var)


def test_labels_that_came_late_while_a_variable_is_added_are_those_of_what_is_shown(
    tmp_path: Path,
) -> None:
    """What was made with the labels from before is not shown: the next run makes it again."""
    provider = scenes.Provider(tmp_path / "source")
    provider.publish(*(scene(minutes) for minutes in (0, 10, 20, 40, 50, 60)))
    few = {"client": "none", "now": NOW}
    scenes_of(tmp_path, "icechunk").backfill(NOW.isoformat(), variables=["a"], **few)

    provider.publish(scene(70), scene(80))

    def take_in() -> None:
        provider.publish(scene(30))
        reindex(scenes_of(tmp_path, "icechunk"), who="me", now=NOW)

    LateJob.meanwhile.append(take_in)
    held = type("Held", (scenes.Scenes,), {"region_job": LateJob})
    adding = scenes_of(tmp_path, "icechunk", held)
    stopped = adding.backfill(NOW.isoformat(), variables=["b"], **few)
    assert stopped.stops_because is not None
    assert not LateJob.meanwhile
    assert set(adding.store.open_dataset(chunks=None).data_vars) == {"a"}
    again = scenes_of(tmp_path, "icechunk").backfill(NOW.isoformat(), variables=["b"], **few)
    assert again.stops_because is None
    shown = adding.store.open_dataset(chunks=None)
    np.testing.assert_array_equal(shown["b"], late_truth_of(adding))


RELEASE = """
from datetime import timedelta
import numpy as np
from changing import ChangingJob, declared
from tiny import tiny_var

class Job(ChangingJob):
    publication_delay = timedelta(0)

    def read_data(self, coord, data_var):
        with np.load(coord.downloaded_path) as file:
            name = next((name for name in data_var.names_in_source if name in file), None)
            if name is None:
                raise ValueError(f"no {data_var.name}")
            return file[name]

Dataset = declared((tiny_var("a", 0, aliases=ALIASES), tiny_var("b", 1)), Job)
"""


def test_a_new_alias_heals_what_is_pending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider called the variable otherwise from a Tuesday on."""
    monkeypatch.syspath_prepend(tmp_path)
    for label in hours(8):
        path = tmp_path / "provider" / url_of(label)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            name = "a" if label < hours(6)[5] else "other"
            np.savez(file, **{name: values_at(label)[0], "b": values_at(label)[1]})
    for number, aliases in ((1, ()), (2, ("another", "other"))):
        text = RELEASE.replace("ALIASES", repr(aliases))
        (tmp_path / f"aliased_{number}.py").write_text(text)
    place = {"store": str(tmp_path / "a.zarr"), "source_base": str(tmp_path / "provider")}
    first = importlib.import_module("aliased_1").Dataset(**place)
    first.backfill(until(8), client="none", now=until(9))
    with first.store.open_dataset(chunks=None) as opened:
        assert opened.sizes["time"] == 8
        assert np.isnan(opened["a"].values[5:]).all()
    assert first.status(now=until(9)).pending == 3
    second = importlib.import_module("aliased_2").Dataset(**place)
    report = second.reformat_operational_update(until=until(8), client="none", now=until(9))
    assert report.succeeded
    assert_readers_see(second, "a b", 8)
    assert second.status(now=until(9)).pending == 0


# -- the command line -------------------------------------------------------------------------


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rename and a removal as an operator does them."""
    provide(tmp_path / "provider")
    (tmp_path / "release_1.py").write_text(
        "from changing import BEFORE, declared\nDataset = declared(BEFORE)\n"
    )
    (tmp_path / "release_2.py").write_text(
        "from changing import declared\nfrom tiny import tiny_var\n"
        "Dataset = declared((tiny_var('new', 1, previously='b'),))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Any:
        given = ["--store", "a.zarr", "--source-base", "provider", "--now", until(6)]
        return CliRunner().invoke(cli, [*arguments[:2], *given, *arguments[2:]])

    done = run("backfill", "release_1:Dataset", "--until", until(6), "--cluster", "none")
    assert done.exit_code == 0, done.output
    asked = run("migrate-metadata", "release_2:Dataset")
    assert "Rename b to new, and delete the former b, in " in asked.stderr
    asked = run("migrate-metadata", "release_2:Dataset", "--keep-until", "2020-02-01")
    assert "Rename b to new, and keep the former b until 2020-02-01, in " in asked.stderr
    done = run("migrate-metadata", "release_2:Dataset", "--keep-until", "2020-02-01", "--yes")
    assert "renamed b to new" in done.output
    done = run("remove-variable", "release_2:Dataset", "b", "--yes")
    assert (done.exit_code, "kept for readers until" in done.output) == (2, True)
    done = run("remove-variable", "release_2:Dataset", "a", "b", "--force", "--yes", "--grace", "0")
    assert done.exit_code == 0, done.output
    shutil.rmtree(tmp_path / "provider")
    ds = changing.declared((tiny_var("new", 1),))(tmp_path / "a.zarr")
    assert_readers_see(ds, "new", 6)
