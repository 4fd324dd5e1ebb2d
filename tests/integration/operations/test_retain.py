"""Rolling archives: the first regions go in one commit, and everything else goes on.

What shifts arrays is Icechunk 2 (`make test-icechunk2`); what refuses is shown with any.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import icechunk
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from gridmill.archive.archive import RetentionUnfinished
from gridmill.cli import cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.decisions.withdraw import withdraw
from gridmill.operations.history.history import read_history
from gridmill.operations.proving.known import read_proofs
from gridmill.operations.proving.prove import prove
from gridmill.operations.retention.retain import retain
from gridmill.operations.statistics.gathering import read_statistics
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps
from killed_steps import Attempts, Readers
from retained import KEEP, rolling
from tiny import START, Provider, hours, truth, until

SHIFTS = hasattr(icechunk.Session, "shift_array")
shifts = pytest.mark.skipif(not SHIFTS, reason="Icechunk 2 shifts arrays: make test-icechunk2")
versions = pytest.mark.parametrize("version", [1, 2])
# 21 hours in regions of 4: 12 hours before the last label are kept, and what is in their region.
MADE, DROPPED = 21, 8
NOW = pd.Timestamp(until(MADE))


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider of more than is made."""
    found = Provider(tmp_path / "source")
    found.publish(hours(48))
    return found


def backfill(dataset: DynamicalDataset, n: int = MADE) -> RunReport:
    """Build so many hours, in this process."""
    return dataset.backfill(until(n), client="none", now=pd.Timestamp(until(n)))


def update(dataset: DynamicalDataset, n: int) -> RunReport:
    """Update up to so many hours."""
    return dataset.reformat_operational_update(client="none", now=pd.Timestamp(until(n)))


def let_go(dataset: DynamicalDataset, keep: timedelta = KEEP) -> RunReport:
    """Drop what is older."""
    return retain(dataset, keep, who="me")


def assert_true(
    dataset: DynamicalDataset, first: int, stop: int, missing: Sequence[int] = ()
) -> None:
    """Compare all that readers see with what the provider's files hold."""
    ds = dataset.store.open_dataset(chunks=None)
    labels = hours(stop - first, first)
    assert list(ds.get_index("time")) == labels
    there = np.array([n not in missing for n in range(first, stop)])
    for name in ("a", "b"):
        expected = truth(labels, name)
        expected[~there] = np.nan
        np.testing.assert_array_equal(ds[name].values, expected)
    np.testing.assert_array_equal(ds.completeness.values, there.astype("float32"))


def assert_complete(dataset: DynamicalDataset, n: int) -> None:
    """Nothing is to be done, nothing is found, and all is proven."""
    now = pd.Timestamp(until(n))
    again = backfill(dataset, n)
    assert (again.variables_done, again.succeeded) == (0, True)
    assert dataset.validate(now=now).found_by == {}
    assert {proof.verdict for proof in prove(dataset, regions=99, now=now).proofs} == {"proven"}


@shifts
@versions
def test_an_archive_rolls(tmp_path: Path, provider: Provider, version: int) -> None:
    """Each retention drops whole regions in one commit; runs go on before and after."""
    dataset = rolling(tmp_path, version)
    assert backfill(dataset).succeeded
    before = dataset.store.open_dataset(chunks=None)
    assert let_go(dataset).notes == [
        "me: Retain from 2020-01-01T08:00 on: 8 positions before it dropped"
    ]
    assert_true(dataset, DROPPED, MADE)
    assert list(before.get_index("time")) == hours(MADE)
    np.testing.assert_array_equal(before.a.values, truth(hours(MADE)))
    assert_complete(dataset, MADE)
    for n in (23, 26, 34):
        assert update(dataset, n).succeeded
        let_go(dataset)
        first = (n - 1 - 12) // 4 * 4
        assert_true(dataset, max(first, DROPPED), n)
    assert_complete(dataset, 34)
    assert update(dataset, 48).succeeded
    assert_true(dataset, 20, 48)
    dataset.store.forget_versions(datetime.now(UTC))
    assert_true(dataset, 20, 48)
    assert_complete(dataset, 48)


@shifts
def test_what_is_recorded_moves_along(tmp_path: Path, provider: Provider) -> None:
    """Gaps heal, histories name source files, statistics and proofs stay; nothing is read anew."""
    dataset = rolling(tmp_path)
    gone = provider.path(START + pd.Timedelta(hours=13))
    gone.rename(tmp_path / "kept")
    backfill(dataset)
    prove(dataset, regions=99, now=NOW)
    proofs = read_proofs(dataset.archive(NOW))
    told = read_history(dataset, hours(1, 15)[0].isoformat(), now=NOW).places[0]
    let_go(dataset)
    assert_true(dataset, DROPPED, MADE, missing=[13])
    after = read_proofs(dataset.archive(NOW))
    assert (proofs.proven, after.proven, after.unproven) == (6, 4, 0)
    gaps = find_gaps(Context(dataset, now=NOW, beyond=True))
    assert {gap.url[-15:] for gap in gaps} == {"20200101T13.npy"}
    now = read_history(dataset, hours(1, 15)[0].isoformat(), now=NOW).places[0]
    assert now == told
    assert read_statistics(dataset, now=NOW).variables[0].statistics.count == 6 * (
        MADE - DROPPED - 1
    )
    (tmp_path / "kept").rename(gone)
    report = dataset.reformat_operational_update(client="none", now=NOW + pd.Timedelta(days=30))
    assert report.variables_done
    assert np.isfinite(dataset.store.open_dataset(chunks=None).a.values[13 - DROPPED]).all()


