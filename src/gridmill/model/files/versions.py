"""Which version of a source file something is about: how its provider names it, and what it held.

Size, ETag and time name a version; a cache that flips a bit keeps all three. So there is a checksum
beside: the crc32c of the bytes, after the parts of the file that they are. Two checksums of other
parts tell nothing about each other, for a run fetches the parts of the variables that it makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import google_crc32c

__all__ = [
    "Identity",
    "Word",
    "checksum_of",
    "checksum_of_file",
    "contents_to",
    "identity_of",
    "is_on_disk",
    "is_other",
    "is_same",
    "words_from",
    "words_to",
]

WHOLE = "whole"
BLOCK_NBYTES = 1 << 20

Identity = tuple[int | None, str | None, str | None]


def identity_of(nbytes: int | None, etag: str | None, last_modified: str | None) -> Identity:
    """Return what tells two versions of a source file apart.

    The size only where the provider says nothing better: of a file that is fetched by ranges it is
    that of the variables which a run asked for.
    """
    is_named = etag is not None or last_modified is not None
    return (None if is_named else nbytes, etag, last_modified)


@dataclass(frozen=True, slots=True)
class Word:
    """Somebody's word about one version of a source file: that it is right, or wrong.

    Parameters
    ----------
    note
        Who, when and why.
    identity
        The version of the source file that it is about, see `identity_of`.
    content
        What it held, see `checksum_of`: where that is known of both, it decides alone.
    """

    note: str
    identity: Identity
    content: str | None = None

    def is_about(self, identity: Identity, content: str | None) -> bool:
        """Whether a source file is the version that this was said of."""
        if is_other(self.content, content):
            return False
        return self.identity == identity or is_same(self.content, content)


def checksum_of(crc32c: int, requests: Sequence[tuple[int, int | None] | None]) -> str:
    """Return the checksum of what was fetched.

    Parameters
    ----------
    crc32c
        Of all bytes, one part after the other.
    requests
        The parts, as half-open ranges of bytes; None is the whole file.

    Examples
    --------
    >>> checksum_of(0xC0FFEE, [None])
    'whole-00c0ffee'
    >>> checksum_of(0xC0FFEE, [(0, 16), (32, None)])
    'aa8b67fa-00c0ffee'
    """
    asked = [None if one is None else tuple(one) for one in requests]
    parts = WHOLE if asked == [None] else f"{crc32(repr(asked).encode()):08x}"
    return f"{parts}-{crc32c:08x}"


def checksum_of_file(path: Path) -> str:
    """Return the checksum of a whole file on disk."""
    return f"{WHOLE}-{_crc32c(path):08x}"


def is_same(one: str | None, other: str | None) -> bool:
    """Whether two checksums say that the content is the same."""
    return _comparable(one, other) and one == other


def is_other(one: str | None, other: str | None) -> bool:
    """Whether two checksums say that the content is not the same.

    Examples
    --------
    >>> is_other("whole-00c0ffee", "whole-00000000"), is_same("whole-00000000", "whole-00000000")
    (True, True)
    >>> is_other("whole-00c0ffee", "aa8b67fa-00000000"), is_same("whole-00000000", None)
    (False, False)
    """
    return _comparable(one, other) and one != other


def is_on_disk(path: Path, checksum: str) -> bool:
    """Whether a file holds what was fetched."""
    return f"{_crc32c(path):08x}" == checksum.rpartition("-")[2]


def words_to(words: Mapping[str, Word]) -> dict[str, Any] | None:
    """Return what was said, by variable, as plain values; None if nothing was."""
    return {name: (word.note, word.identity) for name, word in words.items()} or None


def contents_to(words: Mapping[str, Word]) -> dict[str, str]:
    """Return of which content it was said, where that is known."""
    return {name: word.content for name, word in words.items() if word.content is not None}


def words_from(raw: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Word]:
    """Return what `words_to` and `contents_to` gave."""
    return {
        name: Word(note, tuple(identity), contents.get(name))
        for name, (note, identity) in raw.items()
    }


def _comparable(one: str | None, other: str | None) -> bool:
    if one is None or other is None:
        return False
    return one.rpartition("-")[0] == other.rpartition("-")[0]


def _crc32c(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_NBYTES):
            found = google_crc32c.extend(found, block)
    return found
