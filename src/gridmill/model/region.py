"""Regions of the append dim, aligned to the shards of every variable. Pure."""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

__all__ = ["Region", "as_slice", "position_key", "region_length", "regions_of"]

# A region is rewritten as a whole; beyond this an update of one position would rewrite too much.
MAX_REGION_IN_SHARDS = 4


class Labels(Protocol):
    """The labels of a dim by position: a pandas index, or a list."""

    def __getitem__(self, position: int, /) -> Any: ...


@dataclass(frozen=True, slots=True, order=True, repr=False)
class Region:
    """The positions along the append dim that one region job writes.

    A value: it cannot be changed, and can be hashed, pickled and sorted.

    Parameters
    ----------
    start, stop
        First position, and the one after the last; half-open.

    Attributes
    ----------
    STATIC
        The region of the static variables, which have no append dim, and so no positions: the
        only one with `start` equal to `stop`, both 0. It sorts first.

    Raises
    ------
    TypeError
        A position is not an integer.
    ValueError
        `start` is negative, or not before `stop`.

    See Also
    --------
    regions_of : All regions of an archive.

    Examples
    --------
    >>> region = Region(96, 192)
    >>> region
    Region(96, 192)
    >>> print(region, len(region), region.key)
    96:192 96 0000000096

    Arrays are indexed with its slice:

    >>> list(range(200))[region.slice] == list(range(96, 192))
    True

    The static variables have a region as well:

    >>> Region(0, 0) == Region.STATIC, Region.STATIC.is_static
    (True, True)
    >>> print(Region.STATIC, len(Region.STATIC), Region.STATIC.key)
    static 0 static

    No other is empty:

    >>> Region(96, 96)
    Traceback (most recent call last):
    ...
    ValueError: 96:96 is no region: give 0 <= start < stop; only the region of the static \
variables, Region.STATIC, has no positions
    """

    start: int
    stop: int

    STATIC: ClassVar[Region]

    def __post_init__(self) -> None:
        """Take any integers, and keep them as Python's: records are JSON."""
        object.__setattr__(self, "start", operator.index(self.start))
        object.__setattr__(self, "stop", operator.index(self.stop))
        if not 0 <= self.start < self.stop and (self.start, self.stop) != (0, 0):
            raise ValueError(
                f"{self.start}:{self.stop} is no region: give 0 <= start < stop; only the region "
                "of the static variables, Region.STATIC, has no positions"
            )

    @classmethod
    def of(cls, positions: Region | builtins.slice) -> Region:
        """Return a region, made from a slice if it is one.

        Raises
        ------
        TypeError
            The slice has a step, or lacks an end.

        Examples
        --------
        >>> Region.of(slice(24, 48)), Region.of(Region(24, 48)), Region.of(slice(0, 0))
        (Region(24, 48), Region(24, 48), Region.STATIC)
        """
        if isinstance(positions, Region):
            return positions
        if not isinstance(positions, slice) or positions.step not in (None, 1):
            raise TypeError(f"{positions!r} is no region: give Region(start, stop)")
        if positions.start is None or positions.stop is None:
            raise TypeError(f"{positions!r} has an open end: give Region(start, stop)")
        return cls(positions.start, positions.stop)

    # -- names --------------------------------------------------------------------------------

    @property
    def is_static(self) -> bool:
        """Whether it is that of the static variables."""
        return self.stop == self.start

    @property
    def key(self) -> str:
        """Its name in the keys of records: by its first position, which never changes."""
        return "static" if self.is_static else position_key(self.start)

    @property
    def name(self) -> str:
        """Its name where stores keep uploads: as `key`, without padding.

        Examples
        --------
        >>> Region(96, 192).name, Region.STATIC.name
        ('96', 'static')
        """
        return "static" if self.is_static else str(self.start)

    def label(self, index: Labels) -> str:
        """Return its name for people: its first label in the index of the append dim.

        Examples
        --------
        >>> Region(1, 3).label(["2020", "2021", "2022"]), Region.STATIC.label([])
        ('2021', 'static')
        """
        return "static" if self.is_static else str(index[self.start])

    def __str__(self) -> str:
        return "static" if self.is_static else f"{self.start}:{self.stop}"

    def __repr__(self) -> str:
        return "Region.STATIC" if self.is_static else f"Region({self.start}, {self.stop})"

    # -- positions ----------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.stop - self.start

    def __bool__(self) -> bool:
        """Every region is one, also that of the static variables."""
        return True

    @property
    def slice(self) -> builtins.slice:
        """Its positions, to index an array or a dataset along the append dim."""
        return slice(self.start, self.stop)

    def overlaps(self, start: int, stop: int) -> bool:
        """Whether it and the half-open interval [start, stop) share a position.

        Examples
        --------
        >>> Region(24, 48).overlaps(0, 24), Region(24, 48).overlaps(47, 60)
        (False, True)
        """
        return max(self.start, start) < min(self.stop, stop)

    def place_in(self, processing_region: builtins.slice) -> builtins.slice:
        """Return where it lies in an array over a processing region, which has a margin.

        Examples
        --------
        >>> Region(96, 192).place_in(slice(95, 194))
        slice(1, 97, None)
        """
        margin = self.start - processing_region.start
        return slice(margin, margin + len(self))

    def filled_by(
        self, place: int | builtins.slice | None, processing_region: builtins.slice
    ) -> builtins.slice:
        """Return the positions that a source file fills, relative to the region's start.

        Parameters
        ----------
        place
            Where the file lies along the append dim, relative to the processing region; None
            where it names no label of that dim.
        processing_region
            The region with its margin.

        Returns
        -------
        slice
            It starts before 0, or stops after the region's end, for a file that also fills the
            margin; see `clip`.

        Examples
        --------
        >>> Region(96, 192).filled_by(0, slice(95, 192))
        slice(-1, 0, None)
        >>> Region(96, 192).filled_by(slice(0, 25), slice(95, 192))
        slice(-1, 24, None)
        """
        at = as_slice(slice(0, self.stop) if place is None else place)
        margin = self.place_in(processing_region).start
        return slice(at.start - margin, at.stop - margin)

    def clip(self, start: int, stop: int) -> builtins.slice:
        """Return what is inside of positions that are relative to the region's start.

        Indexes an array over the region; empty if nothing is.

        Examples
        --------
        >>> Region(96, 192).clip(-1, 24), Region(96, 192).clip(-3, -1)
        (slice(0, 24, None), slice(0, 0, None))
        """
        first, last = (min(max(position, 0), len(self)) for position in (start, stop))
        return slice(first, last)

    def check_aligned(self, object_length: int, append_length: int) -> None:
        """Raise unless it covers whole stored objects of an array.

        Parameters
        ----------
        object_length
            Length of the array's stored objects along the append dim.
        append_length
            Length of the array.

        Raises
        ------
        ValueError
            It starts inside an object, or stops inside one that the array goes on in. Two
            region jobs would then write one object and the later one would undo the other.
        """
        starts_inside = self.start % object_length
        stops_inside = self.stop % object_length and self.stop != append_length
        if starts_inside or stops_inside:
            raise ValueError(
                f"region {self.start}:{self.stop} splits a stored object of length "
                f"{object_length} (the array is {append_length} long): two jobs would write the "
                "same object and one would undo the other; align regions to the objects, or "
                "choose a shard length that divides the region's"
            )


Region.STATIC = Region(0, 0)


def as_slice(position: int | slice) -> slice:
    """Return a position, or several, as a slice.

    Examples
    --------
    >>> as_slice(3), as_slice(slice(3, 6))
    (slice(3, 4, None), slice(3, 6, None))
    """
    return position if isinstance(position, slice) else slice(position, position + 1)


def position_key(start: int) -> str:
    """Return the name of a position in keys: of one length, so that they sort as positions do.

    Examples
    --------
    >>> position_key(96)
    '0000000096'
    """
    return f"{start:010d}"


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


def regions_of(append_length: int, length: int) -> Iterator[Region]:
    """Yield the regions that cover `append_length` positions, in order, the last may be shorter.

    Examples
    --------
    >>> list(regions_of(5, 2))
    [Region(0, 2), Region(2, 4), Region(4, 5)]
    """
    for start in range(0, append_length, length):
        yield Region(start, min(start + length, append_length))
