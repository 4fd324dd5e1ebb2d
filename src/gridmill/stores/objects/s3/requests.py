"""Requests to an S3 bucket: as s3fs makes them, tried patiently, with errors in one line.

The client is the one of s3fs, with all that its options mean: credentials, settings, and what
they add to requests. How often a request is tried and what its errors say is decided here.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from gridmill.stores.objects.patience import Patience

__all__ = [
    "Conditions",
    "S3Connection",
    "S3Requests",
    "abort_uploads",
    "copy_in_place",
    "copy_object",
    "error_code",
    "error_status",
    "quoted",
    "range_header",
    "unquoted",
]

T = TypeVar("T")

# Throttling may come with any status; the others say that the body was damaged on its way.
_TRANSIENT_CODES = frozenset(
    {
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "RequestTimeout",
        "RequestTimeTooSkewed",
        "ConditionalRequestConflict",
        "OperationAborted",
        "IncompleteBody",
        "BadDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "InvalidChunkSizeError",
        "NoSuchUpload",
    }
)
_WRONG_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "AuthorizationHeaderMalformed",
    }
)


# What a policy must allow, by operation. Who may not list is refused what is absent, too.
_PERMISSIONS = {
    "AbortMultipartUpload": "s3:AbortMultipartUpload",
    "CopyObject": "s3:GetObject, s3:GetObjectTagging, s3:PutObject and s3:PutObjectTagging",
    "DeleteObject": "s3:DeleteObject",
    "GetObject": "s3:GetObject, and s3:ListBucket where the object may be absent",
    "HeadObject": "s3:GetObject, and s3:ListBucket where the object may be absent",
    "ListMultipartUploads": "s3:ListBucketMultipartUploads",
    "ListObjectsV2": "s3:ListBucket",
}


@dataclass(frozen=True)
class S3Requests:
    """Requests to one bucket, made in the process's event loop.

    Parameters
    ----------
    bucket
        Its name, for errors and for the client of its region.
    storage_options
        Keyword arguments of `s3fs.S3FileSystem`.
    patience
        How long a request is tried.
    """

    bucket: str
    storage_options: Mapping[str, Any] = field(repr=False)
    patience: Patience

    @property
    def connection(self) -> S3Connection:
        """The process's connection for these options."""
        return _connection(self.storage_options)

    def run(self, request: Callable[[Any], Awaitable[T]]) -> T:
        """Run a request in the process's event loop until it succeeds or patience ends.

        Raises
        ------
        PermissionError
            The credentials are missing, wrong, or not enough.
        OSError
            The bucket is missing, or the store did not answer as it should in time.
        """
        from fsspec.asyn import sync

        connection = self.connection

        async def run() -> T:
            client = await connection.client(self.bucket, self._refusal)
            return await self.patiently(lambda: request(client))

        try:
            result: T = sync(connection.filesystem.loop, run)
        except OSError as error:
            # Without the chain, which holds the whole request.
            raise type(error)(*error.args) from None
        return result

    async def patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Await a request, and others like it, until one succeeds or patience ends."""
        async for attempt in self.patience.attempts_at(_Transient):
            with attempt:
                try:
                    return await request()
                except BaseExceptionGroup as group:
                    raise group.exceptions[0] from None
                except Exception as error:
                    # Not by isinstance: timeouts of botocore and aiohttp are OSErrors, too.
                    is_told = type(error) in (_Transient, PermissionError, OSError)
                    raise (error if is_told else self._refusal(error)) from None
        raise AssertionError("stamina raises what the last attempt raised")

    def _refusal(self, error: Exception) -> Exception:
        """Say in one line what went wrong; errors that are not the store's stay as they are."""
        import aiohttp
        from botocore import exceptions as botocore  # type: ignore[import-untyped]

        match error:
            case botocore.ClientError():
                return self._refused(error.response, error.operation_name)
            case botocore.NoCredentialsError() | botocore.PartialCredentialsError():
                return PermissionError(
                    "no credentials found: set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or give a profile, or key and secret, as storage "
                    "option"
                )
            case botocore.ProfileNotFound():
                return PermissionError(str(error))
            case botocore.EndpointConnectionError() | botocore.ConnectTimeoutError():
                return _Transient(f"cannot connect to {self.endpoint} for bucket {self.bucket}")
            case botocore.BotoCoreError() | aiohttp.ClientError() | OSError():
                return _Transient(f"{type(error).__name__} at {self.endpoint}")
        return error

    def _refused(self, response: Mapping[str, Any], operation: str) -> OSError:
        code = error_code(response)
        status = error_status(response)
        if code == "NoSuchBucket":
            return OSError(
                f"there is no bucket {self.bucket} at {self.endpoint}: make it, or correct the URL"
            )
        if code in _WRONG_CREDENTIALS:
            return PermissionError(f"{code}: the credentials are not right for {self.endpoint}")
        # 507: there is no space left, and waiting makes none.
        if code in _TRANSIENT_CODES or status in (408, 429) or (status >= 500 and status != 507):
            return _Transient(f"{code} (HTTP {status}) from {self.endpoint}")
        if status == 403:
            return PermissionError(
                f"{code}: these credentials may not do that in bucket {self.bucket}: {operation} "
                f"needs {_permission(response, operation)}"
            )
        return OSError(f"{code} (HTTP {status}) from {self.endpoint}")

    @property
    def endpoint(self) -> str:
        """Where requests go, without a password."""
        options = self.storage_options
        given = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
        given = given or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return re.sub(r"(?<=//)[^/]*@", "***@", given) if given else "AWS"


