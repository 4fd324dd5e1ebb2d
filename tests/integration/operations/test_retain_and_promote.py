"""Where versions and retentions meet: what a version has again or no more, and who is told so.

What shifts arrays is Icechunk 2 (`make test-icechunk2`), in a local repository of format 1, which
may have two versions.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from click.testing import CliRunner, Result

from gridmill.archive.archive import RetentionUnfinished
from gridmill.cli import cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.reports.run_report import RunReport
from gridmill.operations import maintenance
from gridmill.operations.retention.retain import retain
from gridmill.operations.versions.candidate import check_may_replace, examine
from gridmill.operations.versions.promote import Beside, go_back, promote
from gridmill.operations.versions.tags import tag_archive
from gridmill.runs import coordinator
from gridmill.runs.additions import addition
from gridmill.stores.state.claims import ADDING
from gridmill.stores.state.leases import Lease, LeaseHeld
from killed_steps import Attempts, Readers
from promoted import CORRECTED
from retained import KEEP, Rolling
from retained_versions import Corrected, beside, present
from scenes import Provider as Scenes
from scenes import scene, scenes_of
from tiny import Provider, hours, truth, until

pytestmark = pytest.mark.skipif(
    not hasattr(icechunk.Session, "shift_array"),
    reason="Icechunk 2 shifts arrays: make test-icechunk2",
)
MADE, DROPPED = 21, 8


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider of more than is made."""
    found = Provider(tmp_path / "source")
    found.publish(hours(48))
    return found


def backfill(dataset: DynamicalDataset, n: int = MADE, **options: Any) -> RunReport:
    """Build so many hours."""
    options = {"client": "none", "now": pd.Timestamp(until(n)), **options}
    report = dataset.backfill(until(n), **options)
    assert report.succeeded
    return report


def update(dataset: DynamicalDataset, n: int) -> RunReport:
    """Update up to so many hours."""
    report = dataset.reformat_operational_update(client="none", now=pd.Timestamp(until(n)))
    assert report.succeeded
    return report


def let_go(dataset: DynamicalDataset) -> RunReport:
    """Drop what is older."""
    return retain(dataset, KEEP, who="me")


def advance(folder: Path, *, allow_dropped: bool = False) -> RunReport:
    """Promote the next version as the command does."""
    versions = beside(folder)
    candidate = examine(versions.present, versions.following)
    check_may_replace(candidate, [], False, False, allow_dropped)
    return promote(candidate, versions, who="ann")


def back(folder: Path, *, allow_dropped: bool = False, kind: Any = Rolling) -> RunReport:
    """Return to the previous version as the command does."""
    versions = beside(folder, kind)
    candidate = examine(versions.present, versions.way_back, is_declared=False)
    check_may_replace(candidate, [], True, False, allow_dropped)
    return go_back(candidate, versions, who="ann")


def assert_sees(dataset: DynamicalDataset, first: int, stop: int, by: int = CORRECTED) -> None:
    """Compare all that readers see with what the provider's files hold, corrected or not."""
    ds = dataset.store.open_dataset(chunks=None)
    labels = hours(stop - first, first)
    assert list(ds.get_index("time")) == labels
    for name in ("a", "b"):
        np.testing.assert_array_equal(ds[name].values, truth(labels, name) + np.float32(by))
    assert (ds.completeness.values == 1).all()


def assert_whole(dataset: DynamicalDataset, n: int) -> None:
    """Nothing is to be done, and nothing is found."""
    assert backfill(dataset, n).variables_done == 0
    assert dataset.validate(now=pd.Timestamp(until(n))).found_by == {}


def test_what_was_dropped_does_not_come_back_by_a_version_that_began_before(
    tmp_path: Path, provider: Provider
) -> None:
    """It is refused; the same retention of the next version makes it fit."""
    old = present(tmp_path, Rolling)
    backfill(old)
    backfill(present(tmp_path, staged=True))
    let_go(old)
    assert_sees(present(tmp_path, staged=True), 0, MADE)
    with pytest.raises(ValueError, match=r"see 8 labels again .* gridmill retain with --stage"):
        advance(tmp_path)
    assert_sees(old, DROPPED, MADE, 0)
    let_go(present(tmp_path, staged=True))
    assert_sees(old, DROPPED, MADE, 0)
    advance(tmp_path)
    new = present(tmp_path)
    assert_sees(new, DROPPED, MADE)
    assert_whole(new, MADE)
    update(new, 34)
    let_go(new)
    assert_sees(new, 20, 34)
    assert_whole(new, 34)


