"""A rolling archive with replicas: each begins later with one commit of its own.

What shifts arrays is Icechunk 2 (`make test-icechunk2`); what refuses is shown with any.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pandas as pd
import pytest

from gridmill.archive.archive import RetentionUnfinished
from gridmill.dataset import DynamicalDataset
from gridmill.operations.retention.retain import retain
from gridmill.publishing.replica import Replica
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.beside.exchange import RETAINED
from gridmill.validation.checks.replicas import ReplicasEqual
from killed_steps import Attempts, Readers, copies_to_kill
from retained import KEEP, retained_with_replica, rolling, rolling_with
from tiny import START, Provider, hours, truth, until

SHIFTS = hasattr(icechunk.Session, "shift_array")
shifts = pytest.mark.skipif(not SHIFTS, reason="Icechunk 2 shifts arrays: make test-icechunk2")
# 21 hours in regions of 4: 12 hours before the last label are kept, and what is in their region.
MADE, DROPPED = 21, 8
# An archive, its replica, what is beside them, and what they are made of.
BOTH = ("a", "a.gridmill", "b", "b.gridmill", "source")


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider of more than is made."""
    found = Provider(tmp_path / "source")
    found.publish(hours(48))
    return found


def backfill(dataset: DynamicalDataset, n: int = MADE) -> Any:
    """Build so many hours, in this process."""
    return dataset.backfill(until(n), client="none", now=pd.Timestamp(until(n)))


def update(dataset: DynamicalDataset, n: int) -> Any:
    """Update up to so many hours."""
    return dataset.reformat_operational_update(client="none", now=pd.Timestamp(until(n)))


def let_go(dataset: DynamicalDataset, keep: timedelta = KEEP) -> Any:
    """Drop what is older."""
    return retain(dataset, keep, who="me")


def look_at(store: FinalStore) -> tuple[int, int]:
    """Compare all that readers of a store see with the provider's files; say where it is."""
    ds = store.open_dataset(chunks=None)
    labels = list(ds.get_index("time"))
    first = int((labels[0] - START) / pd.Timedelta(hours=1))
    assert labels == hours(len(labels), first)
    for name in ("a", "b"):
        np.testing.assert_array_equal(ds[name].values, truth(labels, name))
    assert (ds.completeness.values == 1).all()
    return first, first + len(labels)


def assert_same(dataset: DynamicalDataset, first: int, stop: int) -> None:
    """Assert that readers of both see the same, and that both have the same records."""
    (replica,) = dataset.replicas
    records = []
    for store in (dataset.store, replica):
        assert look_at(store) == (first, stop)
        assert store.tracker.retaining.read() is None
        every = list(store.tracker.all_records())
        records.append([(r.start, r.stop, r.groups, r.history, r.runs) for r in every])
        objects = [{name: set(known.objects) for name, known in r.variables.items()} for r in every]
        records.append(objects)
    assert records[:2] == records[2:]
    said = [s.tracker.read_declaration() or {} for s in (dataset.store, replica)]
    assert said[0].get(RETAINED) == said[1].get(RETAINED)


