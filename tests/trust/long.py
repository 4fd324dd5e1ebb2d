"""The long product: every fault at every moment on every kind of store, and what came of it.

Run by ``make test-long``. The last result is kept in `last_result.json` beside this file, with its
date and commit, and is to be quoted where an issue is closed. Where nobody has run it there is no
such file.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULT = Path(__file__).with_name("last_result.json")
NONE_YET = "no long run is recorded: make test-long runs it and writes {path}"
COUNTED = ("completed", "opens", "torn", "violations", "objects_redone", "files_redone")


def main(arguments: list[str]) -> int:
    """Play on every kind of store and keep what came of it; or show what the last run found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0, help="For each kind of store.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="Only show the last result.")
    options = parser.parse_args(arguments)
    if options.show:
        print(shown(RESULT))
        return 0
    return play_all(options.minutes, options.seed)


def play_all(minutes: float, seed: int) -> int:
    """Run the chaos on each kind of store; the exit code is 1 where any of them failed."""
    import chaos

    commit, stores, code = commit_here(), {}, 0
    for kind in chaos.KINDS:
        # Of this commit alone: what another one did is no result of it.
        results = Path("build") / f"long-{commit[:12]}-{seed}-{kind}.jsonl"
        given = ["--minutes", str(minutes), "--seed", str(seed)]
        code |= chaos.main([*given, "--store", kind, "--results", str(results)])
        stores[kind] = summary([json.loads(line) for line in results.read_text().splitlines()])
    result = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit,
        "python": platform.python_version(),
        "minutes_a_store": minutes,
        "seed": seed,
        "passed": not code,
        "stores": stores,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    print(shown(RESULT))
    return code


def summary(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Count what the runs on one kind of store did, and name those that failed."""
    failed = [entry["name"] for entry in entries if entry["error"] or entry["violations"]]
    counts = {key: sum(entry[key] for entry in entries) for key in COUNTED}
    return {
        "runs": len(entries),
        "faults": sum(sum(entry["injected"].values()) for entry in entries),
        **counts,
        "failed": failed,
    }


def commit_here() -> str:
    """Give the commit that is tested; its end says so where files differ from it."""
    said = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-changed"]
    return subprocess.run(said, check=True, capture_output=True, text=True).stdout.strip()


def shown(path: Path) -> str:
    """Give a kept result in a few lines, or say that there is none."""
    if not path.exists():
        return NONE_YET.format(path=path)
    result = json.loads(path.read_text())
    word = "passed" if result["passed"] else "FAILED"
    head = f"last long run: {word}, {result['date']}, commit {result['commit']}"
    head += f", {result['minutes_a_store']:g} minutes a store"
    lines = [
        f"  {kind}: {found['runs']} runs, {found['faults']} faults, {found['opens']} opens, "
        f"{found['violations']} violations, {len(found['failed'])} failed"
        for kind, found in result["stores"].items()
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
