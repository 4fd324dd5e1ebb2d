"""Which period the values of a GRIB variable describe, from those of a few leads. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from gridmill.authoring.forecasts.variables import Window
from gridmill.operations.samples.facts import GribField
from gridmill.sources.grib.inventory.message import Statistic

__all__ = ["WindowChoice", "windows_of"]

HOUR = timedelta(hours=1)
# Periods after which providers start over, the shortest first.
RESETS = tuple(timedelta(minutes=m) for m in (5, 10, 15, 30, 60, 120, 180, 360, 720, 1440))
KINDS = {
    Statistic.ACCUMULATION: "accumulation",
    Statistic.AVERAGE: "average",
    Statistic.MAXIMUM: "extreme",
    Statistic.MINIMUM: "extreme",
}
WindowChoice = tuple[Window, bool]


def windows_of(fields: Sequence[GribField]) -> list[WindowChoice]:
    """Return the periods that one parameter has, and of each whether the fields show it.

    Parameters
    ----------
    fields
        Of one parameter, level and statistic, from leads above 0.

    Examples
    --------
    >>> from datetime import datetime
    >>> def rain(start, end):
    ...     return GribField(parameter="tp", level="surface", time=datetime(2024, 1, 1),
    ...                      start=start * HOUR, end=end * HOUR, statistic=Statistic.ACCUMULATION)
    >>> [(window.reset_every, sure) for window, sure in windows_of([rain(0, 6), rain(6, 12)])]
    [(datetime.timedelta(seconds=21600), True)]
    """
    starts: defaultdict[timedelta, set[timedelta]] = defaultdict(set)
    for field in fields:
        starts[field.end].add(field.start)
    kind = KINDS.get(fields[0].statistic) if fields[0].statistic is not None else None
    if kind is None:
        kind = "extreme"  # stays as it is
    found: list[WindowChoice] = []
    resets = [one for one in RESETS if _fits(starts, one)]
    since_start = all(timedelta(0) in some for some in starts.values())
    shows_reset = any(max(some) > timedelta(0) for some in starts.values())
    if shows_reset and resets:
        found.append((_window(kind, resets[0]), len(resets) == 1))
    if since_start:
        found.append((_window(kind, None), shows_reset or _is_late(starts)))
    return found


def _window(kind: str, reset: timedelta | None) -> Window:
    as_given = kind != "extreme"
    return Window(kind=kind, reset_every=reset, as_given=as_given)  # type: ignore[arg-type]


def _fits(starts: dict[timedelta, set[timedelta]], reset: timedelta) -> bool:
    window = Window(kind="extreme", reset_every=reset)
    return all(window.start_of(end) in some for end, some in starts.items())


def _is_late(starts: Iterable[timedelta]) -> bool:
    """Whether a lead is so long that no reset would begin at 0."""
    return any(end > RESETS[-1] for end in starts)
