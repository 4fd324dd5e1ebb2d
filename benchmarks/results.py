"""The measurements that were kept: one entry a run, the newest of each figure counts."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measures import Measure

__all__ = ["PATH", "add_run", "histories", "latest", "machine", "newest", "read_runs", "table_row"]

PATH = Path(__file__).parent / "results.json"


def machine() -> dict[str, Any]:
    """Say on what is measured."""
    names = ("gridmill", "zarr", "numcodecs", "numpy", "distributed", "xarray")
    return {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "versions": {name: version(name) for name in names},
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": _commit(),
    }


def _commit() -> str:
    """Return the commit that is checked out, with a plus if files differ from it."""
    try:
        commit = _git("rev-parse", "--short=10", "HEAD")
        return commit + (
            "+" if _git("status", "--porcelain", "--", ".", ":!benchmarks/results.json") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*command: str) -> str:
    done = subprocess.run(
        ("git", *command), cwd=PATH.parents[1], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def add_run(measures: Sequence[Measure], path: Path = PATH) -> None:
    """Keep what a run measured, beside what others did."""
    runs = [*read_runs(path), {"machine": machine(), "measures": [asdict(m) for m in measures]}]
    path.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n")


def read_runs(path: Path = PATH) -> list[dict[str, Any]]:
    """Return all runs, the oldest first."""
    return list(json.loads(path.read_text())) if path.exists() else []


def latest(runs: Sequence[dict[str, Any]]) -> Iterator[Measure]:
    """Yield the newest measurement of each figure."""
    for _, measure in newest(runs):
        yield measure


def newest(runs: Sequence[dict[str, Any]]) -> Iterator[tuple[str, Measure]]:
    """Yield the same with the moment at which each was made."""
    for history in histories(runs).values():
        yield history[-1]


def histories(runs: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, Measure]]]:
    """Return each figure's measurements and when they were made, the oldest first."""
    found: dict[str, list[tuple[str, Measure]]] = {}
    for run in runs:
        for content in run["measures"]:
            measure = Measure(**content)
            found.setdefault(measure.key, []).append((run["machine"]["when"], measure))
    return found


def table_row(when: str, measure: Measure) -> str:
    """Return a figure as a row of a Markdown table: name, promise, measured, unit, day."""
    promise = "" if measure.most is None else f"≤ {measure.most:.3g}"
    measured = f"{measure.value:.3g}"
    if measure.low != measure.high:
        measured += f" ({measure.low:.3g}–{measure.high:.3g})"
    measured += "" if measure.holds() else ", missed"
    if measure.is_spoiled:
        measured += f"; others kept {measure.foreign_load:.1f} cores busy"
    return f"| {measure.name} | {promise} | {measured} | {measure.unit} | {when[:10]} |"
