"""What validators get to see: an archive, read lazily and once, and the commands that repair it."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.archive.salvage import declared_labels, undamaged_metadata
from gridmill.authoring.axis import labels_before
from gridmill.authoring.labels import just_after
from gridmill.authoring.over_time.as_made import AsMade, as_made
from gridmill.authoring.over_time.held import as_held, more_declared
from gridmill.authoring.template import TemplateConfig
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region, regions_of
from gridmill.model.variables import DataVar
from gridmill.model.wording import short_label
from gridmill.planning.source_files.offered import Mask, Offered
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.metadata import array_metadata
from gridmill.validation.findings import CheckResult, Finding
from gridmill.validation.repairs import redo
from gridmill.validation.statistics.profiles import FieldStatistics, field_dims, scan

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Context", "Validator"]


class Validator(Protocol):
    """Checks one thing about an archive: a frozen dataclass with these two."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    def check(self, context: Context) -> CheckResult:
        """Look, and say what was found."""


@dataclass(frozen=True)
class Selection:
    start: str | None
    end: str | None
    variables: Sequence[str] | None

    @property
    def words(self) -> str:
        """What is selected, in words; empty if it is all."""
        parts = [f"from {self.start}"] if self.start is not None else []
        parts += [f"before {self.end}"] if self.end is not None else []
        return ", ".join([*parts, *(self.variables or ())])


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
        self.now = dataset.present(now)
        self.selection = Selection(start, end, variables)
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
        if self.beyond and self.store.metadata() is None and self.store.tracker.read_declaration():
            return 0  # runs began to make it
        arrays = array_metadata(dict(self.root))
        if self.append_dim not in arrays:
            raise ValueError(f"the root metadata has no array {self.append_dim}")
        return int(arrays[self.append_dim]["shape"][0])

    @cached_property
    def reach(self) -> int:
        """How many positions are looked at: those that readers see, or also what is recorded."""
        if not self.beyond:
            return self.published
        known = len(labels_before(self.config, self.now))
        recorded = max((record.stop for record in self.store.tracker.records()), default=0)
        return max(self.published, min(recorded, known))

    @cached_property
    def ds(self) -> xr.Dataset:
        """What readers see."""
        return self.store.open_dataset()

    # -- what was declared --------------------------------------------------------------------

    @cached_property
    def config(self) -> TemplateConfig:
        """The template with which the archive was made, with the labels that it has."""
        return as_held(self.made.config, self.made.more)

    @cached_property
    def made(self) -> AsMade:
        """What the archive was made with, as far as its metadata are whole; else as coded."""
        coded = self.dataset.coded(self.now)
        stored = undamaged_metadata(self.store, coded)
        made = as_made(coded, stored)
        return replace(made, more=more_declared(made.config, stored))

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
        start, end = self.selection.start, self.selection.end
        first = 0 if start is None else int(index.searchsorted(self.config.label(start)))
        last = len(index) if end is None else int(index.searchsorted(self.config.label(end)))
        if first >= last and (start is not None or end is not None):
            seen = f"{index[0]} … {index[-1]}" if len(index) else "nothing"
            raise ValueError(f"no position is selected: readers see {seen}")
        return slice(first, last)

    @cached_property
    def variables(self) -> tuple[DataVar, ...]:
        """The selected data variables."""
        names = self.selection.variables
        return tuple(self.config.data_vars if names is None else self.config.select(names))

    def statistics(self, var: DataVar) -> FieldStatistics:
        """Return the statistics of a variable's selected fields, computed once."""
        if var.name not in self._statistics:
            self._statistics[var.name] = scan(
                self.store,
                var,
                {str(dim): n for dim, n in self.archive.template_ds.sizes.items()},
                over=field_dims(var, self.config.coords, self.append_dim),
                append_dim=self.append_dim,
                positions=self.positions,
            )
        return self._statistics[var.name]

    # -- regions ------------------------------------------------------------------------------

    def regions(self) -> Iterator[Region]:
        """Yield the selected regions, and first that of the static variables if there are any."""
        if any(not self.config.varies(var) for var in self.variables):
            yield Region.STATIC
        for region in regions_of(self.reach, self.config.region_length):
            if region.overlaps(self.positions.start, self.positions.stop):
                yield region

    def variables_of(self, region: Region) -> tuple[DataVar, ...]:
        """Return the selected variables that a region job fills."""
        return tuple(var for var in self.variables if self.config.varies(var) != region.is_static)

    def offered(self, region: Region) -> Mapping[str, Mask]:
        """Return by variable which places of a region are offered, see `Offered.places`."""
        if region not in self._offered:
            job = self.archive.job(region)
            prepared = prepare_recorded(self.archive, job, None)
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
        """Return a region's record, read once."""
        if region not in self._records:
            self._records[region] = self.store.tracker.read(region)
        return self._records[region]

    # -- findings -----------------------------------------------------------------------------

    def label(self, position: int) -> str:
        """Write a position's label as ISO 8601."""
        return short_label(self.labels[position])

    def finding(self, message: str, at: slice, variables: Sequence[str], **changes: Any) -> Finding:
        """Return a finding at positions, by default repaired by making them again.

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
        fields: dict[str, Any] = {"repair": redo(self, at, variables)}
        if at.stop > at.start:
            fields.update(first=self.label(at.start), last=self.label(at.stop - 1))
        return Finding(message=message, variables=tuple(variables), **{**fields, **changes})

    def command(self, name: str, *options: str) -> str:
        """Return a command line for this archive."""
        return shlex.join(["gridmill", name, *self.invocation, *options])


def _invocation(dataset: DynamicalDataset) -> Iterator[str]:
    """Say where a dataset's class is, and its stores."""
    kind = type(dataset)
    yield f"{kind.__module__}:{kind.__qualname__}"
    yield from ("--store", mask_url(dataset.store.url))
    for replica in dataset.replicas:
        yield from ("--replica", mask_url(replica.url))
