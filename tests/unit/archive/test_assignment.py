"""What a run is to do: the jobs of what is selected, told where their source files are."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from gridmill.archive.assignment import (
    Selection,
    assigned_backfill,
    assigned_job,
    assigned_update,
)
from gridmill.archive.opening import Opening
from gridmill.model.region import Region
from gridmill.planning.belief import Belief
from gridmill.stores.objects.leftovers import make_folder
from gridmill.stores.zarr_store import ZarrStore
from tiny import REGION, TinyJob, TinyTemplate, until

N = 2 * REGION + 2
MANY = 300


def processed(job: Any) -> dict[str, Any]:
    """Stand for what processes a job."""
    return {}


@pytest.fixture
def opening(tmp_path: Path) -> Opening:
    store = ZarrStore(str(tmp_path / "a"), "tiny")
    return Opening(store, TinyTemplate(), TinyJob, ("http://one",), processed, make_folder)


def test_a_backfill_takes_what_is_selected_and_knows_its_order(opening: Opening) -> None:
    """Every job knows its source and what processes it; only a redo has an order."""
    selection = Selection(until(N), start=until(REGION), variables=["a"])
    made = assigned_backfill(opening, [], selection, until(N), revalidate=True)
    assert [job.region for job in made.jobs] == [Region(0, REGION), Region(REGION, N - REGION)]
    for job in made.jobs:
        assert [var.name for var in job.data_vars] == ["a"]
        assert (job.source_base, job.processor) == (("http://one",), processed)
    assert made.belief == Belief(revalidate=True)
    assert (made.kind, made.redo, made.publishes) == ("backfill", None, True)
    again = assigned_backfill(opening, [], selection, until(N), redo=True)
    assert again.redo == selection.redo
    assert selection.redo.variables == ("a",)


def test_an_update_takes_all_up_to_its_end(opening: Opening) -> None:
    """Of a new archive every region; each is told its source."""
    made = assigned_update(opening, [], until(N), opening.coded.label(until(N)))
    assert [job.region.start for job in made.jobs] == [0, REGION, 2 * REGION]
    assert {job.source_base for job in made.jobs} == {("http://one",)}


def test_a_job_by_itself_is_not_published(opening: Opening) -> None:
    """The run has this job alone, in an archive with the job's own template."""
    (job, *_) = assigned_update(opening, [], until(N), opening.coded.label(until(N))).jobs
    made = assigned_job(opening, job)
    assert (list(made.jobs), made.publishes, made.kind) == ([job], False, "process")
    assert made.opened.archive.template_ds is job.template_ds


def test_a_job_keeps_a_source_of_its_own(opening: Opening) -> None:
    """What an author's hook gave it goes before the dataset's."""
    (job, *_) = assigned_update(opening, [], until(N), opening.coded.label(until(N))).jobs
    own = opening.bound(TinyJob(**{**vars(job), "source_base": ("/here",)}))
    assert own.source_base == ("/here",)


def test_of_many_jobs_few_are_in_memory(opening: Opening) -> None:
    """A job is made when it is looked at, whichever part of all it is taken from."""
    live: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0
    jobs = assigned_backfill(opening, [], Selection(until(MANY * REGION)), "2030").jobs
    assert (len(jobs), len(jobs[1:]), jobs[-1].region.stop) == (MANY, MANY - 1, MANY * REGION)
    assert [job.region.start for job in jobs[1:3]] == [REGION, 2 * REGION]
    for job in jobs:
        live.add(job)
        most = max(most, len(live))
    assert most <= 3
