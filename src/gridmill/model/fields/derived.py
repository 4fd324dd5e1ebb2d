"""What a variable's values are made of, where no source file holds them as they are stored. Pure.

See Also
--------
gridmill.authoring.derived : formulas, and how values are made by them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from gridmill.model.variables import DataVar

__all__ = ["METHODS", "Aggregation", "Derived", "Method"]

Method = Literal["mean", "minimum", "maximum", "sum"]
# As CF calls them in cell_methods.
METHODS: tuple[Method, ...] = ("mean", "minimum", "maximum", "sum")


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A formula of several source variables, value by value.

    Parameters
    ----------
    inputs
        The source variables, which need not be stored; of the dims of the derived one and of a
        floating dtype. A region job's hooks get them, and never the derived variable.
    formula
        Gives new values from arrays of these, in their order: float64, of one dimension, and equal
        in length. It runs on parts of a region: a value may rest on those at its own place alone.
        Where an input is missing, so is the result, whatever the formula gives. A function of a
        module, so that workers find it.
    takes
        In which units it takes each input; those are converted. Empty: in those of the inputs.
    gives
        In which units its results are, which are converted to the variable's. None: in these.
    name
        What a fingerprint calls the formula: values made by another one are not believed. Where a
        formula means to give other values from now on, raise `RegionJob.version`.

    Raises
    ------
    ValueError
        There is no input, one comes twice, or `takes` is of another length.
    """

    inputs: tuple[DataVar, ...]
    formula: Callable[..., Any]
    takes: tuple[str, ...] = ()
    gives: str | None = None
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        names = [var.name for var in self.inputs]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"inputs {names} of a formula: give at least one, and each once")
        if any(var.is_made for var in self.inputs):
            raise ValueError(f"inputs {names} of a formula must be what source files hold")
        if self.takes and len(self.takes) != len(names):
            raise ValueError(f"takes {self.takes} must give one unit for each of {names}")
        if not self.name:
            object.__setattr__(self, "name", getattr(self.formula, "__name__", "formula"))

    @property
    def content(self) -> list[Any]:
        """What of it decides whether stored values are those that it gives."""
        return [self.name, [var.name for var in self.inputs]]

    def with_dims(self, of: DataVar) -> Derived:
        """Return it with inputs of a variable's dims.

        Raises
        ------
        ValueError
            An input has other dims, or a dtype without fractions.
        """
        inputs = tuple(var.with_dims(of.dims) for var in self.inputs)
        for var in inputs:
            if var.dims != of.dims:
                raise ValueError(
                    f"{of.name!r} has dims {of.dims} and is derived from {var.name!r} of dims "
                    f"{var.dims}: both must have the same"
                )
        return replace(self, inputs=inputs)


@dataclass(frozen=True, kw_only=True)
class Aggregation:
    """Many steps of a source become one position of the append dim.

    A position stands for the time from its label to the next. A region job's hooks get the steps:
    `generate_source_file_coords` a dataset with their labels, `read_data` one of them after the
    other, transformations all of them. A derived variable is derived step by step before.

    Parameters
    ----------
    method
        ``"mean"``, ``"minimum"``, ``"maximum"`` or ``"sum"``, as the variable's ``cell_methods``
        must say.
    every
        The source's step, a pandas offset of fixed length (``"h"``).
    first
        How long after a position's label its first step is: ``"1h"`` for what accumulates up to its
        own time stamp, so that a day has 01:00 to 24:00.
    at_least
        How many steps must have a value, at each cell; None means all of them. With fewer, what is
        made of those that are there is published, and recomputed when others come.
    period
        The append dim's step. Not an author's to give.

    Raises
    ------
    ValueError
        `method` is none of these, or `at_least` is below 1.
    """

    method: Method
    every: str
    first: str = "0h"
    at_least: int | None = None
    period: str | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r} is none of {', '.join(METHODS)}")
        if self.at_least is not None and self.at_least < 1:
            raise ValueError(f"at_least {self.at_least} must be at least 1, or None for all")

    @property
    def content(self) -> list[Any]:
        """What of it decides whether stored values are those that it gives."""
        return [self.method, self.every, self.first, self.at_least]

    @property
    def axis(self) -> tuple[str, str]:
        """What tells the steps of one source from those of another."""
        return self.every, self.first
