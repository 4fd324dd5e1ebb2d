"""Fetching messages out of a provider's GRIB file, by byte ranges that its inventory names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

from gridmill.authoring.forecasts.inventories import inventory_at
from gridmill.authoring.forecasts.reading import (
    Asked,
    Found,
    Place,
    contradictions,
    ends_in,
    is_as_promised,
    is_whole,
    write_listing,
)
from gridmill.sources.fetch.download import (
    Download,
    DownloadFailed,
    DownloadSettings,
    FileIdentity,
    NotAvailable,
    fetch,
    identify,
    mask_url,
)
from gridmill.sources.grib.framing import GribCorrupt, GribRefused, iter_messages, message_nbytes
from gridmill.sources.grib.inventory.inventory import Inventory
from gridmill.sources.grib.inventory.message import ByteRange, InventoryMalformed, Message
from gridmill.sources.grib.inventory.ranges import local_byte_ranges, merge_byte_ranges
from gridmill.sources.grib.inventory.selection import (
    AmbiguousMessage,
    MessageNotFound,
    Selector,
    select,
)
from gridmill.sources.grib.messages import open_message
from gridmill.sources.wrapped.fetching import fetch_unwrapped
from gridmill.sources.wrapped.wrapping import BY_NAME, Wrapping

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MessageOrder"]

log = logging.getLogger(__name__)


class _Fit(Enum):
    """How an inventory and its file go together."""

    RIGHT = auto()
    # What is there is as it says, and the file ends before the rest: to fetch it whole is no help.
    CUT_OFF = auto()
    OTHER = auto()


# Addresses may hold credentials.
@dataclass(frozen=True, kw_only=True, repr=False)
class MessageOrder:
    """The messages that are wanted of one file.

    Parameters
    ----------
    url, inventory_url
        Where the file and its inventory are; None if there is no inventory.
    path
        The local file that the messages go to.
    in_inventory, in_file
        What is asked, in terms of the inventory and in terms of the messages themselves.
    init_time
        The forecast's start.
    settings
        How hard to try.
    max_gap_nbytes
        Bytes worth fetching for nothing to save a request.
    attempt
        Of which run, see `gridmill.authoring.forecasts.inventories.inventory_at`.
    wrapping
        How the provider wraps it: what is wrapped has no inventory that tells its bytes.
    has_others
        Whether the file is available at other addresses, too: then it must be whole here.
    """

    url: str
    inventory_url: str | None
    path: Path
    in_inventory: Sequence[Asked]
    in_file: Sequence[Asked]
    init_time: pd.Timestamp
    settings: DownloadSettings
    max_gap_nbytes: int
    attempt: str = ""
    wrapping: Wrapping = BY_NAME
    has_others: bool = False

    def fetch(self) -> Download:
        """Fetch the messages, or the whole file if it has no inventory.

        An inventory that contradicts its file is refetched; if that does not help, the whole
        file is used without it. A message that is not there, or not whole, is listed with the
        reason; the others are not affected.

        Raises
        ------
        DownloadFailed
            As by `fetch`; with `has_arrived` if it `has_others`, and a message is not whole.
        """
        inventory, version = self._read_inventory()
        if not isinstance(inventory, str):
            try:
                done, found, are_whole = self._fetch_by(inventory, version)
            except InventoryMalformed as error:
                inventory = self._unreadable(error)
        if isinstance(inventory, str):
            whole = fetch_unwrapped(
                self.url, self.path, settings=self.settings, wrapping=self.wrapping
            )
            done = replace(whole, remark=f"fetched whole: {inventory}") if inventory else whole
            found, are_whole = self._search(done.path)
        if self.has_others and not are_whole:
            cause = "it does not hold all of the messages that it should"
            raise DownloadFailed(self.url, cause, done.attempts, has_arrived=True)
        write_listing(done.path, found)
        return done

    def _fetch_by(
        self, inventory: Inventory, version: FileIdentity
    ) -> tuple[Download, Found, bool]:
        """Fetch the messages that an inventory names; where they are others, look again.

        The third of what it returns says whether all of them are whole.
        """
        chosen = self._choose(inventory)
        done, found = self._fetch_ranges(chosen)
        fit = self._fit(inventory, chosen, done, found)
        if fit is _Fit.RIGHT:
            return replace(done, index=version), found, True
        again, version = self._read_inventory(instead_of=inventory)
        if not isinstance(again, str) and again != inventory:
            chosen = self._choose(again)
            done, found = self._fetch_ranges(chosen)
            fit = self._fit(again, chosen, done, found)
        done = replace(done, index=version)
        if fit is not _Fit.OTHER:
            return done, found, fit is _Fit.RIGHT
        done, found = self._use_whole(done, found)
        many = sum(isinstance(one, Message) for one in chosen.values())
        return done, found, self._count_right(found, done.path) >= many

    def _fit(self, inventory: Inventory, chosen: _Chosen, done: Download, found: Found) -> _Fit:
        """Say whether the messages lie where the inventory says.

        What a message is takes a tenth of its decoding to find out, so that only the last one is
        asked: an inventory that is wrong anywhere is wrong at its end.
        """
        wanted = [asked for asked in self.in_file if isinstance(chosen[asked.key], Message)]
        places = [(place, asked) for asked in wanted for place in (found[asked.key],)]
        there = [(place, asked) for place, asked in places if isinstance(place, Place)]
        whole = [(place, asked) for place, asked in there if is_whole(self.path, place)]
        if any(pair not in whole and not ends_in(self.path, pair[0]) for pair in there):
            return _Fit.OTHER
        last = max(whole, key=lambda pair: pair[0].start, default=None)
        if last is None and places:
            is_right = self._is_right_within(inventory, done.file_nbytes or 0)
        else:
            is_right = last is None or is_as_promised(self.path, *last, self.init_time)
        if not is_right:
            return _Fit.OTHER
        return _Fit.RIGHT if len(whole) == len(places) else _Fit.CUT_OFF

    def _is_right_within(self, inventory: Inventory, nbytes: int) -> bool:
        """Whether the last message that lies within a file is where its inventory says.

        Asked where none of those that are wanted does: the message's own length tells.
        """
        ends = [(one.stop, one.start) for one in inventory if one.stop and one.stop <= nbytes]
        stop, start = max(ends, default=(0, 0))
        if not stop:
            return False
        path = self.path.with_name(f"{self.path.name}.head")
        try:
            fetch(self.url, path, settings=self.settings, byte_ranges=[(start, start + 16)])
            return message_nbytes(path.read_bytes()) == stop - start
        except (NotAvailable, DownloadFailed, ValueError):
            return False
        finally:
            path.unlink(missing_ok=True)

    def _use_whole(self, done: Download, found: Found) -> tuple[Download, Found]:
        """Fetch the whole file and find the messages in it, if that gives more of them."""
        path = self.path.with_name(f"{self.path.name}.whole")
        settings = replace(self.settings, attempts=1)
        try:
            whole = fetch(self.url, path, settings=settings)
        except (NotAvailable, DownloadFailed) as error:
            log.warning("%s; its inventory contradicts what there is of it", error)
            return done, found
        instead, _ = self._search(path)
        if self._count_right(instead, path) <= self._count_right(found, self.path):
            path.unlink()
            return done, found
        path.replace(self.path)
        remark = "fetched whole: the inventory contradicts the file"
        return replace(whole, path=self.path, remark=remark, index=done.index), instead

    def _count_right(self, found: Found, path: Path) -> int:
        places = ((asked, found[asked.key]) for asked in self.in_file)
        return sum(
            not isinstance(place, str) and is_as_promised(path, place, asked, self.init_time)
            for asked, place in places
        )

    def _read_inventory(
        self, instead_of: Inventory | None = None
    ) -> tuple[Inventory | str, FileIdentity]:
        """Read the inventory, or say why there is none; and which version it is.

        Empty where there never is one.
        """
        if self.inventory_url is None:
            return "", FileIdentity()
        if self.wrapping.is_expected(self.url):
            return "it comes compressed", FileIdentity()
        url = self.inventory_url
        try:
            return inventory_at(
                url, settings=self.settings, attempt=self.attempt, instead_of=instead_of
            )
        except NotAvailable:
            log.info("no inventory url=%s: fetching the whole file", mask_url(url))
            return "there is no inventory", FileIdentity()
        except InventoryMalformed as error:
            return self._unreadable(error), FileIdentity()

    def _unreadable(self, error: InventoryMalformed) -> str:
        log.warning("%s: %s: fetching the whole file", mask_url(self.inventory_url or ""), error)
        return "the inventory cannot be read"

    def _choose(self, inventory: Inventory) -> _Chosen:
        chosen: _Chosen = {}
        for asked in self.in_inventory:
            try:
                chosen[asked.key] = self._selected(inventory, asked.selector)
            except (MessageNotFound, AmbiguousMessage) as error:
                chosen[asked.key] = str(error)
        return chosen

    def _selected(self, inventory: Inventory, selector: Selector) -> Message:
        """Find a message; of a file with several times, that of its own."""
        try:
            return inventory.select(selector)
        except AmbiguousMessage:
            init = self.init_time.to_pydatetime()
            own = [message for message in inventory if message.reference_time == init]
            if not own:
                raise
            return select(own, selector)

    def _fetch_ranges(self, chosen: _Chosen) -> tuple[Download, Found]:
        """Fetch chosen messages; those that lie beyond a file's end are left out."""
        try:
            return self._fetch_merged(chosen)
        except DownloadFailed:
            nbytes = self._ask_nbytes()
            within: _Chosen = {n: _unless_beyond(one, nbytes) for n, one in chosen.items()}
            if within == chosen:
                raise
        return self._fetch_merged(within)

    def _ask_nbytes(self) -> int | None:
        """Ask once for the file's size; None if there is no answer."""
        try:
            return identify(self.url, settings=replace(self.settings, attempts=1)).nbytes
        except (NotAvailable, DownloadFailed):
            return None

    def _fetch_merged(self, chosen: _Chosen) -> tuple[Download, Found]:
        messages = {name: one for name, one in chosen.items() if isinstance(one, Message)}
        ranges = [message.byte_range for message in messages.values()]
        # Where there is nothing to fetch, a byte tells whether the file is there, and which it is.
        merged = merge_byte_ranges(ranges or [ByteRange(0, 1)], max_gap_nbytes=self.max_gap_nbytes)
        done = fetch(self.url, self.path, settings=self.settings, byte_ranges=merged)
        at = dict(zip(messages, local_byte_ranges(ranges, merged), strict=True))
        found: Found = {}
        for name, one in chosen.items():
            # A range without an end gives what there is: nothing, of a file that is cut before it.
            there = _unless_beyond(one, done.file_nbytes)
            found[name] = there if isinstance(there, str) else Place.promised(there, at[name].start)
        return done, found

    def _search(self, path: Path) -> tuple[Found, bool]:
        """Find the messages in a whole file, by what they say; and whether it hides none of them.

        One that cannot be read hides none of the others; what is not found names the first such.
        """
        places: dict[str, list[Place]] = {asked.key: [] for asked in self.in_file}
        problems: list[str] = []
        try:
            for encoded in iter_messages(path):
                place = Place(start=encoded.offset, submessage=encoded.submessage)
                try:
                    for asked in self._held_in(encoded.data):
                        places[asked.key].append(place)
                except (GribCorrupt, GribRefused) as error:
                    problems.append(f"of the message at byte {encoded.offset}: {error}")
        except GribCorrupt as error:
            problems.append(str(error))
        problem = f" ({problems[0]})" if problems else ""
        found: Found = {
            asked.key: _occurrence(places[asked.key], asked.selector, problem)
            for asked in self.in_file
        }
        return found, not problems or all(isinstance(one, Place) for one in found.values())

    def _held_in(self, message: bytes) -> list[Asked]:
        with open_message(message) as opened:
            return [
                asked for asked in self.in_file if not contradictions(opened, asked, self.init_time)
            ]


# By key of what is asked: its message, or why there is none.
_Chosen = dict[str, Message | str]


def _unless_beyond(one: Message | str, nbytes: int | None) -> Message | str:
    if isinstance(one, str) or nbytes is None:
        return one
    if one.start < nbytes and (one.stop or 0) <= nbytes:
        return one
    return (
        f"the file has {nbytes} bytes, but its inventory puts {one.raw!r} at bytes "
        f"{one.start}:{one.stop or ''}"
    )


def _occurrence(places: Sequence[Place], asked: Selector, problem: str) -> Place | str:
    if not places:
        return f"the file, read without an inventory, has no message that is {asked}{problem}"
    if len(places) == 1:
        return places[0]
    if asked.occurrence is None:
        return f"the file, read without an inventory, has {len(places)} messages that are {asked}"
    try:
        return places[asked.occurrence]
    except IndexError:
        return (
            f"the file, read without an inventory, has only {len(places)} messages that are {asked}"
        )
