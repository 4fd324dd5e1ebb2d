"""Whole objects in an S3 bucket, through s3fs.

s3fs takes the options that its users know (`key`, `secret`, `profile`, `anon`, `endpoint_url`,
`client_kwargs`, `config_kwargs`) and finds credentials by the usual chain; the requests are made
here, because what a store must tell apart (a missing key from a missing bucket, a throttled
request from a refused one) is lost in a file system's errors. No listing is ever cached.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import stamina

from gridmill.stores.objects.protocol import Change
from gridmill.stores.objects.zarr_reader import ObjectsReader

__all__ = ["S3Objects", "S3Patience"]

T = TypeVar("T")

# Below this one request is faster than three, and a retry sends little again.
MULTIPART_FROM_NBYTES = 64 << 20
PART_NBYTES = 16 << 20
MAX_PARTS = 10_000
PARTS_AT_ONCE = 4
# No upload takes a day: what is older was left by a process that was killed.
ABANDONED_AFTER = timedelta(days=1)

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


@dataclass(frozen=True, kw_only=True)
class S3Patience:
    """How long a request is tried before it counts as failed.

    Parameters
    ----------
    attempts
        Requests for the same thing, the first included.
    total_s
        Seconds for all attempts and the waits between them.
    wait_initial_s, wait_max_s
        The wait doubles with each attempt and carries as much jitter as its first.
    """

    # Waits of 0.2, 0.4 … 10 s: a server that is restarted, or a burst of "slow down", is outlived;
    # a chain that waits longer holds disk and a worker's thread.
    attempts: int = 12
    total_s: float = 90.0
    wait_initial_s: float = 0.2
    wait_max_s: float = 10.0


class S3Objects:
    """Objects below a prefix of an S3 bucket.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``.
    storage_options
        Keyword arguments of `s3fs.S3FileSystem`. Without credentials in them those of the
        environment, a profile or the machine are used, as every AWS client does.
    patience
        How long a request is tried.

    Raises
    ------
    ValueError
        The URL names no bucket.

    Notes
    -----
    Pickles small, as URL and options; a connection belongs to a process and is made again after a
    fork. Safe in several threads. `repr` shows no option.

    Whoever is throttled waits, longer each time, and has nothing else in flight meanwhile: so a
    cluster settles at what the bucket allows without a word between workers. botocore's
    ``adaptive`` mode does the same far too well: after 20 refusals it took 42 s for 200 small puts
    that take 1 s.

    Checksums are those of botocore: CRC32 with every put by default; ``config_kwargs=
    {"request_checksum_calculation": "when_required"}`` turns them off for stores that refuse them.
    """

    # Latency, not bandwidth, is what many small objects wait for.
    at_once = 16

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        patience: S3Patience | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.bucket, _, self.prefix = self.url.partition("://")[2].partition("/")
        if not self.bucket:
            raise ValueError(f"{url!r} names no bucket; give s3://bucket/prefix")
        self.storage_options = dict(storage_options or {})
        self.patience = patience or S3Patience()

    def __repr__(self) -> str:
        return f"S3Objects({self.url!r})"

    # -- objects ------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        if len(content) >= MULTIPART_FROM_NBYTES:
            self._retried(lambda client: self._put_in_parts(client, key, content))
        else:
            self._retried(lambda client: client.put_object(**self._at(key), Body=content))

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written.

        Notes
        -----
        By a conditional put where `honours_conditions` found that the store means it. Elsewhere
        by looking first, which leaves a moment in which two writers can both believe that they
        were the first.
        """
        if not self.honours_conditions():
            if self.nbytes(key) is not None:
                return False
            self.put(key, content)
            return True
        if self._put_over(key, content, None):
            return True
        # An answer that got lost was followed by another attempt, which met our own object.
        return self.get(key) == content

    def overwrite(
        self, key: str, content: bytes, check: Callable[[], None], *, is_new: bool = False
    ) -> None:
        """Write an object over the one that is there, if any, and `check` lets it pass.

        `is_new` says that most likely none is there, which saves a look.

        Notes
        -----
        Put on condition that nobody put another one since it was looked at, which was before
        `check`: a process that stands still at any moment cannot undo what was put meanwhile.
        Where `honours_conditions` found that the store ignores conditions, and for large objects,
        which go in parts, the moment between `check` and the put remains.
        """
        found = None if is_new else self._retried(partial(self._head, key=key))
        check()
        while not self._put_over(key, content, None if found is None else found["ETag"]):
            found = self._retried(partial(self._head, key=key))
            check()

    def change(self, key: str, content: bytes) -> Change | None:
        """Look at an object, and give what overwrites it; None if it is the same already.

        Put on the condition of `overwrite`; where that does not hold, all is done again.
        """
        found, tag = self._retried(partial(self._get, key=key)) or (None, None)
        return None if found == content else partial(self._change, key, content, tag)

    def _change(self, key: str, content: bytes, tag: str | None, check: Callable[[], None]) -> None:
        check()
        if not self._put_over(key, content, tag) and (again := self.change(key, content)):
            again(check)

    def _put_over(self, key: str, content: bytes, tag: str | None) -> bool:
        """Put an object over the one with this tag, or where none is; whether it was put."""
        if len(content) >= MULTIPART_FROM_NBYTES or not self.honours_conditions():
            self.put(key, content)
            return True
        condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
        return self._retried(partial(self._put_if, key=key, content=content, **condition))

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        return self.get_range(key, 0, None)

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""
        wanted = {} if (start, stop) == (0, None) else {"Range": _range_header(start, stop)}
        found = self._retried(partial(self._get, key=key, **wanted))
        return None if found is None else found[0]

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        found = self._retried(partial(self._head, key=key))
        return None if found is None else int(found["ContentLength"])

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._retried(lambda client: client.delete_object(**self._at(key)))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted."""
        root = f"{self.prefix}/" if self.prefix else ""
        below = f"{root}{prefix.strip('/')}/" if prefix else root
        page = self._list(below, {})
        while True:
            yield from (found["Key"].removeprefix(root) for found in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            page = self._list(below, {"ContinuationToken": page["NextContinuationToken"]})

    # -- what the store can do ----------------------------------------------------------------

    @property
    def impatient(self) -> S3Objects:
        """The same objects, for whoever would rather know soon that nothing answers."""
        few = replace(self.patience, attempts=min(4, self.patience.attempts))
        return S3Objects(self.url, self.storage_options, patience=few)

    def honours_conditions(self) -> bool:
        """Whether the store refuses a put whose condition does not hold.

        Asked of the store once a process, with ``If-None-Match: *`` on an object that is there and
        ``If-Match`` of another one's tag: some ignore the headers and overwrite.
        """
        connection = _connection(self.storage_options)
        if self.bucket not in connection.honours_conditions:
            key = f".gridmill-probe-{uuid.uuid4().hex}"
            conditions = ({"IfNoneMatch": "*"}, {"IfMatch": f'"{"0" * 32}"'})
            self.put(key, b"there")
            try:
                written = [
                    self._retried(partial(self._put_if, key=key, content=b"probe", **condition))
                    for condition in conditions
                ]
                connection.honours_conditions[self.bucket] = not any(written)
            except NotImplementedError:
                connection.honours_conditions[self.bucket] = False
            finally:
                self.delete(key)
        return connection.honours_conditions[self.bucket]

    def probe(self, key: str) -> None:
        """Raise OSError, and soon, unless an object can be put and deleted."""
        hasty = self.impatient
        hasty.put(key, b"probe")
        hasty.delete(key)

    def as_zarr(self) -> ObjectsReader:
        """Return a Zarr store that reads these objects."""
        return ObjectsReader(self)

    def abort_abandoned_uploads(self, older_than: timedelta = ABANDONED_AFTER) -> int:
        """Delete the parts of multipart uploads that killed processes left; their number."""

        async def abort(client: Any) -> int:
            root = f"{self.prefix}/" if self.prefix else ""
            listed = await client.list_multipart_uploads(Bucket=self.bucket, Prefix=root)
            before = datetime.now(UTC) - older_than
            old = [u for u in listed.get("Uploads", ()) if u["Initiated"] <= before]
            for upload in old:
                at = {"Key": upload["Key"], "UploadId": upload["UploadId"]}
                await client.abort_multipart_upload(Bucket=self.bucket, **at)
            return len(old)

        return self._retried(abort)

    # -- requests -----------------------------------------------------------------------------

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}/{key}" if self.prefix else key}

    def _list(self, below: str, token: Mapping[str, str]) -> dict[str, Any]:
        at = {"Bucket": self.bucket, "Prefix": below}
        return self._retried(lambda client: client.list_objects_v2(**at, **token))

    async def _head(self, client: Any, key: str) -> Mapping[str, Any] | None:
        """Ask for an object's size and tag; None if there is none."""
        try:
            found: Mapping[str, Any] = await client.head_object(**self._at(key))
        except client.exceptions.ClientError as error:
            if _status(error.response) == 404:
                return None
            raise
        return found

    async def _get(self, client: Any, key: str, **wanted: str) -> tuple[bytes, str] | None:
        """Read an object with its tag; None if there is none."""
        try:
            response = await client.get_object(**self._at(key), **wanted)
        except client.exceptions.NoSuchKey:
            return None
        async with response["Body"] as body:
            return bytes(await body.read()), response["ETag"]

    async def _put_if(self, client: Any, key: str, content: bytes, **condition: str) -> bool:
        """Put an object on a condition; whether that held.

        Raises
        ------
        NotImplementedError
            The store says that it knows no conditions.
        """
        try:
            await client.put_object(**self._at(key), Body=content, **condition)
        except client.exceptions.ClientError as error:
            # A condition on an object that is gone by now is answered with 404.
            if _status(error.response) == 412 or _code(error.response) == "NoSuchKey":
                return False
            if _status(error.response) == 501:
                raise NotImplementedError(_code(error.response)) from None
            raise
        return True

    async def _put_in_parts(self, client: Any, key: str, content: bytes) -> None:
        """Put a large object; whatever goes wrong, no part is left behind."""
        upload = (await client.create_multipart_upload(**self._at(key)))["UploadId"]
        at = {**self._at(key), "UploadId": upload}
        try:
            parts = await self._put_parts(client, at, content)
            await client.complete_multipart_upload(**at, MultipartUpload={"Parts": parts})
        except BaseException:
            with suppress(Exception):
                await asyncio.shield(client.abort_multipart_upload(**at))
            raise

    async def _put_parts(self, client: Any, at: dict[str, str], content: bytes) -> list[Any]:
        nbytes = max(PART_NBYTES, -(-len(content) // MAX_PARTS))
        view, few = memoryview(content), asyncio.Semaphore(PARTS_AT_ONCE)

        async def put(number: int, start: int) -> dict[str, Any]:
            async with few:
                body = bytes(view[start : start + nbytes])
                done = await self._patiently(
                    lambda: client.upload_part(**at, PartNumber=number, Body=body)
                )
            checksums = {k: v for k, v in done.items() if k.startswith("Checksum")}
            checksums.pop("ChecksumType", None)
            return {"PartNumber": number, "ETag": done["ETag"], **checksums}

        starts = range(0, len(content), nbytes)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(n, start)) for n, start in enumerate(starts, 1)]
        return [task.result() for task in tasks]

    def _retried(self, request: Callable[[Any], Awaitable[T]]) -> T:
        """Run a request in the process's event loop until it succeeds or patience ends.

        Raises
        ------
        PermissionError
            The credentials are missing, wrong, or not enough.
        OSError
            The bucket is missing, or the store did not answer as it should in time.
        """
        from fsspec.asyn import sync

        connection = _connection(self.storage_options)

        async def run() -> T:
            client = await connection.client(self._refusal)
            return await self._patiently(lambda: request(client))

        try:
            result: T = sync(connection.filesystem.loop, run)
        except OSError as error:
            # Without the chain, which holds the whole request.
            raise type(error)(*error.args) from None
        return result

    async def _patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        patience = self.patience
        async for attempt in stamina.retry_context(
            on=_Transient,
            attempts=patience.attempts,
            timeout=patience.total_s,
            wait_initial=patience.wait_initial_s,
            wait_max=patience.wait_max_s,
            wait_jitter=patience.wait_initial_s,
        ):
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
                return self._refused(error.response)
            case botocore.NoCredentialsError() | botocore.PartialCredentialsError():
                return PermissionError(
                    "no credentials found: set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY, or give a profile, or key and secret, as storage "
                    "option"
                )
            case botocore.ProfileNotFound():
                return PermissionError(str(error))
            case botocore.EndpointConnectionError() | botocore.ConnectTimeoutError():
                return _Transient(f"cannot connect to {self._endpoint} for bucket {self.bucket}")
            case botocore.BotoCoreError() | aiohttp.ClientError() | OSError():
                return _Transient(f"{type(error).__name__} at {self._endpoint}")
        return error

    def _refused(self, response: Mapping[str, Any]) -> OSError:
        code = _code(response)
        status = _status(response)
        if code == "NoSuchBucket":
            return OSError(
                f"there is no bucket {self.bucket} at {self._endpoint}: make it, or correct the URL"
            )
        if code in _WRONG_CREDENTIALS:
            return PermissionError(f"{code}: the credentials are not right for {self._endpoint}")
        # 507: there is no space left, and waiting makes none.
        if code in _TRANSIENT_CODES or status in (408, 429) or (status >= 500 and status != 507):
            return _Transient(f"{code} (HTTP {status}) from {self._endpoint}")
        if status == 403:
            return PermissionError(
                f"{code}: these credentials may not do that in bucket {self.bucket}"
            )
        return OSError(f"{code} (HTTP {status}) from {self._endpoint}")

    @property
    def _endpoint(self) -> str:
        options = self.storage_options
        given = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
        given = given or os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return re.sub(r"(?<=//)[^/]*@", "***@", given) if given else "AWS"


