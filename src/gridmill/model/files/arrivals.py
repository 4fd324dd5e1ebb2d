"""When versions of source files arrived, as a progress record writes it: each moment once. Pure.

Many files of a region arrive within a second. Their number in a table takes a third of the bytes of
a time; a default for whatever has none would be taken for the truth of files that an earlier
gridmill records, which keeps the table and knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

__all__ = ["arrivals_from_inplace", "arrivals_to_inplace"]

Groups = Iterable[Iterable[dict[str, Any]]]


def arrivals_to_inplace(groups: Groups) -> list[tuple[str, int | None]]:
    """Return the times and runs with which files arrived, and let the files name their numbers.

    Examples
    --------
    >>> files = [{"url": "a", "arrived": "2026-01-01T00:00:00", "run": 0}, {"url": "b"}]
    >>> arrivals_to_inplace([files])
    [('2026-01-01T00:00:00', 0)]
    >>> files
    [{'url': 'a', 'came': 0}, {'url': 'b'}]
    """
    numbers: dict[tuple[str, int | None], int] = {}
    for file in chain.from_iterable(groups):
        if "arrived" in file:
            arrival = file.pop("arrived"), file.pop("run", None)
            file["came"] = numbers.setdefault(arrival, len(numbers))
    return list(numbers)


def arrivals_from_inplace(groups: Groups, arrivals: Sequence[tuple[str, int | None]]) -> None:
    """Let files say themselves when they arrived; those that do already stay as they are.

    A number that the table lacks says nothing: an earlier gridmill takes files from record to
    record, and leaves the table.
    """
    for file in chain.from_iterable(groups):
        number = file.pop("came", None)
        if number is not None and "arrived" not in file and 0 <= number < len(arrivals):
            file["arrived"], file["run"] = arrivals[number]
