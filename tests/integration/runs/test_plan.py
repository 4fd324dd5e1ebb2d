"""A plan says what a run will do, need and skip, and learns from the runs before."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from gridmill.display.plan_page import plan_page
from gridmill.display.stretches import Stretch, stretches_chart
from gridmill.display.svg import MOST_BARS
from gridmill.pipeline.slabs.dividing import SLABS_HELD
from gridmill.runs.in_flight import CHAINS_PER_THREAD, REGIONS_PER_WORKER
from gridmill.runs.plan import WORKER_NBYTES, learn
from gridmill.runs.workplaces.workplace import threads_per_worker
from shown_html import Text
from tiny import Provider, Tiny, TinyJob, TinyTemplate, dataset_of, hours, tiny_var, until

RAW = 4 * 6 * 4  # of one variable in one region


@pytest.fixture
def provider(tmp_path) -> Provider:
    """A provider with fourteen files."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(14))
    return provider


def make(tmp_path, provider, **options) -> Tiny:
    return Tiny(tmp_path / "a", source_base=str(provider.root), **options)


def test_before_a_first_run_nothing_is_guessed(tmp_path, provider):
    """What only a run can tell is not known; what follows from the template is."""
    plan = make(tmp_path, provider).plan(until(10)).describe()
    unknown = ("source_nbytes", "store_nbytes", "seconds", "estimated_from")
    assert [plan[name] for name in unknown] == [None] * 4
    assert (plan["kind"], plan["positions"], plan["published"]) == ("backfill", 10, 0)
    assert plan["memory_nbytes_per_worker"] == round(WORKER_NBYTES + SLABS_HELD * RAW)
    # Three regions of two chains may be in flight together: all their shards.
    assert plan["chains"] == 6
    assert 4 < CHAINS_PER_THREAD * threads_per_worker() <= 6
    assert plan["tmp_disk_nbytes_per_worker"] == 6 * RAW
    assert plan["warnings"] == []
    assert json.loads(json.dumps(plan)) == plan


def test_a_worker_has_room_for_two_regions_of_many_variables(tmp_path, provider):
    """So many may be in flight for each, though one alone has more chains than it has threads."""

    class Wide(TinyTemplate):
        data_vars = tuple(tiny_var(f"v{number}") for number in range(12))

    dataset = dataset_of(template=Wide)(tmp_path / "a", source_base=str(provider.root))
    plan = dataset.plan(until(12)).describe()
    assert plan["chains"] == 3 * 12
    assert plan["tmp_disk_nbytes_per_worker"] == REGIONS_PER_WORKER * 12 * RAW


def test_a_plan_learns_from_the_last_runs(tmp_path, provider, client):
    """Source files' sizes, bytes in the store and time follow from what was done before."""
    dataset = make(tmp_path, provider)
    report = dataset.backfill(until(8), client=client)
    dataset.backfill(until(8), client=client)  # has nothing to do, so tells nothing
    plan = dataset.plan(until(12)).describe()
    assert plan["estimated_from"]["run"] == report.run
    assert 1 <= plan["estimated_from"]["workers"] <= 2
    assert plan["source_nbytes"] == 4 * provider.path(hours(1)[0]).stat().st_size
    stored = report.nbytes_uploaded / 2
    assert plan["store_nbytes"] == pytest.approx(stored, rel=0.01)
    assert plan["seconds"] >= 0
    known = learn(dataset.store.tracker)
    assert known is not None
    assert known.raw_nbytes_per_s == pytest.approx(4 * RAW / _duration(report), rel=0.01)


def _duration(report) -> float:
    spans = report.spans
    return max(1e-3, max(s.ended for s in spans) - min(s.started for s in spans))


def test_a_report_that_cannot_be_read_teaches_nothing(tmp_path, provider, client):
    """Another program's file among the reports is passed over."""
    dataset = make(tmp_path, provider)
    report = dataset.backfill(until(4), client=client)
    dataset.store.state.put("runs/9-other.json", b'{"run": "9-other"}')
    known = learn(dataset.store.tracker)
    assert known is not None
    assert known.run == report.run


