"""The charts of a run's report, as SVG that stands in a page or a notebook. Pure.

Text takes the colour of what is around it, so that charts work on light and on dark ground. The
stages' colours are told apart by people who do not see red and green alike (Okabe and Ito, *Color
Universal Design*, 2008).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, log10

from markupsafe import Markup

from gridmill.model.reports.spans import STAGES, Span
from gridmill.model.wording import count_of, format_duration, format_nbytes, format_speed

__all__ = [
    "COLOURS",
    "MOST_BARS",
    "Moment",
    "shares_chart",
    "stages_by_worker_chart",
    "throughput_chart",
]

COLOURS: Mapping[str, str] = {"download": "#3f97d6", "compress": "#e69f00", "upload": "#009e73"}
# Something was done a second time, because a worker was lost or a task moved.
AGAIN = "#d73027"

WIDTH = 1020.0
LEFT = 104.0  # for the names of rows
RIGHT = 14.0
LANE = 9.0
GAP = 3.0
# A page with more bars than this would be slow to show; beyond, neighbours are drawn as one.
MOST_BARS = 3000
BINS = 160
MOST_TICKS = 9


@dataclass(frozen=True)
class Moment:
    """Something that happened at one time, seconds since 1970."""

    at: float
    what: str


@dataclass(frozen=True)
class _TimeAxis:
    start: float
    stop: float

    def x(self, time_s: float) -> float:
        share = (time_s - self.start) / max(self.stop - self.start, 1e-9)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - RIGHT)

    def draw(self, top: float, bottom: float) -> Markup:
        """Draw ticks from `top` down, with what each means below `bottom`."""
        step = nice_step(self.stop - self.start, MOST_TICKS)
        parts = []
        tick = 0.0
        while tick <= (self.stop - self.start) * 1.0001:
            x = self.x(self.start + tick)
            parts.append(_line(x, top, x, bottom, opacity=0.16))
            anchor = "start" if tick == 0 else "end" if x > WIDTH - 30 else "middle"
            label = f"{tick:g} s" if step < 60 else format_minutes(tick)
            parts.append(_text(x, bottom + 15, label, anchor=anchor, opacity=0.7))
            tick += step
        return _joined(parts)


def stages_by_worker_chart(
    spans: Sequence[Span], moments: Iterable[Moment] = (), since: float | None = None
) -> Markup:
    """Draw when which stage ran on which worker: a row a worker, a lane a thread.

    Parameters
    ----------
    spans
        The stages' spans. Those that repeat another task's work have a red edge.
    moments
        Marked by a line from top to bottom.
    since
        When the run began, where its first spans are kept: until then it planned, and waited for
        workers.
    """
    axis = _axis_of(spans, since)
    top = 20.0
    parts: list[Markup] = []
    y = top
    for number, (worker, lanes) in enumerate(_lanes_by_worker(spans).items(), start=1):
        height = len(lanes) * (LANE + 1) - 1
        name = _text(LEFT - 12, y + height / 2 + 4, f"worker {number}", anchor="end")
        parts.append(_group(name, worker))
        parts.append(_line(LEFT, y + height + GAP, WIDTH - RIGHT, y + height + GAP, opacity=0.12))
        for at, bars in enumerate(lanes):
            parts.extend(_bar(axis, bar, y + at * (LANE + 1)) for bar in _drawable(bars, spans))
        y += height + 2 * GAP + 3
    bottom = y
    under = [axis.draw(top - 4, bottom), _wait(axis, spans, top, bottom)]
    marks = [_moment(axis, moment, top - 6, bottom) for moment in moments]
    return _svg(bottom + 22, "Stages of each worker over time", [*under, *parts, *marks])


def throughput_chart(spans: Sequence[Span], since: float | None = None) -> Markup:
    """Draw bytes a second of each stage over the run, all workers together."""
    axis = _axis_of(spans, since)
    height, gap, top = 44.0, 16.0, 14.0
    parts: list[Markup] = []
    active = [stage for stage in STAGES if any(span.stage == stage for span in spans)]
    for row, stage in enumerate(active):
        base = top + row * (height + gap) + height
        rates = throughput_over_time(
            [span for span in spans if span.stage == stage], axis.start, axis.stop, BINS
        )
        peak = max(rates)
        points = [f"{LEFT:.1f},{base:.1f}"]
        for at, rate in enumerate(rates):
            y = base - (height * rate / peak if peak else 0.0)
            xs = (axis.x(axis.start + (axis.stop - axis.start) * (at + i) / BINS) for i in (0, 1))
            points += [f"{x:.1f},{y:.1f}" for x in xs]
        points.append(f"{WIDTH - RIGHT:.1f},{base:.1f}")
        area = Markup('<polygon points="{}" fill="{}" fill-opacity=".75"/>')
        parts.append(area.format(" ".join(points), COLOURS[stage]))
        parts.append(_line(LEFT, base, WIDTH - RIGHT, base, opacity=0.3))
        parts.append(_text(LEFT - 12, base - height / 2 + 1, stage, anchor="end"))
        said = f"peak {format_speed(peak)}"
        parts.append(_text(LEFT - 12, base - height / 2 + 15, said, anchor="end", opacity=0.62))
    bottom = top + len(active) * (height + gap) - gap + 4
    return _svg(bottom + 22, "Bytes per second by stage", [axis.draw(top - 6, bottom), *parts])


def shares_chart(shares: Mapping[str, tuple[float, str]]) -> Markup:
    """Draw what parts of a whole each name has.

    Parameters
    ----------
    shares
        By name, its share (0 to 1) and its colour.
    """
    x, parts = 0.0, []
    for name, (share, colour) in shares.items():
        width = share * WIDTH
        bar = Markup('<rect x="{:.1f}" y="2" width="{:.1f}" height="20" fill="{}">{}</rect>')
        title = _title(f"{name}: {share:.0%}")
        parts.append(bar.format(x, max(width - 1.5, 0.0), colour, title))
        if share > 0.12:
            parts.append(_text(x + 8, 16.5, f"{share:.0%} {name}"))
        x += width
    return _svg(24, "Shares of the time", parts)


def throughput_over_time(
    spans: Sequence[Span], start: float, stop: float, bins: int
) -> list[float]:
    """Return bytes a second in equal parts of [start, stop]; each span's are spread over it evenly.

    Examples
    --------
    >>> span = Span("upload", "upload-1", "w", 1.0, 3.0, nbytes=200)
    >>> throughput_over_time([span], 0.0, 4.0, 4)
    [0.0, 100.0, 100.0, 0.0]
    """
    width = (stop - start) / bins
    nbytes = [0.0] * bins
    for span in spans:
        seconds = max(span.seconds, 1e-9)
        first = min(max(int((span.started - start) / width), 0), bins - 1)
        last = min(max(int((span.ended - start) / width), first), bins - 1)
        for at in range(first, last + 1):
            begins = max(span.started, start + at * width)
            ends = min(span.ended, start + (at + 1) * width)
            nbytes[at] += span.nbytes * max(ends - begins, 0.0) / seconds
    return [n / width for n in nbytes]


def nice_step(length: float, most: int) -> float:
    """Return a step that people count in, of which at most `most` make up a length of seconds.

    Examples
    --------
    >>> nice_step(4.2, 9), nice_step(100, 9), nice_step(700, 9), nice_step(86400, 9)
    (0.5, 20.0, 120.0, 10800.0)
    """
    wanted = max(length, 1e-3) / most
    if wanted <= 30:
        power = 10 ** (ceil(log10(wanted)) - 1)
        steps = [power * factor for factor in (1, 2, 5, 10)]
        return next(float(step) for step in steps if step >= wanted)
    minutes = (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)
    fitting = (60.0 * n for n in minutes if 60 * n >= wanted)
    return next(fitting, 86400.0 * ceil(wanted / 86400))


def format_minutes(seconds: float) -> str:
    """Write a time since the start, to the minute.

    Examples
    --------
    >>> format_minutes(300), format_minutes(9000)
    ('5 min', '2:30 h')
    """
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


# -- bars -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bar:
    """One span, or neighbours in a lane that are drawn as one."""

    stage: str
    started: float
    ended: float
    nbytes: int
    title: str
    is_again: bool


def _axis_of(spans: Sequence[Span], since: float | None = None) -> _TimeAxis:
    start = min(s.started for s in spans)
    return _TimeAxis(start if since is None else min(start, since), max(s.ended for s in spans))


def _wait(axis: _TimeAxis, spans: Sequence[Span], top: float, bottom: float) -> Markup:
    """Draw the time before the first stage."""
    width = axis.x(min(span.started for span in spans)) - LEFT
    if width < 1:
        return Markup("")
    ground = Markup(
        '<rect x="{:g}" y="{:.1f}" width="{:.1f}" height="{:.1f}" fill="currentColor" '
        'fill-opacity=".08">{}</rect>\n'
    )
    said = "planning, and waiting for workers"
    drawn = ground.format(LEFT, top - 4, width, bottom - top + 4, _title(said))
    fits = width > 6.2 * len(said)
    words = _text(LEFT + 6, (top + bottom) / 2 + 2, said, opacity=0.7) if fits else Markup("")
    return _joined([drawn, words])


def _lanes_by_worker(spans: Sequence[Span]) -> dict[str, list[list[Span]]]:
    """Put the spans of each worker, and there of each stage, into as few lanes as hold them."""
    key = _worker_then_stage
    workers: dict[str, list[list[Span]]] = {}
    for (worker, _), group in groupby(sorted(spans, key=lambda s: (key(s), s.started)), key):
        lanes: list[list[Span]] = []
        for span in group:
            free = next((lane for lane in lanes if lane[-1].ended <= span.started), None)
            if free is None:
                lanes.append([span])
            else:
                free.append(span)
        workers.setdefault(worker, []).extend(lanes)
    return workers


def _worker_then_stage(span: Span) -> tuple[str, int]:
    return span.worker, STAGES.index(span.stage)


def _drawable(lane: Sequence[Span], spans: Sequence[Span]) -> list[_Bar]:
    """Return a lane's bars, few enough to draw: where there are too many, neighbours become one."""
    axis = _axis_of(spans)
    few = len(spans) <= MOST_BARS
    apart = (axis.stop - axis.start) / MOST_BARS * 4
    bars: list[_Bar] = []
    run: list[Span] = []
    for span in lane:
        if run and (few or span.started - run[-1].ended > apart):
            bars.append(_as_bar(run))
            run = []
        run.append(span)
    return [*bars, _as_bar(run)]