def test_a_version_begins_where_the_retained_one_does(tmp_path: Path, provider: Provider) -> None:
    """Nothing is made that readers would not see."""
    old = present(tmp_path, Rolling)
    backfill(old)
    let_go(old)
    backfill(present(tmp_path, staged=True))
    assert_sees(present(tmp_path, staged=True), DROPPED, MADE)
    advance(tmp_path)
    new = present(tmp_path)
    assert_whole(new, MADE)
    back(tmp_path)
    assert_sees(present(tmp_path, Rolling), DROPPED, MADE, 0)


def test_an_irregular_version_begins_there_too(tmp_path: Path) -> None:
    """Whatever else the provider lists; and retentions go on."""
    labels = [scene(minutes) for minutes in range(0, 200, 10)]
    Scenes(tmp_path / "source").publish(*labels)
    now = scene(300)

    def irregular(staged: bool | str = False) -> DynamicalDataset:
        return scenes_of(tmp_path, "icechunk", format_version=1, staged=staged)

    old = irregular()
    assert old.backfill(now.isoformat(), client="none", now=now).succeeded
    retain(old, timedelta(minutes=100), who="me", now=now)
    assert irregular(staged=True).backfill(now.isoformat(), client="none", now=now).succeeded
    versions = Beside(*(irregular(staged) for staged in (False, True, "previous")))
    candidate = examine(versions.present, versions.following)
    check_may_replace(candidate, [], allow_less=False, allow_errors=False)
    promote(candidate, versions, who="ann")
    assert list(irregular().store.open_dataset(chunks=None).get_index("time")) == labels[8:]
    retain(irregular(), timedelta(minutes=60), who="me", now=now)
    seen = irregular().store.open_dataset(chunks=None)
    assert list(seen.get_index("time")) == labels[12:]
    np.testing.assert_array_equal(seen.a.values, truth(labels[12:]))


def test_the_way_back_says_what_comes_back(tmp_path: Path, provider: Provider) -> None:
    """Once it is allowed, the next retention drops it anew."""
    backfill(present(tmp_path, Rolling))
    backfill(present(tmp_path, staged=True))
    advance(tmp_path)
    update(present(tmp_path), 22)
    let_go(present(tmp_path))
    with pytest.raises(ValueError, match=r"8 labels again .*--allow-dropped"):
        back(tmp_path)
    assert_sees(present(tmp_path), DROPPED, 22)
    back(tmp_path, allow_dropped=True)
    old = present(tmp_path, Rolling)
    assert_sees(old, 0, MADE, 0)
    assert_whole(old, MADE)
    update(old, 22)
    let_go(old)
    assert_sees(old, DROPPED, 22, 0)
    back(tmp_path, kind=Corrected)
    assert_sees(present(tmp_path), DROPPED, 22)
    assert_whole(present(tmp_path), 22)


def test_upkeep_spares_what_other_versions_and_tags_hold(
    tmp_path: Path, provider: Provider
) -> None:
    """After a retention, too; what only dropped positions held goes once nobody names it."""
    old = present(tmp_path, Rolling)
    backfill(old)
    tag_archive(old, "all")
    backfill(present(tmp_path, staged=True))
    let_go(old)
    later = datetime.now(UTC) + timedelta(hours=3)
    old.store.forget_versions(later)
    assert_sees(old, DROPPED, MADE, 0)
    assert_sees(present(tmp_path, staged=True), 0, MADE)
    let_go(present(tmp_path, staged=True))
    old.store.forget_versions(later)
    advance(tmp_path)
    present(tmp_path).store.forget_versions(later)
    assert_sees(present(tmp_path), DROPPED, MADE)
    assert_sees(present(tmp_path, Rolling, staged="previous"), DROPPED, MADE, 0)
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(str(tmp_path / "a")))
    tagged = xr.open_zarr(
        repository.readonly_session(tag="all").store, chunks=None, consolidated=False
    )
    np.testing.assert_array_equal(tagged.a.values, truth(hours(MADE)))
    assert_whole(present(tmp_path), MADE)


