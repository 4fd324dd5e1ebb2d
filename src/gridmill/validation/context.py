"""What validators get to see: an archive, read lazily and once, and the commands that repair it."""

from __future__ import annotations

import copy
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.authoring.as_made import AsMade, as_made
from gridmill.authoring.labels import just_after
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.template import TemplateConfig
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region, regions_of
from gridmill.model.variables import DataVar
from gridmill.planning.source_files.offered import Mask, Offered
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.metadata import array_metadata
from gridmill.stores.structure import without_append_length
from gridmill.validation.findings import CheckResult, Finding
from gridmill.validation.statistics.profiles import FieldStatistics, field_dims, scan

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.stores.final_store import FinalStore

__all__ = [
    "Context",
    "Validator",
    "declared_labels",
    "own_metadata",
    "short_label",
    "undamaged_metadata",
]

# A template's end is looked for a day after its first label, twice that, and so on: 358 years.
DOUBLINGS = 18


class Validator(Protocol):
    """Checks one thing about an archive: a frozen dataclass with these two."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    def check(self, context: Context) -> CheckResult:
        """Look, and say what was found."""


@dataclass(frozen=True)
class _Selection:
    start: str | None
    end: str | None
    variables: Sequence[str] | None


class Context:
    """An archive under validation.

    Parameters
    ----------
    dataset
        With its archive.
    start, end
        Labels: only positions in [start, end).
    variables
        Only these.
    now
        The present; None asks the clock.
    invocation
        What follows the command's name in a repair command; None says where the class is.
    beyond
        Whether positions that are recorded and that readers do not see yet are looked at, too.

    Notes
    -----
    Nothing is read before it is asked for. Whatever cannot be read raises, each time.
    """

    def __init__(
        self,
        dataset: DynamicalDataset,
        *,
        start: str | None = None,
        end: str | None = None,
        variables: Sequence[str] | None = None,
        now: Any = None,
        invocation: Sequence[str] | None = None,
        beyond: bool = False,
    ) -> None:
        self.dataset = dataset
        self.beyond = beyond
        self.store = dataset.store
        self.now = dataset.present() if now is None else dataset.declared.label(now)
        self._selection = _Selection(start, end, variables)
        self.invocation = tuple(invocation or _invocation(dataset))
        self._statistics: dict[str, FieldStatistics] = {}
        self._records: dict[Region, ProgressRecord | None] = {}
        self._offered: dict[Region, Mapping[str, Mask]] = {}
        self._alike: dict[tuple[tuple[int, ...], bytes], Mask] = {}

    # -- what readers see ---------------------------------------------------------------------

    @cached_property
    def root(self) -> Mapping[str, Any]:
        """The published root metadata, everything consolidated.

        Raises
        ------
        ValueError
            There is none, or no JSON.
        """
        found = self.store.metadata()
        if found is None:
            raise ValueError(f"there is no archive at {mask_url(self.store.url)}")
        return found

    @cached_property
    def published(self) -> int:
        """How many positions readers see."""
        arrays = array_metadata(dict(self.root))
        if self.append_dim not in arrays:
            raise ValueError(f"the root metadata has no array {self.append_dim}")
        return int(arrays[self.append_dim]["shape"][0])

    @cached_property
    def reach(self) -> int:
        """How many positions are looked at: those that readers see, or also what is recorded."""
        if not self.beyond:
            return self.published
        known = len(self.config.append_dim_coordinates(self.now))
        recorded = max((record.stop for record in self.store.tracker.records()), default=0)
        return max(self.published, min(recorded, known))

    @cached_property
    def ds(self) -> xr.Dataset:
        """What readers see."""
        return self.store.open_dataset()

    # -- what was declared --------------------------------------------------------------------

    @cached_property
    def config(self) -> TemplateConfig:
        """The template with which the archive was made."""
        return self.made.config

    @cached_property
    def coded(self) -> TemplateConfig:
        """The template as the code declares it, narrowed to the archive's declaration."""
        return self.dataset.coded()

    @cached_property
    def made(self) -> AsMade:
        """What the archive was made with, as far as its metadata are whole; else as coded."""
        return as_made(self.coded, undamaged_metadata(self.store, self.coded))

    @property
    def append_dim(self) -> str:
        """Name of the append dim."""
        return self.config.append_dim

    @cached_property
    def labels(self) -> Any:
        """The declared labels, one more than is looked at where the axis goes on."""
        return declared_labels(self.config, self.reach, self.now)

    @cached_property
    def archive(self) -> Archive:
        """The archive as it was declared, its template as far as is looked at, see `reach`."""
        n = self.reach
        end = just_after(self.labels[n - 1]) if n else self.config.label(self.labels[0])
        config = copy.copy(self.config)
        config.refuses_lost_labels = False
        return self.dataset.archive(end, as_declared=True, config=config)

    @property
    def template_ds(self) -> xr.Dataset:
        """The template's dataset as far as is looked at, see `reach`."""
        return self.archive.template_ds

    # -- what is selected ---------------------------------------------------------------------

    @cached_property
    def positions(self) -> slice:
        """The selected positions along the append dim.

        Raises
        ------
        ValueError
            Readers see none of them.
        """
        index = self.labels[: self.reach]
        start, end = self._selection.start, self._selection.end
        first = 0 if start is None else int(index.searchsorted(self.config.label(start)))
        last = len(index) if end is None else int(index.searchsorted(self.config.label(end)))
        if first >= last and (start is not None or end is not None):
            seen = f"{index[0]} … {index[-1]}" if len(index) else "nothing"
            raise ValueError(f"no position is selected: readers see {seen}")
        return slice(first, last)

    @cached_property
    def variables(self) -> tuple[DataVar, ...]:
        """The selected data variables."""
        names = self._selection.variables
        return tuple(self.config.data_vars if names is None else self.config.select(names))

    @property
    def selection(self) -> str:
        """What is selected, in words; empty if it is all."""
        chosen = self._selection
        parts = [f"from {chosen.start}"] if chosen.start is not None else []
        parts += [f"before {chosen.end}"] if chosen.end is not None else []
        return ", ".join([*parts, *(chosen.variables or ())])

    def varies(self, var: DataVar) -> bool:
        """Whether a variable has the append dim."""
        return self.append_dim in var.dims

    def statistics(self, var: DataVar) -> FieldStatistics:
        """Give the statistics of a variable's selected fields, computed once."""
        if var.name not in self._statistics:
            self._statistics[var.name] = scan(
                self.store,
                var,
                {str(dim): n for dim, n in self.template_ds.sizes.items()},
                over=field_dims(var, self.config.coords, self.append_dim),
                append_dim=self.append_dim,
                positions=self.positions,
            )
        return self._statistics[var.name]

    # -- regions ------------------------------------------------------------------------------

    def regions(self) -> Iterator[Region]:
        """Yield the selected regions, and first that of the static variables if there are any."""
        if any(not self.varies(var) for var in self.variables):
            yield Region.STATIC
        for region in regions_of(self.reach, self.config.region_length):
            if region.overlaps(self.positions.start, self.positions.stop):
                yield region

    def variables_of(self, region: Region) -> tuple[DataVar, ...]:
        """Give the selected variables that a region job fills."""
        return tuple(var for var in self.variables if self.varies(var) != region.is_static)

    def make_job(self, region: Region) -> RegionJob[Any, Any]:
        """Give the region job with every declared variable of a region."""
        return self.archive.job(region)

    def offered(self, region: Region) -> Mapping[str, Mask]:
        """Return by variable which places of a region are offered, see `Offered.places`."""
        if region not in self._offered:
            job = self.make_job(region)
            prepared = self.archive.prepare_recorded(job, None)
            found: dict[str, Mask] = {}
            for group in prepared.groups:
                offered = Offered(job, group.files, prepared.sizes)
                for var in group.variables:
                    mask = offered.places(var)
                    # Most regions and variables are offered alike: one array serves them all.
                    found[var.name] = self._alike.setdefault((mask.shape, mask.tobytes()), mask)
            self._offered[region] = found
        return self._offered[region]

    def record(self, region: Region) -> ProgressRecord | None:
        """Give a region's record, read once."""
        if region not in self._records:
            self._records[region] = self.store.tracker.read(region)
        return self._records[region]

    # -- findings -----------------------------------------------------------------------------

    def label(self, position: int) -> str:
        """Write a position's label as ISO 8601."""
        return short_label(self.labels[position])

    def finding(self, message: str, at: slice, variables: Sequence[str], **changes: Any) -> Finding:
        """Give a finding at positions, by default repaired by making them again.

        Parameters
        ----------
        message
            What.
        at
            Positions along the append dim; none for static variables.
        variables
            Names.
        changes
            Other fields of `Finding`.
        """
        at = slice(at.start, min(at.stop, self.published))
        fields: dict[str, Any] = {"repair": self.redo(at, variables)}
        if at.stop > at.start:
            fields.update(first=self.label(at.start), last=self.label(at.stop - 1))
        return Finding(message=message, variables=tuple(variables), **{**fields, **changes})

    def redo(self, at: slice, variables: Sequence[str]) -> str:
        """Give the command that makes positions again."""
        return self.command("backfill", *self._chosen(at, variables), "--redo")

    def backfill(self, at: slice, variables: Sequence[str]) -> str:
        """Give the command that tries again for what is not settled at positions."""
        return self.command("backfill", *self._chosen(at, variables))

    def adding(self, variable: str) -> str:
        """Give the command that adds a variable that the archive lacks."""
        return self.command("backfill", "--until", self._until(), "--variables", variable)

    def command(self, name: str, *options: str) -> str:
        """Give a command line for this archive."""
        return shlex.join(["gridmill", name, *self.invocation, *options])

    def _chosen(self, at: slice, variables: Sequence[str]) -> list[str]:
        options = ["--until", self._until()]
        if at.stop > at.start:
            options += ["--start", self.label(at.start)]
        if at.start < at.stop < self.reach:
            options += ["--end", self.label(at.stop)]
        if 0 < len(set(variables)) < len(self.config.data_vars):
            options += ["--variables", ",".join(sorted(set(variables)))]
        return options

    def _until(self) -> str:
        """Give the end of a template that leaves what is looked at as it is."""
        n = self.reach
        return short_label(self.labels[n] if len(self.labels) > n else just_after(self.labels[-1]))


