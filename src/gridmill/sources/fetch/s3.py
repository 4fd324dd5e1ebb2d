"""Bodies from S3, through s3fs, which is imported with the first S3 URL."""

from __future__ import annotations

import functools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from gridmill.sources.fetch.credentials.access import Refused, use_for
from gridmill.sources.fetch.credentials.reading import CredentialMissing
from gridmill.sources.fetch.credentials.rules import S3Access
from gridmill.sources.fetch.failures import NotAvailable, PermanentError, TransientError
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

__all__ = ["check_s3_keys", "list_s3", "open_s3", "s3_options"]

# Codes that come with statuses which say less; a throttled request may come as 400.
_THROTTLING_CODES = frozenset(
    {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout"}
)


# Other codes of a 403, such as SignatureDoesNotMatch and ExpiredToken, never mean absence.
_ABSENCE_OR_REFUSAL_CODES = frozenset({"AccessDenied", "Forbidden", "403"})
# Some come with status 400.
_EXPIRED_CODES = frozenset({"ExpiredToken", "InvalidToken", "ExpiredTokenException"})
# Of s3fs's options, those that say who asks.
_KEYS = frozenset({"anon", "key", "secret", "token", "profile", "session"})


@contextmanager
def open_s3(
    url: str, request: ByteRange | None, settings: DownloadSettings, deadline: Deadline
) -> Iterator[Body]:
    arguments = {"Key": url.partition("://")[2].partition("/")[2]}
    if request is not None:
        arguments["Range"] = range_header(*request)
    filesystem, response = _answered(url, "get_object", arguments, settings, deadline)
    metadata = response["ResponseMetadata"]
    stream = response["Body"]
    try:
        chunks = _s3_chunks(url, filesystem, stream, settings, deadline)
        yield body_of(metadata["HTTPStatusCode"], metadata["HTTPHeaders"], request, chunks)
    finally:
        filesystem.loop.call_soon_threadsafe(stream.close)


def _answered(
    url: str,
    operation: str,
    arguments: Mapping[str, Any],
    settings: DownloadSettings,
    deadline: Deadline,
) -> tuple[Any, Any]:
    """Ask a bucket with the credential that is declared for it; and by what."""
    call = (url, operation, arguments, settings, deadline)
    use = use_for(url)
    if use is None:
        with _s3_failures(url, settings):
            return _asked(*call)
    rule = use.rule
    assert isinstance(rule, S3Access)
    if not rule.needs_secret:
        with _s3_failures(url, settings):
            return _asked(*call, rule)

    def ask(secret: str) -> tuple[Any, Any]:
        with _s3_failures(url, settings, is_declared=True):
            return _asked(*call, rule, secret)

    try:
        return use.send(ask)
    except CredentialMissing as error:
        raise PermanentError(str(error)) from None


def _asked(
    url: str,
    operation: str,
    arguments: Mapping[str, Any],
    settings: DownloadSettings,
    deadline: Deadline,
    rule: S3Access | None = None,
    secret: str = "",
) -> tuple[Any, Any]:
    bucket = url.partition("://")[2].partition("/")[0]
    filesystem = _s3_filesystem(settings, secret)
    asked = {"Bucket": bucket, **arguments}
    if rule is not None and rule.requester_pays:
        asked["RequestPayer"] = "requester"

    async def ask() -> Any:
        await filesystem.set_session()
        client = await filesystem.get_s3(bucket)
        return await getattr(client, operation)(**asked)

    return filesystem, _wait(filesystem, ask, deadline)


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
    prefix = url.partition("://")[2].partition("/")[2]
    arguments = {"Prefix": prefix, "Delimiter": "/"}
    if following is not None:
        arguments["ContinuationToken"] = following
    _, response = _answered(url, "list_objects_v2", arguments, settings, deadline)
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


def check_s3_keys(url: str, settings: DownloadSettings, secret: str) -> None:
    """Ask for an object's first byte with declared keys, to learn why another client failed.

    Raises
    ------
    Refused
        The bucket refuses the keys.
    NotAvailable, PermanentError, TransientError
        Something else is the matter.
    """
    use, deadline = use_for(url), Deadline(settings.deadline_s)
    assert use is not None
    assert isinstance(use.rule, S3Access)
    arguments = {"Key": url.partition("://")[2].partition("/")[2], "Range": range_header(0, 1)}
    with _s3_failures(url, settings, is_declared=True):
        filesystem, response = _asked(
            url, "get_object", arguments, settings, deadline, use.rule, secret
        )
        filesystem.loop.call_soon_threadsafe(response["Body"].close)


def s3_options(settings: DownloadSettings, secret: str = "") -> dict[str, Any]:
    """Return how S3 is reached and who asks, as s3fs's options; a secret's keys go before."""
    options = dict(settings.s3_options)
    if secret:
        keys = json.loads(secret)
        options = {k: v for k, v in options.items() if k not in _KEYS}
        options |= {"key": keys["AccessKeyId"], "secret": keys["SecretAccessKey"]}
        options["token"] = keys.get("SessionToken")
    if not options.keys() & {"anon", "key", "profile", "session"}:
        options["anon"] = not _has_aws_credentials(os.getpid())
    return options


def _s3_filesystem(settings: DownloadSettings, secret: str = "") -> Any:
    """Return the process's file system for these settings, whichever thread asks."""
    import s3fs

    options = s3_options(settings, secret)
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
            while len(_filesystems) >= _MOST_FILESYSTEMS:  # of keys that were renewed since
                del _filesystems[next(iter(_filesystems))]
            _filesystems[name] = s3fs.S3FileSystem(**options, skip_instance_cache=True)
        return _filesystems[name]


_MOST_FILESYSTEMS = 32
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
def _s3_failures(
    url: str, settings: DownloadSettings, *, is_declared: bool = False
) -> Iterator[None]:
    """Raise what the S3 client raises as a status of this fetch."""
    import aiohttp
    from botocore import exceptions as botocore_exceptions

    try:
        yield
    except botocore_exceptions.ClientError as e:
        refused = _refused(e.response, settings) if is_declared else None
        failure = refused or _s3_refusal(url, e.response, settings)
    except (
        botocore_exceptions.NoCredentialsError,
        botocore_exceptions.PartialCredentialsError,
        botocore_exceptions.ProfileNotFound,
        botocore_exceptions.ParamValidationError,
    ) as e:
        failure = PermanentError(f"{type(e).__name__}: {e}")
    # OSError: TimeoutError and the sockets'; no local file is touched in here.
    except (botocore_exceptions.BotoCoreError, aiohttp.ClientError, OSError) as e:
        failure = TransientError(f"{type(e).__name__}: {e}")
    else:
        return
    raise failure


def _refused(response: Mapping[str, Any], settings: DownloadSettings) -> Refused | None:
    """Return that the credential was refused, where that is what an answer says."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _EXPIRED_CODES:
        return Refused(f"HTTP {status} {code}", is_certain=True)
    if status != 403 or (code in _ABSENCE_OR_REFUSAL_CODES and settings.forbidden_means_absent):
        return None
    return Refused(f"HTTP {status} {code}", is_certain=code not in _ABSENCE_OR_REFUSAL_CODES)


def _s3_refusal(url: str, response: Mapping[str, Any], settings: DownloadSettings) -> Exception:
    code = str(response.get("Error", {}).get("Code", ""))
    metadata = response.get("ResponseMetadata", {})
    status = int(metadata.get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return PermanentError("NoSuchBucket: there is no such bucket at this endpoint")
    if status == 403 and code in _ABSENCE_OR_REFUSAL_CODES and not settings.forbidden_means_absent:
        return PermanentError(
            f"HTTP 403 {code}: the bucket is for others, or requester pays (declare an S3Access "
            "for it, see RegionJob.credentials), or the file is absent "
            "(forbidden_means_absent=True)"
        )
    if status == 403 and code not in _ABSENCE_OR_REFUSAL_CODES:
        return PermanentError(f"HTTP 403 {code}: the credentials are not right for this endpoint")
    if code in _THROTTLING_CODES:
        status = 503
    try:
        check_status(url, status, metadata.get("HTTPHeaders", {}), settings, code=code)
    except (NotAvailable, PermanentError, TransientError) as failure:
        return failure
    return PermanentError(f"{code or 'unknown S3 error'} with HTTP {status}")