def test_a_retention_waits_for_a_promotion(tmp_path: Path, provider: Provider) -> None:
    """That was interrupted where readers see the next version already."""
    backfill(present(tmp_path, Rolling))
    backfill(present(tmp_path, staged=True))
    with Attempts("retained_versions:promote_or_complete") as attempts:
        number = 1
        while present(tmp_path).store.read("a", (slice(0, 1),)).max() < CORRECTED:
            assert attempts.dies_before(number, str(tmp_path))
            number += 1
        with pytest.raises(ValueError, match="gridmill promote completes it"):
            let_go(present(tmp_path))
        assert_sees(present(tmp_path), 0, MADE)
        assert not attempts.dies_before(None, str(tmp_path))
    let_go(present(tmp_path))
    assert_sees(present(tmp_path), DROPPED, MADE)


def test_what_was_interrupted_is_completed_before_the_other_begins(
    tmp_path: Path, provider: Provider
) -> None:
    """Of either version; each error names the command that completes it."""
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "source").rename(base / "source")
    backfill(present(base, Rolling))
    backfill(present(base, staged=True))
    for staged in (False, True):
        folder = tmp_path / str(staged)
        shutil.copytree(base, folder)
        dataset = present(folder, Corrected if staged else Rolling, staged=staged)
        interrupted(dataset)
        with pytest.raises(RetentionUnfinished):
            update(dataset, MADE)
        command = "gridmill retain --stage" if staged else "gridmill retain"
        with pytest.raises(ValueError, match=f"interrupted: {command} completes it"):
            advance(folder)
        let_go(dataset)
        assert_sees(dataset, DROPPED, MADE, CORRECTED if staged else 0)


def interrupted(dataset: DynamicalDataset) -> None:
    """Drop what is older, and die before records say so."""
    tracker = dataset.store.tracker
    kind, was = type(tracker), type(tracker).replace_declaration

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    kind.replace_declaration = die
    try:
        with pytest.raises(KeyboardInterrupt):
            let_go(dataset)
    finally:
        kind.replace_declaration = was


# -- two commands at once -------------------------------------------------------------------------


class Between:
    """Does something once between a command's first look at the archive and its lease."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: Any, act: Any) -> None:
        self.was, self.act, self.done = module.Lease, act, False
        monkeypatch.setattr(module, "Lease", self)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Take the lease, after something else took and gave it back."""
        if not self.done:
            self.done = True
            self.act()
        return self.was(*args, **options)


