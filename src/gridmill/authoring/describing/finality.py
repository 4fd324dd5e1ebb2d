"""The coordinate that tells provisional values from final ones: the author's part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gridmill.model.variables import Completeness, Coordinate, DataVar

__all__ = ["Finality", "check_shares", "shares_of"]


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


def check_shares(
    who: str, coords: Sequence[Coordinate], data_vars: Iterable[DataVar], append_dim: str
) -> None:
    """Raise unless there is at most one of each, over dims along which source files have places.

    Raises
    ------
    ValueError
        Two of a kind, or dims that no variable along the append dim has; `who` declares them.
    """
    shares = shares_of(coords)
    for what, kind in (("finality", True), ("completeness", False)):
        names = [coord.name for coord in shares if isinstance(coord, Finality) is kind]
        if len(names) > 1:
            raise ValueError(f"{who} declares more than one {what}: {names}")
    known = {dim for var in data_vars if append_dim in var.dims for dim in var.dims}
    for coord in shares:
        first, *others = coord.own_dims
        if first != append_dim or len(set(coord.own_dims)) != len(coord.own_dims):
            raise ValueError(
                f"{coord.name!r} has dims {coord.own_dims}: give {append_dim!r} first, and every "
                "dim once"
            )
        unknown = sorted(set(others) - known)
        if unknown:
            raise ValueError(
                f"{coord.name!r} has dims {unknown}, which no variable along {append_dim} has: "
                "source files have no places there"
            )
