"""Places that are published without a final value, and when their files are tried again. Pure.

A source file that is settled though it gave nothing (it is absent past its deadline, or arrived and
could not be read) leaves its place *pending*, unless somebody accepted that. It is tried again at
growing intervals, without limit of time, and at once where what reads it changed. A provisional
file is asked for at the same intervals until it is final: its `Tries` begin when it was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from typing import Any

from gridmill.model.records import ProgressRecord, Tries
from gridmill.model.settled import SourceFileStatus

__all__ = ["is_due", "moment", "tried", "wait", "with_tries"]

# A provider fixes within hours what somebody there noticed, and within days what was reported;
# after two months of asking daily, weekly does.
FIRST_WAIT = timedelta(hours=1)
LONGEST_WAIT = timedelta(days=1)
DAILY_TRIES = 65
LAST_WAIT = timedelta(days=7)


def moment(now: Any) -> str:
    """Return a label of the append dim as records have it: ISO 8601 to the minute, UTC.

    Such texts are in the order of their moments, in every calendar.
    """
    return str(now.isoformat(timespec="minutes"))


def wait(times: int) -> timedelta:
    """Return how long to leave a source file alone that was tried so many times in vain.

    Examples
    --------
    >>> [wait(times) // timedelta(hours=1) for times in (1, 2, 3, 5, 6, 65, 66)]
    [1, 2, 4, 16, 24, 24, 168]
    """
    if times > DAILY_TRIES:
        return LAST_WAIT
    doubled: timedelta = FIRST_WAIT * 2 ** min(times - 1, 10)
    return min(doubled, LONGEST_WAIT)


def tried(before: Tries | None, now: Any, code: str = "", *, is_other: bool = False) -> Tries:
    """Return what is known of a place after one more try in vain.

    Parameters
    ----------
    before
        What was known of it; None if this is the first.
    now
        The present, as a label of the append dim.
    code
        What read the source file; empty if it did not arrive.
    is_other
        The file did not hold what it held when it was tried before: its provider is at work, so
        that waiting starts over.
    """
    times = 1 if before is None or is_other else before.times + 1
    since = moment(now) if before is None else before.since
    return Tries(since, moment(now + wait(times)), times, code)


def is_due(known: Tries | None, now: Any, code: str) -> bool:
    """Whether a pending place is to be tried again.

    Parameters
    ----------
    known
        None if no record says when it was tried: then it is.
    now
        The present, as a label of the append dim.
    code
        What would read the source file today.
    """
    if known is None or known.due <= moment(now):
        return True
    return bool(known.code) and known.code != code


def with_tries(
    record: ProgressRecord, names: Iterable[str], again: Mapping[str, Iterable[int]], now: Any
) -> ProgressRecord:
    """Return a record with what was asked for in vain, and with what became pending, noted.

    Parameters
    ----------
    record
        Of a region.
    names
        Variables of which what became pending since is noted.
    again
        By variable, the indices of the source files that were asked for in vain.
    now
        The present, as a label of the append dim.
    """
    found: dict[str, dict[int, Tries]] = {name: {} for name in {*names, *again}}
    for name, index in chain(record.pending(), record.provisional()):
        known = record.variables[name].tries.get(index)
        if name in again and index in again[name]:
            found[name][index] = tried(known, now, known.code if known else "")
        elif name in found and known is None and not _is_unreadable(record, name, index):
            found[name][index] = tried(None, now)
    changed = {
        name: replace(record.variables[name], tries={**record.variables[name].tries, **tries})
        for name, tries in found.items()
        if tries
    }
    return replace(record, variables={**record.variables, **changed}) if changed else record


def _is_unreadable(record: ProgressRecord, name: str, index: int) -> bool:
    """Whether a file arrived and gave nothing: that has its tries from who could not read it."""
    variable = record.variables[name]
    failed = record.groups[variable.group][index].status is SourceFileStatus.READ_FAILED
    return failed or index in variable.unread
