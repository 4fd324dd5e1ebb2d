"""Variables that get another name where they are: no object is read or written for it.

What moves arrays is Icechunk 2, in its format 2 (`make test-icechunk2`).
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr

import changing
from changing import (
    BEFORE,
    RENAMED,
    dataset,
    declared,
    provide,
    rename_in,
    renamed_in,
    static_var,
)
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Completeness
from gridmill.operations.history.history import read_history
from gridmill.operations.statistics.gathering import read_statistics
from gridmill.operations.variables import renaming
from gridmill.operations.variables.removing import remove_variables
from gridmill.operations.variables.renaming import rename_variables
from gridmill.stores.icechunk.publication import PublishConflict
from gridmill.stores.icechunk.store import IcechunkStore
from killed_steps import Attempts, Readers
from tiny import TinyTemplate, hours, tiny_var, until, url_of

pytestmark = pytest.mark.skipif(
    not hasattr(icechunk.Session, "move"), reason="Icechunk 2 moves arrays: make test-icechunk2"
)
NUMBERS = {"a": 0, "b": 1, "new": 1, "s": 0, "t": 0}
# Of the steps at which it is killed; from another first one on, it takes the others.
FIRST, EVERY = 2, 5
COORDS = (*TinyTemplate.coords, Completeness(dims=("time",)))


@pytest.fixture
def where(tmp_path: Path) -> dict[str, Any]:
    """Place of an archive of six positions in format 2."""
    provide(tmp_path / "provider", 12)
    where = {
        "store": str(tmp_path / "a.icechunk"),
        "source_base": str(tmp_path / "provider"),
        "format_version": 2,
    }
    assert dataset(BEFORE, where).backfill(until(6), client="none", now=until(6)).succeeded
    return where


@pytest.fixture
def touched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """List the objects of values that are read whole or written from now on."""
    keys: list[str] = []
    upload, download = IcechunkStore.upload, IcechunkStore.download

    def put(self: Any, folder: Any, given: Any, *rest: Any, **options: Any) -> Any:
        keys.extend(given := list(given))
        return upload(self, folder, given, *rest, **options)

    def get(self: Any, folder: Any, receipts: Any, *rest: Any) -> Any:
        keys.extend(receipt.key for receipt in receipts)
        return download(self, folder, receipts, *rest)

    monkeypatch.setattr(IcechunkStore, "upload", put)
    monkeypatch.setattr(IcechunkStore, "download", get)
    return keys


def assert_readers_see(ds: DynamicalDataset, names: str, positions: int) -> None:
    """Compare what readers see with the truth."""
    for store in (ds.store, *ds.replicas):
        with store.open_dataset(chunks=None) as opened:
            assert set(opened.data_vars) == set(names.split()), store.url
            assert opened.sizes["time"] == positions
            assert changing.wrong_with(opened, NUMBERS) is None


def branches_of(ds: DynamicalDataset) -> set[str]:
    """Name the branches of the archive."""
    assert isinstance(ds.store, IcechunkStore)
    return set(ds.store.repository.open().list_branches())


@pytest.mark.timeout(900)
def test_killed_at_any_step_readers_see_one_name_or_the_other(
    where: dict[str, Any], tmp_path: Path
) -> None:
    """Never both in the repository, always all values; an update goes on, the call completes it."""
    place = {**where, "replicas": [str(tmp_path / "replica.zarr")]}
    assert dataset(BEFORE, place).backfill(until(6), client="none", now=until(6)).succeeded
    number, is_done, seen = FIRST - EVERY, False, set[str]()

    def look() -> None:
        with ds.store.open_dataset(chunks=None) as opened:
            assert changing.wrong_with(opened, NUMBERS) is None
            assert "a" in opened
            assert len(opened.data_vars) == 2
            seen.update(opened.data_vars)
        with ds.replicas[0].open_dataset(chunks=None) as opened:
            assert {"a"} < set(opened.data_vars)

    with Attempts("changing:rename_in") as attempts:
        while not is_done:
            number += EVERY
            folder = tmp_path / f"step-{number}"
            for path in tmp_path.glob("[apr]*"):
                shutil.copytree(path, folder / path.name)
            ds = renamed_in(str(folder))
            with Readers(look) as readers:
                is_done = not attempts.dies_before(number, str(folder))
                if number % 2:
                    ds.reformat_operational_update(client="none", now=until(6))
                rename_in(str(folder))
            assert (readers.violations, readers.looks > 0) == ([], True)
            assert_readers_see(ds, "a new", 6)
            assert ds.backfill(until(6), client="none", now=until(6)).variables_done == 0
            assert branches_of(ds) == {"main"}
            assert not list(ds.store.tracker.adding.objects.keys())
            records = [*ds.store.tracker.all_records(), *ds.replicas[0].tracker.all_records()]
            assert {name for record in records for name in record.variables} == {"a", "new"}
            shutil.rmtree(folder)
    assert seen == {"a", "b", "new"}
    assert number > 20


def test_no_object_is_read_or_written(
    where: dict[str, Any], tmp_path: Path, touched: list[str]
) -> None:
    """No file is asked for, either, and nothing is left to do."""
    ds = dataset(RENAMED, where)
    (tmp_path / "provider").rename(tmp_path / "away")
    told = {of.name: of.statistics for of in read_statistics(ds).variables}
    report = rename_variables(ds, grace_s=0, who="me", now=until(6))
    assert report.succeeded
    assert {"me renamed b to new"} <= set(report.notes)
    assert touched == []
    assert branches_of(ds) == {"main"}
    assert_readers_see(ds, "a new", 6)
    assert {of.name: of.statistics for of in read_statistics(ds).variables} == {
        "a": told["a"],
        "new": told["b"],
    }
    again = ds.backfill(until(6), client="none", now=until(6))
    assert (again.variables_done, again.succeeded) == (0, True)
    (tmp_path / "away").rename(tmp_path / "provider")
    assert ds.reformat_operational_update(client="none", now=until(12)).succeeded
    assert_readers_see(ds, "a new", 12)


def test_its_region_is_made_again_and_versions_are_forgotten(
    where: dict[str, Any], tmp_path: Path
) -> None:
    """What is revised replaces what was moved, and nothing of it goes with earlier versions."""
    ds = dataset(RENAMED, where)
    rename_variables(ds, grace_s=0, now=until(6))
    revised = tmp_path / "provider" / url_of(hours(1, 1)[0])
    np.save(revised, np.load(revised) + 1)
    assert ds.backfill(until(6), client="none", now=until(6), revalidate=True).succeeded
    (place,) = read_history(ds, until(1), ["new"], now=until(6)).places
    assert place.before
    opened = ds.store.open_dataset(chunks=None)
    wanted = changing.truth_of(1, opened["time"].values, ("time", "y", "x"))
    wanted[1] += 1
    np.testing.assert_array_equal(opened["new"], wanted)
    soon = datetime.now(UTC) + timedelta(hours=1)
    ds.store.forget_versions(soon)
    np.testing.assert_array_equal(ds.store.open_dataset(chunks=None)["new"], wanted)
    assert ds.backfill(until(6), client="none", now=until(6)).variables_done == 0


def test_a_version_that_has_a_name_keeps_the_former_one(where: dict[str, Any]) -> None:
    """Whoever reads a tag reads what it held."""
    ds = dataset(RENAMED, where)
    ds.store.versions.tag("paper")
    rename_variables(ds, grace_s=0, now=until(6))
    assert isinstance(ds.store, IcechunkStore)
    store = ds.store.repository.open().readonly_session(tag="paper").store
    group = zarr.open_group(store, mode="r")
    assert {"a", "b"} <= set(group.array_keys())
    np.testing.assert_array_equal(group["b"][:], changing.truth_of(1, hours(6), ("time", "y", "x")))


def test_shares_and_static_variables_follow(tmp_path: Path, touched: list[str]) -> None:
    """Completeness stays what it was; a variable without the append dim moves, too."""
    provide(tmp_path / "provider", 12)
    place = {
        "store": str(tmp_path / "a.icechunk"),
        "source_base": str(tmp_path / "provider"),
        "format_version": 2,
    }
    (tmp_path / "provider" / url_of(hours(1, 4)[0])).rename(tmp_path / "late")
    before = declared((*BEFORE, static_var()), coords=COORDS)(**place)
    before.backfill(until(6), client="none", now=until(6))
    shares = before.store.open_dataset(chunks=None)["completeness"].values.tolist()
    later = (BEFORE[0], tiny_var("new", 1, previously="b"), static_var("t", previously="s"))
    ds = declared(later, coords=COORDS)(**place)
    touched.clear()
    assert rename_variables(ds, grace_s=0, now=until(6)).succeeded
    opened = ds.store.open_dataset(chunks=None)
    assert opened["completeness"].values.tolist() == shares
    assert_readers_see(ds, "a new t", opened.sizes["time"])
    assert touched == []
    (tmp_path / "late").rename(tmp_path / "provider" / url_of(hours(1, 4)[0]))
    assert ds.backfill(until(12), client="none", now=until(12)).succeeded
    assert_readers_see(ds, "a new t", 12)
    assert ds.store.open_dataset(chunks=None)["completeness"].values.tolist() == [1.0] * 12


def test_what_no_reader_sees_yet_is_published_first(
    where: dict[str, Any], monkeypatch: pytest.MonkeyPatch, touched: list[str]
) -> None:
    """Uploads that wait for their publication are of the former name, and would be lost."""
    with monkeypatch.context() as patched:
        patched.setattr(IcechunkStore, "publish", lambda *args, **options: False)
        dataset(BEFORE, where).backfill(until(8), client="none", now=until(8))
    ds = dataset(RENAMED, where)
    with pytest.raises(PublishConflict, match="run an update, then this again"):
        rename_variables(ds, grace_s=0, now=until(8))
    assert_readers_see(ds, "a b", 6)
    assert ds.reformat_operational_update(client="none", now=until(8)).succeeded
    touched.clear()
    assert rename_variables(ds, grace_s=0, now=until(8)).succeeded
    assert touched == []
    assert_readers_see(ds, "a new", 8)
    assert ds.backfill(until(8), client="none", now=until(8)).variables_done == 0


def test_a_former_name_that_stays_is_copied(where: dict[str, Any], touched: list[str]) -> None:
    """Both names have objects of their own, as updates fill both."""
    ds = dataset(RENAMED, where)
    assert rename_variables(ds, keep_until="2030-01-01", now=until(6)).succeeded
    assert any(key.startswith("new/") for key in touched)
    assert_readers_see(ds, "a b new", 6)


@pytest.mark.parametrize("dies", ["before it moves", "behind it"])
def test_whoever_changed_his_mind_gets_what_he_asks_for(
    where: dict[str, Any], monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    """A call that ends the name dies, and the next one keeps it, as far as it is there still."""
    ds = dataset(RENAMED, where)

    def die(*args: Any, **options: Any) -> None:
        if dies == "behind it":
            rename(*args, **options)
        raise KeyboardInterrupt

    rename = renaming.rename_shown
    with monkeypatch.context() as patched:
        patched.setattr(renaming, "rename_shown", die)
        with pytest.raises(KeyboardInterrupt):
            rename_variables(ds, grace_s=0, now=until(6))
    report = rename_variables(ds, keep_until="2030-01-01", grace_s=0, now=until(6))
    assert report.succeeded
    assert_readers_see(ds, "a b new" if dies == "before it moves" else "a new", 6)
    assert ds.reformat_operational_update(client="none", now=until(8)).succeeded
    if dies == "before it moves":
        remove_variables(ds, ["b"], force=True, grace_s=0, now=until(8))
    rename_variables(ds, grace_s=0, now=until(8))
    assert_readers_see(ds, "a new", 8)
