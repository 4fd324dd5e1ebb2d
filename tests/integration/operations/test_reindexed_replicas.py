"""Late labels taken in where an archive has replicas: each follows, in one commit of its own."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from followed import LATER, scenes_with
from gridmill.archive.archive import ReindexUnfinished
from gridmill.dataset import DynamicalDataset
from gridmill.operations.axis.reindex import reindex
from gridmill.operations.truncate import truncate
from gridmill.stores.final_store import FinalStore
from gridmill.validation.checks.replicas import ReplicasEqual
from killed_steps import Attempts, Readers, copies_to_kill, thinned
from scenes import Frozen, Provider, Scenes, scene, scenes_of
from tiny import tiny_var, values_at

FIRST = [scene(minutes) for minutes in (0, 10, 20, 40, 50, 60)]
LATE = [scene(minutes) for minutes in (15, 30, 45)]
ALL = sorted([*FIRST, *LATE])
# An archive, its replica, what is beside them, and what they are made of.
BOTH = ("a", "a.gridmill", "b", "b.gridmill", "source")


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """Six scenes."""
    made = Provider(tmp_path / "source")
    made.publish(*FIRST)
    return made


def backfill(dataset: DynamicalDataset) -> Any:
    """Build up to now, in this process."""
    return dataset.backfill(LATER.isoformat(), client="none", now=LATER)


def update(dataset: DynamicalDataset) -> Any:
    """Update up to now, in this process."""
    return dataset.reformat_operational_update(client="none", now=LATER)


def take_in(dataset: DynamicalDataset) -> Any:
    """Reindex, however soon."""
    return reindex(dataset, who="me", soon=True, now=LATER)


def repairs_of(dataset: DynamicalDataset) -> list[str | None]:
    """Return what repairs what validation finds in replicas."""
    return [f.repair for f in dataset.validate([ReplicasEqual()], now=LATER).findings]


def wrong_in(store: FinalStore, missing: Any = LATE) -> list[str]:
    """Say what readers of a store see that is neither right nor missing where it came late."""
    ds = store.open_dataset(chunks=None)
    labels = list(ds.get_index("time"))
    found = [] if labels in (FIRST, ALL) else [f"labels {labels}"]
    for number, name in enumerate("ab"):
        values = ds[name].values
        for at, label in enumerate(labels):
            is_missing = label in missing and np.isnan(values[at]).all()
            if not is_missing and not np.array_equal(values[at], values_at(label)[number]):
                found.append(f"{name} at {label} of {store.url}")
    return found


def assert_same(dataset: DynamicalDataset) -> None:
    """Assert that readers of both see everything, and that records of both say the same."""
    stores = (dataset.store, *dataset.replicas)
    for store in stores:
        assert wrong_in(store, missing=()) == []
        assert seen_by(store) == ALL
        assert not is_under_way(store)
    assert_same_records(*stores)


def assert_same_records(store: FinalStore, replica: FinalStore) -> None:
    """Assert that records of both say the same of the same objects."""
    theirs = {record.start: record for record in replica.tracker.all_records()}
    for record in store.tracker.all_records():
        assert theirs[record.start].groups == record.groups
        for name, known in record.variables.items():
            assert set(theirs[record.start].variables[name].objects) == set(known.objects)


def test_a_replica_follows_with_its_own_values(tmp_path: Path, provider: Provider) -> None:
    """Nothing is copied, and the next update brings to both what came late."""
    dataset = scenes_with(tmp_path)
    assert backfill(dataset).succeeded
    before = [s.open_dataset(chunks=None) for s in (dataset.store, *dataset.replicas)]
    provider.publish(*LATE)
    report = take_in(dataset)
    assert [(r.positions, r.failure) for r in report.replicas] == [(len(ALL), None)]
    for store, was in zip((dataset.store, *dataset.replicas), before, strict=True):
        assert wrong_in(store) == []
        assert list(store.open_dataset(chunks=None).get_index("time")) == ALL
        assert list(was.get_index("time")) == FIRST
        np.testing.assert_array_equal(was.a.values, [values_at(x)[0] for x in FIRST])
    (replica,) = dataset.replicas
    ours, theirs = ([*s.tracker.records()] for s in (dataset.store, replica))
    assert theirs == ours
    assert update(dataset).succeeded
    assert_same(dataset)
    promoted = scenes_of(tmp_path / "b" / "..", "icechunk")
    assert backfill(promoted).variables_done == 0


def test_a_replica_that_was_away_follows_by_the_same_command(
    tmp_path: Path, provider: Provider
) -> None:
    """Runs skip it until then, and say so; what the archive got meanwhile is copied."""
    dataset = scenes_with(tmp_path)
    backfill(dataset)
    provider.publish(*LATE)
    (tmp_path / "b").rename(tmp_path / "away")
    (tmp_path / "b").touch()
    report = take_in(dataset)
    assert report.replicas[0].failure
    assert wrong_in(dataset.store) == []
    (tmp_path / "b").unlink()
    (tmp_path / "away").rename(tmp_path / "b")
    dataset = scenes_with(tmp_path)
    (outcome,) = update(dataset).replicas
    assert "gridmill reindex with this --replica" in str(outcome.failure)
    (replica,) = dataset.replicas
    assert wrong_in(replica, missing=()) == []
    assert "gridmill reindex" in str(repairs_of(dataset))
    report = take_in(scenes_with(tmp_path))
    assert [r.failure for r in report.replicas] == [None]
    assert_same(dataset)
    assert repairs_of(dataset) == []
    with pytest.raises(ValueError, match=r"no label .* arrived late"):
        take_in(scenes_with(tmp_path))


def test_a_replica_without_a_variable_of_the_archive_does_not_show_it_empty(
    tmp_path: Path, provider: Provider
) -> None:
    """It is left as it was, and the report says what to do."""
    backfill(scenes_with(tmp_path))
    provider.publish(*LATE)
    names = type("Other", (Frozen,), {"data_vars": (*Frozen.data_vars, tiny_var("c", 1))})
    later = type("Other", (Scenes,), {"template_config": names})
    alone = scenes_of(tmp_path, "icechunk", later)
    assert alone.backfill(LATER.isoformat(), client="none", now=LATER, variables=["c"]).succeeded
    take_in(alone)
    dataset = scenes_with(tmp_path, dataset=later)
    (outcome,) = take_in(dataset).replicas
    assert "was away also while c came or went: fill another address" in str(outcome.failure)
    (replica,) = dataset.replicas
    assert seen_by(replica) == FIRST
    assert wrong_in(replica) == []
    assert "c" not in replica.open_dataset(chunks=None)


def test_a_plain_replica_is_refused_by_name_with_what_to_do(
    tmp_path: Path, provider: Provider
) -> None:
    """Nothing is written; shortened, it is filled with all labels."""
    dataset = scenes_with(tmp_path, "zarr")
    backfill(dataset)
    provider.publish(*LATE)
    with pytest.raises(ValueError, match=r"replica .*/b is plain Zarr.* --end 2020-01-01T00:20\)"):
        take_in(dataset)
    for store in (dataset.store, *dataset.replicas):
        assert list(store.open_dataset(chunks=None).get_index("time")) == FIRST
    take_in(scenes_of(tmp_path, "icechunk"))
    assert "plain Zarr" in str(take_in(dataset).replicas[0].failure)
    alone = type(dataset)(tmp_path / "b", source_base=str(tmp_path / "source"))
    truncate(alone, "2020-01-01T00:20", now=LATER)
    report = update(scenes_with(tmp_path, "zarr"))
    assert [r.failure for r in report.replicas] == [None]
    assert_same(dataset)


def test_killed_at_its_every_step_it_is_completed_everywhere(
    tmp_path: Path, provider: Provider
) -> None:
    """Readers of both see old labels with their values, or all; the same command completes it."""
    backfill(scenes_with(tmp_path))
    provider.publish(*LATE)
    seen = set[tuple[Any, ...]]()
    with Attempts("followed:reindexed", of_leases=False) as attempts:
        for number, folder in copies_to_kill(tmp_path, BOTH, thinned(2)):
            look = Looking(scenes_with(folder))
            with Readers(look, 0.5) as readers:
                is_done = not attempts.dies_before(number, str(folder))
                state = look()
                if state not in seen:  # runs are refused, or leave the replica alone
                    seen.add(state)
                    with suppress(ReindexUnfinished):
                        update(scenes_with(folder))
                    readers.once()
                assert not attempts.dies_before(None, str(folder))
                assert look() == ((len(ALL), False), (len(ALL), False)), number
                assert_same_records(*look.stores)
            assert readers.violations == [], number
            if is_done:
                break
    old, new = len(FIRST), len(ALL)
    assert {((old, True), (old, False)), ((new, True), (old, False))} < seen
    assert {((new, False), (old, True)), ((new, False), (new, True))} < seen
    assert number > 20


class Looking:
    """What readers of an archive and of its replica may see."""

    def __init__(self, dataset: DynamicalDataset) -> None:
        self.stores = (dataset.store, *dataset.replicas)

    def __call__(self) -> tuple[tuple[int, bool], ...]:
        """Assert that it is right; say how much it is, and whether records may not say so."""
        assert [line for store in self.stores for line in wrong_in(store)] == []
        return tuple((len(seen_by(s)), is_under_way(s)) for s in self.stores)


def seen_by(store: FinalStore) -> list[Any]:
    """Return the labels that readers see."""
    return list(store.open_dataset(chunks=None).get_index("time"))


def is_under_way(store: FinalStore) -> bool:
    """Whether a store's records may not say what readers see."""
    return store.tracker.reindexing.read() is not None
