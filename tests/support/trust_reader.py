"""The reader: a process that opens a store in a tight loop and compares all it sees with truth.

It knows nothing of gridmill: it opens with `xr.open_zarr`, as the README tells readers to, and
looks at values. What it may see: for each value, that of a version of the source file; or no value
at all, which it reports as *missing*, for the test to judge by the source server's log. Everything
else is a violation:

- a value that no version of the source file gives;
- a value that was there and is not any more, or is of an older version;
- labels that are not the axis', or an extent that shrinks;
- an open that fails once the store was there;
- a read that fails twice. One that fails once is *torn*: the shard was replaced between the two
  requests of one read, which plain Zarr allows as long as it is an error. Icechunk does not.

While a test has the server down, an open that fails is none.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import dask
import numpy as np
import pandas as pd
import xarray as xr

# Each seeded violation is visited once in so many opens of the live store.
SEEDED_EVERY = 8

# Variable, day, and quarter of the grid: its upper or lower half, its left or right half.
Place = tuple[str, int, tuple[int, int]]


@dataclass(frozen=True)
class Opening:
    """How readers open a store.

    Parameters
    ----------
    url, format
        Where it is, and ``zarr`` or ``icechunk``.
    options
        For a bucket, what s3fs takes; without credentials where anyone may read.
    """

    url: str
    format: str = "zarr"
    options: Mapping[str, Any] = field(default_factory=dict)

    def open(self) -> xr.Dataset:
        """Open what is published now."""
        if self.format == "zarr":
            return xr.open_zarr(self.url, storage_options=dict(self.options) or None)
        repository = open_repository(self.url, self.options)
        return xr.open_zarr(repository.readonly_session("main").store, consolidated=False)


def open_repository(url: str, options: Mapping[str, Any]) -> Any:
    """Open an Icechunk repository."""
    # Its threads do not survive a fork: not before the processes of a test are forked.
    import icechunk

    if not url.startswith("s3://"):
        return icechunk.Repository.open(icechunk.local_filesystem_storage(url))
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    storage = icechunk.s3_storage(
        bucket=bucket,
        prefix=prefix,
        region=options["client_kwargs"]["region_name"],
        endpoint_url=options["endpoint_url"],
        allow_http=True,
        force_path_style=True,
        anonymous=options.get("anon"),
        access_key_id=options.get("key"),
        secret_access_key=options.get("secret"),
    )
    return icechunk.Repository.open(storage)


class Truth(Protocol):
    """What the reader must know of a dataset."""

    steps_per_day: int
    variables: tuple[str, ...]
    versions: int

    def index(self, positions: int) -> pd.DatetimeIndex:
        """Give the labels of the first positions."""

    def values(self, name: str, day: int, version: int) -> np.ndarray:
        """Give a day of a variable, (step, ...)."""

    def static(self) -> Mapping[str, np.ndarray]:
        """Give the static variables."""


@dataclass
class Missing:
    """A stretch of visits that found values missing: first and last, began and ended."""

    first_began: float
    last_began: float
    last_ended: float
    last_visit: int


@dataclass
class Sightings:
    """What the reader saw of one store.

    Attributes
    ----------
    opens
        How often it opened the store and compared every value.
    torn
        How often a read failed and a fresh open succeeded.
    not_there
        Opens before the store was published.
    unreachable
        Visits that failed while the store's server was down.
    violations
        What must not be.
    violating_opens
        In how many opens there was one.
    missing
        By variable, day and quarter of the grid, when values were missing that have a truth.
    positions
        The extent that was seen last.
    torn_errors
        Why reads failed.
    """

    opens: int = 0
    torn: int = 0
    not_there: int = 0
    unreachable: int = 0
    violations: list[str] = field(default_factory=list)
    violating_opens: int = 0
    missing: dict[Place, list[Missing]] = field(default_factory=dict)
    positions: int = 0
    torn_errors: list[str] = field(default_factory=list)


class Visitor:
    """Visits one store again and again, and remembers what it saw.

    Parameters
    ----------
    opening
        How to open it.
    truth
        What is true of it.
    outage
        A file that is there while the store's server is down.
    """

    def __init__(self, opening: Opening, truth: Truth, outage: str | None = None) -> None:
        self.opening = opening
        self.truth = truth
        self.outage = None if outage is None else Path(outage)
        self.seen = Sightings()
        self._there = False
        self._visits = 0
        self._last: dict[str, np.ndarray] = {}
        self._without: dict[str, list[Place]] = {}
        # By variable and day, for every value the version that was seen, plus one; 0: none.
        self._versions: dict[tuple[str, int], np.ndarray] = {}

    def visit(self) -> None:
        """Open the store once and compare all of it."""
        before = len(self.seen.violations)
        self._visits += 1
        began = time.time()
        ds = self._open(began)
        if ds is not None:
            self.seen.opens += 1
            self._compare(ds, began, time.time())
        elif self._was_down(began):
            self.seen.unreachable += 1
            del self.seen.violations[before:]
        self.seen.violating_opens += len(self.seen.violations) > before

    def _was_down(self, since: float) -> bool:
        """Whether the server was down, or began to be or not to be, since a time."""
        if self.outage is None:
            return False
        return self.outage.exists() or self.outage.parent.stat().st_mtime >= since

    def _open(self, began: float) -> xr.Dataset | None:
        try:
            ds = self.opening.open()
        except Exception as error:
            if self._there:
                self._violated(f"the open failed: {_brief(error)}")
            self.seen.not_there += 1
            return None
        self._there = True
        try:
            return ds.load()
        except Exception as error:
            return self._open_again(error, began)

    def _open_again(self, error: Exception, began: float) -> xr.Dataset | None:
        try:
            ds = self.opening.open().load()
        except Exception as again:
            self._violated(f"the read failed twice: {_brief(error)}; then {_brief(again)}")
            return None
        if self._was_down(began):
            self.seen.unreachable += 1
            return ds
        self.seen.torn += 1
        self.seen.torn_errors.append(_brief(error))
        if self.opening.format != "zarr":
            self._violated(f"the read was torn: {_brief(error)}")
        return ds

    def _compare(self, ds: xr.Dataset, began: float, ended: float) -> None:
        positions = ds.sizes["time"]
        if positions < self.seen.positions:
            self._violated(f"the extent shrank from {self.seen.positions} to {positions}")
        self.seen.positions = positions
        if not ds.get_index("time").equals(self.truth.index(positions)):
            self._violated(f"the {positions} labels of time are not the axis'")
        for name, values in self.truth.static().items():
            if not _equal(ds[name].values, values):
                self._violated(f"{name} differs from the truth")
        for name in self.truth.variables:
            self._compare_variable(name, ds[name].values)
            for place in self._without[name]:
                self._note_missing(place, began, ended)

    def _compare_variable(self, name: str, values: np.ndarray) -> None:
        before = self._last.get(name)
        if before is not None and before.shape == values.shape and _equal(before, values):
            return
        steps = self.truth.steps_per_day
        days = range(-(-len(values) // steps))
        self._without[name] = [
            (name, day, quarter)
            for day in days
            for quarter in self._compare_day(name, day, values[day * steps : (day + 1) * steps])
        ]
        self._last[name] = values

    def _compare_day(self, name: str, day: int, values: np.ndarray) -> list[tuple[int, int]]:
        """Compare a day of a variable with every version; the quarters that lack values."""
        version = np.zeros(values.shape, "uint8")
        is_nan = np.isnan(values)
        exists = ~np.isnan(self.truth.values(name, day, 0)[: len(values)])
        for number in range(self.truth.versions):
            version[values == self.truth.values(name, day, number)[: len(values)]] = number + 1
        wrong = ~is_nan & (version == 0)
        if wrong.any():
            self._violated(f"{name} of day {day}: {int(wrong.sum())} values are of no version")
        known = self._versions.get((name, day), version[:0])[: len(values)]
        older = (version[: len(known)] < known) & ~wrong[: len(known)]
        if older.any():
            gone = int((older & is_nan[: len(known)]).sum())
            self._violated(f"{name} of day {day}: {gone} values are gone, {older.sum() - gone} old")
        self._versions[name, day] = version
        halves = [np.array_split(np.arange(length), 2) for length in values.shape[1:]]
        return [
            (i, j)
            for (i, rows), (j, columns) in product(*map(enumerate, halves))
            if (exists & is_nan)[:, rows][:, :, columns].any()
        ]

    def _note_missing(self, place: Place, began: float, ended: float) -> None:
        stretches = self.seen.missing.setdefault(place, [])
        if stretches and stretches[-1].last_visit == self._visits - 1:
            last = stretches[-1]
            last.last_began, last.last_ended, last.last_visit = began, ended, self._visits
        else:
            stretches.append(Missing(began, began, ended, self._visits))

    def _violated(self, what: str) -> None:
        self.seen.violations.append(f"{time.time():.3f} {what}")


@dataclass(frozen=True)
class Watch:
    """What the reader shall visit.

    Parameters
    ----------
    live
        The live store.
    seeded
        Stores with a violation in each.
    truth
        What is true of them.
    outage
        See `Visitor`.
    """

    live: Opening
    seeded: tuple[Opening, ...]
    truth: Truth
    outage: str | None = None


@dataclass(frozen=True)
class Watched:
    """What the reader saw during one watch: the live store, and each visit to a seeded one."""

    live: Sightings
    seeded: list[tuple[str, Sightings]]


def read_for_ever(connection: Connection) -> None:
    """Visit what the connection says, until it closes: the main function of the process."""
    # The writers, which this process watches, go first.
    os.nice(5)
    dask.config.set(scheduler="synchronous")
    # A root without consolidated metadata is none that was published.
    warnings.filterwarnings("error", message="Failed to open Zarr store with consolidated")
    while True:
        try:
            watch = connection.recv()
        except EOFError:
            return
        watched = _watch(watch, connection.poll)
        connection.recv()
        connection.send(watched)


def _watch(watch: Watch, is_over: Callable[[], bool]) -> Watched:
    live = Visitor(watch.live, watch.truth, watch.outage)
    seeded: list[tuple[str, Sightings]] = []
    while True:
        seeded += _visit_seeded(watch)
        for _ in range(SEEDED_EVERY):
            over = is_over()
            live.visit()
            if over:
                # The first visits may have met an outage, and no others been due since.
                return Watched(live.seen, seeded + _visit_seeded(watch))


def _visit_seeded(watch: Watch) -> list[tuple[str, Sightings]]:
    """Visit what has violations, without a memory: each must be caught each time."""
    found = []
    for opening in watch.seeded:
        visitor = Visitor(opening, watch.truth, watch.outage)
        visitor.visit()
        if not visitor.seen.unreachable:
            found.append((opening.url, visitor.seen))
    return found


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=True)


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:300]}"