class _Transient(ConnectionError):  # noqa: N818
    """Worth another attempt."""


class _Connection:
    """One process's client for one set of options, shared by its threads."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        import s3fs

        settings = {
            "connect_timeout": 10,
            # Object stores answer within seconds; a minute is a dead connection.
            "read_timeout": 60,
            "max_pool_connections": 64,
            # Attempts are counted by `S3Patience`, not multiplied here.
            "retries": {"mode": "standard", "total_max_attempts": 1},
            **options.get("config_kwargs", {}),
        }
        self.filesystem = s3fs.S3FileSystem(
            **{**options, "config_kwargs": settings}, skip_instance_cache=True
        )
        self.honours_conditions: dict[str, bool] = {}

    async def client(self, refusal: Callable[[Exception], Exception]) -> Any:
        try:
            return await self.filesystem.set_session()
        except Exception as error:
            raise refusal(error) from None


_connections: dict[str, _Connection] = {}
_connecting = threading.Lock()


def _connection(options: Mapping[str, Any]) -> _Connection:
    name = repr(sorted(options.items()))
    with _connecting:
        if name not in _connections:
            _connections[name] = _Connection(options)
        return _connections[name]


def _forget_connections() -> None:
    # A forked process has neither the event loop nor the sockets that they use.
    global _connecting
    _connecting = threading.Lock()
    _connections.clear()


os.register_at_fork(after_in_child=_forget_connections)


def _status(response: Mapping[str, Any]) -> int:
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _code(response: Mapping[str, Any]) -> str:
    return str(response.get("Error", {}).get("Code", "")) or "an error without a code"


def _range_header(start: int, stop: int | None) -> str:
    if start < 0:
        return f"bytes={start}"
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"
