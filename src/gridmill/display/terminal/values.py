"""Plain values that strict JSON can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Content", "masked", "plain"]

Content = dict[str, Any]


def masked(url: str) -> str:
    """Return a URL without the credentials in it."""
    from gridmill.sources.fetch.download import mask_url

    return mask_url(url)


def plain(value: Any) -> Any:
    """Return a value that strict JSON can hold; NaN and infinities by their Zarr names.

    Examples
    --------
    >>> plain({"fill_value": float("nan"), "levels": (1, 2)})
    {'fill_value': 'NaN', 'levels': [1, 2]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value if isinstance(value, str | int | float | bool | None) else str(value)