def _as_bar(run: Sequence[Span]) -> _Bar:
    first, nbytes = run[0], sum(span.nbytes for span in run)
    seconds = sum(span.seconds for span in run)
    what = describe_key(first) if len(run) == 1 else f"{first.stage}: {count_of(len(run), 'task')}"
    title = f"{what}\n{format_duration(seconds)}, {format_nbytes(nbytes)}"
    is_again = any(span.key.partition("-")[0] != span.stage for span in run)
    again = "\nrepeated: a worker was lost, or the task moved" if is_again else ""
    return _Bar(first.stage, first.started, run[-1].ended, nbytes, title + again, is_again)


def describe_key(span: Span) -> str:
    """Say what a task was: its stage, region and variable.

    Examples
    --------
    >>> describe_key(Span("compress", "compress-0000000096-t2m-20260101T000000-abcdefa0", "", 0, 1))
    'compress t2m of the region at 96'
    >>> describe_key(Span("upload", "upload-0000000096-to-0000000127-2026010-abcdefa0", "", 0, 1))
    'upload for a region from 96 to 127'
    """
    _, _, rest = span.key.partition("-")
    region, _, rest = rest.partition("-")
    name = rest.rsplit("-", 2)[0]
    if name.startswith("to-"):  # of a batch, all of whose spans have its key
        return f"{span.stage} for a region from {int(region)} to {int(name[3:])}"
    place = f"the region at {int(region)}" if region.isdigit() else "the static variables"
    return (
        f"{span.stage} {name} of {place}" if span.stage != "download" else f"download for {place}"
    )


