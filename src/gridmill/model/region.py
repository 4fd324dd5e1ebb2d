"""Slices of the append dim that are aligned to the shards of every variable. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

__all__ = ["check_region_aligned", "region_key", "region_length", "regions_of", "touches"]

# A region is rewritten as a whole; beyond this an update of one position would rewrite too much.
MAX_REGION_IN_SHARDS = 4


def region_length(object_lengths: Mapping[str, int]) -> int:
    """Length of a region: the least common multiple of the stored objects' lengths.

    Parameters
    ----------
    object_lengths
        Length along the append dim of each variable's stored objects (shards, or chunks where
        there are no shards), by variable.

    Raises
    ------
    ValueError
        There is no variable, or the result exceeds four times the longest object.

    Examples
    --------
    >>> region_length({"t2m": 24, "tp": 48})
    48
    >>> region_length({"t2m": 7, "tp": 30})
    Traceback (most recent call last):
    ...
    ValueError: object lengths along the append dim do not fit together: t2m 7, tp 30 give \
regions of 210, over 4 times the longest; choose lengths that divide each other
    """
    if not object_lengths:
        raise ValueError("no variable has the append dim: there is nothing to divide into regions")
    length = math.lcm(*object_lengths.values())
    if length > MAX_REGION_IN_SHARDS * max(object_lengths.values()):
        listed = ", ".join(f"{name} {n}" for name, n in sorted(object_lengths.items()))
        raise ValueError(
            f"object lengths along the append dim do not fit together: {listed} give regions of "
            f"{length}, over {MAX_REGION_IN_SHARDS} times the longest; choose lengths that "
            "divide each other"
        )
    return length


def regions_of(append_length: int, length: int) -> Iterator[slice]:
    """Yield the regions that cover `append_length` positions, in order, the last may be shorter.

    Examples
    --------
    >>> list(regions_of(5, 2))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    for start in range(0, append_length, length):
        yield slice(start, min(start + length, append_length))


def touches(region: slice, start: int, stop: int) -> bool:
    """Whether `region` and the half-open interval [start, stop) share a position.

    Examples
    --------
    >>> touches(slice(24, 48), 0, 24), touches(slice(24, 48), 47, 60)
    (False, True)
    """
    return bool(max(region.start, start) < min(region.stop, stop))


def check_region_aligned(region: slice, object_length: int, append_length: int) -> None:
    """Raise unless `region` covers whole stored objects of an array.

    Raises
    ------
    ValueError
        The region starts inside an object, or stops inside one that the array goes on in. Two
        region jobs would then write one object and the later one would undo the other.
    """
    starts_inside = region.start % object_length
    stops_inside = region.stop % object_length and region.stop != append_length
    if starts_inside or stops_inside:
        raise ValueError(
            f"region {region.start}:{region.stop} splits a stored object of length "
            f"{object_length} (the array is {append_length} long): two jobs would write the "
            "same object and one would undo the other; align regions to the objects, or choose "
            "a shard length that divides the region's"
        )


def region_key(region: slice) -> str:
    """Name of a region in keys and records: its first position, which never changes.

    Examples
    --------
    >>> region_key(slice(96, 192))
    '0000000096'
    """
    return f"{region.start:010d}"
