"""What stages did, for Prometheus: beside Dask's own metrics, at each worker's ``/metrics``.

Does nothing where prometheus_client is not installed; then Dask serves no metrics either.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from gridmill.model.reports.spans import Span

__all__ = ["count_stages"]


def count_stages(spans: Iterable[Span]) -> None:
    """Add stages that ran in this process to its metrics."""
    counters = _counters()
    if counters is None:
        return
    runs, seconds, nbytes = counters
    for span in spans:
        runs.labels(stage=span.stage).inc()
        seconds.labels(stage=span.stage).inc(max(0.0, span.seconds))
        nbytes.labels(stage=span.stage).inc(span.nbytes)


@cache
def _counters() -> tuple[Any, Any, Any] | None:
    """Register the counters, once a process: that of several workers shares them."""
    try:
        from prometheus_client import Counter
    except ImportError:
        return None

    def counter(name: str, what: str) -> Any:
        return Counter(f"gridmill_stage_{name}", what, labelnames=["stage"])

    return (
        counter("runs", "Stages that ran: download of a group, compress and upload of a variable."),
        counter("seconds", "Seconds in which they ran; several run at once."),
        counter("bytes", "Bytes downloaded, compressed (of raw values) and uploaded."),
    )
