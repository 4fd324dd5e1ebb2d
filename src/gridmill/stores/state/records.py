"""Reads and writes what a store's sibling folder `<store>.gridmill/` says is done.

A file that is there and cannot be read is an `UnreadableState`, never an absence; see
`gridmill.model.state_files` for what all of them have in common.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from gridmill.model.records import SCHEMA_VERSION, ProgressRecord
from gridmill.model.region import Region, position_key
from gridmill.model.reports.run_report import RunReport
from gridmill.model.state_files import SCHEMA, MissingState, UnreadableState, parse_state
from gridmill.model.urls import mask_url
from gridmill.stores.lookahead import lookahead
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.state.pending_marks import PendingMarks

__all__ = ["UpdateProgressTracker", "notice_key", "parse_notice"]

log = logging.getLogger(__name__)

# What is named otherwise is no record: an operating system's or an editor's file.
RECORD_KEY = re.compile(rf"regions/(\d+|{Region.STATIC.key})\.json")
NOTICE_KEY = re.compile(r"behind/\d+-.+")
# What readers of these files rely on; whatever else is in them is kept.
DECLARATION_NEEDS = {
    "dataset_id": (str,),
    "start": (str, type(None)),
    "variables": (list, type(None)),
    "format": (str,),
}
REDO_NEEDS = {"runs": (list,)}

RESTORE_RECORD = (
    "restore it from a backup, or let gridmill rebuild-records make it anew; if it is lost, delete "
    "it: its region is then reprocessed, while what is published stays"
)
RESTORE_DECLARATION = (
    "it says what the archive was made with, so restore it from a backup, or let gridmill "
    "rebuild-records make it anew"
)
RESTORE_REDO = (
    "restore it from a backup, or delete it: the next --redo of this selection then begins anew"
)
RESTORE_REPORT = "restore it from a backup, or delete it: it tells of a past run"
RESTORE_NOTICE = (
    "delete it; gridmill validate then says whether readers see what is recorded as complete"
)
RESTORE_FOLDER = (
    "nothing was written; restore the folder from a backup, give --state if it is kept elsewhere, "
    "or let gridmill rebuild-records make it anew"
)


class UpdateProgressTracker:
    """The durable progress records of one archive, one object a region.

    Parameters
    ----------
    objects
        Where the records are kept: the folder beside the final store, never inside it.
    dataset_id
        Records of another dataset are refused.
    """

    def __init__(self, objects: Objects, dataset_id: str) -> None:
        self.objects = objects
        self.dataset_id = dataset_id
        self.marks = PendingMarks(objects)
        self._skipped: set[str] = set()

    def read(self, region: Region) -> ProgressRecord | None:
        """Read the record of a region; None if there is none.

        Raises
        ------
        UnreadableState
            It is damaged, another dataset's or region's, or a later gridmill's.
        """
        return self._read(_key(region))

    def read_each(self, regions: Sequence[Region]) -> list[ProgressRecord | None]:
        """Read the records of several regions, several at once; see `read`."""
        return list(lookahead(self.read, regions, min(len(regions), self.objects.at_once)))

    def write(self, record: ProgressRecord, *, is_begun: bool = False) -> None:
        """Write the record of a region, whole; who writes it has read the one before.

        Parameters
        ----------
        record
            Of the region.
        is_begun
            What is left out of it is being made anew: if that ends here, the next update goes on.
        """
        with self.marks.kept(record, is_begun=is_begun):
            self.objects.put(_key(record.region), record.to_json())

    def delete(self, region: Region) -> None:
        """Forget what is known of a region."""
        self.objects.delete(_key(region))

    def all_records(self) -> Iterator[ProgressRecord]:
        """Yield the record of the static variables, if there is one, and then `records`."""
        static = self.read(Region.STATIC)
        if static is not None:
            yield static
        yield from self.records()

    def records(self) -> Iterator[ProgressRecord]:
        """Yield the records of the append dim, in the order of the regions; see `read`."""
        keys = self._record_keys()
        with ThreadPoolExecutor(self.objects.at_once, thread_name_prefix="records") as pool:
            for record in pool.map(self._read, keys):
                if record is not None and not record.region.is_static:
                    yield record

    def read_declaration(self) -> dict[str, Any] | None:
        """Read what was declared when the archive was made; None if it is not made yet.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        content = self.objects.impatient.get("declaration.json")
        if content is None:
            return None
        address = self._address("declaration.json")
        return parse_state(content, address, RESTORE_DECLARATION, needs=DECLARATION_NEEDS)

    def write_declaration(self, declaration: Mapping[str, Any]) -> bool:
        """Keep what was declared when the archive was made; whether nothing was declared yet."""
        return self.objects.put_if_absent("declaration.json", _serialised(declaration))

    def replace_declaration(self, declaration: Mapping[str, Any]) -> None:
        """Change what is declared, for the runs that follow; nobody else may be at work.

        What is declared and not named, like a later gridmill's fields, stays.
        """
        there = self.read_declaration() or {}
        self.objects.put("declaration.json", _serialised({**there, **declaration}))

    def lost(self, store_url: str, positions: int) -> MissingState:
        """Give the error for a store that shows positions and whose declaration is gone."""
        records = len(self._record_keys())
        found = f"{records} of its records" if records else "none of its records"
        cause = (
            f"has no declaration.json and {found}, but {mask_url(store_url)} shows readers "
            f"{positions} position{'s' * (positions != 1)}"
        )
        return MissingState(self.objects.url, cause, RESTORE_FOLDER)

    def write_notice(self, key: str) -> None:
        """Say that what readers see of a region's completeness may be behind its record."""
        self.objects.put(key, b"")

    def notices(self) -> list[str]:
        """Give the keys of all notices, see `notice_key`; what is in them says nothing.

        Raises
        ------
        UnreadableState
            One has a name that says neither region nor run.
        """
        keys = list(self.objects.keys("behind"))
        for key in keys:
            if not NOTICE_KEY.fullmatch(key):
                cause = "is named like no notice of a region and a run"
                raise UnreadableState(self._address(key), cause, RESTORE_NOTICE)
        return keys

    def delete_notices(self, keys: Iterable[str]) -> None:
        """Withdraw notices."""
        list(lookahead(self.objects.delete, sorted(keys), self.objects.at_once))

    def read_redo(self, name: str) -> dict[str, Any] | None:
        """Read what is to be done again, and which runs worked on it; None if it is finished.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        key = _redo_key(name)
        content = self.objects.get(key)
        if content is None:
            return None
        return parse_state(content, self._address(key), RESTORE_REDO, needs=REDO_NEEDS)

    def write_redo(self, name: str, order: Mapping[str, Any]) -> None:
        """Keep what is to be done again until it is, whichever run does it."""
        self.objects.put(_redo_key(name), _serialised(order))

    def delete_redo(self, name: str) -> None:
        """Forget what is done again now."""
        self.objects.delete(_redo_key(name))

    def write_report(self, report: RunReport, page: str) -> None:
        """Keep a run's report, as JSON for machines and as its page for people."""
        pages = {"html": page.encode(), "json": report.to_json()}
        with ThreadPoolExecutor(self.objects.at_once, thread_name_prefix="report") as pool:
            keys = [f"runs/{report.run}.{kind}" for kind in pages]
            list(pool.map(self.objects.put, keys, pages.values()))

    def runs(self) -> list[str]:
        """Name the runs that left a report, the oldest first."""
        return [name for key in self.objects.keys("runs") if (name := _run_of(key))]

    def read_report(self, run: str) -> dict[str, Any] | None:
        """Read the report of a run as plain values; None if there is none.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        key = f"runs/{run}.json"
        content = self.objects.get(key)
        return None if content is None else parse_state(content, self._address(key), RESTORE_REPORT)

    def read_run(self, run: str) -> RunReport | None:
        """Read the report of a run; None if there is none.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        content = self.read_report(run)
        try:
            return None if content is None else RunReport.from_dict(content)
        except ValueError as error:
            address = self._address(f"runs/{run}.json")
            raise UnreadableState(address, f"is {error}", RESTORE_REPORT) from error

    def past_runs(self, most: int | None = None) -> Iterator[RunReport]:
        """Yield the reports of the last `most` runs, the latest first.

        For who looks at history and does not depend on it: reports that cannot be read are skipped,
        which one warning says, so that a damaged one stops no update.
        """
        skipped: list[UnreadableState] = []
        try:
            for run in islice(reversed(self.runs()), most):
                try:
                    report = self.read_run(run)
                except UnreadableState as error:
                    skipped.append(error)
                    continue
                if report is not None:
                    yield report
        finally:
            self._warn_once(skipped)

    def last_report(self) -> dict[str, Any] | None:
        """Read the report of the last run; None if there was none. See `read_report`."""
        runs = self.runs()
        return self.read_report(runs[-1]) if runs else None

    def _read(self, key: str) -> ProgressRecord | None:
        content = self.objects.get(key)
        if content is None:
            return None
        try:
            record = ProgressRecord.from_json(content)
            self._check_place(record, key)
        except (ValueError, RecursionError) as error:
            address = self._address(key)
            # What is no file of this schema says so better than what came of it.
            parse_state(content, address, RESTORE_RECORD, readable=SCHEMA_VERSION)
            raise UnreadableState(address, f"cannot be used ({error})", RESTORE_RECORD) from error
        self.marks.remember(record)
        return record

    def _check_place(self, record: ProgressRecord, key: str) -> None:
        """Raise unless a record belongs to this dataset and to the region that its key names."""
        if record.dataset_id != self.dataset_id:
            raise ValueError(f"it belongs to {record.dataset_id}, not to {self.dataset_id}")
        if type(record.start) is not int or type(record.stop) is not int:
            raise ValueError(f"it is of positions {record.start!r} to {record.stop!r}")
        if _key(record.region) != key:
            raise ValueError(f"it is the record that belongs at {_key(record.region)}")

    def _record_keys(self) -> list[str]:
        return [key for key in self.objects.keys("regions") if RECORD_KEY.fullmatch(key)]

    def _address(self, key: str) -> str:
        return f"{self.objects.url}/{key}"

    def _warn_once(self, skipped: Sequence[UnreadableState]) -> None:
        """Warn of reports that were skipped, unless this tracker did before."""
        news = [error for error in skipped if error.address not in self._skipped]
        self._skipped.update(error.address for error in news)
        if len(news) == 1:
            log.warning("the report of a run is skipped: %s", news[0])
        elif news:
            log.warning("the reports of %d runs are skipped, the latest: %s", len(news), news[0])


def _serialised(content: Mapping[str, Any]) -> bytes:
    return json.dumps({"schema": SCHEMA, **content}, indent=1).encode()


def notice_key(start: int, run: str) -> str:
    """Name the notice of a run that changes the record of the region that begins at `start`.

    Examples
    --------
    >>> notice_key(96, "20200101T000000-ab")
    'behind/0000000096-20200101T000000-ab'
    """
    return f"behind/{position_key(start)}-{run}"


def parse_notice(key: str) -> tuple[int, str]:
    """Give the start of the region and the run that a notice names.

    Examples
    --------
    >>> parse_notice("behind/0000000096-20200101T000000-ab")
    (96, '20200101T000000-ab')
    """
    start, _, run = key.rpartition("/")[2].partition("-")
    return int(start), run


def _redo_key(name: str) -> str:
    return f"redo/{name}.json"


def _key(region: Region) -> str:
    return f"regions/{region.key}.json"


def _run_of(key: str) -> str | None:
    """Give the run that a key holds the report of; None for its page."""
    name = key.rpartition("/")[2]
    return name.removesuffix(".json") if name.endswith(".json") else None
