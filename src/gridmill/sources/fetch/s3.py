"""Bodies from S3, through s3fs, which is imported with the first S3 URL."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gridmill.sources.fetch.failures import NotAvailable, PermanentError, TransientError, mask_text
from gridmill.sources.fetch.responses import (
    CHUNK_NBYTES,
    Body,
    ByteRange,
    Deadline,
    FileIdentity,
    body_of,
    check_status,
    range_header,
)
from gridmill.sources.fetch.settings import DownloadSettings

__all__ = ["list_s3", "open_s3"]

# Codes that come with statuses which say less; a throttled request may come as 400.
_THROTTLING_CODES = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout"}
)


# Other codes of a 403, such as SignatureDoesNotMatch and ExpiredToken, never mean absence.
_ABSENCE_OR_REFUSAL_CODES = frozenset({"AccessDenied", "Forbidden", "403"})


@contextmanager
def open_s3(
    url: str, request: ByteRange | None, settings: DownloadSettings, deadline: Deadline
) -> Iterator[Body]:
    bucket, _, key = url.partition("://")[2].partition("/")
    filesystem = _s3_filesystem(settings)
    arguments = {"Bucket": bucket, "Key": key}
    if request is not None:
        arguments["Range"] = range_header(*request)

    async def get_object() -> Any:
        await filesystem.set_session()
        client = await filesystem.get_s3(bucket)
        return await client.get_object(**arguments)

    with _s3_failures(url, settings):
        response = _wait(filesystem, get_object, deadline)
    metadata = response["ResponseMetadata"]
    stream = response["Body"]
    try:
        chunks = _s3_chunks(url, filesystem, stream, settings, deadline)
        yield body_of(metadata["HTTPStatusCode"], metadata["HTTPHeaders"], request, chunks)
    finally:
        filesystem.loop.call_soon_threadsafe(stream.close)


@contextmanager
def list_s3(
    url: str,
    request: ByteRange | None,
    settings: DownloadSettings,
    deadline: Deadline,
    *,
    following: str | None,
) -> Iterator[Body]:
    """Open a page of what lies right below a prefix, as the JSON of its answer.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``.
    request
        None: a page is asked for whole.
    settings, deadline
        As for `open_s3`.
    following
        What the page before says of this one; None for the first.
    """
    bucket, _, prefix = url.partition("://")[2].partition("/")
    filesystem = _s3_filesystem(settings)
    arguments = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    if following is not None:
        arguments["ContinuationToken"] = following

    async def list_objects() -> Any:
        await filesystem.set_session()
        client = await filesystem.get_s3(bucket)
        return await client.list_objects_v2(**arguments)

    with _s3_failures(url, settings):
        response = _wait(filesystem, list_objects, deadline)
    response.pop("ResponseMetadata", None)
    content = json.dumps(response, default=lambda moment: moment.isoformat()).encode()
    file = FileIdentity(nbytes=len(content))
    yield Body(
        start=0,
        stop=len(content),
        file=file,
        is_what_was_asked=True,
        content_type="application/json",
        chunks=iter([content]),
    )


def _s3_filesystem(settings: DownloadSettings) -> Any:
    """Return the process's file system for these settings, whichever thread asks."""
    import s3fs

    options = dict(settings.s3_options)
    if not options.keys() & {"anon", "key", "profile", "session"}:
        options["anon"] = not _has_aws_credentials(os.getpid())
    options["config_kwargs"] = {
        "connect_timeout": settings.connect_timeout_s,
        "read_timeout": settings.read_timeout_s,
        # Attempts are counted here, not multiplied there.
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        **options.get("config_kwargs", {}),
    }
    name = repr(sorted(options.items()))
    with _connecting:
        if name not in _filesystems:
            # fsspec's own cache keeps one for each thread, and so a client for each.
            _filesystems[name] = s3fs.S3FileSystem(**options, skip_instance_cache=True)
        return _filesystems[name]


_filesystems: dict[str, Any] = {}
_connecting = threading.Lock()


def _forget_filesystems() -> None:
    # A forked process has neither the event loop nor the sockets that they use.
    global _connecting
    _connecting = threading.Lock()
    _filesystems.clear()


os.register_at_fork(after_in_child=_forget_filesystems)


@functools.cache
def _has_aws_credentials(pid: int) -> bool:
    # Once per process: off AWS the search ends with a metadata service that does not answer.
    import botocore.session  # type: ignore[import-untyped]

    return botocore.session.get_session().get_credentials() is not None


def _wait(filesystem: Any, coroutine: Callable[[], Any], deadline: Deadline) -> Any:
    from fsspec.asyn import sync

    deadline.check()
    return sync(filesystem.loop, coroutine, timeout=deadline.remaining_s)


def _s3_chunks(
    url: str, filesystem: Any, stream: Any, settings: DownloadSettings, deadline: Deadline
) -> Iterator[bytes]:
    async def read() -> Any:
        return await stream.read(CHUNK_NBYTES)

    while True:
        with _s3_failures(url, settings):
            chunk = _wait(filesystem, read, deadline)
        if not chunk:
            return
        yield chunk


@contextmanager
def _s3_failures(url: str, settings: DownloadSettings) -> Iterator[None]:
    """Raise what the S3 client raises as a status of this fetch."""
    import aiohttp
    from botocore import exceptions as botocore_exceptions

    try:
        yield
    except botocore_exceptions.ClientError as e:
        failure = _s3_refusal(url, e.response, settings)
    except (
        botocore_exceptions.NoCredentialsError,
        botocore_exceptions.PartialCredentialsError,
        botocore_exceptions.ProfileNotFound,
        botocore_exceptions.ParamValidationError,
    ) as e:
        failure = PermanentError(mask_text(f"{type(e).__name__}: {e}"))
    # OSError: TimeoutError and the sockets'; no local file is touched in here.
    except (botocore_exceptions.BotoCoreError, aiohttp.ClientError, OSError) as e:
        failure = TransientError(mask_text(f"{type(e).__name__}: {e}"))
    else:
        return
    raise failure


def _s3_refusal(url: str, response: Mapping[str, Any], settings: DownloadSettings) -> Exception:
    code = str(response.get("Error", {}).get("Code", ""))
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return PermanentError("NoSuchBucket: there is no such bucket at this endpoint")
    if status == 403 and code not in _ABSENCE_OR_REFUSAL_CODES:
        return PermanentError(f"HTTP 403 {code}: the credentials are not right for this endpoint")
    if code in _THROTTLING_CODES:
        status = 503
    try:
        check_status(url, status, metadata.get("HTTPHeaders", {}), settings, code=code)
    except (NotAvailable, PermanentError, TransientError) as failure:
        return failure
    return PermanentError(f"{code or 'unknown S3 error'} with HTTP {status}")
