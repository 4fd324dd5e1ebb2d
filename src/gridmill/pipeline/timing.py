"""Times the stages on a worker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import time
from typing import Any

from gridmill.model.reports.spans import Span

__all__ = ["recorded"]


@contextmanager
def recorded(stage: str, key: str, worker: str) -> Iterator[list[Any]]:
    """Record the body as a span: it is in the yielded list when the body ends.

    The body may put the number of bytes into the list.
    """
    box: list[Any] = []
    started = time()
    yield box
    nbytes = int(box.pop()) if box else 0
    box.append(Span(stage, key, worker, started, time(), nbytes))
