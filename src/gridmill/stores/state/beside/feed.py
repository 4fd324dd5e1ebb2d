"""The feed of publications beside a store: one object a day, a line a publication.

No object store appends: the day's object is rewritten with the line. A run writes it with its
first publication, then at most once a minute, and in the end; what lies between is one line. So a
run costs few requests, and a day few lines. What a run that is killed had not written is missing:
the next line begins behind where the last one ended, and says by that what is missing between.

It tells, and decides nothing: where it cannot be written, a publication goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from gridmill.model.reports.publication import Publication, parse_lines
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Objects

__all__ = ["Feed", "utc_now"]

log = logging.getLogger(__name__)

FOLDER = "feed"
INTERVAL_S = 60.0
# Each is lost to another run that wrote at the same moment; they publish one after the other.
PATIENCE = Patience(attempts=5, wait_initial_s=0.05, wait_max_s=1.0)


class Feed:
    """The feed of one archive.

    Parameters
    ----------
    objects
        Where it is kept: beside the records.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._pending: list[Publication] = []
        self._next = 0.0

    def begin(self) -> None:
        """Let the next `write` write: it is the first of a run."""
        self._next = 0.0

    def note(self, publication: Publication) -> None:
        """Keep in mind what was published; see `write`."""
        last = self._pending[-1] if self._pending else None
        if last is not None and (last.run, last.day) == (publication.run, publication.day):
            self._pending[-1] = last.followed_by(publication)
        else:
            self._pending.append(publication)

    def write(self, *, at_once: bool = False) -> None:
        """Write what was noted, at most once a minute unless `at_once`; raises nothing.

        Call it while no other run publishes.
        """
        if not self._pending or (time.monotonic() < self._next and not at_once):
            return
        self._next = time.monotonic() + INTERVAL_S
        try:
            while self._pending:
                self._append(self._pending[0])
                self._pending.pop(0)
        except Exception as error:  # whatever it is, readers see what was published
            log.warning("the feed at %s/%s is not written: %s", self.objects.url, FOLDER, error)

    def write_once(self, publication: Publication, since: str) -> None:
        """Write what one step did, unless a call that was interrupted wrote it; raises nothing.

        Parameters
        ----------
        publication
            What became of it.
        since
            When the step started (ISO 8601, UTC).
        """

        def step(line: Publication) -> tuple[str, str, int]:
            return line.run, line.kind, line.dropped

        with suppress(OSError):  # rather twice than never
            told = self.since(since[: len(publication.at)])
            if any(step(line) == step(publication) for line in told):
                return
        self.note(publication)
        self.write(at_once=True)

    @property
    def has_news(self) -> bool:
        """Whether something was noted and is not written."""
        return bool(self._pending)

    def days(self) -> list[str]:
        """Name the days of which there is a feed, the earliest first."""
        names = (key.rpartition("/")[2] for key in self.objects.keys(FOLDER))
        return [name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl")]

    def read(self, day: str) -> list[Publication]:
        """Read the publications of a day, in order; lines that cannot be read are told of."""
        found, damaged = parse_lines(self.objects.get(_key(day)) or b"")
        if damaged:
            log.warning("%d lines of %s/%s cannot be read", damaged, self.objects.url, _key(day))
        return found

    def since(self, moment: str) -> Iterator[Publication]:
        """Yield the publications from a moment on (ISO 8601, UTC), in order."""
        for day in self.days():
            if day >= moment[:10]:
                yield from (line for line in self.read(day) if line.at >= moment)

    def _append(self, publication: Publication) -> None:
        objects, key = self.objects.impatient, _key(publication.day)
        content: bytes | None = None
        for attempt in PATIENCE.attempts_at(_Moved):
            with attempt:
                there = objects.get(key)
                if content is not None and (there or b"").startswith(content):
                    return  # it was ours: the answer to the put was lost
                content = (there or b"") + publication.to_line()
                objects.overwrite(key, content, partial(self._check, key, there))

    def _check(self, key: str, there: bytes | None) -> None:
        """Raise if others wrote meanwhile: lines are only added, so that the size tells."""
        nbytes = self.objects.impatient.nbytes(key)
        if nbytes != (None if there is None else len(there)):
            raise _Moved(f"{key} was written by others, {PATIENCE.attempts} times at that moment")


class _Moved(OSError):  # noqa: N818  what happened to an object
    """Another run wrote the object."""


def _key(day: str) -> str:
    return f"{FOLDER}/{day}.jsonl"


def utc_now() -> str:
    """Return the time of the clock (ISO 8601, UTC, to the second)."""
    return datetime.now(UTC).isoformat(timespec="seconds").removesuffix("+00:00")
