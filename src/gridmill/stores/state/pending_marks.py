"""Says which regions have pending places, and when they are due, without a look at every record.

A mark is an empty object ``pending/<region>-<due>-<code>``. It is put before the record that it
speaks of, and that of the record before is deleted after it: whatever crashes, no pending region
is without a mark. A region with a place that a gate holds has one that is always due, so that every
update names it; so has one of which a variable failed, which is tried again whatever is published.
A region with values of a provisional file has one until they are final.
A region being reprocessed has one that is due at once until all of it is
recorded, so that the next update looks at it wherever it is. One too many costs a look.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager

from gridmill.model.records import ProgressRecord
from gridmill.stores.lookahead import lookahead
from gridmill.stores.objects.protocol import Objects

__all__ = ["PendingMarks"]

FOLDER = "pending"
# Archives of gridmill 0.1.0 have no marks: their records are looked at once.
COMPLETE = f"{FOLDER}/complete"
AT_ONCE, MIXED = "now", "mixed"


class PendingMarks:
    """The marks of one archive.

    Parameters
    ----------
    objects
        The folder beside the final store.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._known: dict[int, set[str]] = {}
        self._lacking: set[str] | None = None

    def remember(self, record: ProgressRecord) -> None:
        """Note which mark belongs to a record that is stored."""
        key = _key(record)
        if key is not None:
            self._of(record.start).add(key)

    @contextmanager
    def kept(self, record: ProgressRecord, *, is_begun: bool = False) -> Iterator[None]:
        """Put the mark of a record before the block, which stores the record, and clean up after.

        Parameters
        ----------
        record
            That of the same region was read by this tracker before, if there is one.
        is_begun
            The region is being reprocessed: what of it was pending is not in the record.
        """
        if record.region.is_static:  # every update looks at it
            yield
            return
        key = _mark(record, AT_ONCE) if is_begun else _key(record)
        if key is not None and (is_begun or key not in self._of(record.start)):
            self.objects.put(key, b"")
            self._of(record.start).add(key)
        yield
        self._clean_up(record.start, key)

    def clean_up(self, record: ProgressRecord) -> None:
        """Delete the marks that are known of a region and do not belong to its stored record."""
        if record.start in self._known:
            self._clean_up(record.start, _key(record))

    def forget_others(self, starts: Collection[int]) -> None:
        """Delete the marks of all regions but of those that start at these positions."""
        for key in set(self.objects.keys(FOLDER)) - {COMPLETE}:
            if _parse(key)[0] not in starts:
                self.objects.delete(key)

    def _clean_up(self, start: int, key: str | None) -> None:
        outdated = self._known.pop(start, set()) - {key}
        for other in outdated:
            self.objects.delete(other)
        if key is not None:
            self._of(start).add(key)

    def _of(self, start: int) -> set[str]:
        return self._known.setdefault(start, set())

    def due(self, now: str, code: Callable[[], str]) -> list[int] | None:
        """Return where the regions start that are to be looked at.

        None where an archive has no marks yet: its records are to be looked at, see `found`.

        Parameters
        ----------
        now
            The present (ISO 8601, UTC, to the minute).
        code
            Tells what would read source files today; what another read is due.
        """
        keys = set(self.objects.keys(FOLDER))
        if COMPLETE not in keys:
            return None
        at, found = now.replace(":", ""), set()
        for key in keys - {COMPLETE}:
            start, due, by = _parse(key)
            self._of(start).add(key)
            if due == AT_ONCE or due <= at or (by and by != code()):
                found.add(start)
        return sorted(found)

    def found(self, records: Iterable[ProgressRecord]) -> list[int]:
        """Return where those regions start that need a mark, of an archive that has none yet.

        `complete` puts the marks.
        """
        keys = {record.start: key for record in records if (key := _key(record)) is not None}
        self._lacking = set(keys.values())
        return sorted(keys)

    def complete(self) -> None:
        """Put the marks that were found to be lacking, if any were; under the archive's lease."""
        if self._lacking is None:
            return
        keys = sorted(self._lacking)
        list(lookahead(lambda key: self.objects.put(key, b""), keys, self.objects.at_once))
        self.objects.put(COMPLETE, b"")
        self._lacking = None


def _key(record: ProgressRecord) -> str | None:
    """Return the mark of a record; None if nothing of it is pending."""
    if record.region.is_static:
        return None
    has_failed = any(known.state == "failed" for known in record.variables.values())
    if has_failed or any(True for _ in record.held_open()):
        return _mark(record, AT_ONCE)
    places = [*record.pending(), *record.provisional()]
    tries = [record.variables[name].tries.get(index) for name, index in places]
    if not tries:
        return None
    due = min(known.due if known else "" for known in tries)
    codes = {known.code for known in tries if known} - {""}
    code = MIXED if len(codes) > 1 else next(iter(codes), "")
    return _mark(record, due.replace(":", "") or AT_ONCE, code)


def _mark(record: ProgressRecord, due: str, code: str = "") -> str:
    return f"{FOLDER}/{record.region.key}-{due}-{code}"


def _parse(key: str) -> tuple[int, str, str]:
    start, _, rest = key.rpartition("/")[2].partition("-")
    due, _, code = rest.rpartition("-")
    return int(start), due, code
