"""A version takes the place of another one also in replicas: each shows one of the two, whole."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest

from gridmill.dataset import DynamicalDataset
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.versions import following
from gridmill.operations.versions.candidate import examine
from gridmill.operations.versions.promote import (
    Beside,
    complete,
    forget_previous,
    go_back,
    promote,
)
from gridmill.publishing.replica import Replica
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.beside.exchange import mark_of, promotion_of, promotions_of
from gridmill.testing import S3Server
from gridmill.validation.checks.replicas import ReplicasEqual
from killed_steps import Attempts, Readers, copies_to_kill
from promoted import CORRECTED, Next, beside_with_replica, make, with_replica
from tiny import Provider, Tiny, hours, truth, until

# An archive, its replica, their next and previous versions' records, and what they are made of.
EACH = ("a", "a.gridmill", "a.stage.gridmill", "b", "b.gridmill", "source")
LATER = ("a.previous.gridmill", "b.previous.gridmill", "b.stage.gridmill")
# `make test` tries every 23rd write; each with GRIDMILL_LONG=1.
STRIDE = 1 if "GRIDMILL_LONG" in os.environ else 23
# An update is tried at so many of them.
TRIED_EVERY = 4


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with eight files."""
    found = Provider(tmp_path / "source")
    found.publish(hours(8))
    return found


def staged(tmp_path: Path, **options: Any) -> None:
    """Make an archive with its replica, and a next version beside it."""
    assert with_replica(tmp_path, Tiny, **options).backfill(until(8), client="none").succeeded
    assert make(tmp_path, staged=True).backfill(until(8), client="none").succeeded


def let_see(beside: Beside) -> RunReport:
    """Promote the next version."""
    return promote(examine(beside.present, beside.following, blocks=1), beside, who="ann")


def return_to_previous(beside: Beside) -> RunReport:
    """Go back to the previous version."""
    candidate = examine(beside.present, beside.way_back, blocks=1, is_declared=False)
    return go_back(candidate, beside, who="ann")


def update(dataset: DynamicalDataset, n: int = 8) -> RunReport:
    """Update up to so many hours, in this process."""
    return dataset.reformat_operational_update(client="none", now=until(n))


def look_at(store: FinalStore, n: int = 8) -> int:
    """Compare all that readers of a store see with one version; by how much it differs."""
    ds = store.open_dataset(chunks=None)
    labels = list(ds.get_index("time"))
    assert labels == hours(n)
    values = {name: ds[name].values for name in ("a", "b")}
    by = CORRECTED if values["a"].max() > truth(labels, "a").max() + 50 else 0
    for name in ("a", "b"):
        np.testing.assert_array_equal(values[name], truth(labels, name) + np.float32(by))
    return by


needs_format_2 = pytest.mark.skipif(
    icechunk.__version__.startswith("1."), reason="this Icechunk knows one format"
)


def assert_same(dataset: DynamicalDataset, by: int, n: int = 8) -> None:
    """Assert that readers of both see one version, and that both have the same records."""
    (replica,) = dataset.replicas
    said, records = [], []
    for store in (dataset.store, replica):
        assert look_at(store, n) == by
        declared = store.tracker.read_declaration() or {}
        said.append(promotion_of(declared))
        assert mark_of(declared) is None
        every = sorted(store.tracker.all_records(), key=lambda r: r.start)
        records.append([(r.start, r.stop, r.groups, r.history, r.runs) for r in every])
        records.append(
            [{n: (set(v.objects), v.version) for n, v in r.variables.items()} for r in every]
        )
        assert store.branches.tip("stage") is None
    assert said[0] == said[1] is not None
    assert records[:2] == records[2:]


