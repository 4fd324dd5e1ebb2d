"""The coordinate that tells provisional values from final ones: the author's part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gridmill.model.variables import Completeness, Coordinate

__all__ = ["Finality", "shares_of"]


@dataclass(frozen=True, kw_only=True)
class Finality(Completeness):
    """An auxiliary coordinate that says how much of each position is final; gridmill fills it.

    As `Completeness`, of which it is the part that rests on source files that are not provisional:
    1 where every source file was read for every variable and is final. Where it is less than the
    completeness, readers see provisional values. It is published after the values that it speaks
    of, and what is final stays so: who loads it before the data never takes a provisional value for
    a final one.

    Examples
    --------
    >>> Finality(dims=("time",)).name
    'finality'
    """

    name: str = "finality"
    attrs: Mapping[str, Any] = field(
        default_factory=lambda: {
            "long_name": "Share of the expected source data that is final",
            "units": "1",
            "comment": "1 where all variables have the values of every source file that is "
            "expected, and all of these are final; less where some are missing or provisional. It "
            "is published after the values that it speaks of.",
        }
    )


def shares_of(coords: Iterable[Coordinate]) -> tuple[Completeness, ...]:
    """Return the coordinates whose values come from the records: completeness, and finality."""
    return tuple(coord for coord in coords if isinstance(coord, Completeness))
