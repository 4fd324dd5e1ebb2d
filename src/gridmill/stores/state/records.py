"""Reads and writes what a store's sibling folder `<store>.gridmill/` says is done.

A file that is there and cannot be read is an `UnreadableState`, never an absence; see
`gridmill.model.state_files` for what all of them have in common.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gridmill.model.records import SCHEMA_VERSION, ProgressRecord
from gridmill.model.region import Region
from gridmill.model.state_files import SCHEMA, MissingState, UnreadableState, parse_state
from gridmill.model.urls import mask_url
from gridmill.stores.lookahead import lookahead
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.state.below import ObjectsBelow
from gridmill.stores.state.beside.feed import Feed
from gridmill.stores.state.beside.proofs import Proofs
from gridmill.stores.state.beside.reindexing import Reindexing
from gridmill.stores.state.notices import Notices
from gridmill.stores.state.pending_marks import PendingMarks
from gridmill.stores.state.reports import RunReports

__all__ = ["UpdateProgressTracker"]

# What is named otherwise is no record: an operating system's or an editor's file.
RECORD_KEY = re.compile(rf"regions/(\d+|{Region.STATIC.key})\.json")
# What readers of these files rely on; whatever else is in them is kept.
DECLARATION_NEEDS = {
    "dataset_id": (str,),
    "start": (str, type(None)),
    "variables": (list, type(None)),
    "format": (str,),
}
REDO_NEEDS = {"runs": (list,)}

RESTORE_RECORD = (
    "restore it from a backup, or let gridmill rebuild-records restore it; if it is lost, delete "
    "it: its region is then reprocessed, while what is published stays"
)
RESTORE_DECLARATION = (
    "it says what the archive was made with, so restore it from a backup, or let gridmill "
    "rebuild-records restore it"
)
RESTORE_REDO = (
    "restore it from a backup, or delete it: the next --redo of this selection then starts over"
)
RESTORE_FOLDER = (
    "nothing was written; restore the folder from a backup, give --state if it is kept elsewhere, "
    "or let gridmill rebuild-records restore it"
)


class UpdateProgressTracker:
    """The durable progress records of one archive, one object a region.

    Parameters
    ----------
    objects
        Where the records are kept: the folder beside the final store, never inside it.
    dataset_id
        Records of another dataset are refused.

    Attributes
    ----------
    marks, reports, notices, reindexing, retaining, feed, proofs
        What lies beside the records: marks of pending regions, reports of runs, notices of
        completeness that may be behind, a reindex or a retention that is under way, the feed of
        publications, proofs of regions.
    """

    def __init__(self, objects: Objects, dataset_id: str) -> None:
        self.objects = objects
        self.dataset_id = dataset_id
        self.marks = PendingMarks(objects)
        self.reports = RunReports(objects)
        self.notices = Notices(objects)
        self.feed = Feed(objects)
        self.proofs = Proofs(objects)
        self.reindexing = Reindexing(objects)
        self.retaining = Reindexing(objects, "retain")

    @property
    def adding(self) -> UpdateProgressTracker:
        """The records of variables that are being added, apart from those that updates write."""
        return UpdateProgressTracker(ObjectsBelow(self.objects, "adding"), self.dataset_id)

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
        return list(lookahead(self.read, regions, max(1, min(len(regions), self.objects.at_once))))

    def write(self, record: ProgressRecord, *, is_begun: bool = False) -> None:
        """Write the record of a region, whole; who writes it has read the one before.

        Parameters
        ----------
        record
            Of the region.
        is_begun
            What is left out of it is being reprocessed: if that ends here, the next update resumes.
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
        """Return the error for a store that shows positions and whose declaration is gone."""
        records = len(self._record_keys())
        found = f"{records} of its records" if records else "none of its records"
        cause = (
            f"has no declaration.json and {found}, but {mask_url(store_url)} shows readers "
            f"{positions} position{'s' * (positions != 1)}"
        )
        return MissingState(self.objects.url, cause, RESTORE_FOLDER)

    def read_redo(self, name: str) -> dict[str, Any] | None:
        """Read what is to be reprocessed, and which runs worked on it; None if it is finished.

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
        """Keep what is to be reprocessed until it is, whichever run does it."""
        self.objects.put(_redo_key(name), _serialised(order))

    def delete_redo(self, name: str) -> None:
        """Forget what is reprocessed now."""
        self.objects.delete(_redo_key(name))

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


def _serialised(content: Mapping[str, Any]) -> bytes:
    return json.dumps({"schema": SCHEMA, **content}, indent=1).encode()


def _redo_key(name: str) -> str:
    return f"redo/{name}.json"


def _key(region: Region) -> str:
    return f"regions/{region.key}.json"
