"""Which numbers a dtype holds, and what can be packed into it. Pure."""

from __future__ import annotations

import math

__all__ = ["PACKED", "check_fill", "whole_range"]

# What values can be packed into: of more, readers' float64 does not hold every one.
PACKED = ("int8", "uint8", "int16", "uint16", "int32", "uint32")


def whole_range(dtype: str) -> tuple[int, int]:
    """Return the lowest and the highest number that an integer dtype holds.

    Examples
    --------
    >>> whole_range("int16"), whole_range("uint8")
    ((-32768, 32767), (0, 255))
    """
    values = 2 ** int(dtype.removeprefix("u").removeprefix("int"))
    return (0, values - 1) if dtype.startswith("u") else (-values // 2, values // 2 - 1)


def check_fill(
    dtype: str,
    fill: float | int | bool | None,
    packing: tuple[float | None, float | None],
    *,
    fill_is_missing: bool,
) -> None:
    """Raise unless a dtype holds its fill value, and can pack.

    Parameters
    ----------
    dtype, fill
        Of the stored values.
    packing
        ``scale_factor`` and ``add_offset``.
    fill_is_missing
        Whether readers take `fill` for missing.

    Raises
    ------
    ValueError
        It does not, or cannot.
    """
    if packing != (None, None):
        _check_packing(dtype, packing, has_fill=fill is not None and fill_is_missing)
    if fill is None or not dtype.startswith(("int", "uint")):
        return
    low, high = whole_range(dtype)
    if not low <= fill <= high or int(fill) != fill:
        raise ValueError(
            f"fill_value {fill} is not a {dtype}, which takes whole numbers from {low} to {high}"
        )


def _check_packing(
    dtype: str, packing: tuple[float | None, float | None], *, has_fill: bool
) -> None:
    factor, offset = packing
    said = f"scale_factor {factor} and add_offset {offset}"
    if dtype not in PACKED:
        raise ValueError(
            f"{said} pack values into integers, and dtype is {dtype}; give one of "
            f"{', '.join(PACKED)}"
        )
    scale = 1.0 if factor is None else float(factor)
    if not scale or not math.isfinite(scale + (0.0 if offset is None else float(offset))):
        raise ValueError(f"{said} must be finite, and the first not 0")
    if not has_fill:
        raise ValueError(
            f"{said} pack values, of which missing ones need a fill_value: give a number of "
            f"dtype {dtype} that is left for them, like {whole_range(dtype)[0]}"
        )
