"""The next version of an archive is built beside the present one, and takes its place."""

from __future__ import annotations

import json
import shutil
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gridmill.dataset import DynamicalDataset
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.versions.candidate import check_may_replace, examine
from gridmill.operations.versions.promote import Beside, discard, forget_previous, go_back
from gridmill.operations.versions.promote import promote as promote_version
from gridmill.stores.state.leases import Lease, LeaseHeld
from gridmill.testing import S3Server
from killed_steps import Attempts, Readers, thinned
from promoted import CORRECTED, Next, beside_of, make
from tiny import Provider, Tiny, hours, truth, until, url_of

icechunk = pytest.importorskip("icechunk")


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with eight files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    return provider


def promote(tmp_path: Path) -> RunReport:
    beside = beside_of(tmp_path)
    candidate = examine(beside.present, beside.following)
    check_may_replace(candidate, [], allow_less=False, allow_errors=False)
    return promote_version(candidate, beside, who="ann")


def files_of_an_update(dataset: DynamicalDataset, n: int) -> dict[str, int]:
    """Update up to a position; how many source files became what."""
    report = dataset.reformat_operational_update(client="none", now=until(n))
    return {status: count for status, count in report.files.items() if count}


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
    """Records, history and feed belong to what readers see, as if it had been there before."""
    control = make(tmp_path, url=tmp_path / "control")
    control.backfill(until(8), client="none")
    make(tmp_path, Tiny).backfill(until(8), client="none")
    make(tmp_path, staged=True).backfill(until(8), client="none")
    promote(tmp_path)
    dataset = make(tmp_path)
    assert files_of_an_update(dataset, 8) == files_of_an_update(control, 8)
    assert dataset.validate(now=until(8)).succeeded
    provider.publish(hours(12))
    assert files_of_an_update(dataset, 12) == files_of_an_update(control, 12)
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(12)) + np.float32(100))
    tracker = dataset.store.tracker
    lines = [line for day in tracker.feed.days() for line in tracker.feed.read(day)]
    assert list(dict.fromkeys(line.kind for line in lines)) == ["backfill", "promote", "update"]
    assert [line.changed for line in lines if line.kind == "promote"] == [((0, 8),)]
    assert {r.variables["a"].version for r in tracker.records()} == {2}


def test_without_a_promotion_readers_see_nothing_of_a_next_version(provider, tmp_path):
    """Nor does an update of the present one, an upkeep, or a next version that is discarded."""
    dataset = make(tmp_path, Tiny)
    dataset.backfill(until(4), client="none")
    staged = make(tmp_path, staged=True)
    staged.backfill(until(8), client="none")
    assert staged.store.published_length("time") == 8
    dataset.reformat_operational_update(client="none", now=until(8))
    later = datetime.now(UTC) + timedelta(hours=3)
    dataset.store.forget_versions(later)
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(8)))
    np.testing.assert_array_equal(seen(tmp_path, "stage")["a"], truth(hours(8)) + np.float32(100))
    with pytest.raises(ValueError, match="gridmill upkeep without --stage looks after both"):
        staged.store.forget_versions(later)
    discard(beside_of(tmp_path))
    assert not records_in(tmp_path / "a.stage.gridmill")
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(8)))
    # What is begun after it begins anew.
    staged = make(tmp_path, staged=True)
    staged.backfill(until(4), client="none")
    assert staged.store.published_length("time") == 4


