"""Gates: what a variable's fields must be like to be published without a person's word. Pure.

A field that is beyond a gate may be right, and mostly is not: it is neither published nor lost,
but held until somebody decides, see `gridmill.operations.decisions.held`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from gridmill.model.fields.summary import FieldSummary, Values

__all__ = [
    "Gate",
    "MostJump",
    "MostMissing",
    "NotARepeat",
    "NotConstant",
    "ValidRange",
    "check_gates",
    "why_held",
]


class Gate(ABC):
    """What every field of a variable must fulfil; subclass it as a frozen dataclass.

    A field is what is stored of the variable at one position of the append dim, after the author's
    transformations.
    """

    name: ClassVar[str]
    # Whether it looks at the position before: that is then read where no source file gives it.
    compares: ClassVar[bool] = False

    @abstractmethod
    def why(self, seen: FieldSummary) -> str:
        """Say why a field is held; empty if it is not."""

    def check(self, field: Values, before: Values | None = None) -> str:
        """Say why a field is held; empty if it is not.

        Parameters
        ----------
        field
            One position's values; NaN is missing.
        before
            Those of the position before, NaN where nothing is known; None if nothing is.
        """
        from gridmill.model.fields.summary import FieldSummary  # numpy: not for who declares

        return self.why(FieldSummary.of(field, before))


@dataclass(frozen=True)
class ValidRange(Gate):
    """No value is lower than `low` or higher than `high`, in the units that are stored.

    Where values are rounded (`DataVar.keep_mantissa_bits`), one at a bound may be carried across.

    Examples
    --------
    >>> import numpy as np
    >>> ValidRange(0, 100).check(np.array([7.0, 101.0]))
    '7 to 101 is not within 0 to 100'
    """

    low: float = -inf
    high: float = inf
    name: ClassVar[str] = "valid range"

    def __post_init__(self) -> None:
        """Refuse a range without values."""
        if not self.low <= self.high:
            raise ValueError(f"ValidRange({self.low}, {self.high}) holds no value: low comes first")

    def why(self, seen: FieldSummary) -> str:
        """Say so if the extremes are beyond the range."""
        is_inside = seen.low >= self.low and seen.high <= self.high
        if is_inside or seen.missing == seen.size:
            return ""
        return f"{seen.low:g} to {seen.high:g} is not within {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class MostMissing(Gate):
    """At most this share of the values is missing, from 0 to less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> MostMissing(0.25).check(np.array([1.0, np.nan]))
    '50 % of the values are missing, more than 25 %'
    """

    share: float
    name: ClassVar[str] = "missing values"

    def __post_init__(self) -> None:
        """Refuse what is no share, and one that holds nothing."""
        if not 0 <= self.share < 1:
            raise ValueError(f"MostMissing({self.share}): give a share from 0 to less than 1")

    def why(self, seen: FieldSummary) -> str:
        """Say so if more is missing."""
        if seen.missing <= self.share * seen.size:
            return ""
        missing = 100 * seen.missing / seen.size
        return f"{missing:.3g} % of the values are missing, more than {100 * self.share:.3g} %"


@dataclass(frozen=True)
class NotConstant(Gate):
    """The values that are there are not all the same number.

    Not for what may be so by nature, as rain on a small grid. A single value is no constant field.

    Examples
    --------
    >>> import numpy as np
    >>> NotConstant().check(np.array([3.0, 3.0, np.nan]))
    'all values are 3'
    """

    name: ClassVar[str] = "constant field"

    def why(self, seen: FieldSummary) -> str:
        """Say so if they are."""
        is_one = seen.low == seen.high and seen.size - seen.missing > 1
        return f"all values are {seen.low:g}" if is_one else ""


@dataclass(frozen=True)
class NotARepeat(Gate):
    """The field is not that of the position before, bit for bit, also in what is missing.

    Examples
    --------
    >>> import numpy as np
    >>> NotARepeat().check(np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    'the values are those of the position before'
    """

    name: ClassVar[str] = "repeated field"
    compares: ClassVar[bool] = True

    def why(self, seen: FieldSummary) -> str:
        """Say so if it is."""
        is_same = seen.compared > 0 and seen.differing == 0
        return "the values are those of the position before" if is_same else ""


@dataclass(frozen=True)
class MostJump(Gate):
    """On average, values differ from those of the position before by at most `change`.

    The mean is that of the absolute differences, in the units that are stored, where both
    positions have a value. After a spike the position behind it is held, too.

    Examples
    --------
    >>> import numpy as np
    >>> MostJump(5).check(np.array([280.0, 290.0]), np.array([7.0, 17.0]))
    'values differ by 273 on average from those of the position before, more than 5'
    """

    change: float
    name: ClassVar[str] = "jump"
    compares: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Refuse what is no bound."""
        if not (self.change >= 0 and isfinite(self.change)):
            raise ValueError(f"MostJump({self.change}): give a finite number, at least 0")

    def why(self, seen: FieldSummary) -> str:
        """Say so if they differ by more."""
        change = seen.change / seen.compared if seen.compared else 0.0
        if change <= self.change:
            return ""
        than = f"those of the position before, more than {self.change:g}"
        return f"values differ by {change:g} on average from {than}"


def why_held(gates: tuple[Gate, ...], seen: FieldSummary) -> str:
    """Name the first gate that holds a field, and say why; empty if none does."""
    found = ((gate, gate.why(seen)) for gate in gates)
    return next((f"{gate.name}: {why}" for gate, why in found if why), "")


def check_gates(variable: str, gates: tuple[Any, ...]) -> None:
    """Refuse what is no gate.

    Raises
    ------
    ValueError
        Something else is declared.
    """
    wrong = [gate for gate in gates if not isinstance(gate, Gate)]
    if wrong:
        raise ValueError(
            f"gates of variable {variable!r} has {wrong[0]!r}, which is no gate: give instances, "
            "as ValidRange(0, 100) or NotConstant()"
        )
