"""The next version of an archive is built beside the present one, and takes its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gridmill.dataset import DynamicalDataset
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.versions.candidate import check_may_replace, examine
from gridmill.operations.versions.promote import Beside, complete, discard, forget_previous, go_back
from gridmill.operations.versions.promote import promote as promote_version
from tiny import Provider, Tiny, TinyJob, dataset_of, hours, truth, until

icechunk = pytest.importorskip("icechunk")


class Corrected(TinyJob):
    """A release that stores other values."""

    version = 2

    def read_data(self, coord, data_var):
        """Read what the file holds, corrected."""
        return super().read_data(coord, data_var) + 100


Next = dataset_of(job=Corrected)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with eight files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    return provider


def make(
    tmp_path: Path, kind: type[DynamicalDataset] = Next, **options: Any
) -> DynamicalDataset:
    given = {"format": "icechunk", "source_base": str(tmp_path / "source"), **options}
    return kind(tmp_path / "a", **given)


def beside_of(tmp_path: Path, kind: type[DynamicalDataset] = Next) -> Beside:
    versions = [make(tmp_path, kind, staged=staged) for staged in (False, True, "previous")]
    return Beside(*versions)


def promote(tmp_path: Path) -> RunReport:
    beside = beside_of(tmp_path)
    candidate = examine(beside.present, beside.following)
    check_may_replace(candidate, [], allow_less=False, allow_errors=False)
    return promote_version(candidate, beside, who="ann")


def seen(tmp_path: Path, branch: str = "main") -> xr.Dataset:
    """Open the archive as its readers do, without gridmill."""
    storage = icechunk.local_filesystem_storage(str(tmp_path / "a"))
    session = icechunk.Repository.open(storage).readonly_session(branch)
    return xr.open_zarr(session.store, chunks=None, consolidated=False)


def test_a_next_version_takes_the_place_of_the_present_one(provider, tmp_path):
    """Readers see nothing of it before; who opened the archive stays with what he opened."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    staged = make(tmp_path, staged=True)
    staged.backfill(until(8), client="none")
    opened = seen(tmp_path)
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(8)))
    report = promote(tmp_path)
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(8)) + np.float32(100))
    np.testing.assert_array_equal(opened["a"], truth(hours(8)))
    assert "ann promoted version 2" in report.notes[0]
    storage = icechunk.local_filesystem_storage(str(tmp_path / "a"))
    assert set(icechunk.Repository.open(storage).list_branches()) == {"main", "previous"}


def test_the_next_update_continues_it_and_asks_for_nothing_again(provider, tmp_path):
    """Records, history and feed belong to what readers see."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    make(tmp_path, staged=True).backfill(until(8), client="none")
    promote(tmp_path)
    dataset = make(tmp_path)
    report = dataset.reformat_operational_update(client="none", now=until(8))
    assert not report.files["succeeded"]
    assert dataset.validate(now=until(8)).succeeded
    provider.publish(hours(12))
    report = dataset.reformat_operational_update(client="none", now=until(12))
    assert report.files["succeeded"] == 4 * 2 or report.files["succeeded"] == 4
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(12)) + np.float32(100))
    tracker = dataset.store.tracker
    lines = [line for day in tracker.feed.days() for line in tracker.feed.read(day)]
    assert [line.kind for line in lines] == ["backfill", "promote", "update"]
    assert lines[1].changed == ((0, 8),)
    assert {r.variables["a"].version for r in tracker.records()} == {2}
