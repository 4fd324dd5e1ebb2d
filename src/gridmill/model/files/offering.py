"""What a provider has only from a date on, or up to one: cycles, members, leads, levels. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

__all__ = ["Offering"]


@dataclass(frozen=True, kw_only=True)
class Offering:
    """Labels that a provider offers only from a date on, or up to one.

    Elsewhere they are not offered: no source file is asked for there, nothing is missing, and
    completeness does not count it. The labels must have source files of their own.

    Parameters
    ----------
    dim
        A dim beside the append dim; None means whole positions of the append dim.
    labels
        Labels of `dim`: a collection, or a slice with both ends included; durations may be texts.
    hours
        Only positions of the append dim at these hours of the day, like the cycles of a forecast;
        None means all.
    since
        The first label of the append dim at which they are offered (ISO 8601); None: from ever.
    until
        The first label at which they are no longer offered; None: for good.

    Raises
    ------
    ValueError
        Neither date is given, or not exactly both or neither of `dim` and `labels`.

    Examples
    --------
    >>> longer = Offering(dim="lead_time", labels=slice("243h", "384h"), since="2020-09-23")
    >>> more_cycles = Offering(hours=(6, 18), since="2021-03-01")
    """

    dim: str | None = None
    labels: slice | Collection[Any] | None = None
    hours: Collection[int] | None = None
    since: str | None = None
    until: str | None = None

    def __post_init__(self) -> None:
        if self.since is None and self.until is None:
            raise ValueError(f"{self} gives no date: give since, until or both")
        if (self.dim is None) != (self.labels is None):
            raise ValueError(f"{self}: give dim and labels together, or neither")
