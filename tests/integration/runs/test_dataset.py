"""What a dataset says before and between runs, and how a notebook uses one region job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clusters import one_worker
from gridmill.model.region import Region
from gridmill.model.reports.entries import Failure
from gridmill.stores.state.leases import Lease, LeaseHeld
from tiny import REGION, Provider, Tiny, TinyJob, dataset_of, hours, snapshot, until

client = one_worker()


@pytest.fixture
def dataset(tmp_path: Path) -> Tiny:
    """An archive whose provider has ten hours."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(10))
    return Tiny(tmp_path / "a.zarr", source_base=str(provider.root))


def test_a_plan_says_what_is_to_do_and_writes_nothing(dataset, client, tmp_path):
    """Region jobs, chains, files and bytes, before and after a part is done."""
    before = snapshot(tmp_path)
    plan = dataset.plan(until(10))
    nbytes_of_variable = 10 * 6 * 4
    summary = plan.summary()
    assert [job.region for job in plan.jobs] == [Region(0, 4), Region(4, 8), Region(8, 10)]
    assert (summary["region_jobs"], summary["region_jobs_to_do"], summary["chains"]) == (3, 3, 6)
    assert (summary["source_files"], summary["raw_nbytes"]) == (10, 2 * nbytes_of_variable)
    assert snapshot(tmp_path) == before
    dataset.backfill(until(10), end=until(4), client=client)
    assert dataset.plan(until(10)).summary()["chains"] == 4
    assert dataset.plan(until(10), variables=["a"], start=until(8)).summary()["chains"] == 1
    assert dataset.plan(now=until(10)).summary()["chains"] == 4


def test_filters_take_the_regions_that_they_touch(dataset):
    """Whole regions are planned for [start, end), the end not included."""

    def planned(**filters):
        return [job.region.start for job in dataset.plan(until(10), **filters).jobs]

    assert planned(end=until(4)) == [0]
    assert planned(end=until(5)) == [0, 4]
    # For an archive that is not made yet, start is where it begins.
    assert planned(start=until(3)) == [0, 4]


def test_the_status_of_an_archive(dataset, client):
    """Nothing yet, then what readers see, what may still change and the last run."""
    empty = dataset.status()
    assert (empty.positions, empty.first, empty.regions, empty.running) == (0, None, 0, ())
    report = dataset.backfill(until(12), client=client)
    status = dataset.status()
    assert (status.positions, status.regions) == (10, 3)
    assert (status.first, status.last) == (str(hours(1)[0]), str(hours(10)[9]))
    (region,) = status.incomplete
    assert region.region == str(hours(9)[8])
    assert region.why == "a: 2 source files not yet available"
    assert [(file.url[-7:], file.why) for file in region.files] == [
        ("T10.npy", "not yet available"),
        ("T11.npy", "not yet available"),
    ]
    assert (status.late, status.gaps) == (None, 0)
    assert status.last_run["run"] == report.run


def test_a_run_that_holds_the_archive_is_shown_and_respected(dataset, client):
    """A second run on the same regions is refused, and leaves nothing behind."""
    other = Lease(dataset.store.state, run="other", kind="backfill", positions=[(4, 8)])
    with other:
        assert [claim.run for claim in dataset.status().running] == ["other"]
        with pytest.raises(LeaseHeld, match="other"):
            dataset.backfill(until(10), client=client)
        report = dataset.backfill(until(10), end=until(REGION), client=client)
        assert report.positions_after == 4
    assert dataset.status().running == ()
    assert dataset.backfill(until(10), client=client).positions_after == 10


def test_one_job_processes_by_itself(dataset, client, tmp_path):
    """process() uploads, records and returns the results, and publishes nothing."""
    with client.as_current():
        job = dataset.plan(until(10)).jobs[1]
        results = job.process()
        again = job.process()
    assert {name: len(coords) for name, coords in results.items()} == {"a": 4, "b": 4}
    assert again == results
    assert job.update_template_with_results(results).sizes["time"] == 8
    assert not (tmp_path / "a.zarr" / "zarr.json").exists()


def test_a_dataset_says_where_temporary_stores_are(client, tmp_path):
    """What `_tmp_store` gives holds a run's metadata, and is deleted with the run."""
    given = []

    class Elsewhere(Tiny):
        def _tmp_store(self) -> Path:
            folder = tmp_path / f"tmp-{len(given)}"
            folder.mkdir()
            given.append(folder)
            return folder

    provider = Provider(tmp_path / "provider")
    provider.publish(hours(10))
    dataset = Elsewhere(tmp_path / "a.zarr", source_base=str(provider.root))
    seen = []
    dataset.backfill(until(10), client=client, listener=lambda _: seen.append(given[-1].exists()))
    assert all(seen)
    assert not any(folder.exists() for folder in given)
    default = Tiny(tmp_path / "b.zarr", source_base=str(provider.root))._tmp_store()
    assert list(default.iterdir()) == []
    default.rmdir()


def test_one_job_that_fails_raises(dataset, client, tmp_path):
    """The error names region, variable and cause."""

    class Fails(TinyJob):
        def transform_values_inplace(self, values, data_var):
            raise KeyError("no such thing")

    failing = dataset_of(job=Fails)(tmp_path / "a.zarr", source_base=dataset.source_base)
    with client.as_current():
        job = failing.plan(until(10)).jobs[0]
        with pytest.raises(RuntimeError, match=r"2020-01-01 00:00:00.*a: KeyError.*no such thing"):
            job.process()


def test_an_archive_of_another_dataset_is_refused(dataset, client, tmp_path):
    """What was declared in a store stays; another dataset id is one clear error."""
    dataset.backfill(until(4), client=client)
    attributes = {"dataset_id": "another", "title": "x"}
    parent = Tiny.template_config
    template = type("Other", (parent,), {"dataset_attributes": attributes})
    other = dataset_of(template=template)(tmp_path / "a.zarr")
    with pytest.raises(ValueError, match="holds tiny, not another"):
        other.backfill(until(8), client=client)
    with pytest.raises(ValueError, match="holds tiny, not another"):
        other.status()


def test_a_store_that_cannot_be_written_is_one_error(client, tmp_path):
    """Before anything is processed, with the store's name."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="cannot write to"):
        Tiny(tmp_path / "file" / "a.zarr").backfill(until(4), client=client)


def test_a_report_tells_whether_anything_failed(dataset, client):
    """succeeded and published_anything are claims about the run, kept beside the records."""
    report = dataset.backfill(until(4), client=client)
    assert (report.succeeded, report.published_anything) == (True, True)
    idle = dataset.backfill(until(4), client=client)
    assert (idle.succeeded, idle.published_anything, idle.regions_skipped) == (True, False, 1)
    idle.failures.append(Failure("r", "a", "why"))
    assert not idle.succeeded
    assert report.nbytes_uploaded > 0
    assert report.nbytes_healed == 0
    assert np.isclose(report.to_dict()["overlap"]["busy_s"], report.overlap().busy_s)
