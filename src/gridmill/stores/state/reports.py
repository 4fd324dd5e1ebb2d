"""Reads and writes the reports that runs left in `<store>.gridmill/runs`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

from gridmill.model.reports.run_report import RunReport
from gridmill.model.state_files import UnreadableState, parse_state
from gridmill.stores.objects.protocol import Objects

__all__ = ["RunReports"]

log = logging.getLogger(__name__)

RESTORE_REPORT = "restore it from a backup, or delete it: it describes a past run"


class RunReports:
    """The reports of one archive's runs, each as JSON for machines and as a page for people.

    A run that found nothing to do has no page: ``gridmill report --html`` makes it.

    Parameters
    ----------
    objects
        Where they are kept: beside the records.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._skipped: set[str] = set()

    def write(self, report: RunReport, page: str | None) -> None:
        """Keep a run's report, as JSON for machines and, if there is one, its page for people."""
        pages = {} if page is None else {"html": page.encode()}
        pages["json"] = report.to_json()
        with ThreadPoolExecutor(self.objects.at_once, thread_name_prefix="report") as pool:
            keys = [f"runs/{report.run}.{kind}" for kind in pages]
            list(pool.map(self.objects.put, keys, pages.values()))

    def names(self) -> list[str]:
        """Name the runs that left a report, the oldest first."""
        return [name for key in self.objects.keys("runs") if (name := _run_of(key))]

    def read_plain(self, run: str) -> dict[str, Any] | None:
        """Read the report of a run as plain values; None if there is none.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        key = f"runs/{run}.json"
        content = self.objects.get(key)
        return None if content is None else parse_state(content, self._address(key), RESTORE_REPORT)

    def read(self, run: str) -> RunReport | None:
        """Read the report of a run; None if there is none.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        content = self.read_plain(run)
        try:
            return None if content is None else RunReport.from_dict(content)
        except ValueError as error:
            address = self._address(f"runs/{run}.json")
            raise UnreadableState(address, f"is {error}", RESTORE_REPORT) from error

    def past(self, most: int | None = None) -> Iterator[RunReport]:
        """Yield the reports of the last `most` runs, the latest first.

        For who looks at history and does not depend on it: reports that cannot be read are skipped,
        which one warning says, so that a damaged one stops no update.
        """
        skipped: list[UnreadableState] = []
        try:
            for run in islice(reversed(self.names()), most):
                try:
                    report = self.read(run)
                except UnreadableState as error:
                    skipped.append(error)
                    continue
                if report is not None:
                    yield report
        finally:
            self._warn_once(skipped)

    def last(self) -> dict[str, Any] | None:
        """Read the report of the last run; None if there was none. See `read_plain`."""
        names = self.names()
        return self.read_plain(names[-1]) if names else None

    def _address(self, key: str) -> str:
        return f"{self.objects.url}/{key}"

    def _warn_once(self, skipped: Sequence[UnreadableState]) -> None:
        """Warn of reports that were skipped, unless that was done before."""
        news = [error for error in skipped if error.address not in self._skipped]
        self._skipped.update(error.address for error in news)
        if len(news) == 1:
            log.warning("the report of a run is skipped: %s", news[0])
        elif news:
            log.warning("the reports of %d runs are skipped, the latest: %s", len(news), news[0])


def _run_of(key: str) -> str | None:
    """Return the run that a key holds the report of; None for its page."""
    name = key.rpartition("/")[2]
    return name.removesuffix(".json") if name.endswith(".json") else None