def _invocation(dataset: DynamicalDataset) -> Iterator[str]:
    """Say where a dataset's class is, and its stores."""
    kind = type(dataset)
    yield f"{kind.__module__}:{kind.__qualname__}"
    yield from ("--store", mask_url(dataset.store.url))
    for replica in dataset.replicas:
        yield from ("--replica", mask_url(replica.url))


def undamaged_metadata(
    store: FinalStore,
    config: TemplateConfig,
    believed: Literal["own", "root", "neither"] = "neither",
) -> dict[str, Any] | None:
    """Give the root metadata of a store, as far as they are whole; None if nothing of them is.

    An array's metadata are also in an object of its own: where only one of the two can be read it
    is taken, and where they differ what is `believed`.
    """
    root: dict[str, Any] = {}
    with suppress(ValueError):
        root = store.metadata() or {}
    arrays: dict[str, Any] = dict(array_metadata(root))
    for name in {*arrays, *(c.name for c in config.coords), *(v.name for v in config.data_vars)}:
        own = own_metadata(store, name)
        if name not in arrays:
            arrays.update({} if own is None else {name: own})
        elif own is not None and not _agree(own, arrays[name], config.append_dim):
            arrays[name] = {"own": own, "root": arrays[name], "neither": {}}[believed]
    consolidated = {"consolidated_metadata": {"metadata": arrays}}
    return (
        {"attributes": dict(config.dataset_attributes), **root, **consolidated} if arrays else None
    )


