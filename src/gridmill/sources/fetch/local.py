"""Bodies from local files."""

from __future__ import annotations

import email.utils
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import url2pathname

from gridmill.model.urls import split_url
from gridmill.sources.fetch.failures import NotAvailable, PermanentError, mask_url
from gridmill.sources.fetch.responses import CHUNK_NBYTES, Body, ByteRange, Deadline, FileIdentity
from gridmill.sources.fetch.settings import DownloadSettings

__all__ = ["open_local"]


@contextmanager
def open_local(
    url: str, request: ByteRange | None, settings: DownloadSettings, deadline: Deadline
) -> Iterator[Body]:
    start, stop = request or (0, None)
    try:
        source = _local_path(url).open("rb")
    except FileNotFoundError:
        raise NotAvailable(url, "no such local file") from None
    except OSError as e:
        raise PermanentError(f"{type(e).__name__}: {e.strerror}") from None
    with source:
        status = os.fstat(source.fileno())
        source.seek(start)
        yield Body(
            start=start,
            stop=stop,
            file=FileIdentity(
                nbytes=status.st_size,
                # As Apache and nginx make it; Last-Modified misses a change within a second.
                etag=f'"{status.st_mtime_ns:x}-{status.st_size:x}"',
                last_modified=email.utils.formatdate(status.st_mtime, usegmt=True),
            ),
            is_what_was_asked=stop is None,
            content_type="",
            chunks=iter(lambda: source.read(CHUNK_NBYTES), b""),
        )


def _local_path(url: str) -> Path:
    if not url.lower().startswith("file://"):
        return Path(url)
    parsed = split_url(url)
    if parsed.netloc not in ("", "localhost"):
        raise ValueError(f"{mask_url(url)} names a host; write file:///path for a local file")
    return Path(url2pathname(parsed.path))
