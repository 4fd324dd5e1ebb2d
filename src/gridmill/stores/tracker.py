"""Reads and writes what a store's sibling folder `<store>.gridmill/` says is done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gridmill.lookahead import lookahead
from gridmill.progress import ProgressRecord
from gridmill.regions import region_key
from gridmill.run_page import report_page
from gridmill.run_report import RunReport
from gridmill.stores.objects import Objects, impatient

__all__ = ["UpdateProgressTracker", "notice_key", "parse_notice"]

STATIC_KEY = "static"


class UpdateProgressTracker:
    """The durable progress records of one archive, one object a region.

    Parameters
    ----------
    objects
        Where the records are kept: the folder beside the final store, never inside it.
    dataset_id
        Records of another dataset are not believed.
    """

    def __init__(self, objects: Objects, dataset_id: str) -> None:
        self.objects = objects
        self.dataset_id = dataset_id

    def read(self, region: slice) -> ProgressRecord | None:
        """Read the record of a region; None if there is none that can be believed."""
        return self._read(_key(region))

    def read_each(self, regions: Sequence[slice]) -> list[ProgressRecord | None]:
        """Read the records of several regions, several at once; see `read`."""
        return list(lookahead(self.read, regions, min(len(regions), self.objects.at_once)))

    def write(self, record: ProgressRecord) -> None:
        """Write the record of a region, whole."""
        self.objects.put(_key(record.region), record.to_json())

    def delete(self, region: slice) -> None:
        """Forget what is known of a region."""
        self.objects.delete(_key(region))

    def records(self) -> Iterator[ProgressRecord]:
        """Yield every record that can be believed, in the order of the regions."""
        with ThreadPoolExecutor(self.objects.at_once, thread_name_prefix="records") as pool:
            for record in pool.map(self._read, list(self.objects.keys("regions"))):
                if record is not None and record.stop > record.start:
                    yield record

    def read_declaration(self) -> dict[str, Any] | None:
        """Read what was declared when the archive was made; None if it is not made yet."""
        content = impatient(self.objects).get("declaration.json")
        return None if content is None else dict(json.loads(content))

    def write_declaration(self, declaration: dict[str, Any]) -> bool:
        """Keep what was declared when the archive was made; whether nothing was declared yet."""
        content = json.dumps(declaration, indent=1).encode()
        return self.objects.put_if_absent("declaration.json", content)

    def replace_declaration(self, declaration: dict[str, Any]) -> None:
        """Change what is declared, for the runs that follow; nobody else may be at work."""
        self.objects.put("declaration.json", json.dumps(declaration, indent=1).encode())

    def write_notice(self, key: str) -> None:
        """Say that what readers see of a region's completeness may be behind its record."""
        self.objects.put(key, b"")

    def notices(self) -> list[str]:
        """Give the keys of all notices, see `notice_key`."""
        return list(self.objects.keys("behind"))

    def delete_notices(self, keys: Iterable[str]) -> None:
        """Withdraw notices."""
        list(lookahead(self.objects.delete, sorted(keys), self.objects.at_once))

    def read_redo(self, name: str) -> dict[str, Any] | None:
        """Read what is to be done again, and which runs worked on it; None if it is finished."""
        content = self.objects.get(_redo_key(name))
        return None if content is None else dict(json.loads(content))

    def write_redo(self, name: str, order: dict[str, Any]) -> None:
        """Keep what is to be done again until it is, whichever run does it."""
        self.objects.put(_redo_key(name), json.dumps(order, indent=1).encode())

    def delete_redo(self, name: str) -> None:
        """Forget what is done again now."""
        self.objects.delete(_redo_key(name))

    def write_report(self, report: RunReport) -> None:
        """Keep a run's report, as JSON for machines and as a page for people."""
        pages = {"html": report_page(report).encode(), "json": report.to_json()}
        with ThreadPoolExecutor(self.objects.at_once, thread_name_prefix="report") as pool:
            keys = [f"runs/{report.run}.{kind}" for kind in pages]
            list(pool.map(self.objects.put, keys, pages.values()))

    def read_page(self, run: str) -> str | None:
        """Read the page of a run's report; None if there is none."""
        content = self.objects.get(f"runs/{run}.html")
        return None if content is None else content.decode()

    def runs(self) -> list[str]:
        """Name the runs that left a report, the oldest first."""
        return [name for key in self.objects.keys("runs") if (name := _run_of(key))]

    def read_report(self, run: str) -> dict[str, Any] | None:
        """Read the report of a run; None if there is none."""
        content = self.objects.get(f"runs/{run}.json")
        return None if content is None else dict(json.loads(content))

    def last_report(self) -> dict[str, Any] | None:
        """Read the report of the last run; None if there was none."""
        runs = self.runs()
        return self.read_report(runs[-1]) if runs else None

    def _read(self, key: str) -> ProgressRecord | None:
        content = self.objects.get(key)
        if content is None:
            return None
        try:
            record = ProgressRecord.from_json(content)
        except ValueError:
            return None
        return record if record.dataset_id == self.dataset_id else None


def notice_key(region: slice, run: str) -> str:
    """Name the notice of a run that changes the record of a region.

    Examples
    --------
    >>> notice_key(slice(96, 192), "20200101T000000-ab")
    'behind/0000000096-20200101T000000-ab'
    """
    return f"behind/{region_key(region)}-{run}"


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


def _key(region: slice) -> str:
    name = region_key(region) if region.stop > region.start else STATIC_KEY
    return f"regions/{name}.json"


def _run_of(key: str) -> str | None:
    """Give the run that a key holds the report of; None for its page."""
    name = key.rpartition("/")[2]
    return name.removesuffix(".json") if name.endswith(".json") else None