def test_an_update_just_before_a_retention_is_kept(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it published since the retention looked is there, under its labels."""
    dataset = present(tmp_path, Rolling)
    backfill(dataset)
    between = Between(monkeypatch, maintenance, lambda: update(present(tmp_path, Rolling), 34))
    retain(dataset, KEEP, who="me", now=pd.Timestamp(until(MADE)))
    assert between.done
    assert_sees(dataset, 20, 34, 0)
    assert_whole(dataset, 34)


def test_a_retention_or_a_promotion_just_before_an_update(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It begins anew with the archive as it is then."""
    backfill(present(tmp_path, Rolling))
    Between(monkeypatch, coordinator, lambda: let_go(present(tmp_path, Rolling)))
    update(present(tmp_path, Rolling), 24)
    assert_sees(present(tmp_path, Rolling), DROPPED, 24, 0)
    assert_whole(present(tmp_path, Rolling), 24)
    monkeypatch.undo()
    backfill(present(tmp_path, staged=True), 24)
    Between(monkeypatch, coordinator, lambda: advance(tmp_path))
    update(present(tmp_path), 26)
    assert_sees(present(tmp_path), DROPPED, 26)
    assert_whole(present(tmp_path), 26)


def test_a_promotion_just_before_a_retention(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The promoted version is retained."""
    backfill(present(tmp_path, Rolling))
    backfill(present(tmp_path, staged=True))
    between = Between(monkeypatch, maintenance, lambda: advance(tmp_path))
    let_go(present(tmp_path))
    assert between.done
    assert_sees(present(tmp_path), DROPPED, MADE)
    assert_whole(present(tmp_path), MADE)


def test_a_retention_and_variables_that_are_being_added(
    tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One waits for the other, and what is added afterwards has the positions of then."""
    dataset = present(tmp_path, Rolling)
    backfill(dataset, variables=["a"])
    claims = {"run": "r", "kind": "backfill", "positions": [ADDING]}
    with Lease(dataset.store.state, **claims), pytest.raises(LeaseHeld, match="backfill"):
        let_go(dataset)
    between = Between(monkeypatch, addition, lambda: let_go(present(tmp_path, Rolling)))
    backfill(dataset, variables=["b"])
    assert between.done
    assert_sees(dataset, DROPPED, MADE, 0)
    assert_whole(dataset, MADE)


# -- on the command line, and killed --------------------------------------------------------------


def call(folder: Path, *arguments: str) -> Result:
    """Call a command for the later release."""
    name, *rest = arguments
    store = ["--store", str(folder / "a"), "--format", "icechunk"]
    env = {"GRIDMILL_SOURCE_BASE": str(folder / "source"), "GRIDMILL_CLUSTER": "none"}
    return CliRunner().invoke(cli, [name, "retained_versions:Corrected", *rest, *store], env=env)


def test_the_commands_say_what_to_do(tmp_path: Path, provider: Provider) -> None:
    """Each error's next step is a command that works."""
    backfill(present(tmp_path, Rolling))
    backfill(present(tmp_path, staged=True))
    now = ["--now", until(MADE)]
    kept = ["--retention", "12h", "--yes", *now]
    assert call(tmp_path, "retain", *kept).exit_code == 0
    refused = call(tmp_path, "promote", "--yes", *now)
    assert refused.exit_code == 2
    assert "gridmill retain with --stage" in refused.output
    assert call(tmp_path, "promote", "--dry-run", "--allow-dropped", *now).exit_code == 0
    assert call(tmp_path, "retain", "--stage", *kept).exit_code == 0
    done = call(tmp_path, "promote", "--yes", *now)
    assert done.exit_code == 0, done.output
    assert_sees(present(tmp_path), DROPPED, MADE)


class Looking:
    """What readers may see: the retained version, or all of the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seen: set[int] = set()

    def __call__(self) -> None:
        """Compare it with what the provider's files hold."""
        ds = present(self.folder).store.open_dataset(chunks=None)
        labels = list(ds.get_index("time"))
        by = 0 if labels[0] == hours(1)[0] else CORRECTED
        assert labels == (hours(MADE) if by == 0 else hours(MADE - DROPPED, DROPPED))
        np.testing.assert_array_equal(ds.a.values, truth(labels) + np.float32(by))
        self.seen.add(by)


def test_killed_on_the_way_back_to_what_was_dropped(tmp_path: Path, provider: Provider) -> None:
    """At some of its steps; readers see one version or the other, with its labels."""
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "source").rename(base / "source")
    backfill(present(base, Rolling))
    backfill(present(base, staged=True))
    advance(base)
    let_go(present(base))
    seen, died, number = set[int](), True, 1
    with Attempts("retained_versions:go_back_or_complete") as attempts:
        while died:
            folder = tmp_path / str(number)
            shutil.copytree(base, folder)
            look = Looking(folder)
            with Readers(look) as readers:
                died = attempts.dies_before(number, str(folder))
                readers.once()
                attempts.dies_before(None, str(folder))
            readers.once()
            assert readers.violations == []
            seen |= look.seen
            old = present(folder, Rolling)
            assert_sees(old, 0, MADE, 0)
            assert_whole(old, MADE)
            shutil.rmtree(folder)
            number += 11
    assert seen == {0, CORRECTED}
    assert number > 60
