"""A plot of what was measured over time: how each figure stands to its promise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.results import PATH, histories

__all__ = ["plot"]

PICTURE = PATH.with_suffix(".png")


def plot(runs: Sequence[dict[str, Any]], path: Path = PICTURE) -> Path:
    """Draw every figure that has a promise, as a share of what it must not exceed."""
    from matplotlib.figure import Figure

    promised = {
        key: [(datetime.fromisoformat(when), m.value / m.most) for when, m in history if m.most]
        for key, history in histories(runs).items()
    }
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots()
    for key, history in promised.items():
        if history:
            when, share = zip(*history, strict=True)
            axes.plot(when, share, marker="o", label=key)
    axes.axhline(1.0, color="black", linewidth=1)
    axes.set_yscale("log")
    axes.set_ylabel("measured / promised (below the line is kept)")
    axes.legend(fontsize="x-small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)
    return path
