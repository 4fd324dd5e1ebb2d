"""Which of the variables of samples are proposed, and how long their axes are taken to be. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

__all__ = ["LONG", "chosen"]

# Of an archive that grows for years: how long its append dim is taken to be for chunks.
LONG = 100_000
# So many are read and checked by a person; the others are named.
MOST_VARIABLES = 40


class _Named(Protocol):
    @property
    def name(self) -> str: ...


VariableT = TypeVar("VariableT", bound=_Named)


def chosen(
    variables: Sequence[VariableT],
    only: Sequence[str],
    *,
    is_less: Callable[[VariableT], bool] = lambda _: False,
) -> tuple[list[VariableT], list[str]]:
    """Return the variables to propose, in their order, and the names of the others.

    Parameters
    ----------
    variables
        All that the samples have.
    only
        Names of those that are wanted; nothing takes all, up to a number.
    is_less
        Whether one comes after the others where there are too many.

    Raises
    ------
    ValueError
        The samples lack a variable of `only`.
    """
    known = [var.name for var in variables]
    if unknown := sorted(set(only) - set(known)):
        raise ValueError(
            f"the samples have no variables {', '.join(unknown)}; known: {', '.join(known)}"
        )
    if only:
        return [var for var in variables if var.name in only], []
    taken = {var.name for var in sorted(variables, key=is_less)[:MOST_VARIABLES]}
    kept = [var for var in variables if var.name in taken]
    return kept, [name for name in known if name not in taken]
