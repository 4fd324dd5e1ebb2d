"""How long a worker of a job works: it leaves before the job's walltime ends it."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["lifetime_arguments", "walltime_seconds"]

# The share of a walltime that is kept for the start of a worker, and for leaving; twice that much
# spreads when workers leave, so that not all are away at once. No more than five minutes.
MARGIN_SHARE = 1 / 20
SHORTEST_MARGIN_S, LONGEST_MARGIN_S = 15, 300
# By what a queue calls a walltime of fewer than three numbers: the seconds of each of its numbers.
SHORT_FORMS: Mapping[str, Mapping[int, tuple[int, ...]]] = {
    "slurm": {1: (60,), 2: (60, 1)},
    "lsf": {1: (60,), 2: (3600, 60)},
    "pbs": {1: (1,)},
    "sge": {1: (1,)},
}
THREE = (3600, 60, 1)


def lifetime_arguments(walltime: str, queue: str) -> list[str]:
    """Return the arguments with which ``dask worker`` leaves before the walltime, staggered.

    Parameters
    ----------
    walltime
        Of a job, in the queue's words.
    queue
        Its name in dask-jobqueue's settings.

    Examples
    --------
    >>> lifetime_arguments("02:00:00", "slurm")
    ['--lifetime', '6600s', '--lifetime-stagger', '300s']
    """
    seconds = walltime_seconds(walltime, queue)
    if seconds is None or seconds <= 3 * SHORTEST_MARGIN_S:
        return []
    margin = min(max(int(seconds * MARGIN_SHARE), SHORTEST_MARGIN_S), LONGEST_MARGIN_S)
    return ["--lifetime", f"{seconds - 2 * margin}s", "--lifetime-stagger", f"{margin}s"]


def walltime_seconds(walltime: str, queue: str) -> int | None:
    """Read a walltime, in seconds; None for a form that not all read alike.

    Examples
    --------
    >>> walltime_seconds("1-00:30:00", "slurm"), walltime_seconds("00:30", "lsf")
    (88200, 1800)
    >>> walltime_seconds("UNLIMITED", "slurm")
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+(?::\d+){0,2})", walltime.strip())
    if found is None:
        return None
    days, clock = int(found[1] or 0), [int(part) for part in found[2].split(":")]
    if found[1] is not None:  # days are followed by hours, and what is left out is at the end
        units: tuple[int, ...] | None = THREE[: len(clock)]
    else:
        units = THREE if len(clock) == 3 else SHORT_FORMS.get(queue, {}).get(len(clock))
    if units is None:
        return None
    return days * 86_400 + sum(n * unit for n, unit in zip(clock, units, strict=True))