@shifts
@pytest.mark.parametrize("version", [1, 2])
def test_a_replica_rolls_along(
    tmp_path: Path, provider: Provider, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied for it, and updates continue both; it is an archive like any other."""
    dataset = rolling_with(tmp_path, version)
    assert backfill(dataset).succeeded
    before = dataset.replicas[0].open_dataset(chunks=None)
    copied: list[Any] = []
    wanted = Replica._copy_of
    monkeypatch.setattr(
        Replica, "_copy_of", lambda self, *of: [copied.append(of), wanted(self, *of)][1]
    )
    assert [(r.positions, r.failure) for r in let_go(dataset).replicas] == [(13, None)]
    assert_same(dataset, DROPPED, MADE)
    assert list(before.get_index("time")) == hours(MADE)
    np.testing.assert_array_equal(before.a.values, truth(hours(MADE)))
    for n in (23, 34):
        dataset = rolling_with(tmp_path, version)
        assert update(dataset, n).succeeded
        assert [r.failure for r in let_go(dataset).replicas] == [None]
        assert_same(dataset, max((n - 1 - 12) // 4 * 4, DROPPED), n)
    assert copied == []
    alone = type(dataset)(tmp_path / "b", format="icechunk", source_base=str(tmp_path / "source"))
    again = backfill(alone, 34)
    assert (again.variables_done, again.succeeded) == (0, True)
    assert alone.validate(now=pd.Timestamp(until(34))).found_by == {}


@shifts
def test_a_replica_that_was_away_follows_by_the_same_command(
    tmp_path: Path, provider: Provider
) -> None:
    """However often the archive was retained meanwhile; runs skip it until then, and say so."""
    backfill(rolling_with(tmp_path))
    for name in ("b", "b.gridmill"):
        shutil.copytree(tmp_path / name, tmp_path / "away" / name)
    let_go(rolling_with(tmp_path))
    alone = rolling(tmp_path, 1)
    update(alone, 28)
    let_go(alone)
    for name in ("b", "b.gridmill"):
        shutil.rmtree(tmp_path / name)
        shutil.copytree(tmp_path / "away" / name, tmp_path / name)
    dataset = rolling_with(tmp_path)
    (outcome,) = update(dataset, 28).replicas
    assert "gridmill retain with this --replica lets it follow" in str(outcome.failure)
    assert look_at(dataset.replicas[0]) == (0, MADE)
    (found,) = dataset.validate([ReplicasEqual()], now=pd.Timestamp(until(28))).findings
    assert str(found.repair).startswith("gridmill retain ")
    report = let_go(rolling_with(tmp_path))
    assert [r.failure for r in report.replicas] == [None]
    assert_same(rolling_with(tmp_path), 16, 28)


@shifts
def test_uploads_of_a_replica_that_its_readers_do_not_see_are_not_taken_for_what_they_see(
    tmp_path: Path, provider: Provider
) -> None:
    """A run died before it published them, and the archive rolled without the replica."""
    backfill(rolling_with(tmp_path), 20)
    provider.publish(hours(4, 12), version=1)
    dataset = rolling_with(tmp_path)
    (replica,) = dataset.replicas
    publish, type(replica).publish = type(replica).publish, lambda *_, **__: False
    span = {"start": until(12), "end": until(16), "redo": True, "client": "none"}
    try:
        dataset.backfill(until(20), now=pd.Timestamp(until(20)), **span)
    finally:
        type(replica).publish = publish
    alone = rolling(tmp_path, 1)
    alone.backfill(until(20), now=pd.Timestamp(until(20)), **span)
    let_go(alone)
    assert [r.failure for r in let_go(rolling_with(tmp_path)).replicas] == [None]
    for store in (alone.store, replica):
        values = store.open_dataset(chunks=None).a.values
        kept = values[12 - DROPPED : 16 - DROPPED]
        np.testing.assert_array_equal(kept, truth(hours(4, 12), version=1))


@shifts
@pytest.mark.timeout(900)
def test_killed_at_its_every_step_it_is_completed_everywhere(
    tmp_path: Path, provider: Provider
) -> None:
    """Readers of both see all or what is kept; the same command completes it."""
    backfill(rolling_with(tmp_path))
    seen = set[tuple[Any, ...]]()
    with Attempts("retained:retained_with_replica", of_leases=False) as attempts:
        for number, folder in copies_to_kill(tmp_path, BOTH):
            look = Looking(rolling_with(folder))
            with Readers(look, 0.5) as readers:
                is_done = not attempts.dies_before(number, str(folder))
                state = look()
                if state not in seen:  # runs are refused, or leave the replica alone
                    seen.add(state)
                    with suppress(RetentionUnfinished):
                        update(rolling_with(folder), MADE)
                    readers.once()
                retained_with_replica(str(folder))
                assert_same(rolling_with(folder), DROPPED, MADE)
            assert readers.violations == [], number
            if is_done:
                break
    assert {((0, True), (0, False)), ((DROPPED, True), (0, False))} < seen
    assert {((DROPPED, False), (0, True)), ((DROPPED, False), (DROPPED, True))} < seen
    assert number > 30


class Looking:
    """What readers of an archive and of its replica may see."""

    def __init__(self, dataset: DynamicalDataset) -> None:
        self.stores = (dataset.store, *dataset.replicas)

    def __call__(self) -> tuple[tuple[int, bool], ...]:
        """Assert that it is right; say where it begins, and whether records may not say so."""
        found = [(look_at(s)[0], s.tracker.retaining.read() is not None) for s in self.stores]
        return tuple(found)


def test_a_plain_replica_is_refused_by_name(tmp_path: Path, provider: Provider) -> None:
    """Nothing is written, with any Icechunk; without it the archive rolls."""
    dataset = rolling_with(tmp_path, kind="zarr")
    backfill(dataset)
    with pytest.raises(ValueError, match=r"replica .*/b is plain Zarr.* Leave it out of --replica"):
        let_go(dataset)
    for store in (dataset.store, *dataset.replicas):
        assert look_at(store) == (0, MADE)
        assert store.tracker.retaining.read() is None
    rolled_before = let_go(dataset, timedelta(days=90))
    assert rolled_before.notes[0].startswith("no whole region")
    assert [r.failure for r in rolled_before.replicas] == [None]
