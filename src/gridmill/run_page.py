"""A run's report as a page that stands alone, and as what a notebook shows of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING

from markupsafe import Markup

from gridmill.charts import (
    COLOURS,
    Moment,
    legend,
    shares_chart,
    stages_by_worker_chart,
    throughput_chart,
)
from gridmill.html import badge, card, details, facts, lines, page, section, table
from gridmill.timeline import STAGES, Span
from gridmill.wording import (
    count_of,
    format_duration,
    format_nbytes,
    format_speed,
    moment,
    shorten_label,
)

if TYPE_CHECKING:
    from gridmill.run_report import RegionTimes, RunReport

__all__ = ["report_card", "report_page"]

# What is told at once; more of it is behind a click.
MOST_ROWS = 12
MOST_MOMENTS = 200
# Columns whose cells are short.
UNBROKEN = ("region", "source available", "recorded", "visible", "what became of it")


def report_page(report: RunReport) -> str:
    """Give the page of a run: what it did, when which stage ran, what was slow, what failed."""
    title = f"{report.kind} of {report.dataset_id}"
    parts = [
        facts(_facts(report)),
        _notes(report),
        _failures(report),
        _stages(report),
        _freshness(report),
        _slowest(report),
        _problems(report),
    ]
    return page(title, _about(report), *parts)


def report_card(report: RunReport) -> str:
    """Give what a notebook shows of a run."""
    chart = Markup()
    if report.spans:
        inside = (legend(), stages_by_worker_chart(report.spans, _publications(report)))
        chart = details("when which stage ran on which worker", *inside)
    said = _facts(report)
    kept = {name: said[name] for name in CARD_FACTS if name in said}
    title = f"{report.kind} of {report.dataset_id}"
    return card(title, _about(report), facts(kept), _notes(report), _failures(report), chart)


CARD_FACTS = ("took", "readers see", "not further", "regions", "source files", "bytes", "overlap")


def _about(report: RunReport) -> Markup:
    return Markup("{} &ensp;{}").format(_verdict(report), report.store)


def _verdict(report: RunReport) -> Markup:
    if report.interrupted:
        return badge("interrupted", "bad")
    if not report.succeeded:
        return badge("something failed", "bad")
    if not report.ended:
        return badge("goes on", "quiet")
    if report.is_by_hand:
        return badge("done by hand", "good")
    if not report.regions_done:
        return badge("nothing to do", "quiet")
    return badge("succeeded", "good")


def _facts(report: RunReport) -> dict[str, object]:
    """Say what was done: by name, those with nothing to say empty."""
    seconds = report.seconds
    ended = f", {moment(report.started)} to {moment(report.ended)}" if report.ended else ""
    return {
        "run": report.run,
        "took": "" if seconds is None else format_duration(seconds) + ended,
        "readers see": _publication(report),
        "not further": report.stops_because,
        "regions": _joined(
            (report.regions_done, "done"),
            (report.regions_skipped, "already done"),
            (report.regions_failed, "failed"),
        ),
        "variables": _joined(
            (report.variables_done, "made"), (report.variables_skipped, "already done")
        ),
        "source files": _joined(*((n, status) for status, n in report.files.most_common())),
        "bytes": f"{format_nbytes(report.nbytes_downloaded)} downloaded · "
        f"{format_nbytes(report.nbytes_uploaded)} uploaded",
        "again": _again(report),
        "overlap": _overlap(report),
        "ended by": report.interrupted,
    }


def _joined(*counts: tuple[int, str]) -> str:
    return " · ".join(f"{n:,} {what}" for n, what in counts if n) or "none"


def _publication(report: RunReport) -> str:
    after = report.published_after
    if after is None:
        return "nothing yet"
    total = count_of(report.positions_after, "position")
    if not report.published_anything:
        return f"up to {shorten_label(after)}, as before ({total})"
    more = report.positions_after - report.positions_before
    before = (
        "nothing" if report.published_before is None else shorten_label(report.published_before)
    )
    return f"{before} → {shorten_label(after)} ({total}, {more:,} of them new)"


def _again(report: RunReport) -> str:
    parts = {
        "source files were asked for once more": report.retries,
        "chains were begun once more": report.chains_retried,
    }
    said = [f"{n:,} times {what}" for what, n in parts.items() if n]
    if report.nbytes_healed:
        said.append(f"{format_nbytes(report.nbytes_healed)} fetched again for a lost worker")
    return " · ".join(said) or "nothing was tried twice"


def _overlap(report: RunReport) -> str:
    measured = report.overlap()
    if not measured.busy_s:
        return ""
    return (
        f"of {format_duration(measured.busy_s)} busy, at least two stages at once "
        f"{measured.two:.0%}, all three {measured.three:.0%}"
    )


# -- sections ---------------------------------------------------------------------------------


def _notes(report: RunReport) -> Markup:
    """Tell what was done by hand, and what beside the run did not go well."""
    return section("Notes", lines(report.notes, "quiet")) if report.notes else Markup()


def _failures(report: RunReport) -> Markup:
    """List what could not be made."""
    if not report.failures:
        return Markup()
    said = [
        f"region {shorten_label(f.region)}, {f.variable}: {' '.join(f.cause.split())}"
        for f in report.failures
    ]
    rest = details(f"{len(said) - MOST_ROWS:,} more", lines(said[MOST_ROWS:], "bad"))
    more = rest if len(said) > MOST_ROWS else Markup()
    return section("What failed", lines(said[:MOST_ROWS], "bad"), more)


def _stages(report: RunReport) -> Markup:
    """Draw the stages: by worker, over time, and how far they overlapped."""
    spans = report.spans
    if not spans:
        return Markup()
    note = Markup(
        "<p class='gm-about'>Dotted lines are publications: readers see more from there on. A red "
        "edge is work done again. Times are by the workers' clocks{}.</p>"
    )
    # The report keeps the last of very many.
    cut = f"; the last {len(spans):,} tasks of the run" if len(spans) == spans.maxlen else ""
    return Markup().join(
        [
            section(
                "When which stage ran on which worker",
                legend(),
                stages_by_worker_chart(spans, _publications(report)),
                note.format(cut),
            ),
            section("Throughput", throughput_chart(spans), _stages_table(report)),
            section("How many stages at once", _overlap_chart(report)),
        ]
    )


def _publications(report: RunReport) -> list[Moment]:
    """Give when readers saw more, and of what."""
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


def _stages_table(report: RunReport) -> Markup:
    by_stage: Mapping[str, list[Span]] = {stage: [] for stage in STAGES}
    for span in report.spans:
        by_stage[span.stage].append(span)
    columns = (
        "stage",
        "tasks",
        "bytes",
        "busy, in all threads",
        "per thread and second",
        "longest",
    )
    rows = [
        (
            stage,
            f"{len(spans):,}",
            format_nbytes(sum(s.nbytes for s in spans)),
            format_duration(sum(s.seconds for s in spans)),
            format_speed(report.throughput().get(stage, 0.0)),
            format_duration(max(s.seconds for s in spans)),
        )
        for stage, spans in by_stage.items()
        if spans
    ]
    note = Markup(
        "<p class='gm-about'>Bytes of source files, of raw values before compression, and of "
        "objects in the store.</p>"
    )
    return table(columns, rows, numbers=columns[1:]) + note


def _overlap_chart(report: RunReport) -> Markup:
    measured = report.overlap()
    two = measured.two - measured.three
    shares = {
        "three stages": (measured.three, COLOURS["upload"]),
        "two": (two, COLOURS["download"]),
        "one": (1 - measured.two, "rgba(128,140,152,.45)"),
    }
    return shares_chart(shares)


def _freshness(report: RunReport) -> Markup:
    """Tell how long it took from source file to reader, region by region."""
    if not report.regions:
        return Markup()
    known = [s for times in report.regions if (s := times.freshness_s) is not None]
    summary = ""
    if known:
        summary = (
            f"From the newest source file's Last-Modified to readers: {format_duration(min(known))}"
            f" at best, {format_duration(median(known))} in the middle, "
            f"{format_duration(max(known))} at worst."
        )
        if report.kind != "update":
            summary += " A backfill's source files were there long before it."
    waiting = sum(times.visible is None for times in report.regions)
    if waiting:
        summary += f" {count_of(waiting, 'region')} not visible yet."
    columns = ("region", "source available", "recorded", "visible", "source → visible")
    rows = [_times_row(times) for times in sorted(report.regions, key=lambda t: t.extent)]
    return section(
        "Freshness",
        Markup("<p>{}</p>").format(summary),
        _first_rows(columns, rows, "regions", numbers=columns[4:]),
    )


def _times_row(times: RegionTimes) -> tuple[object, ...]:
    freshness = times.freshness_s
    return (
        shorten_label(times.region),
        "–" if times.source_available is None else moment(times.source_available),
        moment(times.recorded),
        badge("not yet", "warning") if times.visible is None else moment(times.visible),
        "–" if freshness is None else format_duration(freshness),
    )


def _slowest(report: RunReport) -> Markup:
    if not report.slowest:
        return Markup()
    columns = ("source file", "region", "seconds", "bytes", "speed", "attempts")
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
    body = _first_rows(columns, rows, "of the slowest", numbers=columns[2:])
    return section("Slowest source files", body)


def _problems(report: RunReport) -> Markup:
    """List the source files that did not succeed."""
    if not report.problems:
        return Markup()
    columns = ("source file", "region", "what became of it", "why")
    rows = [
        (p.url, shorten_label(p.region), p.status, " ".join(p.detail.split()))
        for p in report.problems
    ]
    cut = len(report.problems) == report.problems.maxlen
    note = Markup("<p>The last {} of them.</p>").format(len(rows)) if cut else Markup()
    body = _first_rows(columns, rows, "source files")
    return section("Source files that did not succeed", note, body)


def _first_rows(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    what: str,
    *,
    numbers: Iterable[str] = (),
) -> Markup:
    """Give a table of the first rows, and all behind a click."""
    right = list(numbers)
    first = table(columns, rows[:MOST_ROWS], numbers=right, unbroken=UNBROKEN)
    if len(rows) <= MOST_ROWS:
        return first
    every = table(columns, rows, numbers=right, unbroken=UNBROKEN)
    return first + details(f"all {len(rows):,} {what}", every)
