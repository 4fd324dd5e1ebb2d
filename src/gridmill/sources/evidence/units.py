"""Units as UDUNITS understands them, by cf-units."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["are_same", "convert", "is_convertible", "is_understood", "length_in_seconds"]

DAY_S = 86400.0
# As providers write them where UDUNITS means another thing, or nothing.
SLOPPY = {"C": "degC", "deg C": "degC", "degree C": "degC", "degrees C": "degC", "Celcius": "degC"}


def are_same(first: str | None, second: str | None) -> bool:
    """Whether two units mean the same; also if one of them is not known or not understood."""
    if first is None or second is None or first == second:
        return True
    ours, theirs = _unit(first), _unit(second)
    return ours is None or theirs is None or ours == theirs


def is_convertible(first: str, second: str) -> bool:
    """Whether values of one unit can be told in another one, both of which are understood."""
    return bool(_unit(first).is_convertible(_unit(second)))


def is_understood(text: str) -> bool:
    """Whether a unit is one that can be converted at all."""
    return _unit(text) is not None


def convert(values: np.ndarray[Any, Any], first: str, second: str) -> np.ndarray[Any, Any]:
    """Return values of one unit in another one, in double precision."""
    converted = _unit(first).convert(np.array(values, "float64"), _unit(second))
    return np.asarray(converted)


def length_in_seconds(unit: str) -> float:
    """Return how long a unit of time is; a day where it is not understood."""
    found = _unit(unit)
    return DAY_S if found is None else float(found.convert(1.0, "seconds"))


@lru_cache(maxsize=256)
def _unit(text: str) -> Any:
    """Return a unit; None if it is not understood, or says nothing."""
    try:
        from cf_units import Unit
    except ImportError:  # without the extra for netCDF
        return None
    text = text.strip()
    try:
        unit = Unit(SLOPPY.get(text, text))
    except ValueError:
        return None
    return None if unit.is_unknown() or unit.is_no_unit() else unit
