"""Brings values into the order and the units of the archive, where a file's are others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridmill.sources.evidence.expected import NotAsPromised, Promise, if_meant
from gridmill.sources.evidence.made import Read, is_as_in_file, is_same, turned
from gridmill.sources.evidence.observed import Evidence
from gridmill.sources.evidence.units import are_same, convert, is_convertible

__all__ = ["converted", "put_in_order"]

Values = np.ndarray[Any, Any]


def put_in_order(
    seen: Sequence[Evidence], read: Sequence[Read], values: Values, promise: Promise
) -> list[str]:
    """Put values into the archive's order, unless the author's code did."""
    orders = next((one.orders for one in read if one.orders), None)
    if orders is None:
        return []
    names = [promise.dims[number] for number in orders]
    is_as_read = is_as_in_file(values, read)
    if is_as_read is None:
        variables = " and ".join(dict.fromkeys(one.variable for one in seen))
        raise NotAsPromised(
            f"its {variables} lies with {' and '.join(names)} in another order than the archive, "
            "and of what read_data made of it the values do not show in which order they are; "
            "return them in the archive's order, whichever the file has, and add "
            f"{', '.join(map(repr, names))} to unchecked"
        )
    if not is_as_read:
        return []
    values[...] = turned(values, orders)
    return [f"read with {' and '.join(names)} in another order, and turned"]


def converted(
    seen: Sequence[Evidence], read: Sequence[Read], values: Values, promise: Promise
) -> list[str]:
    """Put values that are what was read into the archive's units."""
    if "units" in promise.unchecked or all(are_same(one.units, promise.units) for one in seen):
        return []
    same = [e for e, of in zip(seen, read, strict=True) if is_same(values, of.turned)]
    if not same or len({one.units for one in same}) > 1:
        return []  # of what was calculated, the author's code knows the units
    variable, units, wanted = same[0].variable, str(same[0].units), str(promise.units)
    if are_same(same[0].units, promise.units):
        return []
    if not is_convertible(units, wanted):
        raise NotAsPromised(
            f"its {variable} is in {units!r}, and the archive's in {wanted!r}{if_meant('units')}"
        )
    if values.dtype.kind != "f":
        raise NotAsPromised(
            f"its {variable} is in {units!r}, and the archive's in {wanted!r}: whole numbers "
            f"({values.dtype}) are not converted; declare the file's units, or a floating-point "
            "dtype"
        )
    with np.errstate(over="raise"):
        values[...] = convert(values, units, wanted)
    return [f"read with {variable} in {units!r}, converted to {wanted!r}"]
