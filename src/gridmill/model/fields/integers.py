"""What integer dtypes hold. Pure."""

from __future__ import annotations

__all__ = ["whole_range"]


def whole_range(dtype: str) -> tuple[int, int]:
    """Return the lowest and the highest number that an integer dtype holds.

    Examples
    --------
    >>> whole_range("int16"), whole_range("uint8")
    ((-32768, 32767), (0, 255))
    """
    values = 2 ** int(dtype.removeprefix("u").removeprefix("int"))
    return (0, values - 1) if dtype.startswith("u") else (-values // 2, values // 2 - 1)
