"""Changes of units."""

from __future__ import annotations

import numpy as np

from gridmill.authoring.transforms.blocks import FloatArray, contiguous_blocks, require_floats
from gridmill.model.epochs import SCALING, stage

__all__ = ["scale_inplace"]


@stage(SCALING)
def scale_inplace(values: FloatArray, *, factor: float = 1.0, offset: float = 0.0) -> None:
    """Replace each value by ``value * factor + offset``, as for a change of units.

    Parameters
    ----------
    values
        Any dims, any floating dtype, which also is the precision of the arithmetic. Changed in
        place; may be a view with any strides or byte order. NaN stays NaN.
    factor
        New units per old unit. The default leaves the scale as it is.
    offset
        In new units. The default adds nothing.

    Raises
    ------
    TypeError
        `values` is not of a floating dtype.
    ValueError
        `factor` or `offset` is not finite, or `factor` is 0, which would erase the data.

    Examples
    --------
    >>> temperature = np.array([25.0, np.nan], dtype="float32")
    >>> scale_inplace(temperature, offset=273.15)  # °C to K
    >>> temperature
    array([298.15,    nan], dtype=float32)
    """
    require_floats(values)
    factor, offset = float(factor), float(offset)
    if not (np.isfinite([factor, offset]).all() and factor):
        raise ValueError(
            f"factor is {factor} and offset is {offset}, but both must be finite and factor not 0; "
            "declare the values of the change of units"
        )
    for block in contiguous_blocks(values):
        if factor != 1.0:
            np.multiply(block, factor, out=block)
        if offset != 0.0:
            np.add(block, offset, out=block)
