"""What is recorded of a source file: what became of it, its version, what was said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gridmill.model.files.versions import Identity, Word, identity_of, is_other, is_same
from gridmill.model.settled import SourceFileStatus

__all__ = ["SourceFileRecord", "by_listing"]


@dataclass(frozen=True, kw_only=True)
class SourceFileRecord:
    """What is known of one source file of a region.

    Parameters
    ----------
    url
        Its address, credentials masked.
    start, stop
        Positions along the append dim that it fills, relative to the region's start.
    status, settled
        See `gridmill.model.settled.SourceFill`.
    nbytes, etag, last_modified
        Identity, taken from the download's own response.
    checksum
        Of what was fetched, see `gridmill.model.files.versions`.
    index
        Which version of its index said where its parts are, see `identity_of`.
    fetched_from
        Which other address than `url` it was taken from, credentials masked.
    detail
        Why it did not succeed, or what is worth knowing of how it did.
    was_there
        Whether an earlier run got it, where it did not succeed since; None says nothing.
    provisional
        Why what was read of it last is not final; None if it is final, or nothing was read.
    accepted
        Which operator settled it, when and why; that also holds for variables that could not be
        read from it.
    released
        By variable that a gate held: which version of the file somebody said is right.
    withdrawn
        By variable whose values were taken from readers: which version is not read again.
    arrived
        When this version was fetched first (ISO 8601, UTC); None in records of older releases.
    run
        Which of the record's runs that was.
    extra
        Optional fields that a later gridmill wrote: kept as long as the file's record is.
    """

    url: str
    start: int
    stop: int
    status: SourceFileStatus
    settled: bool
    nbytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    checksum: str | None = None
    index: Identity | None = None
    fetched_from: str | None = None
    detail: str | None = None
    was_there: bool | None = None
    provisional: str | None = None
    accepted: str | None = None
    released: Mapping[str, Word] = field(default_factory=dict, hash=False)
    withdrawn: Mapping[str, Word] = field(default_factory=dict, hash=False)
    # Variables of one group share their files, whichever run asked for them when.
    arrived: str | None = field(default=None, compare=False)
    run: int | None = field(default=None, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def is_provisional(self) -> bool:
        """Whether its values are there, and are asked for until they are final."""
        is_read = self.status is SourceFileStatus.SUCCEEDED
        return is_read and self.provisional is not None and self.accepted is None

    @property
    def was_final(self) -> bool:
        """Whether the final file was read, now or before."""
        is_read = self.status is SourceFileStatus.SUCCEEDED or bool(self.was_there)
        return is_read and self.provisional is None

    @property
    def identity(self) -> Identity:
        """What tells two versions of the file apart, see `identity_of`."""
        return identity_of(self.nbytes, self.etag, self.last_modified)

    def is_as(self, other: SourceFileRecord) -> bool:
        """Whether this is the same version as another record's: content decides, if known."""
        if is_other(self.checksum, other.checksum):
            return False
        return self.identity == other.identity or is_same(self.checksum, other.checksum)


def by_listing(
    files: Iterable[SourceFileRecord],
) -> dict[tuple[str, int], tuple[int, SourceFileRecord]]:
    """Return files with their indices, by URL and how often that was listed before.

    A file that fills several places is listed once for each, in the order of the job's.
    """
    times: Counter[str] = Counter()
    found = {}
    for index, file in enumerate(files):
        found[file.url, times[file.url]] = index, file
        times[file.url] += 1
    return found
