"""Every lie of every kind of provider, until each was fetched often enough.

Run by ``make lies LIES_ARGS="--providers all"``; prints a table of fetches and violations, and
keeps it in `last_source_lies.json` beside this file, with its date and commit.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path

from long import commit_here
from players import Players

from liars import PROVIDERS
from lies import STAGES, STORES
from source_lies import CELLS, SourceScene, play_source

__all__ = ["play_providers"]

RESULT = Path(__file__).with_name("last_source_lies.json")
Cell = tuple[str, str]


class _Score:
    """What came of it until now."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self.fetches: Counter[Cell] = Counter()
        self.runs: Counter[Cell] = Counter()
        self.violations: list[str] = []

    def take(self, cell: Cell, found: tuple[int, list[str]] | str) -> None:
        """Add what one play found, or what it could not go on from."""
        fetched, violations = (0, [found]) if isinstance(found, str) else found
        self.runs[cell] += 1
        self.fetches[cell] += fetched
        self.violations += violations

    def keep(self) -> None:
        """Write it."""
        result = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": commit_here(),
            "runs": self.runs.total(),
            "fetches": self.fetches.total(),
            "fewest_fetches_in_a_cell": min(self.fetches[cell] for cell in self.cells),
            "violations": self.violations,
            "cells": [[*cell, self.runs[cell], self.fetches[cell]] for cell in self.cells],
        }
        RESULT.write_text(json.dumps(result, indent=1) + "\n")

    def table(self) -> str:
        """Give fetches by kind of provider and lie."""
        names = list(dict.fromkeys(name for name, _ in self.cells))
        lies = list(dict.fromkeys(lie for _, lie in self.cells))
        lines = [" " * 20 + "".join(f"{name:>16}" for name in names)]
        for lie in lies:
            counts = (
                self.fetches[name, lie] if (name, lie) in self.cells else "" for name in names
            )
            lines.append(f"{lie:20}" + "".join(f"{count:>16}" for count in counts))
        told = f"{self.runs.total()} runs, {self.fetches.total()} fetches of what lies"
        return "\n".join([*lines, f"{told}, {len(self.violations)} violations"])


def play_providers(
    company: Players, names: Sequence[str], *, first: int, fetches: int, days: int, minutes: float
) -> int:
    """Play one of each cell after the other until each lie was fetched so often; 1 if any is wrong.

    Parameters
    ----------
    company
        Who plays.
    names
        Of kinds of providers; ``all`` for all.
    first
        The first seed.
    fetches
        Of files that lie, in each cell.
    days
        Of an archive: all but four lie at once.
    minutes
        At most.
    """
    wanted = tuple(PROVIDERS) if "all" in names else tuple(names)
    if unknown := set(wanted) - set(PROVIDERS):
        raise SystemExit(
            f"no such provider: {', '.join(unknown)}; there are {', '.join(PROVIDERS)}"
        )
    score = _Score([cell for cell in CELLS if cell[0] in wanted])
    ends = time.monotonic() + 60 * minutes
    for seed in range(first, first + fetches):
        left = [cell for cell in score.cells if score.fetches[cell] < fetches]
        scenes = (_scene(cell, seed, days) for cell in left)
        in_time = takewhile(lambda _: time.monotonic() < ends, scenes)
        for scene, found in company.play(play_source, in_time):
            score.take((scene.provider, scene.lie), found)
            score.keep()
    print(score.table())
    print("\n".join(score.violations[:20]))
    return int(bool(score.violations))


def _scene(cell: Cell, seed: int, days: int) -> SourceScene:
    number = seed + CELLS.index(cell)
    stage, store = list(STAGES)[number % len(STAGES)], STORES[number % len(STORES)]
    return SourceScene(*cell, stage, store, seed, days)