def test_the_previous_version_is_the_way_back(provider, tmp_path):
    """And the promoted one is the way forth again, with its records."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    make(tmp_path, staged=True).backfill(until(8), client="none")
    promote(tmp_path)
    for kind, more in ((Tiny, 0), (Next, 100)):
        beside = beside_of(tmp_path)
        candidate = examine(beside.present, beside.way_back, is_declared=False)
        go_back(candidate, beside, who="ann")
        np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(8)) + np.float32(more))
        dataset = make(tmp_path, kind)
        assert dataset.validate(now=until(8)).succeeded
    forget_previous(beside_of(tmp_path))
    assert not records_in(tmp_path / "a.previous.gridmill")
    with pytest.raises(ValueError, match="no previous version: there is no way back"):
        _ = beside_of(tmp_path).way_back


def test_an_upkeep_spares_what_a_next_version_uploaded(provider, tmp_path, monkeypatch):
    """Though no commit has it yet: its run was killed, or waits for a file."""
    begun = datetime.now(UTC)
    dataset = make(tmp_path, Tiny)
    dataset.backfill(until(8), client="none")
    staged = make(tmp_path, staged=True)
    first = tmp_path / "source" / url_of(hours(1)[0])
    content = first.read_bytes()
    first.unlink()
    staged.backfill(until(8), client="none")  # the second region is uploaded, and waits
    assert not staged.store.published_length("time")
    spared = []
    collect = icechunk.Repository.garbage_collect

    def collecting(self, before, **options):
        spared.append(before)
        return collect(self, before, **options)

    # Chunks of a few bytes lie in what refers to them: what would be deleted is told by the time.
    monkeypatch.setattr(icechunk.Repository, "garbage_collect", collecting)
    dataset.store.forget_versions(datetime.now(UTC) + timedelta(hours=3))
    assert spared[0] < begun
    first.write_bytes(content)
    report = staged.backfill(until(8), client="none")
    assert report.variables_skipped or report.regions_skipped
    promote(tmp_path)
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(8)) + np.float32(100))


def test_a_next_version_has_what_the_present_one_was_declared_to_have(provider, tmp_path):
    """Its start and variables, unless something else is given; and it is of the same dataset."""
    for kind in ("icechunk", "zarr"):
        folder = tmp_path / kind
        options = {"format": kind, "source_base": f"{tmp_path}/source"}
        make(folder, Tiny, **options).backfill(
            until(8), start=until(2), variables=["a"], client="none"
        )
        staged = make(folder, staged=True, **options)
        staged.backfill(until(8), client="none")
        ds = staged.store.open_dataset(chunks=None)
        assert list(ds.get_index("time")) == hours(6, 2)
        assert list(ds.data_vars) == ["a"]
    named = {"dataset_attributes": {"dataset_id": "other", "title": "Other"}}
    other = type("Other", (Next.template_config,), named)
    discard(beside_of(tmp_path / "icechunk", source_base=f"{tmp_path}/source"))
    of_another = type("Another", (Next,), {"template_config": other})
    with pytest.raises(ValueError, match="holds tiny, not other: give another --store"):
        make(
            tmp_path / "icechunk", of_another, staged=True, source_base=f"{tmp_path}/source"
        ).backfill(until(8), client="none")


def test_what_readers_would_lose_is_named(provider, tmp_path):
    """Labels and variables; and no version is one."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    beside = beside_of(tmp_path)
    with pytest.raises(ValueError, match="no version that readers could see is staged"):
        examine(beside.present, beside.following)
    make(tmp_path, staged=True).backfill(until(4), variables=["a"], client="none")
    candidate = examine(beside.present, beside.following)
    with pytest.raises(ValueError, match=r"4 labels only in A.*b is only in A.*--allow-less"):
        check_may_replace(candidate, [], allow_less=False, allow_errors=False)
    check_may_replace(candidate, [], allow_less=True, allow_errors=False)
    with pytest.raises(ValueError, match="is not valid: error: torn; repair it"):
        check_may_replace(candidate, ["error: torn"], allow_less=True, allow_errors=False)
    check_may_replace(candidate, ["error: torn"], allow_less=True, allow_errors=True)


