"""Versions with a name: what readers saw then, for as long as the name stands."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import tiny
from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.operations.versions import tags as tagging
from gridmill.operations.versions.tags import delete_tag, list_tags, tag_archive
from gridmill.stores.state.claims import UPKEEP
from gridmill.stores.state.leases import Lease, LeaseHeld
from tiny import Tiny, TinyJob, dataset_of, hours, truth, until

icechunk = pytest.importorskip("icechunk")


class Wrong(TinyJob):
    """A release that stores wrong values."""

    version = 2

    def read_data(self, coord, data_var):
        """Read what is not in the file."""
        return super().read_data(coord, data_var) + 100


def make(tmp_path: Path, kind: type[DynamicalDataset] = Tiny, **options: Any) -> DynamicalDataset:
    given = {"format": "icechunk", **options}
    return kind(tmp_path / "a", source_base=str(tmp_path / "source"), **given)


def as_tagged(tmp_path: Path, **which: Any) -> xr.Dataset:
    """Open a version as its readers do, without gridmill."""
    storage = icechunk.local_filesystem_storage(str(tmp_path / "a"))
    session = icechunk.Repository.open(storage).readonly_session(**which)
    return xr.open_zarr(session.store, chunks=None, consolidated=False).load()


def test_a_tag_is_what_readers_saw_then(provider, tmp_path):
    """Whatever is published since, also over the same places; so is a moment."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    tag = tag_archive(dataset, "release-1")
    make(tmp_path, dataset_of(job=Wrong)).backfill(until(12), client="none", redo=True)
    for which in ({"tag": "release-1"}, {"branch": "main", "as_of": tag.at}):
        np.testing.assert_array_equal(as_tagged(tmp_path, **which)["a"], truth(hours(8)))
    assert tag_archive(dataset, "release-2", tag.at).snapshot == tag.snapshot
    assert [one.name for one in list_tags(dataset)] == ["release-1", "release-2"]


def test_a_tag_does_not_move(provider, tmp_path):
    """The same again changes nothing; of another version it is refused."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    tag = tag_archive(dataset, "release-1")
    assert tag_archive(dataset, "release-1") == tag
    dataset.backfill(until(8), client="none")
    with pytest.raises(ValueError, match="a tag does not move"):
        tag_archive(dataset, "release-1")
    with pytest.raises(ValueError, match="no name of a tag"):
        tag_archive(dataset, "release 1")


def test_upkeep_keeps_what_a_tag_holds(provider, tmp_path):
    """All else of before goes, and what a deleted tag held."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    tag_archive(dataset, "good")
    make(tmp_path, dataset_of(job=Wrong)).backfill(until(8), client="none", redo=True)
    later = datetime.now(UTC) + timedelta(hours=3)
    assert dataset.store.forget_versions(later)["snapshots_expired"] > 0
    np.testing.assert_array_equal(as_tagged(tmp_path, tag="good")["a"], truth(hours(8)))
    np.testing.assert_array_equal(
        as_tagged(tmp_path, branch="main")["a"], truth(hours(8)) + np.float32(100)
    )
    delete_tag(dataset, "good")
    # Without a lease: what is younger than those who work on an archive stays.
    assert dataset.store.forget_versions(later)["snapshots_deleted"] > 0
    np.testing.assert_array_equal(
        as_tagged(tmp_path, branch="main")["a"], truth(hours(8)) + np.float32(100)
    )


