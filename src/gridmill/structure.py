"""Differences between the structure that a template declares and the one a store has. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["StructureMismatch", "structure_differences", "without_append_length"]


class StructureMismatch(ValueError):  # noqa: N818
    """The template and the store disagree; `differences` names every point."""

    def __init__(self, url: str, differences: list[str]) -> None:
        super().__init__(url, differences)
        self.url = url
        self.differences = differences

    def __str__(self) -> str:
        listed = "; ".join(self.differences)
        return (
            f"the template differs from the store {self.url}: {listed}; nothing was written. "
            "Make the template agree, or build a new store"
        )


def structure_differences(
    declared: Mapping[str, Any], stored: Mapping[str, Any], append_dim: str
) -> list[str]:
    """List where two consolidated root metadata differ, but for the append dim's length.

    Examples
    --------
    >>> a = {"attributes": {"title": "x"}, "consolidated_metadata": {"metadata": {}}}
    >>> b = {"attributes": {"title": "y"}, "consolidated_metadata": {"metadata": {}}}
    >>> structure_differences(a, b, "time")
    ['attribute title is "x" in the template and "y" in the store']
    """
    if not stored.get("consolidated_metadata"):
        return ["the store has no consolidated metadata: it is no archive that gridmill made"]
    differences = list(_unequal("attribute ", declared["attributes"], stored["attributes"]))
    ours, theirs = (root["consolidated_metadata"]["metadata"] for root in (declared, stored))
    for name in sorted({*ours, *theirs}):
        if name not in theirs:
            differences.append(f"{name} is not in the store")
        elif name not in ours:
            differences.append(f"{name} is not in the template")
        else:
            pair = (without_append_length(a[name], append_dim) for a in (ours, theirs))
            differences.extend(_unequal(f"{name}: ", *(_flat(array) for array in pair)))
    return differences


def without_append_length(array: Mapping[str, Any], append_dim: str) -> dict[str, Any]:
    """Give an array's metadata with the append dim's length taken out."""
    names = array.get("dimension_names")
    if names is None:  # not ours: gridmill names the dims of all it writes
        return dict(array)
    shape = [n for dim, n in zip(names, array["shape"], strict=True) if dim != append_dim]
    return {**array, "shape": shape}


def _flat(array: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {f"attribute {k}": v for k, v in array.get("attributes", {}).items()}
    rest = {k: v for k, v in array.items() if k not in ("attributes", "storage_transformers")}
    return {**rest, **attributes}


def _unequal(what: str, declared: Mapping[str, Any], stored: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*declared, *stored}):
        ours, theirs = (json.dumps(side.get(key), sort_keys=True) for side in (declared, stored))
        if ours != theirs:
            yield f"{what}{key} is {ours} in the template and {theirs} in the store"
