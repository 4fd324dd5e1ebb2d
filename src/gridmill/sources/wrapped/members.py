"""The one file that is wanted of a zip or tar, which is read as a stream.

Names in an archive file are compared and told; nothing is ever written to where they point.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, BinaryIO, Self, cast

from gridmill.sources.wrapped.streams import BLOCK_NBYTES, iter_blocks

__all__ = ["TooLarge", "put_from_tar", "put_from_zip"]

Put = Callable[[str, io.BufferedReader], None]

MOST_NAMED = 10
# What lzma in a zip needs is up to its header, and nothing bounds it.
ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
# Names and the like of a tar's member, which tarfile reads at once.
MOST_HEADER_NBYTES = 1 << 20
HEADER_TYPES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
TAR_BLOCK = 512


class TooLarge(ValueError):  # noqa: N818
    """What a file holds is beyond the bound."""

    def __init__(self, most_nbytes: int) -> None:
        super().__init__(most_nbytes)
        self.most_nbytes = most_nbytes

    def __str__(self) -> str:
        return (
            f"unpacked it has more than most_unpacked_nbytes={self.most_nbytes:,} bytes; if that "
            "is right, raise the bound in DownloadSettings"
        )


def put_from_zip(file: BinaryIO, member: str | None, put: Put) -> None:
    """Hand the wanted member of a zip over.

    Raises
    ------
    ValueError
        There is not one such member, or it is compressed in a way that is not read.
    zipfile.BadZipFile, EOFError, zlib.error, OSError, RuntimeError
        The zip is damaged or encrypted.
    """
    with zipfile.ZipFile(file) as opened:
        wanted = _Wanted(member)
        taken: dict[str, zipfile.ZipInfo] = {}
        for info in opened.infolist():
            if not info.is_dir() and wanted.takes(info.filename):
                taken[info.filename] = info
        wanted.check()
        (info,) = taken.values()
        if info.compress_type not in ZIP_METHODS:
            raise ValueError(
                f"{info.filename!r} is compressed by zip's method {info.compress_type}"
            )
        with opened.open(info) as content:
            raw: Any = content
            put(info.filename, io.BufferedReader(raw, BLOCK_NBYTES))


def put_from_tar(file: BinaryIO, member: str | None, put: Put, most_nbytes: int) -> None:
    """Hand the wanted member of a tar over; the tar is read once, to its end.

    Parameters
    ----------
    most_nbytes
        Of the tar itself, which may come out of a compressed stream.

    Raises
    ------
    ValueError
        There is not one such member, or the tar is larger, or ends early.
    tarfile.TarError
        The tar is damaged.
    """
    stream: Any = _Followed(file, most_nbytes)
    wanted, opened = _Wanted(member), cast(Any, tarfile.open)
    with opened(fileobj=stream, mode="r|", tarinfo=_BoundedHeader) as tar:
        while (info := tar.next()) is not None:
            tar.members.clear()
            if info.isreg() and wanted.takes(info.name) and wanted.n_taken == 1:
                put(info.name, tar.extractfile(info))
    for _ in iter_blocks(stream):
        pass
    if stream.tail.strip(b"\0") or len(stream.tail) < TAR_BLOCK:
        raise ValueError("the tar ends without its mark of the end: it is not whole")
    wanted.check()


class _Wanted:
    """Which files of an archive file are wanted, and which there were."""

    def __init__(self, member: str | None) -> None:
        self._member = member and member.removeprefix("./")
        self.n_taken = self._n_files = 0
        self._names: list[str] = []

    def takes(self, name: str) -> bool:
        name = name.removeprefix("./")
        is_taken = self._member in (None, name) or fnmatchcase(name, self._member or "")
        self.n_taken += is_taken
        self._n_files += 1
        if len(self._names) < MOST_NAMED:
            self._names.append(name)
        return is_taken

    def check(self) -> None:
        """Raise unless one was taken."""
        if self.n_taken == 1:
            return
        named = ", ".join(map(repr, self._names)) or "none"
        more = ", …" if self._n_files > len(self._names) else ""
        if self._member is None:
            rule = "get_member() must name the one that is wanted"
        else:
            rule = f"{self.n_taken} of them are {self._member!r}, and get_member() must name one"
        raise ValueError(f"it holds {self._n_files:,} files ({named}{more}); {rule}")


class _Followed:
    """A stream whose size is bounded, and whose last bytes are remembered."""

    def __init__(self, file: BinaryIO, most_nbytes: int) -> None:
        self._file, self._most = file, most_nbytes
        self._n_read = 0
        self.tail = b""

    def read(self, nbytes: int) -> bytes:
        found = self._file.read(nbytes)
        self._n_read += len(found)
        if self._n_read > self._most:
            raise TooLarge(self._most)
        self.tail = (self.tail + found)[-TAR_BLOCK:]
        return found


class _BoundedHeader(tarfile.TarInfo):
    """A tar's header; one that is larger than any name is refused before it is read."""

    @classmethod
    def frombuf(cls, buf: Any, encoding: Any, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in HEADER_TYPES and found.size > MOST_HEADER_NBYTES:
            raise tarfile.ReadError(f"a header of {found.size:,} bytes")
        return found