class _Transient(ConnectionError):  # noqa: N818
    """Worth another attempt."""


class S3Connection:
    """One process's client for one set of options, shared by its threads."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        import s3fs

        settings = {
            "connect_timeout": 10,
            # Object stores answer within seconds; a minute is a dead connection.
            "read_timeout": 60,
            "max_pool_connections": 64,
            # Attempts are counted by `Patience`, not multiplied here.
            "retries": {"mode": "standard", "total_max_attempts": 1},
            **options.get("config_kwargs", {}),
        }
        self.filesystem = s3fs.S3FileSystem(
            **{**options, "config_kwargs": settings}, skip_instance_cache=True
        )
        # What was found out about buckets, and the right to find it out.
        self.known: dict[str, Any] = {}
        self.asking = threading.RLock()

    async def client(self, bucket: str, refusal: Callable[[Exception], Exception]) -> _Client:
        try:
            await self.filesystem.set_session()
            return _Client(self.filesystem, await self.filesystem.get_s3(bucket))
        except Exception as error:
            raise refusal(error) from None


class _Client:
    """A client whose requests carry what the file system's options add to them.

    s3fs's own calls do the same, and then lose what an error says in an error of a file system.
    """

    def __init__(self, filesystem: Any, client: Any) -> None:
        self._filesystem = filesystem
        self._client = client
        self.exceptions = client.exceptions

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        operation = getattr(self._client, name)
        options = self._filesystem

        def request(**wanted: Any) -> Awaitable[Any]:
            # Releases of s3fs before 2026 add the payer of requests to some operations only.
            added = options._get_s3_method_kwargs(operation, options.req_kw, **wanted)
            return operation(**added)  # type: ignore[no-any-return]

        return request


def _permission(response: Mapping[str, Any], operation: str) -> str:
    """Name what a policy must allow: as AWS says it (a key of KMS, for one), or by the request."""
    message = str(response.get("Error", {}).get("Message", ""))
    told = re.search(r"not authorized to perform: ([a-z0-9-]+:\w+)", message)
    return told[1] if told else _PERMISSIONS.get(operation, "s3:PutObject")


_connections: dict[str, S3Connection] = {}
_connecting = threading.Lock()


def _connection(options: Mapping[str, Any]) -> S3Connection:
    name = repr(sorted(options.items()))
    with _connecting:
        if name not in _connections:
            _connections[name] = S3Connection(options)
        return _connections[name]


def _forget_connections() -> None:
    # A forked process has neither the event loop nor the sockets that they use.
    global _connecting
    _connecting = threading.Lock()
    _connections.clear()


os.register_at_fork(after_in_child=_forget_connections)


def error_status(response: Mapping[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_code(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Code", "")) or "an error without a code"


def quoted(tag: str) -> str:
    return tag


def unquoted(tag: str) -> str:
    return tag.strip('"')


@dataclass(frozen=True)
class Conditions:
    """Which conditions of a put a store means, and how it wants tags to be sent.

    Attributes
    ----------
    absent
        Whether ``If-None-Match: *`` writes where no object is, and only there.
    as_sent
        Makes an ETag what ``If-Match`` must say; None if nothing tells the right tag from others.
    """

    absent: bool
    as_sent: Callable[[str], str] | None

    @property
    def not_meant(self) -> str:
        """The headers that mean nothing, for people."""
        means = {"If-None-Match": self.absent, "If-Match": self.as_sent is not None}
        return " and ".join(header for header, is_meant in means.items() if not is_meant)

    def on(self, tag: str | None) -> dict[str, str]:
        """Return the condition that an object has this tag, or that none is there, if it can be."""
        if tag is None:
            return {"IfNoneMatch": "*"} if self.absent else {}
        return {} if self.as_sent is None else {"IfMatch": self.as_sent(tag)}

    def of_source(self, tag: str) -> dict[str, str]:
        """Return the condition that what is copied has this tag, if it can be."""
        return {} if self.as_sent is None else {"CopySourceIfMatch": self.as_sent(tag)}


# What a copy would lose; tags go with it.
_OWN = (
    *("ContentEncoding", "ContentDisposition", "ContentLanguage", "Metadata", "StorageClass"),
    *("WebsiteRedirectLocation", "ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"),
)
_ENCRYPTION = {"ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled"}
# Of a key that the customer keeps: what is copied is read with it, too.
_KEPT_KEY = ("SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5")


def _reading(source: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a copy says of its source, with the key that options give."""
    key = {f"CopySource{name}": given[name] for name in _KEPT_KEY if name in given}
    return {"CopySource": dict(source), **key}


