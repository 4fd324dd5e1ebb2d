"""A run's report as a page, and as what a notebook shows of it. Pure.

See Also
--------
gridmill.display.facts : what is said of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING, Any

from gridmill.display.facts.forms import Rows, Verdict, select
from gridmill.display.facts.runs import describe_failure, describe_run, verdict_on_run
from gridmill.display.html import render
from gridmill.display.svg import (
    COLOURS,
    Moment,
    shares_chart,
    stages_by_worker_chart,
    throughput_chart,
)
from gridmill.model.reports.spans import STAGES, Span
from gridmill.model.wording import (
    format_duration,
    format_nbytes,
    format_speed,
    moment,
    shorten_label,
)

if TYPE_CHECKING:
    from gridmill.model.reports.entries import RegionTimes
    from gridmill.model.reports.run_report import RunReport

__all__ = ["report_card", "report_page"]

# What is told at once; more of it is behind a click.
MOST_ROWS = 12
MOST_MOMENTS = 200

CARD_FACTS = (
    "took",
    "waited",
    "published",
    "stopped at",
    "regions",
    "source files",
    "bytes",
    "overlap",
)
STAGE_COLUMNS = (
    "stage",
    "tasks",
    "bytes",
    "busy (all threads)",
    "rate per thread",
    "longest",
)
REGION_COLUMNS = ("region", "source available", "recorded", "visible", "source → visible")
FILE_COLUMNS = ("source file", "region", "seconds", "bytes", "speed", "attempts")
PROBLEM_COLUMNS = ("source file", "region", "outcome", "why")


def report_page(report: RunReport) -> str:
    """Return the page of a run: what it did, when which stage ran, what was slow, what failed."""
    content = {
        **_shown(report),
        "kind": report.kind,
        "charts": _charts(report),
        # The report keeps the last of very many.
        "tasks_cut": len(report.spans) if len(report.spans) == report.spans.maxlen else 0,
        "stages": _stages(report),
        "freshness": _freshness(report),
        "waiting": sum(times.visible is None for times in report.regions),
        "regions": _regions(report),
        "slowest": _slowest(report),
        "problems": _problems(report),
        "problems_cut": len(report.problems)
        if len(report.problems) == report.problems.maxlen
        else 0,
    }
    return render("run.html", content)


def report_card(report: RunReport) -> str:
    """Return what a notebook shows of a run."""
    shown = _shown(report)
    facts = select(shown["facts"], CARD_FACTS)
    charts = {"by_worker": _by_worker(report)} if report.spans else {}
    return render("run_card.html", {**shown, "facts": facts, "charts": charts})


def _shown(report: RunReport) -> dict[str, Any]:
    content = report.summary()
    return {
        "title": f"{report.kind} of {report.dataset_id}",
        "verdict": verdict_on_run(content, is_by_hand=report.is_by_hand),
        "about": report.store,
        "facts": describe_run(content),
        "notes": report.notes,
        "failures": [describe_failure(failure) for failure in content["failures"]],
        "most": MOST_ROWS,
    }


# -- charts -----------------------------------------------------------------------------------


def _charts(report: RunReport) -> dict[str, Any]:
    """Draw the stages: by worker, over time, and how far they overlapped."""
    if not report.spans:
        return {}
    return {
        "by_worker": _by_worker(report),
        "throughput": throughput_chart(report.spans, _since(report)),
        "shares": _shares(report),
    }


def _by_worker(report: RunReport) -> str:
    return stages_by_worker_chart(report.spans, _publications(report), _since(report))


def _since(report: RunReport) -> float | None:
    """Return when the run began, where the first of its stages are still known."""
    began = datetime.fromisoformat(report.started).timestamp()
    return None if report.waited_s() is None else began


def _shares(report: RunReport) -> str:
    measured = report.overlap()
    two = measured.two - measured.three
    shares = {
        "three stages": (measured.three, COLOURS["upload"]),
        "two": (two, COLOURS["download"]),
        "one": (1 - measured.two, "rgba(128,140,152,.45)"),
    }
    return shares_chart(shares)


def _publications(report: RunReport) -> list[Moment]:
    """Return when readers saw more, and of what."""
    seen: dict[str, list[str]] = {}
    for times in report.regions:
        if times.visible is not None:
            seen.setdefault(times.visible, []).append(shorten_label(times.region))
    return [
        Moment(datetime.fromisoformat(at).timestamp(), f"readers see {_ends(regions)}")
        for at, regions in list(seen.items())[-MOST_MOMENTS:]
    ]


def _ends(regions: Sequence[str]) -> str:
    if len(regions) == 1:
        return f"the region at {regions[0]}"
    return f"{len(regions):,} regions, {min(regions)} to {max(regions)}"


# -- tables -----------------------------------------------------------------------------------


def _stages(report: RunReport) -> Rows:
    by_stage: dict[str, list[Span]] = {stage: [] for stage in STAGES}
    for span in report.spans:
        by_stage[span.stage].append(span)
    speeds = report.throughput()
    rows = [
        (
            stage,
            f"{len(spans):,}",
            format_nbytes(sum(s.nbytes for s in spans)),
            format_duration(sum(s.seconds for s in spans)),
            format_speed(speeds.get(stage, 0.0)),
            format_duration(max(s.seconds for s in spans)),
        )
        for stage, spans in by_stage.items()
        if spans
    ]
    return Rows(STAGE_COLUMNS, rows)


def _freshness(report: RunReport) -> dict[str, float]:
    """Return the seconds from source file to reader; empty where none are known."""
    known = [s for times in report.regions if (s := times.freshness_s) is not None]
    if not known:
        return {}
    return {"best": min(known), "median": median(known), "worst": max(known)}


def _regions(report: RunReport) -> Rows:
    regions = sorted(report.regions, key=lambda times: times.extent)
    return Rows(REGION_COLUMNS, [_times_row(times) for times in regions])


def _times_row(times: RegionTimes) -> tuple[object, ...]:
    freshness = times.freshness_s
    return (
        shorten_label(times.region),
        "–" if times.source_available is None else moment(times.source_available),
        moment(times.recorded),
        Verdict("not yet", "warning") if times.visible is None else moment(times.visible),
        "–" if freshness is None else format_duration(freshness),
    )


def _slowest(report: RunReport) -> Rows:
    rows = [
        (
            file.url,
            shorten_label(file.region),
            f"{file.seconds:.2f}",
            format_nbytes(file.nbytes),
            format_speed(file.nbytes / file.seconds if file.seconds else 0.0),
            file.attempts,
        )
        for file in report.slowest
    ]
    return Rows(FILE_COLUMNS, rows)


def _problems(report: RunReport) -> Rows:
    """List the source files that did not succeed."""
    rows = [
        (p.url, shorten_label(p.region), p.outcome, " ".join(p.detail.split()))
        for p in report.problems
    ]
    return Rows(PROBLEM_COLUMNS, rows)
