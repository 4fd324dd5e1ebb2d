"""A reader in a process of its own, who opens the store again and again while it is being written.

The program knows nothing of gridmill: it imports xarray and numpy, opens the store with plain
``xr.open_zarr``, reads every value and compares it with the source. It counts as a violation
whatever a user of the archive would suffer from: an open that fails, an extent that shrinks, a
wrong label, a value that is missing or wrong. `ReaderProcess` starts and stops it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import fsspec
import numpy as np
import xarray as xr

__all__ = ["Reader", "ReaderDied", "ReaderProcess", "ReaderReport", "Sighting", "Violation"]

# A pause that leaves the cores to the workers, and is short against a run.
INTERVAL_S = 0.05
# Imports of xarray and the first open, on a busy machine.
START_TIMEOUT_S = 60.0
# The journal must not grow with the time for which a broken store is watched.
MOST_VIOLATIONS = 50


class ReaderDied(RuntimeError):  # noqa: N818
    """The reader's process ended by itself."""


@dataclass(frozen=True)
class Sighting:
    """The first open that found a new extent.

    Parameters
    ----------
    positions
        Length of the append dim.
    last
        Its last label, ISO 8601.
    time
        When the open returned, in seconds since 1970.
    """

    positions: int
    last: str
    time: float


@dataclass(frozen=True)
class Violation:
    """What a reader must never see, and when it was seen (seconds since 1970)."""

    what: str
    time: float


@dataclass(frozen=True)
class ReaderReport:
    """What a reader saw.

    Parameters
    ----------
    opens
        How often it opened the store and read all of it.
    sightings
        Every extent that it saw, in order.
    n_violations
        How many opens found something that must not be.
    violations
        The first of them.
    """

    opens: int
    sightings: tuple[Sighting, ...]
    n_violations: int
    violations: tuple[Violation, ...]