def own_metadata(store: FinalStore, name: str) -> dict[str, Any] | None:
    """Read an array's own metadata object; None if it is gone or no JSON object."""
    content = store.read_object(f"{name}/zarr.json")
    try:
        found = None if content is None else json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _agree(own: Mapping[str, Any], array: Mapping[str, Any], append_dim: str) -> bool:
    return without_append_length(own, append_dim) == without_append_length(array, append_dim)


def declared_labels(config: TemplateConfig, n: int, now: Any) -> Any:
    """Give the first `n` labels of a template's append dim, and one more where it goes on.

    Raises
    ------
    ValueError
        It has fewer.
    """
    first = config.label(config.append_dim_start)
    labels = config.append_dim_coordinates(config.label(now))
    # The axis may go beyond the present, or end before it.
    for doubling in range(DOUBLINGS):
        if len(labels) > n:
            break
        with suppress(OverflowError, ValueError):  # beyond the calendar's last day
            labels = config.append_dim_coordinates(first + timedelta(days=2**doubling))
    if len(labels) < n:
        raise ValueError(f"readers see {n} positions, the template has {len(labels)}")
    return labels[: n + 1]


def short_label(label: Any) -> str:
    """Write a label as ISO 8601, without what is zero.

    Examples
    --------
    >>> import pandas as pd
    >>> short_label(pd.Timestamp("2020-01-01 06:00")), short_label(pd.Timestamp("2020-01-01"))
    ('2020-01-01T06:00', '2020-01-01')
    """
    text = str(label.isoformat())
    text = text.removesuffix("T00:00:00")
    return text.removesuffix(":00") if text.count(":") == 2 and "." not in text else text
