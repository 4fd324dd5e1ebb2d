"""Says which regions have pending places, and when they are due, without a look at every record.

A mark is an empty object ``pending/<region>-<due>-<code>``. It is put before the record that it
speaks of, and that of the record before is deleted after it: whatever crashes, no pending region
is without a mark. One too many costs a look.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
        self._of_records: dict[int, str] = {}
        self._listed: dict[int, set[str]] = {}
        self._lacking: set[str] | None = None

    def remember(self, record: ProgressRecord) -> None:
        """Note which mark belongs to a record that is stored."""
        key = _key(record)
        if key is None:
            self._of_records.pop(record.start, None)
        else:
            self._of_records[record.start] = key

    @contextmanager
    def kept(self, record: ProgressRecord) -> Iterator[None]:
        """Put the mark of a record before the block, which stores the record, and clean up after.

        Parameters
        ----------
        record
            That of the same region was read by this tracker before, if there is one.
        """
        key, before = _key(record), self._of_records.get(record.start)
        if record.region.is_static:
            yield
            return
        if key is not None and key != before:
            self.objects.put(key, b"")
        yield
        outdated = {before} | self._listed.pop(record.start, set())
        for other in outdated - {key, None}:
            self.objects.delete(str(other))
        self.remember(record)

    def due(self, now: str, code: str) -> list[int]:
        """Return where the regions start that are to be looked at.

        Parameters
        ----------
        now
            The present (ISO 8601, UTC, to the minute).
        code
            What would read source files today; what another read is due.
        """
        at, found = now.replace(":", ""), set()
        for key in self.objects.keys(FOLDER):
            if key == COMPLETE:
                continue
            start, due, by = _parse(key)
            self._listed.setdefault(start, set()).add(key)
            if due == AT_ONCE or due <= at or by not in ("", code):
                found.add(start)
        return sorted(found)

    @property
    def are_complete(self) -> bool:
        """Whether every record that needs a mark has one."""
        return self.objects.get(COMPLETE) is not None

    def found(self, records: Iterable[ProgressRecord]) -> None:
        """Note all records of an archive that has no marks yet; see `complete`."""
        self._lacking = {key for key in map(_key, records) if key is not None}

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
    due = record.next_try()
    if due is None or record.region.is_static:
        return None
    codes = {
        record.variables[n].tries[at].code
        for n, at in record.pending()
        if at in record.variables[n].tries
    }
    codes.discard("")
    code = MIXED if len(codes) > 1 else next(iter(codes), "")
    return f"{FOLDER}/{record.region.key}-{due.replace(':', '') or AT_ONCE}-{code}"


def _parse(key: str) -> tuple[int, str, str]:
    start, _, rest = key.rpartition("/")[2].partition("-")
    due, _, code = rest.rpartition("-")
    return int(start), due, code
