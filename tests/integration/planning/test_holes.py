"""A published object that vanished is a hole until it is filled: no receipt covers it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr

from gridmill.dataset import DynamicalDataset
from gridmill.model.region import Region
from gridmill.operations.accept import accept_files
from gridmill.validation import Complete, ObjectsIntact
from killed import kill_while_making
from tiny import HOUR, START, Provider, TinyJob, dataset_of, hours, truth, until, url_of

N = 8
# All that the provider lacks is a gap by then.
LATER = START + 30 * HOUR
SHARD = "a/c/0/0/0"
LOST = hours(N)[1]


class Job(TinyJob):
    """What is two hours late is a gap."""

    publication_delay = timedelta(hours=2)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with the files of eight hours."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(N))
    return provider


def build(tmp_path: Path, provider: Provider, replica: Path | None = None) -> DynamicalDataset:
    """Build the archive, and let a shard of it vanish."""
    replicas = {} if replica is None else {"replicas": [str(replica)]}
    store = tmp_path / "a.zarr"
    dataset = dataset_of(job=Job)(store, source_base=str(provider.root), **replicas)
    run(dataset)
    (store / SHARD).unlink()
    return dataset


def run(dataset: DynamicalDataset, **options):
    """Backfill; no run fails."""
    report = backfill(dataset, **options)
    assert report.succeeded, report.failures
    return report


def backfill(dataset: DynamicalDataset, **options):
    """Backfill."""
    return dataset.backfill(until(N), client="none", now=LATER, **options)


def found(dataset: DynamicalDataset) -> list[str]:
    """Give what is wrong with objects."""
    results = dataset.validate(now=LATER, validators=[ObjectsIntact()])
    return [finding.message for finding in results.findings]


def values(dataset: DynamicalDataset) -> np.ndarray:
    """Read what readers see of one variable."""
    with dataset.store.open_dataset() as ds:
        return ds.a.values


def receipt(dataset: DynamicalDataset):
    """Give the recorded receipts of the vanished shard's variable."""
    record = dataset.store.tracker.read(Region(0, 4))
    assert record is not None
    return record.variables["a"].objects


def test_a_shard_that_vanished_is_made_again_from_its_sources(tmp_path, provider):
    """With every source file there is nothing that could be lost."""
    dataset = build(tmp_path, provider)
    assert "is gone" in found(dataset)[0]
    run(dataset)
    assert found(dataset) == []
    np.testing.assert_array_equal(values(dataset), truth(hours(N)))


def test_a_hole_is_a_finding_until_it_is_filled(tmp_path, provider):
    """What has a source file is stored again; the rest is a gap and a finding, run after run."""
    dataset = build(tmp_path, provider)
    before = receipt(dataset)
    provider.withdraw(LOST)

    assert run(dataset).new_gaps == 1
    for _ in range(2):
        shown = values(dataset)
        assert np.isnan(shown[1]).all()
        np.testing.assert_array_equal(np.delete(shown, 1, 0), np.delete(truth(hours(N)), 1, 0))
        assert receipt(dataset) == before
        (message,) = found(dataset)
        assert f"{SHARD} vanished with published values" in message
        assert dataset.status(now=LATER).pending == 1
        # What it knows to be lost is not made again by each run.
        assert run(dataset).variables_done == 0

    run(dataset, redo=True)
    assert len(found(dataset)) == 1
    provider.publish([LOST])
    dataset.reformat_operational_update(client="none", now=LATER + timedelta(days=2))
    assert found(dataset) == []
    np.testing.assert_array_equal(values(dataset)[:N], truth(hours(N)))


def test_without_any_source_file_nothing_is_stored(tmp_path, provider):
    """There is nothing to store in the hole's place; it is filled once there is."""
    dataset = build(tmp_path, provider)
    for label in hours(4):
        provider.withdraw(label)
    for _ in range(2):
        run(dataset)
        assert not (tmp_path / "a.zarr" / SHARD).exists()
        assert f"{SHARD} is gone" in found(dataset)[0]
    provider.publish(hours(4))
    run(dataset, revalidate=True)
    assert found(dataset) == []
    np.testing.assert_array_equal(values(dataset), truth(hours(N)))


