"""Region jobs for providers of GRIB forecasts: only the bytes of the messages that are needed.

A file of such a provider holds hundreds of messages, and beside it lies an inventory that says
which message lies at which bytes. `GribForecastJob` fetches the inventory, picks the messages of
the variables that are wanted, fetches their bytes into one local file, and notes in a small JSON
file beside it where each lies. Reading checks that a message is what the inventory promised and
decodes it. An author declares what each variable is called (`GribVar`) and where the files are.

See Also
--------
gridmill.sources.grib.inventory : formats of inventories, and the choice of messages.
gridmill.sources.grib.messages : decodes.
gridmill.datasets.noaa.gfs_forecast : an example.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar, cast

import numpy as np

from gridmill.authoring.grids import HorizontalGrid
from gridmill.authoring.region_job import RegionJob, SourceFileCoord
from gridmill.authoring.transforms import (
    deaccumulate_inplace,
    deaccumulation_footprint,
    scale_inplace,
)
from gridmill.model.variables import DataVar
from gridmill.sources.fetch.download import (
    Download,
    DownloadFailed,
    DownloadSettings,
    NotAvailable,
    fetch,
    identify,
    mask_url,
    read,
)
from gridmill.sources.grib.framing import GribCorrupt, iter_messages, message_nbytes
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.message import ByteRange, InventoryMismatch, Message, Statistic
from gridmill.sources.grib.inventory.ranges import (
    check_message,
    local_byte_ranges,
    merge_byte_ranges,
)
from gridmill.sources.grib.inventory.selection import (
    AmbiguousMessage,
    MessageNotFound,
    Selector,
    select,
)
from gridmill.sources.grib.messages import OpenMessage, open_message

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["ForecastFile", "GribForecastJob", "GribVar", "Level", "Window"]

log = logging.getLogger(__name__)

# GRIB2 discipline, category and number.
Code = tuple[int, int, int]


class Level(NamedTuple):
    """A level: what the inventory calls it, and what the message must say it is.

    None, and a value of None, are not checked. `below` is the lower surface of a layer.
    """

    name: str | tuple[str, ...]
    surface: Surface | None = None
    below: Surface | None = None


@dataclass(frozen=True, kw_only=True)
class Window:
    """The period before each lead that a provider's values describe, and what they say of it.

    Parameters
    ----------
    kind
        ``"accumulation"`` and ``"average"`` become the mean of each step, see
        `transforms.deaccumulate_inplace`; an ``"extreme"`` stays as it is.
    reset_every
        Periods begin anew at the multiples of this lead; None: all begin with the forecast.
    non_negative_within
        For a quantity that cannot be negative, see `transforms.deaccumulate_inplace`.
    """

    kind: Literal["accumulation", "average", "extreme"]
    reset_every: timedelta | None = None
    non_negative_within: float | None = None

    def start_of(self, lead: timedelta) -> timedelta:
        """Give the start of the period that ends at a lead.

        Examples
        --------
        >>> window = Window(kind="accumulation", reset_every=timedelta(hours=6))
        >>> [window.start_of(timedelta(hours=h)) // timedelta(hours=1) for h in (1, 6, 7, 12)]
        [0, 0, 6, 6]
        """
        if self.reset_every is None:
            return timedelta(0)
        return max(-(-lead // self.reset_every) - 1, 0) * self.reset_every


@dataclass(frozen=True, kw_only=True)
class GribVar(DataVar):
    """A data variable that one message of each file holds, or one for each of its levels.

    Parameters
    ----------
    parameter
        What the inventory calls it; a tuple accepts any of its entries.
    levels
        One, or those of the dim that stands before the grid's, in its order. A file has all of
        them, or the variable is unreadable there.
    statistic
        What the values say about their period, as the inventory and the message state it.
    codes
        GRIB2 discipline, category and number: what the message itself says it is. Any of these:
        a centre's own figures may be replaced by the WMO's. Empty: not checked.
    short_name
        ecCodes' name of what the message says it is, in place of `codes`; None is not checked.
    factors
        By the units that ecCodes names for the message, what its values are multiplied with; a
        message in others is unreadable. Empty: values stay as they are.
    window
        The period that its values describe; None for an instant. At lead 0 only instants have a
        value.
    """

    parameter: str | tuple[str, ...]
    levels: tuple[Level, ...]
    statistic: Statistic | None = Statistic.INSTANT
    codes: tuple[Code, ...] = ()
    short_name: str | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    window: Window | None = None


@dataclass(frozen=True, kw_only=True)
class ForecastFile(SourceFileCoord):
    """The file of one lead of one forecast, or of one of its members; subclasses give its address.

    `ensemble_member` is the label of the dim of that name, None in archives without.
    """

    init_time: pd.Timestamp
    lead_time: pd.Timedelta
    ensemble_member: int | None = None

    def out_loc(self) -> Mapping[str, Any]:
        """Give the forecast, the lead, and the member if there are several."""
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

    def inventory_url(self, url: str) -> str:
        """Give the address of a file's inventory, by default the file's with ``.idx`` added."""
        return f"{url}.idx"

    def inventory_selectors(self, coord: ForecastFileT, data_var: GribVar) -> list[Selector]:
        """Say which messages of a file hold a variable, in terms of its inventory.

        By default what `message_selectors` says of the messages themselves.
        """
        return self.message_selectors(coord, data_var)

    # -- most subclasses need not override what follows --------------------------------------

    def source_file(self, init_time: pd.Timestamp, lead_time: pd.Timedelta) -> ForecastFileT:
        """Give the file of one lead of one forecast; its member, if any, is filled in."""
        file: Any = self.file_type(init_time=init_time, lead_time=lead_time)
        return cast("ForecastFileT", file)

    def message_selectors(self, coord: ForecastFileT, data_var: GribVar) -> list[Selector]:
        """Say what the messages are that hold a variable in a file, one a level."""
        window, end = data_var.window, coord.lead_time
        start = end if window is None else window.start_of(end)
        return [
            Selector(
                parameter=data_var.parameter,
                level=level.name,
                start_step=start,
                end_step=end,
                statistic=data_var.statistic,
                member=coord.ensemble_member,
                # A total since the start and one since the last reset are the same, and may come
                # twice, up to the first reset: the first is the one that is reset.
                occurrence=0,
            )
            for level in data_var.levels
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
        """Give one file for each forecast, lead and member that the variables have."""
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
        """Give a twin that knows the steps."""
        twin = super().for_worker(data_vars)
        vars(twin)["step_seconds"] = self.steps_in_seconds()
        return twin

    def steps_in_seconds(self) -> tuple[float, ...]:
        """Give the positions along `step_dim`; where the template is."""
        leads: Any = self.template_ds.get_index(self.step_dim)
        return tuple(leads.total_seconds())

    def reset_seconds(self, window: Window) -> float | None:
        """Give the step of `step_dim` at whose multiples a variable's periods begin anew."""
        return None if window.reset_every is None else window.reset_every.total_seconds()

    def download_file(self, coord: ForecastFileT) -> Download:
        """Fetch the messages of this job's variables, or the whole file if it has no inventory.

        A variable whose message is not there, or not whole, is unreadable; the others are not.
        """
        return self._try_mirrors(coord, lambda url: self._download_messages(url, coord))

    def read_data(self, coord: ForecastFileT, data_var: GribVar) -> np.ndarray[Any, Any]:
        """Decode a variable's messages: float32, new, NaN where a value is missing.

        Raises
        ------
        ValueError
            A message is not there, is damaged, is another than the inventory promised, or lies
            on another grid.
        """
        asked = self.message_selectors(coord, data_var)
        fields = [
            self._read_field(coord, data_var, level, selector)
            for level, selector in zip(data_var.levels, asked, strict=True)
        ]
        return fields[0] if len(fields) == 1 else np.stack(fields)

    def read_data_into(
        self, coord: ForecastFileT, data_var: GribVar, out: np.ndarray[Any, Any]
    ) -> None:
        """Decode a variable's messages into their places, see `read_data`."""
        if type(self).read_data is not GribForecastJob.read_data or out.dtype != np.float32:
            super().read_data_into(coord, data_var, out)  # what an author makes of the messages
            return
        asked = self.message_selectors(coord, data_var)
        rooms = out[np.newaxis] if len(asked) == 1 else out
        if len(rooms) != len(asked):
            raise ValueError(f"{len(asked)} messages of {data_var.name} for shape {out.shape}")
        for level, selector, room in zip(data_var.levels, asked, rooms, strict=True):
            self._read_field(coord, data_var, level, selector, room)

    def _read_field(
        self,
        coord: ForecastFileT,
        var: GribVar,
        level: Level,
        asked: Selector,
        out: np.ndarray[Any, Any] | None = None,
    ) -> np.ndarray[Any, Any]:
        """Decode one message into `out`, by default a new array."""
        assert coord.downloaded_path is not None
        message = _read_message(coord.downloaded_path, _key(var, level))
        with open_message(message) as opened:
            if wrong := _contradictions(opened, var, level, asked, coord.init_time):
                raise InventoryMismatch(
                    f"the message at the place of {asked} is another one: {'; '.join(wrong)}"
                )
            grid = opened.grid
            if self.grid is not None and (wrong := self.grid.differences(grid)):
                raise ValueError("; ".join(wrong))
            values = np.empty(grid.shape, np.float32) if out is None else out
            if values.shape != grid.shape:
                raise ValueError(
                    f"the message of {var.name} has shape {grid.shape}, but out_loc() selects "
                    f"{values.shape}"
                )
            opened.decode_into(values)
            if var.factors:
                scale_inplace(values, factor=_factor(var, opened.units))
        return values

    def transform_values_inplace(self, values: np.ndarray[Any, Any], data_var: GribVar) -> None:
        """Turn accumulations and averages into the mean of each step, and round."""
        window = data_var.window
        if window is not None and window.kind != "extreme":
            counts = deaccumulate_inplace(
                values,
                step_seconds=self.step_seconds,
                axis=data_var.dims.index(self.step_dim),
                reset_every_s=self.reset_seconds(window),
                kind=window.kind,
                non_negative_within=window.non_negative_within,
            )
            log.debug("deaccumulate variable=%s %s", data_var.name, counts)
        super().transform_values_inplace(values, data_var)

    def provenance(
        self, filled: np.ndarray[Any, np.dtype[np.bool_]], data_var: GribVar
    ) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Leave out the steps whose mean rests on a step before that is missing."""
        window = data_var.window
        if window is None or window.kind == "extreme":
            return filled
        return deaccumulation_footprint(
            filled,
            step_seconds=self.step_seconds,
            axis=data_var.dims.index(self.step_dim),
            reset_every_s=self.reset_seconds(window),
        )

    # -- download ----------------------------------------------------------------------------

    def _download_messages(self, url: str, coord: ForecastFileT) -> Download:
        path = self.download_path(coord)
        inventory = self._read_inventory(self.inventory_url(url))
        if isinstance(inventory, str):
            done = replace(
                fetch(url, path, settings=self._settings), remark=f"fetched whole: {inventory}"
            )
            found = self._search(path, coord)
        else:
            done, found = self._fetch_ranges(url, path, self._choose(inventory, coord))
        _listing(path).write_text(json.dumps({n: _to_json(place) for n, place in found.items()}))
        return done

    def _read_inventory(self, url: str) -> tuple[Message, ...] | str:
        """Fetch and read an inventory, or say why there is none."""
        try:
            content = read(url, settings=self._settings)
        except NotAvailable:
            log.info("no inventory url=%s: fetching the whole file", mask_url(url))
            return "there is no inventory"
        try:
            return parse_inventory(content.decode())
        except ValueError as error:
            log.warning("%s: %s: fetching the whole file", mask_url(url), error)
            return "the inventory cannot be read"

    def _choose(self, inventory: Sequence[Message], coord: ForecastFileT) -> _Chosen:
        chosen: _Chosen = {}
        for var in self.data_vars:
            asked = self.inventory_selectors(coord, var)
            for level, selector in zip(var.levels, asked, strict=True):
                try:
                    chosen[_key(var, level)] = select(inventory, selector)
                except (MessageNotFound, AmbiguousMessage) as error:
                    chosen[_key(var, level)] = str(error)
        return chosen

    def _fetch_ranges(self, url: str, path: Path, chosen: _Chosen) -> tuple[Download, _Found]:
        """Fetch chosen messages; those that lie beyond a file's end are left out."""
        try:
            return self._fetch_merged(url, path, chosen)
        except DownloadFailed:
            nbytes = self._ask_nbytes(url)
            within: _Chosen = {n: _unless_beyond(one, nbytes) for n, one in chosen.items()}
            if within == chosen:
                raise
        return self._fetch_merged(url, path, within)

    def _ask_nbytes(self, url: str) -> int | None:
        """Ask once for a file's size; None if there is no answer."""
        try:
            return identify(url, settings=replace(self._settings, attempts=1)).nbytes
        except (NotAvailable, DownloadFailed):
            return None

    def _fetch_merged(self, url: str, path: Path, chosen: _Chosen) -> tuple[Download, _Found]:
        messages = {name: one for name, one in chosen.items() if isinstance(one, Message)}
        ranges = [message.byte_range for message in messages.values()]
        # Where there is nothing to fetch, a byte tells whether the file is there, and which it is.
        merged = merge_byte_ranges(ranges or [ByteRange(0, 1)], max_gap_nbytes=self.max_gap_nbytes)
        done = fetch(url, path, settings=self._settings, byte_ranges=merged)
        at = dict(zip(messages, local_byte_ranges(ranges, merged), strict=True))
        found: _Found = {}
        for name, one in chosen.items():
            # A range without an end gives what there is: nothing, of a file that is cut before it.
            there = _unless_beyond(one, done.file_nbytes)
            found[name] = (
                there if isinstance(there, str) else _Place.promised(there, at[name].start)
            )
        return done, found

    def _search(self, path: Path, coord: ForecastFileT) -> _Found:
        """Find the variables' messages in a whole file, by what the messages themselves say."""
        asked = [
            (var, level, selector)
            for var in self.data_vars
            for level, selector in zip(var.levels, self.message_selectors(coord, var), strict=True)
        ]
        places: dict[str, list[_Place]] = {_key(var, level): [] for var, level, _ in asked}
        problem = ""
        try:
            for encoded in iter_messages(path):
                place = _Place(start=encoded.offset, submessage=encoded.submessage)
                with open_message(encoded.data) as opened:
                    for var, level, selector in asked:
                        if not _contradictions(opened, var, level, selector, coord.init_time):
                            places[_key(var, level)].append(place)
        except GribCorrupt as error:
            problem = f" ({error})"
        return {
            key: _occurrence(places[key], selector, problem)
            for key, selector in ((_key(var, level), asks) for var, level, asks in asked)
        }

    @property
    def _settings(self) -> DownloadSettings:
        # What a range holds is judged message by message, when it is read.
        return replace(self.download_settings, expect=None)


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a message lies in a local file.

    `stop` is not included; None: where the message itself says that it ends, or for the last line
    of an inventory (`line`), at the file's end. `promised_stop` is its stop in the provider's file.
    """

    start: int
    stop: int | None = None
    submessage: int | None = None
    line: str | None = None
    promised_stop: int | None = None

    @classmethod
    def promised(cls, message: Message, start: int) -> _Place:
        stop = None if message.stop is None else start + message.stop - message.start
        return cls(
            start=start,
            stop=stop,
            submessage=message.submessage,
            line=message.raw,
            promised_stop=message.stop,
        )

    def read(self, path: Path) -> bytes:
        """Read the message, checked against its line of the inventory."""
        with path.open("rb") as file:
            file.seek(self.start)
            if self.line is None:
                head = file.read(16)
                return head + file.read(message_nbytes(head) - len(head))
            data = file.read(-1 if self.stop is None else self.stop - self.start)
        (message,) = parse_inventory(self.line)
        check_message(replace(message, stop=self.promised_stop), data)
        return data


# By `_key` of a variable and level: its message, or why there is none.
_Chosen = dict[str, Message | str]
_Found = dict[str, _Place | str]


def _unless_beyond(one: Message | str, nbytes: int | None) -> Message | str:
    if isinstance(one, str) or nbytes is None:
        return one
    if one.start < nbytes and (one.stop or 0) <= nbytes:
        return one
    return (
        f"the file has {nbytes} bytes, but its inventory puts {one.raw!r} at bytes "
        f"{one.start}:{one.stop or ''}"
    )


def _occurrence(places: Sequence[_Place], asked: Selector, problem: str) -> _Place | str:
    if not places:
        return f"the file has no inventory and no message that is {asked}{problem}"
    if len(places) == 1:
        return places[0]
    if asked.occurrence is None:
        return f"the file has no inventory and {len(places)} messages that are {asked}"
    try:
        return places[asked.occurrence]
    except IndexError:
        return f"the file has no inventory and only {len(places)} messages that are {asked}"


def _key(var: GribVar, level: Level) -> str:
    return f"{var.name} at {level.name}"


def _contradictions(
    message: OpenMessage, var: GribVar, level: Level, asked: Selector, init: pd.Timestamp
) -> list[str]:
    """Say in what a message is not what is asked; what nobody asks is not read."""
    identity = message.identity
    code = (identity.discipline, identity.category, identity.number)
    pairs = [
        ("parameter", var.codes and (code if code in var.codes else var.codes), code),
        ("short name", var.short_name, var.short_name and message.short_name),
        ("reference time", init.to_pydatetime(), identity.reference_time),
        *(
            (name.replace("_", " "), getattr(asked, name), getattr(identity, name))
            for name in ("start_step", "end_step", "statistic", "member")
        ),
    ]
    wrong = [f"{n} {has}, not {want}" for n, want, has in pairs if want not in (None, (), has)]
    surfaces = (
        (level.surface, identity.first_surface),
        (level.below, identity.second_surface),
    )
    wrong += [f"surface {has}, not {want}" for want, has in surfaces if not _same(want, has)]
    return wrong


def _factor(var: GribVar, units: str) -> float:
    if units not in var.factors:
        known = ", ".join(var.factors)
        raise ValueError(f"the message's values of {var.name} are in {units!r}, not in {known}")
    return var.factors[units]


def _same(want: Surface | None, has: Surface | None) -> bool:
    if want is None:
        return True
    if has is None or has.type != want.type:
        return False
    if want.value is None:
        return True
    return has.value is not None and math.isclose(has.value, want.value, abs_tol=1e-9)


def _listing(path: Path) -> Path:
    return path.with_name(f"{path.name}.messages.json")


def _to_json(place: _Place | str) -> dict[str, Any] | str:
    return place if isinstance(place, str) else asdict(place)


def _read_message(path: Path, key: str) -> bytes:
    """Read one field."""
    place = json.loads(_listing(path).read_bytes())[key]
    if isinstance(place, str):
        raise ValueError(place)
    found = _Place(**place)
    data = found.read(path)
    if found.submessage is None:
        return data
    fields = {field.submessage: field.data for field in iter_messages(data)}
    if found.submessage not in fields:
        raise InventoryMismatch(f"the message has no field {found.submessage}: {found.line!r}")
    return fields[found.submessage]