def test_what_is_skipped_has_its_reason(tmp_path, provider, client):
    """Done by which run, what is not looked at, and what of a region is done already."""
    dataset = make(tmp_path, provider)
    report = dataset.backfill(until(12), end=until(8), client=client)
    plan = dataset.plan(until(12), end=until(8), variables=["a"]).describe()
    assert [region["skipped"] for region in plan["regions"]] == [{"a": f"done by {report.run}"}] * 2
    assert plan["passed_over"] == {"regions": 1, "why": "outside the selection"}
    update = dataset.plan(now=until(12)).describe()
    assert update["kind"] == "update"
    assert [region["start"] for region in update["regions"] if region["todo"]] == [8]


def test_gaps_that_are_given_up_for_are_told(tmp_path, client):
    """A region is skipped although a file of it never came: the plan says so."""

    class Prompt(TinyJob):
        publication_delay = timedelta(0)

    provider = Provider(tmp_path / "provider")
    provider.publish(set(hours(4)) - {hours(4)[1]})
    dataset = dataset_of(job=Prompt)(tmp_path / "a", source_base=str(provider.root))
    report = dataset.backfill(until(4), client=client)
    plan = dataset.plan(until(4)).describe()
    why = f"done by {report.run}; 1 source file counted as missing"
    assert plan["regions"][0]["skipped"] == {"a": why, "b": why}


def test_replacing_published_shards_is_warned_of_on_plain_zarr(tmp_path, provider, client):
    """And Icechunk is named, which has no such moment; there, the plan is silent."""
    for kind in ("zarr", "icechunk"):
        if kind == "icechunk":
            pytest.importorskip("icechunk")
        dataset = Tiny(tmp_path / kind, source_base=str(provider.root), format=kind)
        dataset.backfill(until(6), client=client)
        (*said,) = dataset.plan(until(8)).describe()["warnings"]
        if kind == "zarr":
            assert "shards of 1 published region are replaced" in said[0]
        else:
            assert said == []
            repair = dataset.plan(until(6), variables=["a"], redo=True).describe()["warnings"]
            assert "Icechunk shows a repair region by region" in repair[0]


def test_a_selection_that_shows_readers_nothing_new_is_warned_of(tmp_path, provider, client):
    """The extent waits for the variables that were left out."""
    dataset = make(tmp_path, provider)
    dataset.backfill(until(4), client=client)
    (warning,) = dataset.plan(until(8), variables=["a"]).describe()["warnings"]
    assert warning == "readers see new positions only once b is done, too"


def test_page_and_card_tell_the_same(tmp_path, provider, client):
    """What is to do and why, what is skipped and why, and what it costs."""
    dataset = make(tmp_path, provider)
    report = dataset.backfill(until(8), client=client)
    plan = dataset.plan(until(12))
    page, card = Text(plan_page(plan.describe())), Text(plan._repr_html_())
    for shown in (page, card):
        for said in (
            "1 region to do",
            "about 201 MB per worker",
            "not done yet",
            "published up to",
        ):
            assert said in shown.text or said.replace("201", "200") in shown.text
        assert shown.counts["svg"] == 1
    assert f"done by {report.run}" in page.text
    assert "nothing: all of 2 regions done" in Text(dataset.plan(until(8))._repr_html_()).text


def test_an_archive_of_very_many_regions_is_drawn_small():
    """Neighbours in one state are drawn as one."""
    states = ["done"] * 50_000 + ["to do"] * 50_000
    stretches = [Stretch(n, n + 1, state, "") for n, state in enumerate(states)]
    chart = stretches_chart(stretches, 100_000, 50_000)
    assert Text(str(chart)).counts["rect"] == 5  # two of them are the legend's
    assert len(states) > MOST_BARS
