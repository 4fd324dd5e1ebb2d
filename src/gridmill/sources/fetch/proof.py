"""Proof that what arrived is a file: no page, not empty, whole, and of the expected format."""

from __future__ import annotations

from typing import BinaryIO

import google_crc32c

from gridmill.sources.fetch.failures import TransientError
from gridmill.sources.fetch.responses import Body
from gridmill.sources.fetch.settings import DownloadSettings
from gridmill.sources.wholeness import lacks

__all__ = ["HEAD_NBYTES", "Summed", "check_body", "content_fault"]

# As far as a page is looked for.
HEAD_NBYTES = 256


class Summed:
    """A file that is written to, and the checksum of what was."""

    def __init__(self, out: BinaryIO, crc32c: int) -> None:
        self._out = out
        self.crc32c = crc32c

    def write(self, content: bytes) -> int:
        self.crc32c = google_crc32c.extend(self.crc32c, content)
        return self._out.write(content)


def check_body(body: Body, head: bytes, written: int, wanted: int | None) -> None:
    """Raise `TransientError` unless a body that has ended is that of a file.

    Parameters
    ----------
    body
        Of a response.
    head
        Its first `HEAD_NBYTES`.
    written, wanted
        How many bytes came, and how many should have; None if nobody said.
    """
    is_html = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html"))
    is_html = is_html or body.content_type.partition(";")[0].strip().lower() == "text/html"
    if is_html and not body.may_be_page:
        raise TransientError("the body is an HTML page, not a file")
    if written == 0:
        raise TransientError("the body is empty")
    if wanted is not None and written < wanted:
        raise TransientError(f"the body is truncated: {written} of {wanted} bytes")


def content_fault(out: BinaryIO, nbytes: int, settings: DownloadSettings, *, is_all: bool) -> str:
    """Say why what arrived is no file, or not all of one; empty if it is.

    Parameters
    ----------
    out
        What arrived; it is left at any position.
    nbytes
        How much that is.
    settings
        What counts as a file.
    is_all
        It should be the whole file, not ranges of it.
    """
    if nbytes < settings.min_nbytes:
        return f"{nbytes} bytes are fewer than min_nbytes={settings.min_nbytes}"
    out.seek(0)
    head = out.read(8)
    out.seek(max(nbytes - 4, 0))
    tail = out.read(4)
    if settings.expect == "netcdf" and not head.startswith((b"CDF", b"\x89HDF\r\n\x1a\n")):
        return f"the file begins with {head!r}, which is not netCDF"
    if settings.expect == "grib" and not (head.startswith(b"GRIB") and tail == b"7777"):
        return f"the file begins with {head!r} and ends with {tail!r}, which is not whole GRIB"
    return lacks(out, nbytes) if is_all else ""