def test_it_must_be_of_the_declared_version(provider, tmp_path):
    """A region that an earlier release made is named."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    make(tmp_path, Tiny, staged=True).backfill(until(8), client="none")
    beside = beside_of(tmp_path)
    with pytest.raises(ValueError, match=r"not of version 2.*a in the region from position 0"):
        examine(beside.present, beside.following)


def test_what_changed_since_the_comparison_is_not_promoted(provider, tmp_path):
    """Of either version; and no run may be at work on them."""
    dataset = make(tmp_path, Tiny)
    dataset.backfill(until(4), client="none")
    staged = make(tmp_path, staged=True)
    staged.backfill(until(8), client="none")
    beside = beside_of(tmp_path)
    candidate = examine(beside.present, beside.following)
    for held in (dataset, staged):
        lease = Lease(held.store.state, run="r", kind="update", positions=[(0, 8)])
        with lease, pytest.raises(LeaseHeld):
            promote_version(candidate, beside, who="ann")
        with lease, pytest.raises(LeaseHeld):
            examine(beside.present, beside.following)
    dataset.reformat_operational_update(client="none", now=until(8))
    with pytest.raises(ValueError, match="changed since they were compared"):
        promote_version(candidate, beside, who="ann")
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(8)))


def test_plain_replicas_are_refused_and_one_of_the_former_version_is_left_alone(provider, tmp_path):
    """It would follow region by region, and its readers would see a mix of both versions."""
    make(tmp_path, Tiny, replicas=[tmp_path / "r"]).backfill(until(8), client="none")
    make(tmp_path, staged=True).backfill(until(8), client="none")
    with pytest.raises(ValueError, match="has no replicas"):
        make(tmp_path, staged=True, replicas=[tmp_path / "r"])
    beside = beside_of(tmp_path)
    candidate = examine(beside.present, beside.following)
    replicated = Beside(
        make(tmp_path, replicas=[tmp_path / "r"]), beside.following, beside.previous
    )
    with pytest.raises(ValueError, match="a mix of both versions"):
        promote_version(candidate, replicated, who="ann")
    promote_version(candidate, beside, who="ann")
    provider.publish(hours(12))
    dataset = make(tmp_path, replicas=[tmp_path / "r", tmp_path / "new"])
    report = dataset.reformat_operational_update(client="none", now=until(12))
    old, new = report.replicas
    assert "shows the version from before a promotion, which plain Zarr cannot" in old.failure
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "r")["a"], truth(hours(8)))
    assert new.failure is None
    after = truth(hours(12)) + np.float32(100)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "new")["a"], after)


def test_plain_zarr_has_the_next_version_at_an_address_of_its_own(provider, tmp_path):
    """Nothing exchanges objects in one step, so that nothing there is promoted."""
    make(tmp_path, Tiny, format="zarr").backfill(until(8), client="none")
    staged = make(tmp_path, format="zarr", staged=True)
    staged.backfill(until(8), client="none")
    assert staged.store.url.endswith("/a.v2")
    present = make(tmp_path, format="zarr")
    candidate = examine(present, staged)
    check_may_replace(candidate, [], allow_less=False, allow_errors=False)
    with pytest.raises(ValueError, match="cannot be exchanged in one step"):
        Beside(present, staged, staged)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a")["a"], truth(hours(8)))
    after = truth(hours(8)) + np.float32(100)
    np.testing.assert_array_equal(xr.open_zarr(tmp_path / "a.v2")["a"], after)


def test_why_a_folder_of_plain_zarr_is_not_renamed(provider, tmp_path):
    """Who opened the archive before would get values of the other version, without any error."""
    make(tmp_path, Tiny, format="zarr").backfill(until(8), client="none")
    make(tmp_path, format="zarr", staged=True).backfill(until(8), client="none")
    opened = xr.open_zarr(tmp_path / "a", chunks=None)
    (tmp_path / "a").rename(tmp_path / "old")
    (tmp_path / "a.v2").rename(tmp_path / "a")
    np.testing.assert_array_equal(opened["a"], truth(hours(8)) + np.float32(CORRECTED))


def whole(tmp_path: Path) -> int:
    """Look as a reader does; by how much the values differ from those of the first version."""
    with seen(tmp_path) as ds:
        opened = ds.isel(y=0, x=0)
        values = [opened[name].values for name in ("a", "b")]
    by = values[0] - truth(hours(8))[:, 0, 0]
    assert set(by.round(3).tolist()) in ({0.0}, {float(CORRECTED)}), by
    return round(float(by[0]))


# An update is tried at so many of the steps: it takes as long as several attempts.
TRIED_EVERY = 4


def is_refused(folder: Path) -> bool:
    """Update; whether that is refused until the promotion is completed. Else it changes nothing."""
    dataset = make(folder, Next if whole(folder) else Tiny)
    try:
        report = dataset.reformat_operational_update(client="none", now=until(8))
    except ValueError as error:
        if "gridmill promote completes it" not in str(error):
            raise
        return True
    assert report.succeeded
    assert not report.published_anything
    return False


def kill_at_each_step(
    base: Path, attempts: Attempts, kind: Any, by: int, stride: int = 1
) -> list[int]:
    """Kill, look, and complete, each time on a copy; what readers saw after each death.

    In the end readers see values that differ `by` so much from the first version's.
    """
    after, refusals, told = [], 0, promotions_told(base)
    for number in range(1, 400, stride):
        folder = base.parent / f"{base.name}-{number}"
        shutil.copytree(base, folder)
        with Readers(lambda folder=folder: whole(folder)) as readers:
            died = attempts.dies_before(number, str(folder), {})
            after.append(whole(folder))
            is_tried = number % TRIED_EVERY == 0 and died
            refused = is_refused(folder) if is_tried else False
            assert not refused or after[-1] == by  # before the moment, runs go on
            refusals += refused
            attempts.dies_before(None, str(folder), {})
        readers.once()
        assert readers.violations == []
        assert whole(folder) == by
        check_nothing_is_left(folder)
        assert promotions_told(folder) == told + 1
        if is_tried:
            assert make(folder, kind).validate(now=until(8)).succeeded
        shutil.rmtree(folder)
        if not died:
            assert refusals
            return after
    raise AssertionError("more than 400 steps")


def promotions_told(folder: Path) -> int:
    """Count the promotions of which the feed tells."""
    feed = make(folder).store.tracker.feed
    return sum(line.kind == "promote" for day in feed.days() for line in feed.read(day))


def check_one_moment(after: list[int], before: int, by: int) -> None:
    """Assert that there is one moment from which on readers see the other version."""
    moment = after.index(by)
    assert after == [before] * moment + [by] * (len(after) - moment)
    assert 5 < moment < len(after) - 5


def test_killed_at_its_every_step_readers_see_one_version_or_the_other(provider, tmp_path):
    """Whole, at every moment; and what was interrupted is completed by the same command."""
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "source").rename(base / "source")
    make(base, Tiny).backfill(until(8), client="none")
    make(base, staged=True).backfill(until(8), client="none")
    with Attempts("promoted:promote_or_complete") as attempts:
        after = kill_at_each_step(base, attempts, Next, CORRECTED, stride=thinned(3))
    check_one_moment(after, 0, CORRECTED)


def test_the_way_back_is_as_safe(provider, tmp_path):
    """Also where the previous version is overwritten while it takes its place."""
    base = tmp_path / "base"
    base.mkdir()
    (tmp_path / "source").rename(base / "source")
    make(base, Tiny).backfill(until(8), client="none")
    make(base, staged=True).backfill(until(8), client="none")
    promote(base)
    with Attempts("promoted:go_back_or_complete") as attempts:
        after = kill_at_each_step(base, attempts, Tiny, 0, stride=thinned(3))
    check_one_moment(after, CORRECTED, 0)


needs_format_2 = pytest.mark.skipif(
    icechunk.__version__.startswith("1."), reason="this Icechunk knows one format"
)


@needs_format_2
def test_a_local_repository_in_format_2_has_one_version(provider, tmp_path):
    """One object holds all its branches, and two runs would overwrite each other's."""
    make(tmp_path, Tiny, format_version=2).backfill(until(4), client="none")
    with pytest.raises(ValueError, match="a local disk does not guard"):
        make(tmp_path, staged=True).backfill(until(4), client="none")
    np.testing.assert_array_equal(seen(tmp_path)["a"], truth(hours(4)))