def test_a_deleted_tag_is_named_in_the_report_and_not_given_again(provider, tmp_path):
    """Who reads by its name must not get another version."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    tag = tag_archive(dataset, "good")
    delete_tag(dataset, "good")
    assert list_tags(dataset) == []
    report = dataset.store.tracker.reports.last()
    assert tag.snapshot in report["notes"][0]
    with pytest.raises(ValueError, match="has no tag good; its tags: none"):
        delete_tag(dataset, "good")
    with pytest.raises(ValueError, match="not given again"):
        tag_archive(dataset, "good")


def test_plain_zarr_refuses_with_the_reason(provider, tmp_path):
    """Objects that are replaced are gone."""
    dataset = make(tmp_path, format="zarr")
    dataset.backfill(until(4), client="none")
    for call in (list_tags, lambda d: tag_archive(d, "x"), lambda d: delete_tag(d, "x")):
        with pytest.raises(ValueError, match="plain Zarr, which keeps no versions"):
            call(dataset)


def test_a_tag_waits_for_an_upkeep(provider, tmp_path):
    """That may forget the version at this moment; a run does not matter."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    with (
        Lease(dataset.store.state, run="u", kind="upkeep", positions=[UPKEEP]),
        pytest.raises(LeaseHeld),
    ):
        tag_archive(dataset, "x")
    with Lease(dataset.store.state, run="r", kind="update", positions=[(0, 8)]):
        tag_archive(dataset, "x")


def _tag_and_die(folder: str, when: str) -> None:
    versions = Tiny(Path(folder), format="icechunk").store.versions
    real = type(versions).tag

    def dying(self, name, moment=None):
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        real(self, name, moment)
        os.kill(os.getpid(), signal.SIGKILL)

    type(versions).tag = dying
    tagging.tag_archive(Tiny(Path(folder), format="icechunk"), "good")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tag_that_is_killed_is_completed_by_the_same_command(when, provider, tmp_path):
    """Readers see what they saw, and the tag names that."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    child = multiprocessing.get_context("spawn").Process(
        target=_tag_and_die, args=(str(tmp_path / "a"), when)
    )
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    np.testing.assert_array_equal(as_tagged(tmp_path, branch="main")["a"], truth(hours(4)))
    tag_archive(dataset, "good")
    assert [tag.name for tag in list_tags(dataset)] == ["good"]
    assert dataset.backfill(until(8), client="none").positions_after == 8


def test_a_rollback_on_friday_evening(provider, tmp_path, monkeypatch):
    """The recipe of the operating guide: tag, a bad release, and back, with the feed's help."""
    monkeypatch.setitem(sys.modules, "tiny_tags", tiny)
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    archive = ["tiny_tags:Tiny", "--store", str(tmp_path / "a"), "--format", "icechunk"]

    def run(*args: str) -> Any:
        done = CliRunner().invoke(cli, [args[0], *archive, *args[1:]])
        assert done.exit_code == ExitCode.SUCCESS, done.output
        return done

    run("tag", "before-release-2")
    # Friday afternoon: release 2 makes a region anew, and goes on with the archive.
    release = make(tmp_path, dataset_of(job=Wrong))
    release.backfill(until(8), start=until(4), end=until(8), client="none", redo=True)
    release.backfill(until(12), client="none")
    # Friday evening.
    feed = json.loads(run("history", "--feed", "--since", "1d", "--json").stdout)
    changed = [span for line in feed["publications"] for span in line.get("changed", ())]
    assert changed == [[4, 8]]
    assert "before-release-2" in run("tag", "--list").output
    selection = ("--variables", "a,b", "--why", "release 2 adds 100", "--yes")
    run(
        "withdraw", "--start", until(4), "--end", until(8), "--keep", "before-release-2", *selection
    )
    run("truncate", "--end", until(8), "--yes")
    dataset.backfill(until(12), client="none")
    np.testing.assert_array_equal(as_tagged(tmp_path, branch="main")["a"], truth(hours(12)))
    run("tag", "before-release-2", "--delete", "--yes")


def test_the_command_says_what_does_not_go_together(tmp_path):
    """A name or a list; a moment with a new tag."""
    archive = ["tag", "tiny:Tiny", "--store", str(tmp_path / "a"), "--format", "icechunk"]
    for args in ([], ["x", "--list"], ["x", "--delete", "--at", "2020-01-01"], ["x"]):
        done = CliRunner().invoke(cli, [*archive, *args])
        assert done.exit_code == ExitCode.WRONG_INPUT, done.output