class Looking:
    """What readers may see: all that was made, or what is kept of it."""

    def __init__(self, dataset: DynamicalDataset) -> None:
        self.dataset = dataset
        self.seen: set[int] = set()

    def __call__(self) -> None:
        """Compare it with what the provider's files hold."""
        ds = self.dataset.store.open_dataset(chunks=None)
        first = 0 if ds.get_index("time")[0] == START else DROPPED
        self.seen.add(first)
        labels = hours(ds.sizes["time"], first)
        assert list(ds.get_index("time")) == labels
        np.testing.assert_array_equal(ds.a.values, truth(labels))
        assert (ds.completeness.values == 1).all()


@shifts
@pytest.mark.timeout(900)
def test_killed_at_its_every_step_it_is_completed(tmp_path: Path, provider: Provider) -> None:
    """Readers see all or what is kept; runs go on, or are refused until it is complete."""
    backfill(rolling(tmp_path))
    number, refused, seen = 0, 0, set[int]()
    with Attempts("retained:retained") as attempts:
        is_done = False
        while not is_done:
            number += 1
            folder = tmp_path / f"step-{number}"
            for name in ("a", "a.gridmill", "source"):
                shutil.copytree(tmp_path / name, folder / name)
            dataset = rolling(folder)
            look = Looking(dataset)
            with Readers(look) as readers:
                is_done = not attempts.dies_before(number, str(folder), 2)
                readers.once()
                try:
                    update(dataset, 22)
                except RetentionUnfinished:
                    refused += 1
                let_go(dataset)
                update(dataset, 22)
            assert (readers.violations, readers.looks > 0) == ([], True)
            seen |= look.seen
            assert_true(dataset, DROPPED, 22)
            assert backfill(dataset, 22).variables_done == 0
            assert dataset.store.tracker.retaining.read() is None
            lines = [line for line in dataset.store.tracker.feed.since("2000") if line.dropped]
            assert [line.dropped for line in lines] == [DROPPED]
            shutil.rmtree(folder)
    assert seen == {0, DROPPED}
    assert refused > 5
    assert number > 20


@shifts
def test_killed_again_and_again_it_is_completed(tmp_path: Path, provider: Provider) -> None:
    """Each attempt goes on with what the one before left, killed one write later."""
    dataset = rolling(tmp_path)
    backfill(dataset)
    with Readers(Looking(dataset)) as readers, Attempts("retained:retained") as attempts:
        deaths = 0
        for _ in attempts.one_after_the_other(str(tmp_path), 2):
            readers.once()
            deaths += 1
    assert (readers.violations, deaths > 0) == ([], True)
    assert_true(dataset, DROPPED, MADE)
    assert_complete(dataset, MADE)


@shifts
def test_what_a_killed_run_left_is_published_before(tmp_path: Path, provider: Provider) -> None:
    """Uploads that readers do not see yet are not taken for what they see."""
    dataset = rolling(tmp_path)
    backfill(dataset, 20)
    provider.publish(hours(4, 12), version=1)
    store = dataset.store
    publish, type(store).publish = type(store).publish, lambda *_, **__: False
    try:
        dataset.backfill(
            until(20), start=until(12), end=until(16), redo=True, client="none", now=NOW
        )
    finally:
        type(store).publish = publish
    before = dataset.store.open_dataset(chunks=None).a.values
    np.testing.assert_array_equal(before[12:16], truth(hours(4, 12)))
    let_go(dataset)
    after = dataset.store.open_dataset(chunks=None).a.values
    np.testing.assert_array_equal(
        after[12 - DROPPED : 16 - DROPPED], truth(hours(4, 12), version=1)
    )


@shifts
def test_what_readers_saw_before_is_given_back_under_the_same_labels_alone(
    tmp_path: Path, provider: Provider
) -> None:
    """After a retention, values of before it are not put under the labels of others."""
    dataset = rolling(tmp_path)
    backfill(dataset)
    moment = datetime.now(UTC)
    let_go(dataset)
    span = {"start": until(10), "end": until(12), "variables": ["a"], "who": "me", "why": "test"}
    with pytest.raises(ValueError, match="saw other labels"):
        withdraw(dataset, **span, keep=moment)
    assert_true(dataset, DROPPED, MADE)


# -- what is refused ------------------------------------------------------------------------------


def test_plain_zarr_is_refused_with_the_reason(tmp_path: Path, provider: Provider) -> None:
    """On the command line, too, and nothing is written."""
    dataset = rolling(tmp_path, kind="zarr")
    backfill(dataset)
    with pytest.raises(ValueError, match="plain Zarr, whose objects are named by their positions"):
        let_go(dataset)
    arguments = ["retained:Rolling", "--store", str(tmp_path / "a"), "--retention", "12h"]
    said = CliRunner().invoke(cli, ["retain", *arguments, "--yes"])
    assert said.exit_code == 2
    assert "gridmill copy this archive to a store of --format icechunk" in said.output
    assert_true(dataset, 0, MADE)
    assert let_go(dataset, timedelta(days=90)).notes[0].startswith("no whole region")


@pytest.mark.skipif(SHIFTS, reason="this Icechunk shifts arrays")
def test_icechunk_1_is_refused_with_the_reason(tmp_path: Path, provider: Provider) -> None:
    """And nothing is written."""
    dataset = rolling(tmp_path, 1)
    backfill(dataset)
    with pytest.raises(ValueError, match="Install Icechunk 2 where gridmill retain runs"):
        let_go(dataset)
    assert_true(dataset, 0, MADE)
    assert dataset.store.tracker.retaining.read() is None