class Reader:
    """Opens a store, reads all of one variable, and compares it with its source.

    Parameters
    ----------
    store
        Path or URL of the store. That it is not there yet is no violation.
    source
        The true values along the whole append dim, its first dimension; NaN where there is none.
    tolerance
        Largest error that rounding may make, in the variable's units.
    options
        What the file system of a URL takes.
    """

    def __init__(
        self,
        store: str | Path,
        source: xr.DataArray,
        tolerance: float,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.store = str(store)
        self.options = dict(options or {}) or None
        self.source = source
        self.tolerance = tolerance
        self.opens = 0
        self.n_violations = 0
        self.positions = 0

    def look(self) -> list[Sighting | Violation]:
        """Open the store once; what is new or wrong."""
        if not self.opens and not self._is_there():
            return []
        self.opens += 1
        try:
            with xr.open_zarr(self.store, storage_options=self.options) as ds:
                opened = time.time()
                found, wrong = ds.sizes[self._dim], list(self._faults(ds))
        except Exception as error:
            # Any error at all is one that a user of the archive would meet.
            self.n_violations += 1
            return [Violation(f"cannot be read: {type(error).__name__}: {error}", time.time())]
        self.n_violations += bool(wrong)
        news: list[Sighting | Violation] = [Violation(what, opened) for what in wrong]
        if found != self.positions:
            self.positions = found
            news.append(Sighting(found, self._label(found - 1), opened))
        return news

    def _is_there(self) -> bool:
        files, root = fsspec.url_to_fs(f"{self.store}/zarr.json", **(self.options or {}))
        files.invalidate_cache()
        return bool(files.exists(root))

    @property
    def _dim(self) -> str:
        return str(self.source.dims[0])

    def _label(self, position: int) -> str:
        if not 0 <= position < self.source.sizes[self._dim]:
            return "none"
        return str(self.source[self._dim].values[position])[:16]

    def _faults(self, ds: xr.Dataset) -> Iterator[str]:
        length = ds.sizes[self._dim]
        if length < self.positions:
            yield f"the extent shrank from {self.positions} to {length}"
        expected = self.source[:length]
        for dim in self.source.dims:
            if not np.array_equal(ds[dim].values, expected[dim].values):
                yield f"labels of {dim} are wrong"
        values = ds[str(self.source.name)].values
        if values.shape != expected.shape:
            yield f"the variable has shape {values.shape}, not {expected.shape}"
            return
        yield from self._wrong_values(values, expected.values)

    def _wrong_values(self, values: np.ndarray, expected: np.ndarray) -> Iterator[str]:
        missing = np.isnan(values) & ~np.isnan(expected)
        invented = ~np.isnan(values) & np.isnan(expected)
        wrong = np.abs(values - expected) > self.tolerance
        for name, places in (("missing", missing), ("invented", invented), ("wrong", wrong)):
            if places.any():
                first = self._label(int(np.flatnonzero(places.any(axis=(1, 2)))[0]))
                yield f"{int(places.sum())} values are {name}, the first at {first}"


class ReaderProcess:
    """Runs a `Reader` in a process of its own, from entering to leaving the context.

    Parameters
    ----------
    store, tolerance, options
        As of `Reader`.
    source, variable
        The netCDF file with the true values, and the variable's name in it and in the store.
    journal
        File for what it sees: a line of JSON for each piece of news.

    Notes
    -----
    It ends when its stdin is closed, so also when the parent dies.
    """

    def __init__(
        self,
        store: str | Path,
        source: Path,
        variable: str,
        journal: Path,
        tolerance: float,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.journal = journal
        arguments = [store, source, variable, journal, tolerance, json.dumps(dict(options or {}))]
        # The file, not the module: the package gridmill is not even imported.
        self._command = [sys.executable, "-P", __file__, *map(str, arguments)]

    def __enter__(self) -> Self:
        self.journal.write_text("")
        self._errors = self.journal.with_suffix(".stderr").open("w+")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stderr=self._errors, stdout=subprocess.DEVNULL
        )
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._errors.close()
        Path(self._errors.name).unlink(missing_ok=True)

    def wait_until_ready(self) -> None:
        """Wait until it polls.

        Raises
        ------
        ReaderDied
            It ended, or does not come up.
        """
        if not self._wait(lambda: any("ready" in news for news in self._news()), START_TIMEOUT_S):
            raise ReaderDied(f"the reader did not start within {START_TIMEOUT_S:.0f} s")

    def wait_for(self, positions: int, timeout_s: float = 10.0) -> Sighting | None:
        """Wait until it has seen so many positions; None if it does not in time.

        Raises
        ------
        ReaderDied
            It ended.
        """
        self._wait(lambda: self._seen(positions) is not None, timeout_s)
        return self._seen(positions)

    def stop(self) -> ReaderReport:
        """Have it look a last time and end; return what it saw.

        Raises
        ------
        ReaderDied
            It had ended before.
        """
        assert self._process.stdin is not None
        self._check_alive()
        self._process.stdin.close()
        self._process.wait(START_TIMEOUT_S)
        news = self._news()
        end = next((n["end"] for n in news if "end" in n), None)
        if end is None:
            raise ReaderDied(f"the reader ended without a report: {self._stderr()}")
        return ReaderReport(
            opens=end["opens"],
            sightings=tuple(Sighting(**n["sighting"]) for n in news if "sighting" in n),
            n_violations=end["n_violations"],
            violations=tuple(Violation(**n["violation"]) for n in news if "violation" in n),
        )

    def _seen(self, positions: int) -> Sighting | None:
        sightings = (Sighting(**n["sighting"]) for n in self._news() if "sighting" in n)
        return next((s for s in sightings if s.positions >= positions), None)

    def _news(self) -> list[dict[str, Any]]:
        lines = self.journal.read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._check_alive()
            if time.monotonic() > deadline:
                return False
            time.sleep(INTERVAL_S / 2)
        return True

    def _check_alive(self) -> None:
        if self._process.poll() is not None:
            raise ReaderDied(f"the reader's process ended: {self._stderr()}")

    def _stderr(self) -> str:
        self._errors.flush()
        return Path(self._errors.name).read_text()[-2000:].strip() or "it said nothing"


# -- the program ------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> None:
    """Look at a store until stdin is closed."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("store", "source", "variable", "journal"):
        parser.add_argument(name)
    parser.add_argument("tolerance", type=float)
    parser.add_argument("options", type=json.loads)
    args = parser.parse_args(argv)
    with xr.open_dataset(args.source) as ds:
        source = ds[args.variable].load()
    with Path(args.journal).open("a", buffering=1) as journal:
        _watch(Reader(args.store, source, args.tolerance, args.options), journal)


def _watch(reader: Reader, journal: Any) -> None:
    stop = threading.Event()
    threading.Thread(target=_set_when_stdin_ends, args=(stop,), daemon=True).start()
    _tell(journal, "ready", True)
    written = 0
    stopping = False
    while not stopping:
        stopping = stop.wait(INTERVAL_S)
        for news in reader.look():
            written += isinstance(news, Violation)
            if isinstance(news, Sighting) or written <= MOST_VIOLATIONS:
                _tell(journal, type(news).__name__.lower(), asdict(news))
    _tell(journal, "end", {"opens": reader.opens, "n_violations": reader.n_violations})


def _set_when_stdin_ends(stop: threading.Event) -> None:
    while os.read(0, 1):
        pass
    stop.set()


def _tell(journal: Any, kind: str, content: Any) -> None:
    journal.write(json.dumps({kind: content}) + "\n")


if __name__ == "__main__":
    main()
