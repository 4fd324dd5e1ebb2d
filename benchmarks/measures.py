"""What is measured: ratios of two ways of doing one thing, in turns, and plain quantities."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import psutil

__all__ = ["SPOILED_FROM", "Measure", "Meter", "compare", "measured"]

# Cores that others may keep busy before wall times mean little; CPU ratios bear more.
SPOILED_FROM = 0.3


@dataclass(frozen=True)
class Measure:
    """One figure.

    Parameters
    ----------
    name
        What it says, and of what.
    unit
        ``"× CPU"`` or ``"× wall"`` for a ratio to the reference, else the unit.
    value, low, high
        The median, and the smallest and largest of what was seen.
    most
        What the value must not exceed; None where nothing is promised.
    foreign_load
        Cores that other processes kept busy meanwhile.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float
    most: float | None = None
    foreign_load: float = 0.0

    @property
    def key(self) -> str:
        """Under which later measurements of the same are found."""
        return f"{self.name} [{self.unit}]"

    def holds(self, slack: float = 1.0) -> bool:
        """Whether the promise is kept, or would be with so much slack."""
        return self.most is None or self.value <= self.most * slack

    @property
    def is_spoiled(self) -> bool:
        """Whether foreign load makes it worth little."""
        return self.foreign_load > SPOILED_FROM and "CPU" not in self.unit

    def __str__(self) -> str:
        most = "" if self.most is None else f"<= {self.most:g}"
        verdict = "" if self.holds() else "  MISSED"
        spoiled = f"  (others: {self.foreign_load:.1f} cores)" if self.is_spoiled else ""
        spread = f"{self.low:.4g}-{self.high:.4g}"
        figures = f"{self.value:9.4g} {spread:>17}  {self.unit:8} {most:8}"
        return f"{self.name:55}{figures}{verdict}{spoiled}"


def compare(
    name: str,
    ours: Callable[[], object],
    reference: Callable[[], object],
    *,
    cpu: float | None = None,
    wall: float | None = None,
    pairs: int = 5,
    not_ours: Sequence[int] = (),
) -> Iterator[Measure]:
    """Measure ours against a reference in turns, after a warm-up of both.

    Parameters
    ----------
    name
        What is compared with what.
    ours, reference
        Do the same job, in this process and its children.
    cpu, wall
        What the ratios must not exceed.
    pairs
        How many turns.
    not_ours
        Children whose CPU does not count, nor that of theirs. On other machines they would not
        take our cores: the reference's wall time is prolonged by what ours had them take.
    """
    if pairs > 1:
        ours(), reference()
    meters = []
    for turn in range(pairs):
        order = (ours, reference) if turn % 2 == 0 else (reference, ours)
        seen = {}
        for what in order:
            with Meter(not_ours) as seen[what]:
                what()
        meters.append((seen[ours], seen[reference]))
    foreign = statistics.median(meter.foreign_load for pair in meters for meter in pair)
    for unit, most, ratios in (
        ("× CPU", cpu, [a.cpu_s / b.cpu_s for a, b in meters]),
        ("× wall", wall, [a.wall_s / (b.wall_s + _shared_s(a, b)) for a, b in meters]),
    ):
        yield measured(name, unit, ratios, most=most, foreign_load=foreign)


def _shared_s(ours: Meter, reference: Meter) -> float:
    """Return how long all cores worked for `not_ours`, more in ours than in the reference."""
    return (ours.not_ours_cpu_s - reference.not_ours_cpu_s) / (os.cpu_count() or 1)


def measured(
    name: str,
    unit: str,
    values: list[float],
    *,
    most: float | None = None,
    foreign_load: float = 0.0,
) -> Measure:
    """Return the figure of several measurements of one quantity."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return Measure(name, unit, middle, low, high, most, foreign_load)


@dataclass
class Meter:
    """Measures what happens in a `with`: CPU and wall seconds, and what others did meanwhile."""

    not_ours: Sequence[int] = ()
    cpu_s: float = 0.0
    wall_s: float = 0.0
    foreign_load: float = 0.0
    not_ours_cpu_s: float = 0.0
    _before: tuple[float, ...] = field(default=(0.0,) * 4, repr=False)

    def __enter__(self) -> Meter:
        self._before = _clocks(self.not_ours)
        return self

    def __exit__(self, *exc_info: object) -> None:
        wall, cpu, all_cpu, self.not_ours_cpu_s = (
            b - a for a, b in zip(self._before, _clocks(self.not_ours), strict=True)
        )
        self.wall_s, self.cpu_s = max(wall, 1e-6), max(cpu, 1e-3)
        others = all_cpu - cpu - self.not_ours_cpu_s
        self.foreign_load = max(0.0, others / self.wall_s)


def _clocks(not_ours: Sequence[int]) -> tuple[float, ...]:
    """Wall, CPU of this process and its children (those that ended included), of all, of others.

    The CPU of `not_ours` is given last, and not among that of the children.
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = time.process_time() + ended.ru_utime + ended.ru_stime
    cpu += sum(map(_cpu_with_children, psutil.Process().children()))
    theirs = sum(map(_cpu_with_children, map(psutil.Process, not_ours)))
    everybody = psutil.cpu_times()
    of_all = everybody.user + everybody.nice + everybody.system
    return time.perf_counter(), cpu - theirs, of_all, theirs


def _cpu_with_children(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
        below = sum(map(_cpu_with_children, process.children()))
    except psutil.Error:
        return 0.0
    ended = times.children_user + times.children_system
    return float(times.user + times.system + ended + below)