def copied(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list of what is copied into replicas from now on."""
    found: list[Any] = []
    wanted = Replica._copy_of
    monkeypatch.setattr(
        Replica, "_copy_of", lambda self, *of: [found.append(of), wanted(self, *of)][1]
    )
    return found


def test_a_replica_shows_the_promoted_version_and_goes_on(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened it before keeps what he opened; updates continue both, and copy nothing."""
    staged(tmp_path)
    before = with_replica(tmp_path).replicas[0].open_dataset(chunks=None)
    report = let_see(beside_with_replica(tmp_path))
    assert [(r.positions, r.failure) for r in report.replicas] == [(8, None)]
    assert_same(with_replica(tmp_path), CORRECTED)
    np.testing.assert_array_equal(before.a.values, truth(hours(8)))
    provider.publish(hours(12))
    again = copied(monkeypatch)
    assert [r.failure for r in update(with_replica(tmp_path), 12).replicas] == [None]
    assert again == []
    assert_same(with_replica(tmp_path), CORRECTED, 12)
    found = with_replica(tmp_path).validate([ReplicasEqual()], now=until(12))
    assert found.found_by == {}
    # An archive like any other, with names and moments of its own.
    alone = make(tmp_path, url=tmp_path / "b")
    assert alone.backfill(until(12), client="none").variables_done == 0
    assert alone.validate(now=until(12)).succeeded
    (own,) = promotions_of(alone.store.tracker.read_declaration())
    assert own.before == alone.store.branches.tip("previous")


def test_the_way_back_copies_nothing(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica keeps its own previous version, too; both are forgotten together."""
    staged(tmp_path)
    let_see(beside_with_replica(tmp_path))
    again = copied(monkeypatch)
    for kind, by in ((Tiny, 0), (Next, CORRECTED)):
        report = return_to_previous(beside_with_replica(tmp_path, kind))
        assert [r.failure for r in report.replicas] == [None]
        assert_same(with_replica(tmp_path, kind), by)
    assert again == []
    (replica,) = with_replica(tmp_path).replicas
    assert replica.branches.tip("previous") is not None
    forget_previous(beside_with_replica(tmp_path))
    assert replica.branches.tip("previous") is None
    with pytest.raises(ValueError, match="no version previous"):
        forget_previous(beside_with_replica(tmp_path))
    assert_same(with_replica(tmp_path), CORRECTED)


def test_a_replica_that_was_away_follows_by_the_same_command(
    tmp_path: Path, provider: Provider
) -> None:
    """Updates skip it until then, and name the command; what was added meanwhile is copied."""
    staged(tmp_path)
    (tmp_path / "b").rename(tmp_path / "away")
    (tmp_path / "b").touch()
    (outcome,) = let_see(beside_with_replica(tmp_path)).replicas
    assert "gridmill promote with this --replica lets it follow later" in str(outcome.failure)
    assert look_at(make(tmp_path).store) == CORRECTED
    (tmp_path / "b").unlink()
    (tmp_path / "away").rename(tmp_path / "b")
    provider.publish(hours(12))
    dataset = with_replica(tmp_path)
    (outcome,) = update(dataset, 12).replicas
    assert "gridmill promote with this --replica lets it follow" in str(outcome.failure)
    assert look_at(dataset.replicas[0]) == 0
    (found,) = dataset.validate([ReplicasEqual()], now=until(12)).findings
    assert str(found.repair).startswith("gridmill promote ")
    report = complete(beside_with_replica(tmp_path), who="ann")
    assert report is not None
    assert [(r.positions, r.failure) for r in report.replicas] == [(12, None)]
    assert_same(with_replica(tmp_path), CORRECTED, 12)
    assert complete(beside_with_replica(tmp_path), who="ann") is None


def test_a_copy_that_was_begun_for_another_promotion_is_dropped(
    tmp_path: Path, provider: Provider
) -> None:
    """The replica then shows what its archive does by now."""
    staged(tmp_path)
    (replica,) = with_replica(tmp_path).replicas
    publish, Replica.publish = Replica.publish, lambda *_, **__: None
    try:
        (outcome,) = let_see(beside_with_replica(tmp_path)).replicas
    finally:
        Replica.publish = publish
    assert "shows 0 of 8 positions" in str(outcome.failure)
    assert replica.branches.tip("stage") is not None
    assert look_at(replica) == 0
    alone = Beside(*(make(tmp_path, staged=s) for s in (False, True, "previous")))
    return_to_previous(alone)
    report = complete(beside_with_replica(tmp_path, Tiny), who="ann")
    assert report is not None
    assert [r.failure for r in report.replicas] == [None]
    assert_same(with_replica(tmp_path, Tiny), 0)


def test_what_was_interrupted_after_its_readers_saw_it_is_completed(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its records follow, and its previous version stays what its readers saw before."""
    staged(tmp_path)

    def gone(*_: object) -> None:
        raise OSError("the connection was lost")

    with monkeypatch.context() as interrupted:
        interrupted.setattr(following, "take_place", gone)
        (outcome,) = let_see(beside_with_replica(tmp_path)).replicas
    assert "the connection was lost" in str(outcome.failure)
    dataset = with_replica(tmp_path)
    assert look_at(dataset.replicas[0]) == CORRECTED
    assert was_skipped(dataset)
    report = complete(beside_with_replica(tmp_path), who="ann")
    assert report is not None
    assert [r.failure for r in report.replicas] == [None]
    assert_same(with_replica(tmp_path), CORRECTED)
    assert [look_at(store) for store in previous_of(tmp_path)] == [0, 0]


def test_what_never_was_a_replica_is_not_replaced(tmp_path: Path, provider: Provider) -> None:
    """An archive with promotions of its own at an address that was given by mistake."""
    other = tmp_path / "other"
    (tmp_path / "source").rename(tmp_path / "kept")
    shutil.copytree(tmp_path / "kept", other / "source")
    staged(other)
    let_see(beside_with_replica(other))
    (tmp_path / "kept").rename(tmp_path / "source")
    staged(tmp_path)
    for name in ("b", "b.gridmill"):
        shutil.rmtree(tmp_path / name)
        shutil.copytree(other / name.replace("b", "a", 1), tmp_path / name)
    (replica,) = with_replica(tmp_path).replicas
    before = replica.branches.tip("main")
    (outcome,) = let_see(beside_with_replica(tmp_path)).replicas
    assert "holds another archive than a replica" in str(outcome.failure)
    assert replica.branches.tip("main") == before


def test_plain_zarr_is_refused_by_name_and_updates_leave_it_alone(
    tmp_path: Path, provider: Provider
) -> None:
    """Nothing is promoted with it; without it the archive is, and the other replica follows."""
    replicas = [{"url": f"{tmp_path}/b", "format": "icechunk"}, f"{tmp_path}/z"]
    staged(tmp_path, replicas=replicas)
    with pytest.raises(ValueError, match=r"replica .*/z is plain Zarr.*Leave it out of --replica"):
        let_see(beside_with_replica(tmp_path, replicas=replicas))
    dataset = with_replica(tmp_path, replicas=replicas)
    assert [look_at(s) for s in (dataset.store, *dataset.replicas)] == [0, 0, 0]
    let_see(beside_with_replica(tmp_path))
    followed, plain = update(dataset).replicas
    assert followed.failure is None
    assert "which plain Zarr cannot follow: give another --replica" in str(plain.failure)
    assert [look_at(s) for s in (dataset.store, *dataset.replicas)] == [CORRECTED, CORRECTED, 0]


def test_a_local_replica_in_format_2_is_refused_by_name(tmp_path: Path, provider: Provider) -> None:
    """One object holds all its branches, and a local disk does not guard it."""
    replica = {"url": f"{tmp_path}/b", "format": "icechunk"}
    staged(tmp_path, replicas=[replica])
    with_replica(tmp_path).replicas[0].tracker.replace_declaration({"format_version": 2})
    with pytest.raises(ValueError, match=r"replica .*/b is a local repository in .* format 2"):
        let_see(beside_with_replica(tmp_path))
    assert look_at(make(tmp_path).store) == 0


@pytest.mark.parametrize("version", [1, pytest.param(2, marks=needs_format_2)])
def test_a_replica_in_a_bucket_follows_with_icechunk2_too(
    tmp_path: Path, provider: Provider, s3_server: S3Server, version: int
) -> None:
    """In either format; and the way back with it."""
    bucket = f"b{uuid.uuid4().hex}"
    s3_server.create_bucket(bucket)
    own = {"storage_options": dict(s3_server.storage_options), "format_version": version}
    options = {**own, "url": f"s3://{bucket}/a.icechunk"}
    replica = {**own, "url": f"s3://{bucket}/b.icechunk", "format": "icechunk"}

    def versions(kind: Any) -> Beside:
        present = make(tmp_path, kind, **options, replicas=[replica])
        others = (make(tmp_path, kind, **options, staged=s) for s in (True, "previous"))
        return Beside(present, *others)

    assert versions(Tiny).present.backfill(until(8), client="none").succeeded
    assert make(tmp_path, **options, staged=True).backfill(until(8), client="none").succeeded
    assert [r.failure for r in let_see(versions(Next)).replicas] == [None]
    assert_same(versions(Next).present, CORRECTED)
    assert [r.failure for r in return_to_previous(versions(Tiny)).replicas] == [None]
    assert_same(versions(Tiny).present, 0)
    provider.publish(hours(12))
    assert [r.failure for r in update(versions(Tiny).present, 12).replicas] == [None]
    assert_same(versions(Tiny).present, 0, 12)


class Looking:
    """What readers of an archive and of its replica see."""

    def __init__(self, folder: Path) -> None:
        dataset = with_replica(folder)
        self.stores = (dataset.store, *dataset.replicas)

    def __call__(self) -> tuple[int, ...]:
        """Assert that it is one version, whole; say which."""
        return tuple(look_at(store) for store in self.stores)


def previous_of(folder: Path) -> list[FinalStore]:
    """Return the previous version of an archive, and of its replica."""
    urls = (folder / "a", folder / "b")
    return [make(folder, url=url, staged="previous").store for url in urls]


def kill_at_each_step(base: Path, names: Any, act: str, kind: Any, by: int) -> set[Any]:
    """Kill, look, update, and complete, each time on a copy; what readers saw after deaths."""
    seen, skipped = set[tuple[int, ...]](), 0
    with Attempts(f"promoted:{act}", of_leases=False) as attempts:
        for number, folder in copies_to_kill(base, names, STRIDE):
            look = Looking(folder)
            with Readers(look, 0.3) as readers:
                is_done = not attempts.dies_before(number, str(folder))
                state = look()
                is_mixed = len({*state}) > 1 and not skipped
                if state not in seen or is_mixed or number // STRIDE % TRIED_EVERY == 0:
                    skipped += was_skipped(with_replica(folder, Next if state[0] else Tiny))
                    readers.once()
                seen.add(state)
                attempts.dies_before(None, str(folder))
                assert_same(with_replica(folder, kind), by)
                assert [look_at(s) for s in previous_of(folder)] == [CORRECTED - by] * 2
            assert readers.violations == [], number
            if is_done:
                break
    assert number > 60
    assert skipped
    return seen


def was_skipped(dataset: DynamicalDataset) -> bool:
    """Update; whether that left the replica alone. It changes nothing that readers see."""
    try:
        report = update(dataset)
    except ValueError as error:
        if "gridmill promote completes it" not in str(error):
            raise
        return False
    assert not report.published_anything
    failures = [r.failure for r in report.replicas]
    assert failures == [None] or "gridmill promote with this --replica" in str(failures)
    return failures != [None]


@pytest.mark.timeout(900)
def test_killed_at_its_every_step_readers_of_both_see_one_version_or_the_other(
    tmp_path: Path, provider: Provider
) -> None:
    """Whole, at every moment; the same command completes it everywhere."""
    staged(tmp_path)
    seen = kill_at_each_step(tmp_path, EACH, "promote_with_replica", Next, CORRECTED)
    assert seen == {(0, 0), (CORRECTED, 0), (CORRECTED, CORRECTED)}


@pytest.mark.timeout(900)
def test_the_way_back_is_as_safe(tmp_path: Path, provider: Provider) -> None:
    """Also where previous versions are overwritten while they take their places."""
    staged(tmp_path)
    let_see(beside_with_replica(tmp_path))
    for name in LATER:
        (tmp_path / name).mkdir(exist_ok=True)
    seen = kill_at_each_step(tmp_path, (*EACH, *LATER), "go_back_with_replica", Tiny, 0)
    assert seen == {(CORRECTED, CORRECTED), (0, CORRECTED), (0, 0)}


def test_each_death_on_what_the_ones_before_left(tmp_path: Path, provider: Provider) -> None:
    """A promotion that dies again and again comes to its end nevertheless."""
    staged(tmp_path)
    attempts = Attempts("promoted:promote_with_replica", of_leases=False)
    with attempts, Readers(Looking(tmp_path), 0.3) as readers:
        for number in (20, 35, 50, 12, 30, 45, 9):
            attempts.dies_before(number, str(tmp_path))
        attempts.dies_before(None, str(tmp_path))
    assert readers.violations == []
    assert_same(with_replica(tmp_path), CORRECTED)
