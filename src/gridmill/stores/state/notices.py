"""Notices that what readers see of a region's completeness may be behind its record."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gridmill.model.region import position_key
from gridmill.model.state_files import UnreadableState
from gridmill.stores.lookahead import lookahead
from gridmill.stores.objects.protocol import Objects

__all__ = ["Notices", "notice_key", "parse_notice"]

NOTICE_KEY = re.compile(r"behind/\d+-.+")
RESTORE_NOTICE = (
    "delete it; gridmill validate then says whether readers see what is recorded as complete"
)


class Notices:
    """The notices of one archive, one a region and run that changes its record.

    Parameters
    ----------
    objects
        Where they are kept: beside the records.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def write(self, key: str) -> None:
        """Say that what readers see of a region's completeness may be behind its record."""
        self.objects.put(key, b"")

    def all(self) -> list[str]:
        """Return the keys of all notices, see `notice_key`; what is in them says nothing.

        Raises
        ------
        UnreadableState
            One has a name that says neither region nor run.
        """
        keys = list(self.objects.keys("behind"))
        for key in keys:
            if not NOTICE_KEY.fullmatch(key):
                cause = "is named like no notice of a region and a run"
                raise UnreadableState(f"{self.objects.url}/{key}", cause, RESTORE_NOTICE)
        return keys

    def delete(self, keys: Iterable[str]) -> None:
        """Withdraw notices."""
        list(lookahead(self.objects.delete, sorted(keys), self.objects.at_once))


def notice_key(start: int, run: str) -> str:
    """Name the notice of a run that changes the record of the region that begins at `start`.

    Examples
    --------
    >>> notice_key(96, "20200101T000000-ab")
    'behind/0000000096-20200101T000000-ab'
    """
    return f"behind/{position_key(start)}-{run}"


def parse_notice(key: str) -> tuple[int, str]:
    """Return the start of the region and the run that a notice names.

    Examples
    --------
    >>> parse_notice("behind/0000000096-20200101T000000-ab")
    (96, '20200101T000000-ab')
    """
    start, _, run = key.rpartition("/")[2].partition("-")
    return int(start), run