def _bar(axis: _TimeAxis, bar: _Bar, y: float) -> Markup:
    x = axis.x(bar.started)
    width = max(axis.x(bar.ended) - x, 0.8)
    edge = Markup(' stroke="{}" stroke-width="1.5"').format(AGAIN) if bar.is_again else ""
    whole = Markup(
        '<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:g}" rx="1.2" fill="{}"{}>{}</rect>\n'
    )
    return whole.format(x, y, width, LANE, COLOURS[bar.stage], edge, _title(bar.title))


def _moment(axis: _TimeAxis, moment: Moment, top: float, bottom: float) -> Markup:
    x = axis.x(moment.at)
    line = Markup(
        '<line x1="{0:.1f}" y1="{1:.1f}" x2="{0:.1f}" y2="{2:.1f}" stroke="currentColor" '
        'stroke-opacity=".55" stroke-dasharray="2 3"/>'
        '<circle cx="{0:.1f}" cy="{1:.1f}" r="3.2" fill="currentColor"/>'
    ).format(x, top, bottom)
    return _group(line, moment.what)


# -- SVG --------------------------------------------------------------------------------------


def _svg(height: float, label: str, parts: Iterable[Markup]) -> Markup:
    whole = Markup(
        '<svg viewBox="0 0 {:g} {:g}" width="{:g}" role="img" aria-label="{}" '
        'font-size="11.5">\n{}</svg>\n'
    )
    return whole.format(WIDTH, round(height, 1), WIDTH, label, _joined(parts))


def _text(x: float, y: float, text: str, *, anchor: str = "start", opacity: float = 1) -> Markup:
    whole = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}" opacity="{:g}">{}</text>')
    return whole.format(x, y, anchor, opacity, text)


def _line(x1: float, y1: float, x2: float, y2: float, *, opacity: float) -> Markup:
    whole = Markup(
        '<line x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}" stroke="currentColor" '
        'stroke-opacity="{:g}"/>'
    )
    return whole.format(x1, y1, x2, y2, opacity)


def _group(inner: Markup, title: str) -> Markup:
    return Markup("<g>{}{}</g>").format(inner, _title(title))


def _title(text: str) -> Markup:
    return Markup("<title>{}</title>").format(text)


def _joined(parts: Iterable[Markup]) -> Markup:
    return Markup().join(parts)
