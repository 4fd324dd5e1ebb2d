"""A line of the feed: what readers see since a publication. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gridmill.model.state_files import check_fields

__all__ = ["SECONDS", "Publication", "joined_spans", "parse_lines"]

Spans = tuple[tuple[int, int], ...]
# A run that revises all of an archive says so without naming every region.
MOST_SPANS = 50
# Of ISO 8601 without its zone, which is UTC.
SECONDS = len("2026-11-29T20:00:00")
NEEDS = {"at": (str,), "run": (str,), "positions": (list,)}


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What a run published: one moment, or several of less than a minute together.

    Parameters
    ----------
    at
        When (ISO 8601, UTC, to the second); of several, the last.
    since
        Of several, the first; else None.
    run, kind, gridmill
        Which run, what it did (``backfill``, ``update``, maintenance), and gridmill's version.
    before, after
        How many positions readers saw, and see.
    last
        The last label that they see.
    changed
        Spans of positions that they saw before, half-open, in which values were replaced.
    added, removed
        Variables that they see since, at all positions, and that they no longer see.
    dropped
        How many of the first positions they no longer see; `before` and `changed` count these.
    """

    at: str
    since: str | None = None
    run: str
    kind: str = ""
    gridmill: str = ""
    before: int
    after: int
    last: str | None = None
    changed: Spans = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    dropped: int = 0

    @property
    def day(self) -> str:
        """The day of it, in UTC."""
        return self.at[:10]

    def followed_by(self, other: Publication) -> Publication:
        """Return this and a later one of the same run as one."""
        changed = joined_spans((*self.changed, *other.changed))
        since = self.since or self.at
        return replace(
            other,
            since=since,
            before=self.before,
            changed=changed,
            added=tuple(dict.fromkeys((*self.added, *other.added))),
            removed=tuple(dict.fromkeys((*self.removed, *other.removed))),
            dropped=self.dropped + other.dropped,
        )

    def shows(self, position: int) -> bool:
        """Whether readers saw a position, or other values there, from this on."""
        is_new = self.before <= position < self.after + self.dropped
        return is_new or any(start <= position < stop for start, stop in self.changed)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, without what says nothing."""
        values = {
            "at": self.at,
            "since": self.since,
            "run": self.run,
            "kind": self.kind,
            "gridmill": self.gridmill,
            "positions": [self.before, self.after],
            "last": self.last,
            "changed": [list(span) for span in self.changed] or None,
            "added": list(self.added) or None,
            "removed": list(self.removed) or None,
            "dropped": self.dropped or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def to_line(self) -> bytes:
        """Serialise, as a line."""
        return json.dumps(self.to_dict(), separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Publication:
        """Read what `to_line` gave, also a later gridmill's.

        Raises
        ------
        ValueError
            It is none.
        """
        raw = json.loads(line)
        if not isinstance(raw, dict):
            raise ValueError("is not an object")
        check_fields(raw, NEEDS)
        before, after = raw["positions"]
        changed = tuple((int(start), int(stop)) for start, stop in raw.get("changed", ()))
        known = {name: raw[name] for name in ("since", "kind", "gridmill", "last") if name in raw}
        known |= {name: tuple(map(str, raw.get(name, ()))) for name in ("added", "removed")}
        known["dropped"] = int(raw.get("dropped", 0))
        return cls(
            at=raw["at"], run=raw["run"], before=before, after=after, changed=changed, **known
        )


def parse_lines(content: bytes) -> tuple[list[Publication], int]:
    """Return the publications of a day, and how many lines cannot be read."""
    found, damaged = [], 0
    for line in content.splitlines():
        try:
            found.append(Publication.from_line(line))
        except (ValueError, TypeError):
            damaged += 1
    return found, damaged


def joined_spans(spans: Iterable[Sequence[int]]) -> Spans:
    """Return half-open intervals in order, those that touch as one; few, with what lies between.

    Examples
    --------
    >>> joined_spans([(8, 12), (0, 4), (4, 6)])
    ((0, 6), (8, 12))
    """
    joined: list[tuple[int, int]] = []
    for start, stop in sorted((start, stop) for start, stop in spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(stop, joined[-1][1])
        else:
            joined.append((start, stop))
    if len(joined) > MOST_SPANS:
        return ((joined[0][0], joined[-1][1]),)
    return tuple(joined)
