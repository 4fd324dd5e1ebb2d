"""Every lie of a provider, with every death of a driver, on every kind of store, many times.

Run by ``make lies``; prints a table of runs and violations, and keeps it in `last_lies.json` beside
this file, with its date and commits. With `--providers` those of every other kind of source.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from long import commit_here
from lying_elsewhere import play_providers
from players import Players, players

from lies import KILLED, LIES, SOURCES, STAGES, STORES, Play, play

# Drivers that are killed are processes of their own, which take their time.
ENDS = (*STAGES, KILLED)
RESULT = Path(__file__).with_name("last_lies.json")


def main(arguments: list[str]) -> int:
    """Play, print the table, keep it; 1 where anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30, help="In each cell of the table.")
    parser.add_argument("--first", type=int, default=1, help="The first seed.")
    parser.add_argument("--minutes", type=float, default=240.0, help="At most.")
    more = "Add to what is kept, which needs other seeds: each commit that played is named."
    parser.add_argument("--more", action="store_true", help=more)
    kinds = "Play other kinds of providers than daily files instead: names, or all."
    parser.add_argument("--providers", nargs="+", metavar="NAME", help=kinds)
    parser.add_argument("--fetches", type=int, default=200, help="Of each lie of each of these.")
    parser.add_argument("--days", type=int, default=110, help="Of an archive made of these.")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="That play.")
    options = parser.parse_args(arguments)
    with players(options.processes) as company:
        if options.providers:
            return play_providers(
                company,
                options.providers,
                first=options.first,
                fetches=options.fetches,
                days=options.days,
                minutes=options.minutes,
            )
        kept = json.loads(RESULT.read_text()) if options.more else {}
        return play_lies(company, options.first, options.runs, options.minutes, kept)


def play_lies(company: Players, first: int, runs: int, minutes: float, kept: dict[str, Any]) -> int:
    """Play so many in each cell; 1 if any is wrong. What is done is kept as it is done."""
    ends = time.monotonic() + 60 * minutes
    scenes = takewhile(lambda _: time.monotonic() < ends, plays(first, runs))
    done = Counter({(lie, end, store): n for lie, end, store, n in kept.get("cells", ())})
    violations: list[str] = list(kept.get("violations", ()))
    commits = list(dict.fromkeys([*kept.get("commits", ()), commit_here()]))
    for scene, found in company.play(play, scenes):
        violations += [found] if isinstance(found, str) else found
        done[scene.lie, scene.stage, scene.store] += 1
        if done.total() % 100 == 0:
            keep(done, violations, commits)
    keep(done, violations, commits)
    print(table(done, violations))
    return int(bool(violations))


def plays(first: int, runs: int) -> Iterator[Play]:
    """Give all of them, one of each cell after the other, so that whenever it ends all had some."""
    for seed in range(first, first + runs):
        for lie in LIES:
            for stage in ENDS:
                for store in STORES:
                    source = SOURCES[seed % len(SOURCES)]
                    yield Play(lie=lie, stage=stage, store=store, source=source, seed=seed)


def keep(runs: Counter[tuple[str, str, str]], violations: list[str], commits: list[str]) -> None:
    """Write what came of it, and at which commits."""
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commits": commits,
        "runs": runs.total(),
        "fewest_in_a_cell": min(runs.values(), default=0),
        "violations": violations,
        "cells": [[*cell, n] for cell, n in runs.items()],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")


def table(runs: Counter[tuple[str, str, str]], violations: list[str]) -> str:
    """Give runs by lie, death and store."""
    columns = [(stage, store) for stage in ENDS for store in STORES]
    lines = [" " * 26 + "".join(f"{stage[:28]:>30}" for stage, _ in columns[:: len(STORES)])]
    lines += [" " * 26 + "".join(f"{store:>15}" for _, store in columns)]
    for lie in LIES:
        counts = "".join(f"{runs[lie, stage, store]:>15}" for stage, store in columns)
        lines.append(f"{lie:26}{counts}")
    lines.append(f"{runs.total()} runs, {len(violations)} violations")
    return "\n".join([*lines, *violations[:20]])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
