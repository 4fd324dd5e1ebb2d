"""Bodies over FTP and SFTP, through fsspec, which is imported with the first such URL.

Each request has a connection of its own: fsspec's FTP is not for several threads. A user and
password stand in the URL; without them FTP is anonymous, and SFTP takes the keys of the agent.
"""

from __future__ import annotations

import datetime as dt
import email.utils
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote

from gridmill.model.urls import split_url
from gridmill.sources.fetch.failures import NotAvailable, PermanentError, TransientError
from gridmill.sources.fetch.responses import CHUNK_NBYTES, Body, ByteRange, Deadline, FileIdentity
from gridmill.sources.fetch.settings import DownloadSettings

__all__ = ["connected", "identity_in", "open_filesystem"]

# A block is a command and an answer.
BLOCK_NBYTES = 16 << 20


@contextmanager
def open_filesystem(
    url: str, request: ByteRange | None, settings: DownloadSettings, deadline: Deadline
) -> Iterator[Body]:
    """Open a file, or a range of it, as `open_http` does it."""
    start, stop = request or (0, None)
    with connected(url, settings, deadline) as (filesystem, path):
        about = filesystem.info(path)
        if about.get("type") == "directory":
            raise NotAvailable(url, "it is a folder")
        file = identity_in(about)
        if file.nbytes is not None and request is not None and start >= file.nbytes:
            raise PermanentError(f"byte {start} lies beyond the file's {file.nbytes} bytes")
        with filesystem.open(path, "rb", block_size=BLOCK_NBYTES) as source:
            source.seek(start)
            yield Body(
                start=start,
                stop=stop,
                file=file,
                is_what_was_asked=stop is None,
                content_type="",
                chunks=iter(lambda: source.read(CHUNK_NBYTES), b""),
            )


def identity_in(about: dict[str, Any]) -> FileIdentity:
    """Return which version of a file fsspec tells of."""
    changed: Any = about.get("mtime") or about.get("modify")
    if isinstance(changed, str):
        with suppress(ValueError):  # FTP's MLSD, RFC 3659: 20250101120000[.000]
            changed = dt.datetime.strptime(changed[:14], "%Y%m%d%H%M%S").replace(tzinfo=dt.UTC)
    when = changed.astimezone(dt.UTC) if isinstance(changed, dt.datetime) else None
    size = about.get("size")
    return FileIdentity(
        nbytes=None if size is None else int(size),
        last_modified=None if when is None else email.utils.format_datetime(when, usegmt=True),
    )


@contextmanager
def connected(
    url: str, settings: DownloadSettings, deadline: Deadline
) -> Iterator[tuple[Any, str]]:
    """Connect to a URL's server; give the file system, and the path there.

    What its library raises is raised as a status of the fetch.
    """
    parts = split_url(url)
    deadline.check()
    try:
        filesystem = _filesystem(url, settings, deadline)
        try:
            yield filesystem, unquote(parts.path) or "/"
        finally:
            _close(filesystem)
    except FileNotFoundError:
        raise NotAvailable(url, "no such file or folder") from None
    except (NotAvailable, PermanentError, TransientError):
        raise
    except ImportError as error:
        raise PermanentError(f"{error}; run: pip install 'gridmill[sftp]'") from None
    except Exception as error:
        raise _status_of(error, url) from None


def _filesystem(url: str, settings: DownloadSettings, deadline: Deadline) -> Any:
    import fsspec

    parts = split_url(url)
    seconds = max(min(settings.connect_timeout_s, deadline.remaining_s), 0.001)
    options = {"host": parts.hostname, "skip_instance_cache": True, **settings.filesystem_options}
    if parts.port is not None:
        options["port"] = parts.port
    if parts.username is not None:
        options["username"] = unquote(parts.username)
    if parts.password is not None:
        options["password"] = unquote(parts.password)
    return fsspec.filesystem(parts.scheme, timeout=seconds, **options)


def _status_of(error: Exception, url: str) -> Exception:
    """Return a library's error as a status: a refusal stays one, all else may pass."""
    import ftplib

    cause = f"{type(error).__name__}: {error}"
    if isinstance(error, ftplib.error_perm):
        # RFC 959: 550 is a file that is not there, or may not be read.
        return NotAvailable(url, cause) if str(error).startswith("550") else PermanentError(cause)
    is_refusal = type(error).__name__ in ("AuthenticationException", "BadHostKeyException")
    return PermanentError(cause) if is_refusal else TransientError(cause)


def _close(filesystem: Any) -> None:
    with suppress(Exception):
        (filesystem.ftp if hasattr(filesystem, "ftp") else filesystem.client).close()
