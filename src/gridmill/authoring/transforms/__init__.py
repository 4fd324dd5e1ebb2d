"""Transforms of decoded values, in place: what turns a provider's numbers into the archive's.

Every function whose name ends in `_inplace` changes the NumPy array that it takes and works in
blocks, so that no temporary is as large as the array. A `_footprint` function says which results
of its transform rest on available sources alone: a merge with published values takes those. None
does I/O; each is safe to call from several threads on arrays that do not overlap.

The names that authors use are found here and imported at their first use.

See Also
--------
gridmill.authoring.region_job : calls these from `transform_values_inplace`
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridmill.authoring.transforms.deaccumulation import (
        DeaccumulationCounts,
        deaccumulate_inplace,
        deaccumulation_footprint,
    )
    from gridmill.authoring.transforms.interpolation import (
        interpolate_single_gaps_inplace,
        interpolation_footprint,
    )
    from gridmill.authoring.transforms.rounding import round_mantissa_inplace
    from gridmill.authoring.transforms.scaling import scale_inplace

__all__ = [
    "DeaccumulationCounts",
    "deaccumulate_inplace",
    "deaccumulation_footprint",
    "interpolate_single_gaps_inplace",
    "interpolation_footprint",
    "round_mantissa_inplace",
    "scale_inplace",
]

_MODULES = {
    "DeaccumulationCounts": "deaccumulation",
    "deaccumulate_inplace": "deaccumulation",
    "deaccumulation_footprint": "deaccumulation",
    "interpolate_single_gaps_inplace": "interpolation",
    "interpolation_footprint": "interpolation",
    "round_mantissa_inplace": "rounding",
    "scale_inplace": "scaling",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