@needs_format_2
def test_an_upkeep_keeps_what_a_next_version_in_format_2_merged(
    provider, tmp_path, s3_server: S3Server
):
    """Though the commits that said so are expired: nothing is merged again."""
    bucket = f"b{uuid.uuid4().hex}"
    s3_server.create_bucket(bucket)
    options = {
        "url": f"s3://{bucket}/a.icechunk",
        "storage_options": dict(s3_server.storage_options),
    }
    make(tmp_path, Tiny, format_version=2, **options).backfill(until(8), client="none")
    staged = make(tmp_path, staged=True, **options)
    staged.backfill(until(8), client="none")
    present = make(tmp_path, Tiny, **options)
    merged = staged.store.uploads.merged()
    present.store.forget_versions(datetime.now(UTC) + timedelta(hours=3))
    assert staged.store.uploads.merged() == merged != {}
    beside = beside_of(tmp_path, **options)
    promote_version(examine(beside.present, beside.following), beside, who="ann")
    after = make(tmp_path, **options)
    np.testing.assert_array_equal(
        after.store.open_dataset(chunks=None)["a"], truth(hours(8)) + np.float32(CORRECTED)
    )
    assert after.validate(now=until(8)).succeeded


def test_in_a_bucket_it_is_as_safe(provider, tmp_path, s3_server: S3Server):
    """Killed at some of its steps, each death on what the ones before left."""
    bucket = f"b{uuid.uuid4().hex}"
    s3_server.create_bucket(bucket)
    options = {
        "url": f"s3://{bucket}/a.icechunk",
        "storage_options": dict(s3_server.storage_options),
    }
    make(tmp_path, Tiny, **options).backfill(until(8), client="none")
    make(tmp_path, staged=True, **options).backfill(until(8), client="none")

    def look() -> float:
        ds = make(tmp_path, **options).store.open_dataset(chunks=None)
        by = ds["a"].values - truth(hours(8))
        assert np.ptp(by.round(3)) == 0
        return float(by.max().round(3))

    after = []
    with Attempts("promoted:promote_or_complete") as attempts, Readers(look) as readers:
        for number in range(3, 400, 9):
            died = attempts.dies_before(number, str(tmp_path), options)
            after.append(look())
            if not died:
                break
    assert readers.violations == []
    assert (after[0], after[-1]) == (0, CORRECTED)
    assert after == sorted(after)
    assert make(tmp_path, **options).validate(now=until(8)).succeeded
    assert set(beside_of(tmp_path, **options).branches.repository.open().list_branches()) == {
        "main",
        "previous",
    }


def records_in(folder: Path) -> list[Path]:
    """List what is in a folder of records, relative to it."""
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def check_nothing_is_left(tmp_path: Path) -> None:
    """Assert that there is the present and the previous version, and nothing else."""
    storage = icechunk.local_filesystem_storage(str(tmp_path / "a"))
    assert set(icechunk.Repository.open(storage).list_branches()) == {"main", "previous"}
    assert not [p for p in records_in(tmp_path / "a.stage.gridmill") if p.parts[0] != "leases"]
    for name in ("a", "a.previous"):
        declared = json.loads(Path(f"{tmp_path}/{name}.gridmill/declaration.json").read_bytes())
        assert "promoting" not in declared
