"""The folders that one run, plan or look at an archive needs: each asked for once.

They are the driver's: workers get the names that were found, so that a folder costs as much for a
thousand workers as for one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from gridmill.sources.fetch.credentials.access import NO_ACCESS, Access, using
from gridmill.sources.fetch.failures import DownloadFailed
from gridmill.sources.fetch.settings import DEFAULT_SETTINGS, DownloadSettings
from gridmill.sources.listings.asking import Asked, Kind, Limits, ask_folder
from gridmill.sources.listings.listing import Folder, Listing
from gridmill.sources.listings.pattern import Pattern

__all__ = ["ListingCost", "Listings"]


@dataclass(frozen=True)
class ListingCost:
    """What listings cost so far.

    Parameters
    ----------
    folders
        Folders that were asked for.
    pages
        Pages that came: requests, without those that failed.
    files
        Files that they show.
    nbytes
        Bytes of the pages.
    failed
        Folders of which nobody knows what they hold.
    """

    folders: int = 0
    pages: int = 0
    files: int = 0
    nbytes: int = 0
    failed: int = 0


@dataclass
class _Known:
    lock: threading.Lock = field(default_factory=threading.Lock)
    folder: Folder | None = None


class Listings:
    """Listings of folders, each asked for once.

    Parameters
    ----------
    bases
        What relative folders are relative to: the first that lists it is believed.
    settings
        How hard to try, and the limits of hosts.
    asks
        If not, every folder is empty, and nobody is asked: for who only wants a structure.
    limits
        How much of a folder is asked for.
    access
        The credentials of the hosts that list them.

    Notes
    -----
    Safe to call from several threads: who wants a folder that another is asking for waits.
    """

    def __init__(
        self,
        bases: Sequence[str] = (),
        settings: DownloadSettings = DEFAULT_SETTINGS,
        *,
        asks: bool = True,
        limits: Limits | None = None,
        access: Access = NO_ACCESS,
    ) -> None:
        self._bases = tuple(bases)
        self._settings = settings
        self._asks = asks
        self._limits = limits or Limits()
        self._access = access
        self._known: dict[tuple[str, Kind], _Known] = {}
        self._lock = threading.Lock()
        self._asked = Asked()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle how to ask, and nothing of what was asked."""
        return partial(Listings, asks=self._asks, limits=self._limits, access=self._access), (
            self._bases,
            self._settings,
        )

    def at(self, bases: Sequence[str]) -> Listings:
        """Return those of other bases; itself where they are its own."""
        if tuple(bases) == self._bases:
            return self
        return Listings(
            bases, self._settings, asks=self._asks, limits=self._limits, access=self._access
        )

    def of(self, folder: str, pattern: str, kind: Kind = "by address") -> Listing:
        """Return the files of a folder whose names fit a pattern.

        Parameters
        ----------
        folder
            Its URL, or its path below the bases; of a bucket also what names begin with.
        pattern
            See `Pattern`.
        kind
            How a web server lists it: as a "bucket" (``ListObjectsV2``), by an "index" page, or as
            its address tells: buckets at Amazon and Google, else an index.

        Raises
        ------
        ValueError
            The pattern or the address is malformed.
        """
        known_as = Pattern(pattern)
        if not self._asks:
            return Listing(folder, known_as, Folder())
        with self._lock:
            known = self._known.setdefault((folder, kind), _Known())
        with known.lock:
            if known.folder is None:
                with using(self._access):
                    known.folder = self._ask(folder, kind)
        return Listing(folder, known_as, known.folder)

    @property
    def cost(self) -> ListingCost:
        """What they cost so far."""
        with self._lock:
            folders = [known.folder for known in self._known.values() if known.folder is not None]
            return ListingCost(
                folders=len(folders),
                pages=self._asked.pages,
                files=sum(len(folder.entries) for folder in folders),
                nbytes=self._asked.nbytes,
                failed=sum(isinstance(folder.failure, DownloadFailed) for folder in folders),
            )

    def _ask(self, folder: str, kind: Kind) -> Folder:
        """Ask at one base after another; that one fails tells more than that others lack it."""
        found: list[Folder] = []
        for url in self._urls(folder):
            asked = Asked()
            found.append(ask_folder(url, kind, self._settings, self._limits, asked))
            with self._lock:
                self._asked.pages += asked.pages
                self._asked.nbytes += asked.nbytes
            if found[-1].failure is None:
                return found[-1]
        failed = (one for one in found if isinstance(one.failure, DownloadFailed))
        return next(failed, found[0])

    def _urls(self, folder: str) -> list[str]:
        if "://" in folder or folder.startswith("/") or not self._bases:
            return [folder]
        return [f"{base.rstrip('/')}/{folder}" for base in self._bases]
