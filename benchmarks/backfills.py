"""Runs of the whole pipeline, for those who measure them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gridmill import DynamicalDataset
from gridmill.model.reports.run_report import RunReport

__all__ = ["backfill", "without"]


def without(store: Path) -> None:
    """Delete a store and its records."""
    for path in (store, store.with_name(f"{store.name}.gridmill")):
        shutil.rmtree(path, ignore_errors=True)


def backfill(
    dataset: Callable[[Path], DynamicalDataset], store: Path, until: str, client: Any
) -> RunReport:
    """Build an archive anew; it must be whole in the end."""
    without(store)
    report = dataset(store).backfill(until, client=client)
    assert report.succeeded, report.failures
    assert report.stops_because is None, report.stops_because
    return report
