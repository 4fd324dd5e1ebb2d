"""Two ways of doing one thing, measured in turns: only their ratio means anything here."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

__all__ = ["Ratio", "compare", "foreign_load"]

PAIRS = 5


@dataclass(frozen=True)
class Ratio:
    """How much A costs against B.

    Parameters
    ----------
    name
        What is compared.
    cpu, wall
        Median of the pairs' ratios of CPU seconds (of this process and its children) and of
        wall time.
    cpu_spread
        Smallest and largest of the CPU ratios.
    must
        What the ratio must not exceed; None where nothing is promised yet.
    """

    name: str
    cpu: float
    wall: float
    cpu_spread: tuple[float, float]
    must: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.must is None or self.cpu <= self.must

    def __str__(self) -> str:
        low, high = self.cpu_spread
        must = "" if self.must is None else f"<= {self.must}"
        return f"{self.name:45} {self.cpu:7.2f} {low:7.2f}-{high:7.2f} {self.wall:7.2f}  {must}"


def compare(
    name: str, a: Callable[[], object], b: Callable[[], object], *, must: float | None = None
) -> Ratio:
    """Measure A against B in turns, after a warm-up of both."""
    a(), b()
    pairs = [(_cost(a), _cost(b)) for _ in range(PAIRS)]
    cpu = [first[0] / second[0] for first, second in pairs]
    wall = [first[1] / second[1] for first, second in pairs]
    return Ratio(name, statistics.median(cpu), statistics.median(wall), (min(cpu), max(cpu)), must)


def foreign_load() -> float:
    """Cores that other processes keep busy, over a second."""
    before, own = psutil.cpu_times(), _cpu_s()
    time.sleep(1.0)
    after = psutil.cpu_times()
    busy = sum(after[i] - before[i] for i in (0, 1, 2))
    return max(0.0, busy - (_cpu_s() - own))


def _cost(what: Callable[[], object]) -> tuple[float, float]:
    cpu, wall = _cpu_s(), time.perf_counter()
    what()
    return max(_cpu_s() - cpu, 1e-3), max(time.perf_counter() - wall, 1e-6)


def _cpu_s() -> float:
    """CPU seconds of this process and of its children, those that ended included."""
    ended = os.times()
    total = ended.user + ended.system + ended.children_user + ended.children_system
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total
