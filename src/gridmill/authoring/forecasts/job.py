"""Region jobs for providers of GRIB forecasts: only the bytes of the messages that are needed.

A file of such a provider holds hundreds of messages, and beside it lies an inventory that says
which message lies at which bytes. `GribForecastJob` fetches the inventory, picks the messages of
the variables that are wanted, fetches their bytes into one local file, and notes in a small JSON
file beside it where each lies. Reading checks that a message is what the inventory promised and
decodes it. An author declares what each variable is called (`GribVar`) and where the files are.

See Also
--------
gridmill.authoring.forecasts.variables : how variables are declared.
gridmill.sources.grib.inventory : formats of inventories, and the choice of messages.
gridmill.sources.grib.messages : decodes.
gridmill.datasets.noaa.gfs_forecast : an example.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar, cast

import numpy as np

from gridmill.authoring.forecasts.fetching import MessageOrder
from gridmill.authoring.forecasts.reading import Asked, read_field
from gridmill.authoring.forecasts.variables import GribVar, Level, Window
from gridmill.authoring.grids import HorizontalGrid
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.regridding.reading import source_grid
from gridmill.authoring.source_file import (
    SourceFileCoord,
    addresses,
    first_answer,
    places_to_ask,
    wrapping_of,
)
from gridmill.authoring.transforms.deaccumulation import (
    deaccumulate_inplace,
    deaccumulation_footprint,
)
from gridmill.authoring.transforms.resolution import (
    known_resolution,
    note_lost,
    resolutions_told,
)
from gridmill.model.settled import SourceFileStatus
from gridmill.sources.fetch.download import (
    Download,
    DownloadFailed,
    FileIdentity,
    NotAvailable,
    identify,
)
from gridmill.sources.grib.inventory.selection import Selector

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["ForecastFile", "GribForecastJob"]

log = logging.getLogger(__name__)

BELOW_ZERO = "as what accumulated decreases by more than its packing explains"
NOT_COVERED = "as their period begins after the step before"


@dataclass(frozen=True, kw_only=True)
class ForecastFile(SourceFileCoord):
    """The file of one lead of one forecast, or of one of its members; subclasses give its address.

    `ensemble_member` is the label of the dim of that name, None in archives without.
    """

    init_time: pd.Timestamp
    lead_time: pd.Timedelta
    ensemble_member: int | None = None

    def out_loc(self) -> Mapping[str, Any]:
        """Return the forecast, the lead, and the member if there are several."""
        place = {"init_time": self.init_time, "lead_time": self.lead_time}
        member = self.ensemble_member
        return place if member is None else {**place, "ensemble_member": member}


ForecastFileT = TypeVar("ForecastFileT", bound=ForecastFile)


class GribForecastJob(RegionJob[GribVar, ForecastFileT], Generic[ForecastFileT]):
    """Reads forecasts out of one GRIB file a lead, by byte ranges; subclass it.

    Variables have the dims init_time and lead_time, possibly ensemble_member and one of levels,
    and last those of the grid.
    """

    # Bytes worth fetching for nothing to save a request: a few milliseconds of a connection on
    # which a request takes tens. Messages of a 0.25° grid have ten times as many.
    max_gap_nbytes: ClassVar[int] = 16 * 1024
    # A forecast appears file by file, for hours, in hundreds of files; then it stays as it is.
    asks_for_revisions: ClassVar[bool] = False
    reads_again: ClassVar[bool] = False
    # What every message's grid must be; None does not check.
    grid: ClassVar[HorizontalGrid | None] = None
    # Along this dim accumulations and averages run.
    step_dim: ClassVar[str] = "lead_time"
    whole_dims: ClassVar[tuple[str, ...] | None] = ("lead_time",)
    # The author's class of source files, which says where they are.
    file_type: ClassVar[type[ForecastFile]]

    # Positions along `step_dim` in seconds; on a worker only.
    step_seconds: tuple[float, ...] = ()

    # -- what an author may override ---------------------------------------------------------

    def inventory_url(self, url: str) -> str | None:
        """Return the address of a file's inventory, by default the file's with ``.idx`` added.

        None where the provider has none: then files are fetched whole, and nobody is told so.
        """
        return f"{url}.idx"

    def levels_in(self, coord: ForecastFileT, data_var: GribVar) -> Sequence[Level]:
        """Return the levels of a variable that a file holds, in order; by default all of them.

        Override it where each level has its own file, whose `out_loc` then names the level.
        """
        return data_var.levels

    def grid_of(self, coord: ForecastFileT) -> HorizontalGrid | None:
        """Return the grid that a file's messages must have; by default `grid`.

        Override it where files come on several grids: `DataVar.regridded` brings them to the
        archive's, or `read_data` does.
        """
        return self.grid

    def inventory_selectors(self, coord: ForecastFileT, data_var: GribVar) -> list[Selector]:
        """Say which messages of a file hold a variable, in terms of its inventory.

        By default what `message_selectors` says of the messages themselves.
        """
        return self.message_selectors(coord, data_var)

    # -- most subclasses need not override what follows --------------------------------------

    def source_file(self, init_time: pd.Timestamp, lead_time: pd.Timedelta) -> ForecastFileT:
        """Return the file of one lead of one forecast; its member, if any, is filled in."""
        file: Any = self.file_type(init_time=init_time, lead_time=lead_time)
        return cast("ForecastFileT", file)

    def message_selectors(self, coord: ForecastFileT, data_var: GribVar) -> list[Selector]:
        """Say what the messages are that hold a variable in a file, one a level."""
        window, end = data_var.window, coord.lead_time
        start = end if window is None else window.start_of(end)
        return [
            Selector(
                parameter=data_var.parameters,
                level=level.name,
                start_step=start,
                end_step=end,
                statistic=data_var.statistic,
                member=coord.ensemble_member,
                without_qualifiers=data_var.without_qualifiers,
                # A total since the start and one since the last reset are the same, and may come
                # twice, up to the first reset: the first is the one that is reset.
                occurrence=0,
            )
            for level in self.levels_in(coord, data_var)
        ]

    def source_groups(self, data_vars: Sequence[GribVar]) -> Sequence[Sequence[GribVar]]:
        """Divide variables into those with a value at lead 0 and those without.

        One on several levels is a group of its own: its files are many times as large.
        """
        single = [var for var in data_vars if len(var.levels) == 1]
        instants = [var for var in single if var.window is None]
        windowed = [var for var in single if var.window is not None]
        layered = [[var] for var in data_vars if len(var.levels) != 1]
        return [group for group in (instants, windowed, *layered) if group]

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[ForecastFileT]:
        """Return one file for each forecast, lead and member that the variables have."""
        inits: Any = processing_region_ds.get_index("init_time")
        leads: Any = processing_region_ds.get_index("lead_time")
        if all(var.window is not None for var in data_var_group):
            leads = leads[leads > timedelta(0)]
        files = [self.source_file(init, lead) for init in inits for lead in leads]
        if "ensemble_member" not in processing_region_ds.indexes:
            return files
        members = processing_region_ds.get_index("ensemble_member").tolist()
        return [replace(file, ensemble_member=member) for file in files for member in members]

    def for_worker(self, data_vars: Sequence[GribVar]) -> Self:
        """Return a twin that knows the steps."""
        twin = super().for_worker(data_vars)
        vars(twin)["step_seconds"] = self.steps_in_seconds()
        return twin

    def steps_in_seconds(self) -> tuple[float, ...]:
        """Return the positions along `step_dim`; where the template is."""
        leads: Any = self.template_ds.get_index(self.step_dim)
        return tuple(leads.total_seconds())

    def reset_seconds(self, window: Window) -> float | None:
        """Return the step of `step_dim` at whose multiples a variable's periods restart."""
        return None if window.reset_every is None else window.reset_every.total_seconds()

    def download_file(self, coord: ForecastFileT) -> Download:
        """Fetch the messages of this job's variables, or the whole file if it has no inventory.

        A variable whose message is not there, or not whole, is unreadable; the others are not. Each
        of several addresses has its own inventory. What lacks messages that it should hold is used
        only where no other address has them all.
        """
        have_parts: list[str] = []
        has_others = len(addresses(coord, self.source_base)) > 1

        def fetch(url: str) -> Download:
            try:
                return self._order(url, coord, has_others=has_others).fetch()
            except DownloadFailed as error:
                if error.has_arrived and has_others:
                    have_parts.append(url)
                raise

        try:
            return first_answer(self, coord, fetch)
        except DownloadFailed:
            # One of several that race: what has all of them is to win.
            if not have_parts or coord.only_at is not None:
                raise
        return first_answer(self, coord, lambda url: self._order(url, coord).fetch(), have_parts)

    def ask_file(self, coord: ForecastFileT) -> FileIdentity | None:
        """Ask which version of a file there is; and which of its index, if that misled before."""
        known = super().ask_file(coord)
        if known is None or coord.index is None or coord.status is SourceFileStatus.SUCCEEDED:
            return known
        settings = replace(self.download_settings, attempts=2)

        def ask(url: str) -> FileIdentity | None:
            at = self.inventory_url(url)
            return None if at is None else identify(at, settings=settings)

        try:
            index = first_answer(
                self,
                coord,
                ask,
                places_to_ask(coord, self.source_base),
            )
        except (NotAvailable, DownloadFailed):
            return known
        return replace(known, index=index)

    def read_data(self, coord: ForecastFileT, data_var: GribVar) -> np.ndarray[Any, Any]:
        """Decode a variable's messages: float32, new, NaN where a value is missing.

        Raises
        ------
        ValueError
            A message is not there, is damaged, is another than the inventory promised, or lies
            on another grid.
        """
        fields = [self._read_field(coord, asked) for asked in self._asked(coord, [data_var])]
        return fields[0] if len(fields) == 1 else np.stack(fields)

    def read_data_into(
        self, coord: ForecastFileT, data_var: GribVar, out: np.ndarray[Any, Any]
    ) -> None:
        """Decode a variable's messages into their places, see `read_data`."""
        if type(self).read_data is not GribForecastJob.read_data or out.dtype != np.float32:
            with resolutions_told():  # of the messages, and not of what an author makes of them
                super().read_data_into(coord, data_var, out)
            return
        messages = self._asked(coord, [data_var])
        rooms = out[np.newaxis] if len(messages) == 1 else out
        if len(rooms) != len(messages):
            raise ValueError(f"{len(messages)} messages of {data_var.name} for shape {out.shape}")
        for asked, room in zip(messages, rooms, strict=True):
            self._read_field(coord, asked, room)

    def transform_values_inplace(self, values: np.ndarray[Any, Any], data_var: GribVar) -> None:
        """Turn accumulations and averages into the mean of each step, and round."""
        window = data_var.window
        if window is not None and window.undone:
            counts = deaccumulate_inplace(
                values,
                step_seconds=self.step_seconds,
                axis=data_var.dims.index(self.step_dim),
                reset_every_s=self.reset_seconds(window),
                kind=window.undone,
                non_negative_within=window.non_negative_within,
                resolution=known_resolution(),
            )
            log.debug("deaccumulate variable=%s %s", data_var.name, counts)
            note_lost(BELOW_ZERO, counts.invalid)
            note_lost(NOT_COVERED, counts.uncovered)
        super().transform_values_inplace(values, data_var)

    def provenance(
        self, filled: np.ndarray[Any, np.dtype[np.bool_]], data_var: GribVar
    ) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Leave out the steps whose mean rests on a step before that is missing."""
        window = data_var.window
        if window is None or not window.undone:
            return filled
        return deaccumulation_footprint(
            filled,
            step_seconds=self.step_seconds,
            axis=data_var.dims.index(self.step_dim),
            reset_every_s=self.reset_seconds(window),
        )

    def _order(self, url: str, coord: ForecastFileT, *, has_others: bool = False) -> MessageOrder:
        return MessageOrder(
            url=url,
            inventory_url=self.inventory_url(url),
            path=self.download_path(coord),
            in_inventory=self._asked(coord, self.data_vars, self.inventory_selectors),
            in_file=self._asked(coord, self.data_vars),
            init_time=coord.init_time,
            # What a range holds is checked message by message, when it is read.
            settings=replace(self.download_settings, expect=None),
            max_gap_nbytes=self.max_gap_nbytes,
            attempt=self.attempt,
            wrapping=wrapping_of(coord),
            has_others=has_others,
        )

    def _asked(
        self,
        coord: ForecastFileT,
        data_vars: Sequence[GribVar],
        selectors: Callable[[ForecastFileT, GribVar], list[Selector]] | None = None,
    ) -> list[Asked]:
        """Say which messages hold variables, by default in terms of the messages themselves."""
        of = selectors or self.message_selectors
        return [
            Asked(var, level, selector)
            for var in data_vars
            for level, selector in zip(self.levels_in(coord, var), of(coord, var), strict=True)
        ]

    def _read_field(
        self, coord: ForecastFileT, asked: Asked, out: np.ndarray[Any, Any] | None = None
    ) -> np.ndarray[Any, Any]:
        assert coord.downloaded_path is not None
        grid = self.grid_of(coord) or source_grid(self, coord, asked.var)
        return read_field(coord.downloaded_path, asked, coord.init_time, grid, out)
