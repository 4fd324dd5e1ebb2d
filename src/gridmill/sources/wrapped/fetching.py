"""Fetch a source file and take it out of what its provider wrapped it in.

What is told of the version that was fetched (size, ETag, checksum) stays that of what came. The
file itself is written as a stream, and is whole or absent.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from gridmill.model.files.versions import checksum_of
from gridmill.model.urls import safe_name
from gridmill.sources.fetch.download import Download, DownloadFailed, fetch, partial_beside
from gridmill.sources.fetch.proof import Summed, content_fault
from gridmill.sources.fetch.settings import DEFAULT_SETTINGS, DownloadSettings
from gridmill.sources.wrapped.members import TooLarge, put_from_tar, put_from_zip
from gridmill.sources.wrapped.streams import decompressed, iter_blocks
from gridmill.sources.wrapped.wrapping import (
    BY_NAME,
    HEAD_NBYTES,
    STREAMS,
    Wrapping,
    form_by_content,
    form_by_name,
    is_tar,
)

__all__ = ["fetch_unwrapped"]


def fetch_unwrapped(
    url: str,
    destination: Path,
    *,
    settings: DownloadSettings = DEFAULT_SETTINGS,
    wrapping: Wrapping = BY_NAME,
) -> Download:
    """Fetch a whole file as `fetch` does, and unwrap it.

    Parameters
    ----------
    url, destination
        As for `fetch`.
    settings
        `expect` and `min_nbytes` are about the unwrapped file, `most_unpacked_nbytes` is its bound.
    wrapping
        How it is wrapped; what is not is fetched as by `fetch`.

    Returns
    -------
    Download
        Its `path` is that of the unwrapped file, beside `destination`, which is then not kept; its
        name is that of `destination` without the suffix of the compression, or with the member's
        added.

    Raises
    ------
    NotAvailable, ValueError, OSError
        As by `fetch`.
    DownloadFailed
        As by `fetch`; with `has_arrived` if what came cannot be unwrapped: it is damaged, ends
        early, is not what was declared, has not one such member, is beyond the bound, or what is in
        it is no file of its format.
    ImportError
        It is compressed with zstd, which nothing here reads.
    """
    if not wrapping.is_expected(url):
        return fetch(url, destination, settings=settings)
    came = fetch(url, destination, settings=replace(settings, expect=None, min_nbytes=1))
    try:
        with _as_unusable(url, came.attempts):
            return _unwrapped(came, url, settings, wrapping)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


@contextmanager
def _as_unusable(url: str, attempts: int) -> Iterator[None]:
    """Tell whatever a decoder raises as a failure of the file, but not what the worker lacks."""
    try:
        yield
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        is_told = isinstance(error, ValueError) and not isinstance(error, UnicodeError)
        cause = str(error) if is_told else f"it is damaged ({type(error).__name__}: {error})"
        raise DownloadFailed(url, cause, attempts, has_arrived=True) from None


def _unwrapped(
    came: Download, url: str, settings: DownloadSettings, wrapping: Wrapping
) -> Download:
    with came.path.open("rb") as file:
        form = wrapping.form_of(url, file.read(HEAD_NBYTES))
        file.seek(0)
        if form is None:
            _check(file, came.nbytes, settings)
            return came
        with partial_beside(came.path) as partial:
            taken = _Taken(partial, settings.most_unpacked_nbytes)
            _put(file, form, wrapping, taken)
            # Only now, for what was taken first may not be what is wanted alone.
            with partial.open("rb") as unpacked:
                _check(unpacked, taken.nbytes, settings)
            path = came.path.with_name(_local_name(came.path.name, taken.name))
            came.path.unlink()
            partial.replace(path)
    return replace(came, path=path, unpacked=checksum_of(taken.crc32c, [None]))


def _put(file: io.BufferedReader, form: str, wrapping: Wrapping, taken: _Taken) -> None:
    if form == "zip":
        put_from_zip(file, wrapping.member, taken.put)
        return
    shown = form_by_content(file.read(8))
    file.seek(0)
    content = decompressed(file, shown) if shown in STREAMS else file
    if form == "tar" or (
        wrapping.compression == "by content" and is_tar(content.peek(HEAD_NBYTES))
    ):
        put_from_tar(content, wrapping.member, taken.put, taken.most_nbytes)
    elif wrapping.member is not None:
        raise ValueError(f"it has no members, and get_member() names {wrapping.member!r}")
    else:
        taken.put("", content)


class _Taken:
    """What is taken out: written to a file that is not there yet."""

    def __init__(self, path: Path, most_nbytes: int) -> None:
        self._path, self.most_nbytes = path, most_nbytes
        self.name = ""
        self.nbytes = self.crc32c = 0

    def put(self, name: str, content: io.BufferedReader) -> None:
        """Write the content of a member, or of what has none; a member may be compressed itself."""
        form = form_by_name(name)
        if form is not None and form_by_content(content.peek(8)) == form:
            self._write(decompressed(content, form))
            name = PurePosixPath(name).stem
        else:
            self._write(content)
        self.name = name

    def _write(self, content: io.BufferedReader) -> None:
        with self._path.open("xb") as file:
            out = Summed(file, 0)
            for block in iter_blocks(content):
                self.nbytes += len(block)
                if self.nbytes > self.most_nbytes:
                    raise TooLarge(self.most_nbytes)
                out.write(block)
        self.crc32c = out.crc32c


def _check(out: BinaryIO, nbytes: int, settings: DownloadSettings) -> None:
    if fault := content_fault(out, nbytes, settings, is_all=True):
        raise ValueError(fault)


def _local_name(wrapped: str, member: str) -> str:
    """Return the name of what was in a local file.

    Examples
    --------
    >>> _local_name("7f-a.nc.gz", ""), _local_name("7f-a.zip", "../b c/x.nc")
    ('7f-a.nc', '7f-a.zip-x.nc')
    """
    if member:
        return f"{wrapped}-{safe_name(member)}"
    return wrapped.removesuffix(PurePosixPath(wrapped).suffix) or f"{wrapped}-unpacked"
