"""GRIB headers changed octet by octet, each read by a process that may not die of it.

Run by ``make fuzz-grib``. The last result is kept in `last_grib_fuzz.json` beside this file, with
its date and commit. Real messages are taken from the folder that ``GRIDMILL_TEST_DATA`` names; with
none, those alone that the project makes itself. Where gribberish is installed, what decodes is held
against it, and where the two differ, the formulas of the specification say why (`spec_decoder`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from long import commit_here

from mutants import READER, SECOND, Child, made_seeds, mutant, real_seeds
from spec_decoder import UNEXPLAINED

RESULT = Path(__file__).with_name("last_grib_fuzz.json")
NONE_YET = "no run is recorded: make fuzz-grib runs it and writes {path}"
# Whatever ends a process, holds it up, or is no error of the file's.
FAILURES = ("died", "late", "unexpected")


def main(arguments: list[str]) -> int:
    """Read mutants and keep what came of them; or show what the last run found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=60.0, help="Stop after so long.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="Folder for the mutants that failed.")
    parser.add_argument("--show", action="store_true", help="Only show the last result.")
    options = parser.parse_args(arguments)
    if not options.show:
        result = fuzz(options.mutants, options.seed, options.minutes, options.keep)
        RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(shown(RESULT))
    return 0 if options.show or result["passed"] else 1


def fuzz(count: int, seed: int, minutes: float, keep: Path | None) -> dict[str, Any]:
    """Read up to `count` mutants of all seeds in turn, for so many minutes."""
    folder = os.environ.get("GRIDMILL_TEST_DATA")
    made, real = made_seeds(), real_seeds(Path(folder)) if folder else {}
    seeds = list({**made, **real}.items())
    chance, outcomes, failed = random.Random(seed), Counter[str](), []
    reader, second = Child(READER), _Second(dict(seeds))
    slowest_s = most_kb = 0.0
    done, begun = 0, time.monotonic()
    for number in range(count):
        if time.monotonic() - begun > 60 * minutes:
            break
        done += 1
        name, message = seeds[number % len(seeds)]
        changed = mutant(message, chance)
        started = time.monotonic()
        outcome, said, rss_kb = reader.read(changed)
        slowest_s = max(slowest_s, time.monotonic() - started)
        most_kb = max(most_kb, rss_kb)
        found = outcomes_of(outcome, said)
        outcomes.update(f"{part} {word}" for part, word, _ in found)
        bad = [f"{name}: {part} {word}: {why}" for part, word, why in found if word in FAILURES]
        failed += bad
        if bad and keep:
            (keep / f"{seed}-{number}.grib").write_bytes(changed)
        if ("values", "read") in [one[:2] for one in found]:
            second.compare(name, changed)
    reader.close()
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit_here(),
        "mutants": done,
        "seed": seed,
        "seeds_made": len(made),
        "seeds_real": len(real),
        "passed": not failed,
        "outcomes": dict(sorted(outcomes.items())),
        "failed": failed,
        "most_memory_mb": round(most_kb / 1024),
        "slowest_s": round(slowest_s, 1),
        "second_decoder": second.result(),
    }


def outcomes_of(outcome: str, said: Any) -> list[tuple[str, str, str]]:
    """Give what was asked of a mutant, what became of it, and why."""
    if outcome != "read":
        return [("message", outcome, str(said))]
    return [(part, word, str(why)) for one in said for part, (word, why) in one.items()]


class _Second:
    """Another decoder, on those seeds on which it agrees before anything is changed."""

    def __init__(self, seeds: dict[str, bytes]) -> None:
        self._is_here = importlib.util.find_spec("gribberish") is not None
        self._child = Child(SECOND)
        self._causes = Counter[str]()
        self._unexplained: list[str] = []
        self._counts = Counter[str]()
        self._trusted = {n for n, m in seeds.items() if self._is_here and self._ask(m)[0] == "same"}

    def compare(self, name: str, message: bytes) -> None:
        if name in self._trusted:
            word, why, values = self._ask(message)
            self._counts[word] += 1
            if word not in ("different", "another size"):
                return
            self._causes[why] += 1
            if why.startswith(UNEXPLAINED):
                self._unexplained.append(f"{name}: {word}: {why}: {values}: {message[:400].hex()}")

    def result(self) -> dict[str, Any] | str:
        self._child.close()
        if not self._is_here:
            return "none: pip install gribberish"
        return {
            "name": "gribberish",
            "seeds_on_which_it_agrees": len(self._trusted),
            "mutants": dict(sorted(self._counts.items())),
            "causes": dict(self._causes.most_common()),
            "unexplained": self._unexplained,
        }

    def _ask(self, message: bytes) -> tuple[str, str, str]:
        outcome, said, _ = self._child.read(message)
        return said[0] if outcome == "read" and said else (outcome, str(said), "")


def shown(path: Path) -> str:
    """Give a kept result in a few lines, or say that there is none."""
    if not path.exists():
        return NONE_YET.format(path=path)
    result = json.loads(path.read_text())
    word = "passed" if result["passed"] else "FAILED"
    lines = [
        f"last run of mutants: {word}, {result['date']}, commit {result['commit']}",
        f"  {result['mutants']} mutants of {result['seeds_made']} made and "
        f"{result['seeds_real']} real messages, at most {result['most_memory_mb']} MB and "
        f"{result['slowest_s']} s",
        *(f"  {what}: {count}" for what, count in result["outcomes"].items()),
        *(f"  {one}" for one in result["failed"][:20]),
    ]
    second = result["second_decoder"]
    if isinstance(second, dict):
        counts = ", ".join(f"{count} {word}" for word, count in second["mutants"].items())
        lines += [
            f"  {second['name']}: {counts}",
            *(f"  {count} different: {why}" for why, count in second["causes"].items()),
            *(f"  {one[:200]}" for one in second["unexplained"][:20]),
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
