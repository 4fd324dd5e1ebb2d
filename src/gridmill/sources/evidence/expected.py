"""What a source file should say of itself: the place in the archive that it is to fill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.sources.evidence.dates import as_numbers

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "ExpectedAxis",
    "NotAsPromised",
    "Promise",
    "expected_axes",
    "expected_times",
    "if_meant",
]

# Of a grid: more are too much to send to each worker.
MOST_POINTS = 4_000_000
LEAD_UNITS = "seconds"
Labels = np.ndarray[Any, Any]


class NotAsPromised(ValueError):  # noqa: N818
    """A source file holds another grid, time or quantity than its place needs."""


@dataclass(frozen=True, kw_only=True)
class ExpectedAxis:
    """Labels of a dim in the archive.

    Parameters
    ----------
    labels
        Of one dimension; of none where the file fills one position. Numbers, ``datetime64``, or
        cftime objects.
    units, standard_name
        As the template declares them.
    dims
        Of a coordinate of two dims, which says where a grid's points are; else empty.
    starts, ends
        Of an append dim: what each label stands for, the end not included. The time that a file
        names may be any in it.
    is_bounded
        Whether these are the template's own bounds.
    whose
        Labels these are, for what is wrong.
    """

    labels: Labels
    units: str | None = None
    standard_name: str | None = None
    dims: tuple[str, ...] = ()
    starts: Labels | None = None
    ends: Labels | None = None
    is_bounded: bool = False
    whose: str = "the archive's"

    def at(self, place: int | slice | tuple[int | slice, ...]) -> ExpectedAxis:
        """Return the labels of a place, as many as `dims` where it has those."""
        starts = None if self.starts is None else np.asarray(self.starts[place])
        ends = None if self.ends is None else np.asarray(self.ends[place])
        return ExpectedAxis(
            labels=np.asarray(self.labels[place]),
            units=self.units,
            standard_name=self.standard_name,
            dims=self.dims,
            starts=starts,
            ends=ends,
            is_bounded=self.is_bounded,
            whose=self.whose,
        )

    def numbers(self, units: str | None, calendar: str | None) -> tuple[Labels, Labels, Labels]:
        """Return labels, starts and ends of an append dim as numbers in a file's units.

        Raises
        ------
        ValueError
            See `as_numbers`.
        """
        if (units, calendar) not in self._numbers:
            told = (self.labels, self.starts, self.ends)
            found = (as_numbers(np.ravel(np.asarray(of)), units, calendar) for of in told)
            self._numbers[units, calendar] = (next(found), next(found), next(found))
        return self._numbers[units, calendar]

    @cached_property
    def _numbers(self) -> dict[tuple[str | None, str | None], tuple[Labels, Labels, Labels]]:
        return {}  # for each of many hours of a file they would be the same

    @property
    def is_number(self) -> bool:
        """Whether the labels are numbers."""
        return self.labels.dtype.kind in "iuf"

    @property
    def is_longitude(self) -> bool:
        """Whether 360 is a whole turn."""
        east = ("degrees_east", "degree_east", "degreeE", "degreesE")
        return self.standard_name == "longitude" or self.units in east


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What one source file should hold of a variable.

    Parameters
    ----------
    axes
        By dim of the variable, in its order.
    append_dim
        The archive's dim of time.
    units
        Of the variable, as the template declares them.
    unchecked
        Dims, coordinates of two dims, and ``"units"``, in which the file may differ.
    fields
        By name, the template's coordinates of two of these dims.
    """

    axes: Mapping[str, ExpectedAxis]
    append_dim: str
    units: str | None = None
    unchecked: frozenset[str] = field(default_factory=frozenset)
    fields: Mapping[str, ExpectedAxis] = field(default_factory=dict)

    @property
    def time(self) -> ExpectedAxis | None:
        """The labels of the append dim; None if the variable has none, or they may differ."""
        return None if self.append_dim in self.unchecked else self.axes.get(self.append_dim)

    @property
    def dims(self) -> tuple[str, ...]:
        """The dims of which the file fills more than one position given by name."""
        return tuple(dim for dim, axis in self.axes.items() if axis.labels.ndim)


def expected_axes(ds: xr.Dataset, append_dim: str) -> dict[str, ExpectedAxis]:
    """Return the labels of a template's dims, and its coordinates of two; no append dim."""
    axes = {
        str(dim): _axis(ds, str(dim), ds.get_index(dim).to_numpy())
        for dim in ds.dims
        if dim != append_dim and dim in ds.coords
    }
    fields = {
        str(name): replace(
            _axis(ds, str(name), coord.to_numpy().astype("float32")),
            dims=tuple(map(str, coord.dims)),
        )
        for name, coord in ds.coords.items()
        if coord.ndim == 2 and append_dim not in coord.dims and coord.dtype.kind == "f"
        if coord.size <= MOST_POINTS
    }
    return axes | fields


def expected_times(
    ds: xr.Dataset, append_dim: str, positions: slice, frequency: str | None
) -> ExpectedAxis:
    """Return the labels of a part of a template's append dim, with what each stands for.

    That is what the template's own bounds say, or else until the next label; of labels without a
    frequency nothing but themselves.
    """
    index = ds.get_index(append_dim)
    labels = index[positions].to_numpy()
    bounds = ds[append_dim].attrs.get("bounds")
    if bounds in ds.coords:
        starts, ends = ds[bounds].values[positions].T
        return replace(_axis(ds, append_dim, labels, starts, ends), is_bounded=True)
    following = index[positions.start + 1 : positions.stop + 1].to_numpy()
    if frequency is None:
        following = labels
    elif len(following) < len(labels):
        following = np.append(following, _next(index[-1], frequency))
    return _axis(ds, append_dim, labels, labels, following)


def if_meant(name: str) -> str:
    """Return the next step where a file is right and the template speaks of something else."""
    return f"; add {name!r} to unchecked if that is meant"


def _axis(
    ds: xr.Dataset,
    dim: str,
    labels: Labels,
    starts: Labels | None = None,
    ends: Labels | None = None,
) -> ExpectedAxis:
    attributes = ds[dim].attrs
    is_lead = labels.dtype.kind == "m"
    return ExpectedAxis(
        labels=labels / np.timedelta64(1, "s") if is_lead else labels,
        units=LEAD_UNITS if is_lead else attributes.get("units"),
        standard_name=attributes.get("standard_name"),
        starts=starts,
        ends=ends,
    )


def _next(label: Any, frequency: str) -> Labels:
    import xarray as xr

    calendar = getattr(label, "calendar", None)
    labels = xr.date_range(
        label,
        periods=2,
        freq=frequency,
        calendar=calendar or "proleptic_gregorian",
        use_cftime=calendar is not None,
    )
    return np.asarray(labels)[1:]
