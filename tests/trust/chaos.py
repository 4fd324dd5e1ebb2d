"""The long run: every fault at every moment, then pairs of faults, until the time is over.

Run by ``make chaos``. What was played is kept in a results file, a line each: a later run with
the same seed goes on where the last one stopped, and the table is of all that the file holds.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from trust_archive import KINDS
from trust_catalogue import CATALOGUE, Scenario, play
from trust_harness import MOMENTS, Lab, Outcome

WIDTH = max(map(len, CATALOGUE))
COLUMNS = ("injected", "runs", "completed", "opens", "torn", "violations", "objects", "files")


def scenarios(seed: int, kind: str) -> Iterator[Scenario]:
    """Give every fault at every moment in an order of the seed, then pairs without end."""
    rng = random.Random(seed)
    here = {name: make for name, make in CATALOGUE.items() if kind in make().kinds}
    product = [(name, m) for name, make in here.items() for m in make().moments]
    rng.shuffle(product)
    for name, moment in product:
        yield Scenario((name,), moment, rng.randrange(1 << 30), kind)
    deaths = [name for name, make in here.items() if make().sets_death]
    others = [name for name in here if name not in deaths]
    for _ in count():
        first = rng.choice(others)
        second = rng.choice([name for name in (*deaths, *others) if name != first])
        moments = [m for m in MOMENTS if all(m in CATALOGUE[n]().moments for n in (first, second))]
        yield Scenario((first, second), rng.choice(moments), rng.randrange(1 << 30), kind)


def main(arguments: list[str]) -> int:
    """Play until the time is over; the exit code is 1 if anything was lost or noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--store", choices=tuple(KINDS), default="local")
    parser.add_argument("--results", type=Path, default=Path("build/chaos.jsonl"))
    options = parser.parse_args(arguments)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + 60 * options.minutes
    known = {entry["name"] for entry in _read(options.results)}
    with (
        tempfile.TemporaryDirectory(prefix="gridmill-chaos-") as folder,
        Lab(Path(folder)) as lab,
        options.results.open("a") as results,
    ):
        for scenario in scenarios(options.seed, options.store):
            if time.monotonic() > until:
                break
            if scenario.name in known:
                continue
            entry = _play(lab, scenario)
            results.write(json.dumps(entry) + "\n")
            results.flush()
            print(_line(entry), flush=True)
    entries = _read(options.results)
    print(table(entries))
    return int(any(entry["error"] or entry["violations"] for entry in entries))


def _play(lab: Lab, scenario: Scenario) -> dict[str, Any]:
    outcome, error, began = Outcome(), None, time.monotonic()
    try:
        play(lab, scenario, outcome)
    except Exception as failure:
        error = "".join(traceback.format_exception(failure))[-6000:]
    return {
        "name": scenario.name,
        **asdict(scenario),
        "error": error,
        "injected": outcome.injected,
        "drivers": outcome.drivers,
        "completed": outcome.completed,
        "opens": outcome.sightings.opens,
        "torn": outcome.sightings.torn,
        "torn_errors": outcome.sightings.torn_errors,
        "violations": len(outcome.violations),
        "seeded": [outcome.seeded_caught, outcome.seeded_visits],
        "objects_redone": outcome.objects_redone,
        "files_redone": outcome.files_redone,
        "seconds": time.monotonic() - began,
    }


def table(entries: list[dict[str, Any]]) -> str:
    """Give a line for each fault, and one for all.

    A run with two faults counts for both; the last line counts it once.
    """
    head = f"{'fault':{WIDTH}} " + " ".join(f"{c:>10}" for c in COLUMNS)
    note = "objects, files: put or fetched more often than once"
    lines = [head, "-" * len(head)]
    for name in CATALOGUE:
        struck = [entry for entry in entries if name in entry["faults"]]
        if struck:
            lines.append(_row(name, struck, name))
    total = _row("all", entries, None)
    caught, visits = (sum(entry["seeded"][at] for entry in entries) for at in (0, 1))
    failed = [entry for entry in entries if entry["error"]]
    lines += ["-" * len(head), total, note, f"seeded violations caught: {caught} of {visits}"]
    lines += [f"FAILED {e['name']}: {e['error'].splitlines()[-1][:200]}" for e in failed]
    return "\n".join(lines)


def _row(title: str, entries: list[dict[str, Any]], name: str | None) -> str:
    good = [entry for entry in entries if not entry["error"]]
    struck = [e["injected"].get(name, 0) if name else sum(e["injected"].values()) for e in entries]
    keys = ("opens", "torn", "violations", "objects_redone", "files_redone")
    cells = [sum(struck), len(entries), len(good), *(sum(e[key] for e in entries) for key in keys)]
    return f"{title:{WIDTH}} " + " ".join(f"{cell:>10}" for cell in cells)


def _line(entry: dict[str, Any]) -> str:
    if entry["error"]:
        return f"FAILED {entry['name']}\n{entry['error']}"
    return f"{entry['seconds']:5.1f} s {entry['opens']:5} opens  {entry['name']}"


def _read(results: Path) -> list[dict[str, Any]]:
    lines = results.read_text().splitlines() if results.exists() else []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
