"""The declared structure of a dataset, as a lazy xarray Dataset."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any, Self, cast

import pandas as pd
import xarray as xr

from gridmill.authoring.axis import Axis, check_settling, labels_before
from gridmill.authoring.derived.checks import check_bounds, check_made
from gridmill.authoring.describing.acdd import (
    derived_attributes,
    described_coords,
    described_variables,
)
from gridmill.authoring.describing.finality import Finality, check_shares, shares_of
from gridmill.authoring.encoding.survival import check_coordinates, check_order
from gridmill.authoring.encoding.text import with_text
from gridmill.authoring.labels import fixed_step, just_after, parse_label
from gridmill.authoring.lazy import lazy_variable, zeros
from gridmill.authoring.regridding.checks import check_regridded, check_target, onto_grid
from gridmill.authoring.regridding.describing import described
from gridmill.model.region import region_length
from gridmill.model.variables import Completeness, Coordinate, DataVar
from gridmill.sources.listings.listings import Listings

__all__ = ["TemplateConfig", "cut_template"]

# Long enough that the append coordinate's first chunk mostly outlasts the archive: readers then get
# it with one request (see Coordinate).
CAPACITY_YEARS = 60
CAPACITY_IRREGULAR = 2**20


class TemplateConfig:
    """Declares the structure of a dataset; subclass it.

    Attributes
    ----------
    dims : tuple of str
        Dims of a data variable that names none itself, append dim first.
    append_dim : str
        The dimension along which the archive grows.
    append_dim_start : str
        Its first label, ISO 8601.
    append_dim_frequency : str or None
        Its step, a pandas offset alias (``"h"``, ``"6h"``, ``"MS"``); None where
        `append_dim_coordinates` is overridden.
    settling_window : str, timedelta or None
        For an irregular append dim: how long after a label others may still come before it. Labels
        join the axis once they are that old, and those that readers see stay as they are, whatever
        `append_dim_coordinates` returns by then. None means that late labels never come.
    calendar : str
        CF calendar of the append dim; other than the standard ones, labels are cftime objects.
    dataset_attributes : mapping
        Global attributes; `dataset_id` and `title` are required. Those that say in ``Conventions``
        that they keep ``ACDD-1.3`` get what follows from the declaration, see
        `gridmill.authoring.describing.acdd`.
    coords : sequence of Coordinate
        Every dimension's index and the auxiliary coordinates; with a `Completeness`, readers see
        how much of each position arrived.
    data_vars : sequence of DataVar
        The data variables. One without the append dim is static: written once, when the store
        is made.
    former_vars : sequence of DataVar
        Variables that archives made earlier may have and new ones do not get, each with
        `DataVar.superseded`: an archive that has one continues with it.
    append_dim_capacity : int or None
        How many positions one object of the append coordinate holds, and of the coordinates along
        it; None means 60 years. An archive that outgrows it gets a second one, and so on.
    kept_vars : sequence of DataVar
        Variables that an archive has and the code declares no longer: they stay as they are. Not an
        author's to give.
    left_out_vars : frozenset of str
        Variables that an archive is declared to be without. Not an author's to give.
    left_out : frozenset of str
        Coordinates that are left out though they are given: those that an archive does not have.
    remarks : tuple of str
        How an archive differs from what the code declares, and why it would not be made today, a
        line each; see `gridmill.authoring.over_time.as_made`.
    idle_dims : frozenset of str
        Dims that only variables have which an archive is declared to be without: a new one has no
        coordinate along them; see `gridmill.authoring.over_time.as_made`.
    held : mapping
        How many labels an archive has of dims of which the code declares more: what looks at it has
        the first of them. Not an author's to give; see `gridmill.authoring.over_time.held`.
    derived : mapping or None
        The global attributes that were derived when an archive was made; None derives them. Not an
        author's to give.
    axis : Axis or None
        What is known of an archive's append dim. Not an author's to give.
    listings : Listings
        The provider's folders, for `append_dim_coordinates`. They are empty, and nobody is asked,
        where only the structure is wanted.
    declared_version : int or None
        `RegionJob.version` of the dataset, which an archive that keeps ACDD says as its
        ``product_version``. Not an author's.
    verified : str or None
        `DynamicalDataset.verified` of the dataset. Not an author's.
    refuses_lost_labels : bool
        Whether `get_template` raises for a label that its encoding cannot hold; validation looks
        at archives that have such labels, too.

    Raises
    ------
    ValueError
        On construction, if the declaration contradicts itself.
    """

    dims: tuple[str, ...]
    append_dim: str
    append_dim_start: str
    append_dim_frequency: str | None = None
    settling_window: str | timedelta | None = None
    calendar: str = "proleptic_gregorian"
    dataset_attributes: Mapping[str, Any]
    coords: Sequence[Coordinate]
    data_vars: Sequence[DataVar]
    former_vars: Sequence[DataVar] = ()
    kept_vars: Sequence[DataVar] = ()
    left_out_vars: frozenset[str] = frozenset()
    append_dim_capacity: int | None = None
    left_out: frozenset[str] = frozenset()
    idle_dims: frozenset[str] = frozenset()
    remarks: tuple[str, ...] = ()
    held: Mapping[str, int] = MappingProxyType({})
    derived: Mapping[str, Any] | None = None
    axis: Axis | None = None
    listings: Listings = Listings(asks=False)
    declared_version: int | None = None
    verified: str | None = ""
    refuses_lost_labels: bool = True

    def __init__(self) -> None:
        about = self.dataset_attributes
        variables, former = (
            described_variables([_resolved(self, var) for var in declared], about)
            for declared in (self.data_vars, self.former_vars)
        )
        self.data_vars, self.former_vars = variables, former
        self.coords = described_coords(self.coords, about)
        # How many of the append dim's labels survive, by their start and encoding: there are many.
        self.labels_checked: dict[tuple[str | None, ...], int] = {}
        _check_declaration(self)

    # -- what an author implements -----------------------------------------------------------

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return the labels of every dimension but the append dim, as 1-D arrays by name."""
        raise NotImplementedError(f"{type(self).__name__} must define dimension_coordinates()")

    def append_dim_coordinates(self, end: Any) -> pd.Index[Any]:
        """Return the append dim's labels from `append_dim_start` up to, not including, `end`.

        Override it for an irregular append dim; earlier labels must never change with `end`. An
        override may take two more arguments by name, of an archive that is opened: `published`, the
        labels that readers see (an Index, which may be empty), and `source`, a tuple of the
        addresses that relative URLs of source files are relative to.
        """
        start = self.label(self.append_dim_start)
        try:
            index = xr.date_range(
                start,
                end,
                freq=self.append_dim_frequency,
                calendar=self.calendar,
                use_cftime=not isinstance(start, pd.Timestamp),
            )
        except ValueError as error:
            if "Invalid frequency" not in str(error):
                raise
            raise ValueError(
                f"append_dim_frequency {self.append_dim_frequency!r} of {type(self).__name__} is "
                "no frequency of pandas, like 'h', '6h', 'D' or 'MS'"
            ) from None
        # Not by inclusive="left": before pandas 3 that keeps the end where it is the start.
        return cast("pd.Index[Any]", index[index < end])

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return the auxiliary coordinates, as anything that xarray takes for a coordinate.

        Parameters
        ----------
        ds
            The template with its dimension coordinates.
        """
        return {}

    # -- most subclasses need not override what follows --------------------------------------

    def get_template(self, append_dim_end: Any) -> xr.Dataset:
        """Return the dataset's structure up to, not including, a label.

        Parameters
        ----------
        append_dim_end
            Label, or an ISO 8601 string.

        Returns
        -------
        xr.Dataset
            Coordinates in memory, data variables lazy: computing one raises. Every variable
            carries the encoding it is stored with.

        Raises
        ------
        ValueError
            The append dim's labels do not strictly increase, or one is not read as it is declared.
        """
        ds = self.structure(append_dim_end)
        return ds.assign({name: var.variable.chunk() for name, var in ds.data_vars.items()})

    def structure(self, append_dim_end: Any) -> xr.Dataset:
        """Return what `get_template` gives, with data variables that are lazy without Dask.

        It takes no import of Dask, and cannot be written by xarray.
        """
        ds = xr.Dataset(coords=self._index_coords(append_dim_end))
        ds = ds.assign_coords(self.derive_coordinates(ds))
        ds = ds.drop_vars(self.left_out, errors="ignore")
        ds = ds.isel({dim: slice(length) for dim, length in self.held.items()})
        ds = ds.assign_coords(
            {share.name: zeros(share, ds.sizes) for share in shares_of(self.coords)}
        )
        ds = with_text(ds, self.coords, self.append_dim)
        undeclared = sorted({str(name) for name in ds.coords} - {c.name for c in self.coords})
        if undeclared:
            raise ValueError(
                f"coordinates {undeclared} are given, but {type(self).__name__}.coords does not "
                "declare how they are stored"
            )
        check_bounds(self, ds)
        check_target(self, ds)
        lazy = {var.name: lazy_variable(var, ds.sizes) for var in _stored_by(self)}
        ds = ds.assign(lazy).assign_attrs(dict(self.dataset_attributes))
        for coord in self.coords:
            self._describe_coord(ds, coord)
        if self.refuses_lost_labels:
            check_coordinates(self, ds)
        derived = derived_attributes(self, ds) if self.derived is None else self.derived
        return ds.assign_attrs(derived)

    @property
    def dataset_id(self) -> str:
        """The dataset's id, from its attributes."""
        return str(self.dataset_attributes["dataset_id"])

    @property
    def completeness(self) -> Completeness | None:
        """The coordinate that says how much of each position arrived, if it is declared."""
        return next((c for c in shares_of(self.coords) if not isinstance(c, Finality)), None)

    def label(self, value: Any) -> Any:
        """Turn an ISO 8601 string (or datetime) into a label of the append dim.

        Raises
        ------
        ValueError
            It is not a date.
        """
        return parse_label(value, self.calendar)

    @cached_property
    def region_length(self) -> int:
        """Positions along the append dim that one region covers, whichever variables are chosen."""
        dim = self.append_dim
        return region_length(
            {v.name: v.object_length(dim) for v in _stored_by(self) if dim in v.dims}
        )

    @cached_property
    def capacity(self) -> int:
        """How many positions one object of a coordinate along the append dim holds."""
        if self.append_dim_capacity is not None:
            return self.append_dim_capacity
        if self.append_dim_frequency is None:
            return CAPACITY_IRREGULAR
        start = self.label(self.append_dim_start)
        in_decades = start.replace(year=start.year + CAPACITY_YEARS, day=1)
        step = fixed_step(self.append_dim_frequency)
        if step is None:
            return len(TemplateConfig.append_dim_coordinates(self, in_decades))
        # Half a million hours as labels of cftime take half a minute, and only their number counts.
        return int(-((start - in_decades) // step))

    def varies(self, var: DataVar) -> bool:
        """Whether a variable has the append dim."""
        return self.append_dim in var.dims

    def narrowed(
        self,
        *,
        start: str | None = None,
        variables: Sequence[str] | None = None,
        max_lead: str | None = None,
    ) -> Self:
        """Return a copy that begins at `start`, with only these variables, and leads to `max_lead`.

        Raises
        ------
        ValueError
            A variable is unknown, `start` is no label of the append dim, or `max_lead` (``"24h"``)
            is none of the dataset's leads.
        """
        twin = copy.copy(self)
        twin.__dict__.pop("region_length", None)
        twin.__dict__.pop("capacity", None)
        if variables is not None:
            twin.data_vars = self.select(variables)
            chosen = {var.name for var in twin.data_vars}
            twin.left_out_vars = frozenset(v.name for v in self.data_vars if v.name not in chosen)
            twin.idle_dims = _dims_of(self.data_vars) - _dims_of(twin.data_vars)
        if start is not None:
            self._check_is_label(start)
            twin.append_dim_start = start
        if max_lead is not None:
            twin.limit_leads(max_lead)
        return twin

    def with_former(self, names: Collection[str]) -> Self:
        """Return a copy that declares those of `former_vars`, too; itself where it is none."""
        former = tuple(var for var in self.former_vars if var.name in names)
        if not former:
            return self
        twin = copy.copy(self)
        twin.__dict__.pop("region_length", None)
        twin.data_vars = (*self.data_vars, *former)
        twin.former_vars = tuple(var for var in self.former_vars if var not in former)
        return twin

    def limit_leads(self, max_lead: str) -> None:
        """Leave out the leads beyond `max_lead`, in place; for `narrowed`, on a copy.

        Raises
        ------
        ValueError
            The dataset has no leads, or not this one.
        """
        raise ValueError(f"{self.dataset_id} has no leads to limit: give no max lead")

    def select(self, variables: Sequence[str]) -> tuple[DataVar, ...]:
        """Return the data variables of these names, in declared order.

        Raises
        ------
        ValueError
            One is unknown.
        """
        known = [var.name for var in self.data_vars]
        unknown = sorted(set(variables) - set(known))
        if unknown:
            raise ValueError(
                f"unknown variables {unknown} of {self.dataset_id}; known: {', '.join(known)}"
            )
        return tuple(var for var in self.data_vars if var.name in variables)

    def position(self, value: Any, index: pd.Index[Any]) -> int:
        """Return the position of a label in a template's index; its end counts as a label.

        Raises
        ------
        ValueError
            It is not on the append dim's axis.
        """
        self._check_is_label(value)
        return int(index.searchsorted(self.label(value)))

    def _check_is_label(self, start: str) -> None:
        label = self.label(start)
        first = self.label(self.append_dim_start)
        index = labels_before(self, just_after(label))
        if len(index) == 0 or index[-1] != label:
            nearest = f"the nearest before it is {index[-1]}" if len(index) else f"first: {first}"
            raise ValueError(f"{start} is not on the dataset's {self.append_dim} axis; {nearest}")

    def _index_coords(self, append_dim_end: Any) -> dict[str, Any]:
        index = labels_before(self, self.label(append_dim_end))
        check_order(self, index)
        return {self.append_dim: index, **self.dimension_coordinates()}

    def _describe_coord(self, ds: xr.Dataset, coord: Coordinate) -> None:
        if coord.name not in ds.coords:
            raise ValueError(
                f"coordinate {coord.name!r} is declared, but neither dimension_coordinates() nor "
                "derive_coordinates() gives it"
            )
        lengths = {**{str(d): n for d, n in ds.sizes.items()}, self.append_dim: self.capacity}
        ds[coord.name].attrs = dict(coord.attrs)
        # CF 2.5.1: a coordinate has a value everywhere.
        ds[coord.name].encoding = {**coord.encoding(lengths).to_xarray(), "_FillValue": None}


def _resolved(config: TemplateConfig, var: DataVar) -> DataVar:
    """Return a variable with its dims, an aggregation's step, and how it came about."""
    var = described(onto_grid(config, var.with_dims(config.dims)))
    if var.aggregated is None:
        return var
    return replace(var, aggregated=replace(var.aggregated, period=config.append_dim_frequency))


def _stored_by(config: TemplateConfig) -> tuple[DataVar, ...]:
    return (*config.data_vars, *config.kept_vars)


def _dims_of(variables: Iterable[DataVar]) -> frozenset[str]:
    return frozenset(dim for var in variables for dim in var.dims)


def cut_template(template_ds: xr.Dataset, append_dim: str, positions: slice) -> xr.Dataset:
    """Return a template cut to some positions along the append dim."""
    return template_ds.isel({append_dim: positions})


def _check_declaration(config: TemplateConfig) -> None:
    who = type(config).__name__
    missing = [key for key in ("dataset_id", "title") if key not in config.dataset_attributes]
    if missing:
        raise ValueError(f"{who}.dataset_attributes lack {missing}")
    variables = (*config.data_vars, *config.former_vars)
    names = [coord.name for coord in config.coords] + [var.name for var in variables]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{who} declares {twice} more than once")
    for var in config.former_vars:
        if var.superseded is None:
            raise ValueError(f"former variable {var.name!r} must name what supersedes it")
    for var in variables:
        if config.append_dim in var.dims[1:]:
            raise ValueError(
                f"variable {var.name!r} has dims {var.dims}: the append dim "
                f"{config.append_dim!r} must come first"
            )
    check_made(config)
    check_regridded(config)
    check_shares(who, config.coords, config.data_vars, config.append_dim)
    check_settling(config)
    config.label(config.append_dim_start)
