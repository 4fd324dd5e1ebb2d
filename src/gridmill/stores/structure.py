"""Differences between the structure that a template declares and the one a store has. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CURRENT",
    "STATISTICS",
    "Difference",
    "StructureMismatch",
    "compare_structures",
    "decoding",
    "keeps_acdd",
    "structure_differences",
    "without_append_length",
]


class StructureMismatch(ValueError):  # noqa: N818
    """The template contradicts the store; `differences` names every point.

    A default that changed since the archive was made does not: see
    `gridmill.authoring.over_time.as_made`.
    """

    def __init__(self, url: str, differences: list[str]) -> None:
        super().__init__(url, differences)
        self.url = url
        self.differences = differences

    def __str__(self) -> str:
        listed = "; ".join(self.differences)
        return (
            f"the template contradicts the store {self.url}: {listed}; nothing was written. "
            "Make the template agree, or build a new store; gridmill migrate-metadata applies what "
            "only describes, and gridmill grow adds labels to a dim that the provider adds some to"
        )


# What decodes an array, though it is an attribute (CF conventions, sections 2.5.1, 4.4 and 8.1).
DECODING_ATTRIBUTES = {
    "_FillValue",
    "_Unsigned",
    "add_offset",
    "calendar",
    "dtype",
    "missing_value",
    "scale_factor",
}
# What says how far readers see, of an archive that keeps ACDD: no template has it, and each
# publication writes it with the root metadata. What an author declares of it is as declared.
CURRENT = ("time_coverage_start", "time_coverage_end", "time_coverage_duration")
# What variables say of their values, once an operator published it: no template has it either, and
# publications keep it as it is.
STATISTICS = (
    "statistics_count",
    "statistics_mean",
    "statistics_standard_deviation",
    "statistics_minimum",
    "statistics_maximum",
    "statistics_end",
)


@dataclass(frozen=True)
class Difference:
    """One point in which a template and a store disagree.

    Parameters
    ----------
    array
        Name of the array; None for the group.
    key
        What of it differs; empty if one side lacks the array.
    declared, stored
        The template's value and the store's; None where it has none.
    is_attribute
        Whether it is an attribute.
    """

    array: str | None
    key: str
    declared: Any
    stored: Any
    is_attribute: bool = False

    def __str__(self) -> str:
        if not self.key:
            return f"{self.array} is not in the {'store' if self.stored is None else 'template'}"
        ours, theirs = (
            json.dumps(side, sort_keys=True, ensure_ascii=False)
            for side in (self.declared, self.stored)
        )
        where = "" if self.array is None else f"{self.array}: "
        what = f"attribute {self.key}" if self.is_attribute else self.key
        return f"{where}{what} is {ours} in the template and {theirs} in the store"

    @property
    def is_description(self) -> bool:
        """Whether it only describes: neither stored bytes nor what they decode to depend on it."""
        if not self.is_attribute or self.key in DECODING_ATTRIBUTES:
            return False
        if self.array is None:
            return self.key != "dataset_id"
        # Units of a time decode it; other units describe.
        times = self.key == "units" and " since " in f"{self.declared} {self.stored}"
        return not times


def structure_differences(
    declared: Mapping[str, Any], stored: Mapping[str, Any], append_dim: str
) -> list[str]:
    """Say where two consolidated root metadata differ, but for the append dim's length.

    Examples
    --------
    >>> a = {"attributes": {"title": "x"}, "consolidated_metadata": {"metadata": {}}}
    >>> b = {"attributes": {"title": "y"}, "consolidated_metadata": {"metadata": {}}}
    >>> structure_differences(a, b, "time")
    ['attribute title is "x" in the template and "y" in the store']
    """
    if not stored.get("consolidated_metadata"):
        return ["the store has no consolidated metadata: it is no archive that gridmill made"]
    return [str(difference) for difference in compare_structures(declared, stored, append_dim)]


def compare_structures(
    declared: Mapping[str, Any], stored: Mapping[str, Any], append_dim: str
) -> list[Difference]:
    """List where two consolidated root metadata differ, but for how far readers see."""
    said = declared["attributes"]
    told = _without_current(stored["attributes"], said)
    differences = list(_unequal(None, said, told, is_attribute=True))
    ours, theirs = (root["consolidated_metadata"]["metadata"] for root in (declared, stored))
    for name in sorted({*ours, *theirs}):
        if name not in theirs or name not in ours:
            differences.append(Difference(name, "", ours.get(name), theirs.get(name)))
            continue
        a, b = (without_append_length(side[name], append_dim) for side in (ours, theirs))
        differences.extend(_unequal(name, _without_attributes(a), _without_attributes(b)))
        described, known = (_declarable(side.get("attributes", {})) for side in (a, b))
        differences.extend(_unequal(name, described, known, is_attribute=True))
    return differences


def keeps_acdd(attributes: Mapping[str, Any]) -> bool:
    """Whether global attributes say that they keep ACDD 1.3, whatever else they keep.

    Examples
    --------
    >>> keeps_acdd({"Conventions": "CF-1.11, ACDD-1.3"}), keeps_acdd({"Conventions": "CF-1.11"})
    (True, False)
    """
    return "ACDD-1.3" in str(attributes.get("Conventions", ""))


def decoding(array: Mapping[str, Any]) -> dict[str, Any]:
    """Return an array's metadata without the attributes that only describe it."""
    attributes = array.get("attributes", {})
    kept = {key: value for key, value in attributes.items() if key in DECODING_ATTRIBUTES}
    return {**array, "attributes": kept}


def without_append_length(array: Mapping[str, Any], append_dim: str) -> dict[str, Any]:
    """Return an array's metadata with the append dim's length taken out."""
    names = array.get("dimension_names")
    if names is None:  # not ours: gridmill names the dims of all it writes
        return dict(array)
    shape = [n for dim, n in zip(names, array["shape"], strict=True) if dim != append_dim]
    return {**array, "shape": shape}


def _without_current(stored: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of a store's global attributes what only says how far readers see."""
    if not keeps_acdd(declared):
        return dict(stored)
    return {k: v for k, v in stored.items() if k not in CURRENT or k in declared}


def _declarable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if key not in STATISTICS}


def _without_attributes(array: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in array.items() if k not in ("attributes", "storage_transformers")}


def _unequal(
    array: str | None,
    declared: Mapping[str, Any],
    stored: Mapping[str, Any],
    *,
    is_attribute: bool = False,
) -> Iterator[Difference]:
    for key in sorted({*declared, *stored}):
        ours, theirs = declared.get(key), stored.get(key)
        if json.dumps(ours, sort_keys=True) != json.dumps(theirs, sort_keys=True):
            yield Difference(array, key, ours, theirs, is_attribute)