@pytest.mark.parametrize("is_known", [True, False])
def test_a_driver_that_is_killed_while_it_makes_a_hole_forgets_none(tmp_path, provider, is_known):
    """By SIGKILL, whether a run had found the hole before or not: the next one goes on with it."""
    dataset = build(tmp_path, provider)
    before = receipt(dataset)
    provider.withdraw(LOST)
    if is_known:
        run(dataset)
    kill_while_making(
        tmp_path / "a.zarr",
        provider.root,
        url_of(hours(N)[2]),
        until=until(N),
        now=LATER.isoformat(),
    )
    for _ in range(2):
        run(dataset)
        assert receipt(dataset) == before
        (message,) = found(dataset)
        assert f"{SHARD} vanished with published values" in message
        assert np.isnan(values(dataset)[1]).all()
    provider.publish([LOST])
    run(dataset, revalidate=True)
    assert found(dataset) == []
    np.testing.assert_array_equal(values(dataset), truth(hours(N)))


def test_what_was_there_before_is_not_said_never_to_have_come(tmp_path, provider):
    """A file that a run read once, and that is gone when another one asks for it."""
    never, gone = hours(N)[2], hours(N)[5]
    provider.withdraw(never)
    dataset = build(tmp_path, provider)
    provider.withdraw(gone)
    run(dataset, redo=True)
    results = dataset.validate(now=LATER, validators=[Complete()])
    said = {finding.message.partition(": ")[2] for finding in results.findings}
    assert said == {"never came", "was there before, and is gone"}
    for finding in results.findings:
        assert ("is gone" in finding.message) == (url_of(gone) in finding.message)


def test_a_hole_of_icechunk_is_one(tmp_path, provider):
    """A chunk that vanished from its repository: a finding until it is filled."""
    kind = dataset_of(job=Job)
    dataset = kind(tmp_path / "a", source_base=str(provider.root), format="icechunk")
    run(dataset)
    lose_chunk(dataset, "a", (0, 0, 0))
    provider.withdraw(LOST)
    assert run(dataset, redo=True).new_gaps == 1
    for _ in range(2):
        shown = values(dataset)
        assert np.isnan(shown[1]).all()
        np.testing.assert_array_equal(np.delete(shown, 1, 0), np.delete(truth(hours(N)), 1, 0))
        assert any(f"{SHARD} vanished with published values" in one for one in found(dataset))
        assert run(dataset).variables_done == 0
    provider.publish([LOST])
    run(dataset, revalidate=True)
    assert found(dataset) == []
    np.testing.assert_array_equal(values(dataset), truth(hours(N)))


def lose_chunk(dataset: DynamicalDataset, name: str, index: tuple[int, ...]) -> None:
    """Delete one stored object of an array in a commit, as another program may."""
    session = dataset.store.repository.open().writable_session("main")
    zarr.core.sync.sync(session.store.delete(f"{name}/c/{'/'.join(map(str, index))}"))
    session.commit("lose a chunk")


def test_a_hole_is_closed_by_hand(tmp_path, provider):
    """Who accepts the source files that are not to come, and stores the rest, has no hole."""
    dataset = build(tmp_path, provider)
    provider.withdraw(LOST)
    run(dataset)
    accept_files(dataset, [url_of(LOST)], who="me", why="it is lost", now=LATER)
    assert len(found(dataset)) == 1
    run(dataset, redo=True)
    assert found(dataset) == []
    assert np.isnan(values(dataset)[1]).all()


def test_a_place_that_was_never_published_is_no_hole(tmp_path, provider):
    """An object that vanished and lacked what it lacks now is stored again as it was."""
    provider.withdraw(LOST)
    dataset = build(tmp_path, provider)
    run(dataset)
    assert found(dataset) == []
    np.testing.assert_array_equal(values(dataset)[2:], truth(hours(N))[2:])


def test_a_replica_keeps_what_the_archive_lost(tmp_path, provider):
    """What is left of an object is not put in the place of a whole one."""
    replica = tmp_path / "b.zarr"
    dataset = build(tmp_path, provider, replica)
    whole = (replica / SHARD).read_bytes()
    provider.withdraw(LOST)
    for _ in range(2):
        report = backfill(dataset)
        assert (tmp_path / "a.zarr" / SHARD).read_bytes() != whole
        assert (replica / SHARD).read_bytes() == whole
        assert f"{SHARD} vanished" in report.replicas[0].failure
    provider.publish([LOST])
    assert backfill(dataset, revalidate=True).replicas[0].failure is None
    assert (replica / SHARD).read_bytes() == whole