async def copy_object(
    client: Any, source: Mapping[str, str], at: Mapping[str, str], given: Mapping[str, Any]
) -> bool:
    """Copy an object to another key of its bucket; whether there was such an object."""
    try:
        asked = {**_reading(source, given), "MetadataDirective": "REPLACE"}
        await client.copy_object(**{**given, **at, **asked})
    except client.exceptions.ClientError as error:
        if error_code(error.response) == "NoSuchKey":
            return False
        raise
    return True


async def copy_in_place(
    client: Any,
    at: Mapping[str, str],
    found: Mapping[str, Any],
    wanted: Mapping[str, str],
    given: Mapping[str, Any],
) -> bool:
    """Copy an object onto itself with other headers; whether it was still the one that was found.

    Parameters
    ----------
    client
        See `S3Requests.run`.
    at
        Bucket and key.
    found
        What was said of the object when it was looked at.
    wanted
        Headers, and the condition.
    given
        What the options add to each request, and are asked for first.
    """
    left = {*given, *(_ENCRYPTION if _ENCRYPTION & set(given) else ())}
    own = {name: found[name] for name in _OWN if name in found and name not in left}
    asked = {**own, **wanted, **_reading(at, given), "MetadataDirective": "REPLACE"}
    try:
        await client.copy_object(**at, **asked)
    except client.exceptions.ClientError as error:
        if error_status(error.response) in (404, 412) and error_code(error.response) != (
            "NoSuchBucket"
        ):
            return False
        raise
    return True


async def abort_uploads(client: Any, bucket: str, prefix: str, before: datetime) -> int:
    """Delete the parts of uploads that started before a time; how many uploads."""
    listed = await client.list_multipart_uploads(Bucket=bucket, Prefix=prefix)
    old = [upload for upload in listed.get("Uploads", ()) if upload["Initiated"] <= before]
    for upload in old:
        at = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
        await client.abort_multipart_upload(Bucket=bucket, **at)
    return len(old)


def range_header(start: int, stop: int | None) -> str:
    if start < 0:
        return f"bytes={start}"
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"
