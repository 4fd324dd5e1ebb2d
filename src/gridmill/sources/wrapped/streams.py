"""Compressed streams, decompressed as they are read, with bounded memory."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, cast

__all__ = ["BLOCK_NBYTES", "decompressed", "iter_blocks"]

BLOCK_NBYTES = 1 << 20
# What `xz -9` needs is 65 MiB; a header may ask for 4 GiB.
MOST_XZ_NBYTES = 256 << 20


def decompressed(file: BinaryIO, form: str) -> io.BufferedReader:
    """Return the content of one or more streams of gz, bz2, xz or zst, one after the other.

    Reading raises if they end early, are damaged, or are followed by what is neither another
    stream nor zeros: `EOFError`, `OSError` without a number, `zlib.error`, `lzma.LZMAError`, and
    zstd's own.

    Raises
    ------
    ImportError
        Nothing here decompresses zstd.
    """
    if form == "gz":
        raw: Any = gzip.GzipFile(fileobj=file, mode="rb")
        return io.BufferedReader(raw, BLOCK_NBYTES)
    new: dict[str, Callable[[], Callable[[], Any]]] = {
        "bz2": lambda: bz2.BZ2Decompressor,
        "xz": lambda: partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=MOST_XZ_NBYTES),
        "zst": _zstd,
    }
    return io.BufferedReader(_Concatenated(file, new[form]()), BLOCK_NBYTES)


def iter_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Return the rest of a file in pieces of at most `BLOCK_NBYTES`."""
    return iter(lambda: file.read(BLOCK_NBYTES), b"")


def _zstd() -> Callable[[], Any]:
    try:
        if sys.version_info >= (3, 14):
            from compression.zstd import ZstdDecompressor
        else:
            from backports.zstd import ZstdDecompressor
    except ImportError as error:
        raise ImportError(
            f"zstd-compressed files need backports.zstd: pip install 'gridmill[zstd]' ({error})"
        ) from error
    found: Callable[[], Any] = ZstdDecompressor
    return found


class _Concatenated(io.RawIOBase):
    """Streams one after the other, each by a decompressor with the interface of `bz2`'s."""

    def __init__(self, source: BinaryIO, new: Callable[[], Any]) -> None:
        self._source, self._new = source, new
        self._stream = new()
        self._kept = b""

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        found = self._read(len(room))
        room[: len(found)] = found
        return len(found)

    def _read(self, nbytes: int) -> bytes:
        while not self._stream.eof or self._begins_another():
            if found := self._stream.decompress(self._input(), nbytes):
                return cast(bytes, found)
        return b""

    def _input(self) -> bytes:
        if not self._stream.needs_input:
            return b""
        content, self._kept = self._kept or self._source.read(BLOCK_NBYTES), b""
        if not content:
            raise EOFError("it ends inside a compressed stream")
        return content

    def _begins_another(self) -> bool:
        rest = self._stream.unused_data.lstrip(b"\0")
        while not rest:
            block = self._source.read(BLOCK_NBYTES)
            if not block:
                return False
            rest = block.lstrip(b"\0")
        self._stream, self._kept = self._new(), rest
        return True
