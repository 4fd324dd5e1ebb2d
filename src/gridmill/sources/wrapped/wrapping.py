"""How a source file is wrapped by its provider: compressed, or as a member of an archive file.

Told by who declares the file, by its name, or by its first bytes; formats of data begin otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal, TypeAlias, get_args

from gridmill.model.urls import split_url

__all__ = [
    "BY_NAME",
    "HEAD_NBYTES",
    "STREAMS",
    "Compression",
    "Wrapping",
    "form_by_content",
    "form_by_name",
    "is_tar",
]

Compression: TypeAlias = Literal[
    "by name", "by content", "none", "gz", "bz2", "xz", "zst", "zip", "tar"
]

# RFC 1952, the bzip2 and xz file formats, RFC 8878 (frames, and frames to skip), PKWARE's APPNOTE
# (of an empty zip, too).
MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "gz"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    *((bytes((0x50 + n, 0x2A, 0x4D, 0x18)), "zst") for n in range(16)),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
)
STREAMS = ("gz", "bz2", "xz", "zst")
WITH_MEMBERS = ("zip", "tar", "by content")
# As far as tar's mark, POSIX.1-1988 and later.
HEAD_NBYTES = 512


def form_by_content(head: bytes) -> str | None:
    """Return the compression that a file's first bytes show; None if they show none.

    Examples
    --------
    >>> form_by_content(b"BZh91AY&SY"), form_by_content(b"GRIB")
    ('bz2', None)
    """
    return next((form for magic, form in MAGIC if head.startswith(magic)), None)


def form_by_name(name: str) -> str | None:
    """Return the compression of one file that a name's end says; that of a tar is not one.

    Examples
    --------
    >>> form_by_name("a.grib2.gz"), form_by_name("a.tar.gz"), form_by_name("a.nc")
    ('gz', None, None)
    """
    *before, last = [suffix[1:].lower() for suffix in PurePosixPath(name).suffixes] or [""]
    return last if last in STREAMS and "tar" not in before[-1:] else None


def is_tar(head: bytes) -> bool:
    """Whether a file's first `HEAD_NBYTES` are those of a tar."""
    return head[257:262] == b"ustar"


@dataclass(frozen=True, kw_only=True)
class Wrapping:
    """How a source file is wrapped.

    Parameters
    ----------
    compression
        What it is. ``"by name"``: one of gz, bz2, xz and zst, where the address ends so *and* the
        first bytes show it; else as it is. ``"by content"``: what the first bytes show. ``"none"``:
        as it is. A tar may be compressed itself.
    member
        Which file of a zip or tar: its name, or a pattern of `fnmatch`, whose ``*`` also stands for
        slashes. None: the only one.

    Raises
    ------
    ValueError
        There is no such compression, or one without members has a member.
    """

    compression: Compression = "by name"
    member: str | None = None

    def __post_init__(self) -> None:
        known = get_args(Compression)
        if self.compression not in known:
            raise ValueError(
                f"compression={self.compression!r} is not known; give one of "
                f"{', '.join(map(repr, known))}"
            )
        if self.member is not None and self.compression not in WITH_MEMBERS:
            raise ValueError(
                f"member={self.member!r} needs a file with members, and "
                f"compression={self.compression!r} has none; give one of "
                f"{', '.join(map(repr, WITH_MEMBERS))}"
            )

    def is_expected(self, url: str) -> bool:
        """Whether the file at an address may have to be unwrapped."""
        if self.compression == "by name":
            return form_by_name(split_url(url).path) is not None
        return self.compression != "none"

    def form_of(self, url: str, head: bytes) -> str | None:
        """Return what a file is that came from an address; None if it is to stay as it is.

        Raises
        ------
        ValueError
            Its first bytes are not what was declared.
        """
        shown = form_by_content(head)
        if self.compression == "by name":
            return shown if shown == form_by_name(split_url(url).path) else None
        if self.compression == "by content":
            return shown or ("tar" if is_tar(head) else None)
        # Of a tar the mark is not asked: the oldest have none, and others are compressed.
        if self.compression != "tar" and shown != self.compression:
            raise ValueError(f"it begins with {head[:8]!r}, which is not {self.compression}")
        return self.compression


BY_NAME = Wrapping()
