"""Whole objects in an S3 bucket, through s3fs.

s3fs takes the options that its users know (`key`, `secret`, `profile`, `anon`, `endpoint_url`,
`client_kwargs`, `config_kwargs`, `s3_additional_kwargs`, `requester_pays`), finds credentials by
the usual chain, and adds to each request what its options say; the requests are made here, because
what a store must tell apart (a missing key from a missing bucket, a throttled request from a
refused one) is lost in a file system's errors. No listing is ever cached.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from gridmill.stores.headers import Headers
from gridmill.stores.objects.protocol import Change
from gridmill.stores.objects.s3_requests import (
    Conditions,
    S3Patience,
    S3Requests,
    abort_uploads,
    copy_in_place,
    copy_object,
    error_code,
    error_status,
    quoted,
    range_header,
    unquoted,
)
from gridmill.stores.objects.zarr_reader import ObjectsReader

__all__ = ["S3Objects"]

log = logging.getLogger(__name__)

T = TypeVar("T")
# Below this one request is faster than three, and a retry sends little again.
MULTIPART_FROM_NBYTES = 64 << 20
PART_NBYTES = 16 << 20
MAX_PARTS = 10_000
PARTS_AT_ONCE = 4
# No upload takes a day: what is older was left by a process that was killed.
ABANDONED_AFTER = timedelta(days=1)


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
    headers
        What objects that are put say of themselves. What `s3_additional_kwargs` says goes first.

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
        headers: Headers | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.bucket, _, self.prefix = self.url.partition("://")[2].partition("/")
        if not self.bucket:
            raise ValueError(f"{url!r} names no bucket; give s3://bucket/prefix")
        self.storage_options = dict(storage_options or {})
        self.patience = patience or S3Patience()
        self.headers = headers or Headers()

    def __repr__(self) -> str:
        return f"S3Objects({self.url!r})"

    # -- objects ------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        if len(content) >= MULTIPART_FROM_NBYTES:
            self._retried(lambda client: self._put_in_parts(client, key, content))
        else:
            self._retried(lambda client: client.put_object(**self._new(key), Body=content))

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written.

        Notes
        -----
        By a conditional put where the store was found to mean ``If-None-Match: *``. Elsewhere by
        looking first, which leaves a moment in which two writers can both believe that they were
        the first.
        """
        if not self._conditions().absent:
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

        Raises
        ------
        OSError
            The condition was refused as often as `patience` allows, with a look before each put.

        Notes
        -----
        Put on condition that nobody put another one since it was looked at, before `check`: a
        process that stands still cannot undo what was put meanwhile. Where the store does not mean
        conditions, and for objects that go in parts, the moment between `check` and put remains.
        """
        tag = None if is_new else self._tag(key)
        self._put_checked(key, content, tag, check, lambda: (None, self._tag(key)))

    def change(self, key: str, content: bytes) -> Change | None:
        """Look at an object, and give what overwrites it as `overwrite` does; None if the same."""
        found, tag = self._content_and_tag(key)
        return None if found == content else partial(self._change, key, content, tag)

    def _change(self, key: str, content: bytes, tag: str | None, check: Callable[[], None]) -> None:
        self._put_checked(key, content, tag, check, lambda: self._content_and_tag(key))

    def _put_checked(
        self,
        key: str,
        content: bytes,
        tag: str | None,
        check: Callable[[], None],
        look: Callable[[], tuple[bytes | None, str | None]],
    ) -> None:
        """Check and put over what was looked at; look again where another one is there by now."""
        for attempt in self.patience.attempts_at(_PutRefused):
            with attempt:
                if attempt.num > 1:
                    there, tag = look()
                    if there == content:
                        return
                check()
                if not self._put_over(key, content, tag):
                    raise _PutRefused(
                        f"{self.url}/{key} was not put: the store refused the condition of each of "
                        f"{attempt.num} puts, although each was made of what was there just "
                        "before; end the process that keeps writing it, or, if there is none, "
                        "report how this store compares If-Match with its ETags"
                    )

    def _put_over(self, key: str, content: bytes, tag: str | None) -> bool:
        """Put an object over the one with this tag, or where none is; whether it was put."""
        is_large = len(content) >= MULTIPART_FROM_NBYTES
        condition = {} if is_large else self._conditions().on(tag)
        if not condition:
            self.put(key, content)
            return True
        return self._retried(partial(self._put_if, key=key, content=content, **condition))

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        return self.get_range(key, 0, None)

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""
        wanted = {} if (start, stop) == (0, None) else {"Range": range_header(start, stop)}
        found = self._retried(partial(self._get, key=key, **wanted))
        return None if found is None else found[0]

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        found = self._retried(partial(self._head, key=key))
        return None if found is None else int(found["ContentLength"])

    def relabel(self, key: str) -> Change | None:
        """Look at an object's headers, and give what sets them; None if they are right.

        Notes
        -----
        It is copied onto itself, on the condition that it is the one that was looked at; with its
        own metadata, tags, storage class and encryption, as far as no option names others. An
        access list that is not the bucket's default is an option's (`s3_additional_kwargs`).
        """
        found = self._retried(partial(self._head, key=key))
        wanted = self._headers(key)
        if found is None or all(found.get(name) == value for name, value in wanted.items()):
            return None
        return partial(self._relabel, key, found)

    def _relabel(self, key: str, found: Mapping[str, Any], check: Callable[[], None]) -> None:
        given = self.storage_options.get("s3_additional_kwargs") or {}
        condition = self._conditions().of_source(found["ETag"])
        wanted = {**self._headers(key), **condition}
        check()
        copied = self._retried(
            lambda client: copy_in_place(client, self._at(key), found, wanted, given)
        )
        # Another one is there by now, put with headers of its own.
        again = None if copied else self.relabel(key)
        if again is not None:
            raise _PutRefused(
                f"{self.url}/{key} was replaced meanwhile by an object without the headers: "
                "end the process that writes it, and call the same command again"
            )

    def copy(self, key: str, to: str) -> bool:
        """Let the bucket copy an object to another key; whether there was such an object."""
        given = {**(self.storage_options.get("s3_additional_kwargs") or {}), **self._headers(to)}
        return self._retried(lambda c: copy_object(c, self._at(key), self._at(to), given))

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._retried(lambda client: client.delete_object(**self._at(key)))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted: S3 Express lists them in no order."""
        root = f"{self.prefix}/" if self.prefix else ""
        below = f"{root}{prefix.strip('/')}/" if prefix else root
        keys, page = [], self._list(below, {})
        while True:
            keys += [found["Key"].removeprefix(root) for found in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                break
            page = self._list(below, {"ContinuationToken": page["NextContinuationToken"]})
        yield from sorted(keys)

    # -- what the store can do ----------------------------------------------------------------

    @property
    def impatient(self) -> S3Objects:
        """The same objects, for whoever would rather know soon that nothing answers."""
        few = replace(self.patience, attempts=min(4, self.patience.attempts))
        return S3Objects(self.url, self.storage_options, patience=few, headers=self.headers)

    def honours_conditions(self) -> bool:
        """Whether the store means the conditions of puts, both of which it was asked to keep.

        Asked of the store once a process. ``If-None-Match: *`` must write where no object is and
        not where one is; ``If-Match`` must refuse another object's tag and take the object's own,
        which some (Ceph) compare without its quotes. Some ignore the headers and overwrite, some
        refuse whatever comes: then the lease alone keeps writers apart, and one warning says so.
        """
        conditions = self._conditions()
        return conditions.absent and conditions.as_sent is not None

    def _conditions(self) -> Conditions:
        connection = self._requests.connection
        with connection.asking:
            if self.bucket not in connection.known:
                connection.known[self.bucket] = found = self._find_conditions()
                if not_meant := found.not_meant:
                    log.warning(
                        "bucket %s at %s does not honour %s of puts: the lease alone keeps a run "
                        "that stood still from undoing what another one wrote",
                        *(self.bucket, self._requests.endpoint, not_meant),
                    )
            known: Conditions = connection.known[self.bucket]
        return known

    def _find_conditions(self) -> Conditions:
        key = f".gridmill-probe-{uuid.uuid4().hex}"
        try:
            absent = self._accepts(key, IfNoneMatch="*")
            if not absent:
                # Raises what any put would.
                self.put(key, b"there")
            absent = absent and not self._put_on(key, b"over it", IfNoneMatch="*")
            return Conditions(absent, self._find_form_of_tags(key))
        finally:
            self.delete(key)

    def _find_form_of_tags(self, key: str) -> Callable[[str], str] | None:
        for as_sent in (quoted, unquoted):
            if self._put_on(key, b"over another", IfMatch=as_sent(f'"{"0" * 32}"')):
                return None
            if self._accepts(key, IfMatch=as_sent(self._tag(key) or "")):
                return as_sent
        return None

    def _accepts(self, key: str, **condition: str) -> bool:
        content = uuid.uuid4().bytes
        # The answer to the first attempt may be lost, and the second one meets our own object.
        return self._put_on(key, content, **condition) or self.get(key) == content

    def _put_on(self, key: str, content: bytes, **condition: str) -> bool:
        try:
            return self._retried(partial(self._put_if, key=key, content=content, **condition))
        except (PermissionError, ConnectionError):
            raise
        except (NotImplementedError, OSError):
            return False

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
        root = f"{self.prefix}/" if self.prefix else ""
        before = datetime.now(UTC) - older_than
        return self._retried(lambda client: abort_uploads(client, self.bucket, root, before))

    # -- requests -----------------------------------------------------------------------------

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": f"{self.prefix}/{key}" if self.prefix else key}

    def _new(self, key: str) -> dict[str, str]:
        return {**self._at(key), **self._headers(key)}

    def _headers(self, key: str) -> dict[str, str]:
        given = self.storage_options.get("s3_additional_kwargs") or {}
        return {name: value for name, value in self.headers.of(key).items() if name not in given}

    @property
    def _requests(self) -> S3Requests:
        return S3Requests(self.bucket, self.storage_options, self.patience)

    def _retried(self, request: Callable[[Any], Awaitable[T]]) -> T:
        return self._requests.run(request)

    def _tag(self, key: str) -> str | None:
        found = self._retried(partial(self._head, key=key))
        return None if found is None else str(found["ETag"])

    def _content_and_tag(self, key: str) -> tuple[bytes | None, str | None]:
        return self._retried(partial(self._get, key=key)) or (None, None)

    def _list(self, below: str, token: Mapping[str, str]) -> dict[str, Any]:
        at = {"Bucket": self.bucket, "Prefix": below}
        return self._retried(lambda client: client.list_objects_v2(**at, **token))

    async def _head(self, client: Any, key: str) -> Mapping[str, Any] | None:
        """Ask for an object's size and tag; None if there is none."""
        try:
            found: Mapping[str, Any] = await client.head_object(**self._at(key))
        except client.exceptions.ClientError as error:
            if error_status(error.response) == 404:
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
            await client.put_object(**self._new(key), Body=content, **condition)
        except client.exceptions.ClientError as error:
            code, status = error_code(error.response), error_status(error.response)
            # A condition on an object that is gone by now is answered with 404.
            if status == 412 or (status == 404 and code != "NoSuchBucket"):
                return False
            if status == 501:
                raise NotImplementedError(code) from None
            raise
        return True

    async def _put_in_parts(self, client: Any, key: str, content: bytes) -> None:
        """Put a large object; whatever goes wrong, no part is left behind."""
        upload = (await client.create_multipart_upload(**self._new(key)))["UploadId"]
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
                done = await self._requests.patiently(
                    lambda: client.upload_part(**at, PartNumber=number, Body=body)
                )
            checksums = {k: v for k, v in done.items() if k.startswith("Checksum")}
            checksums.pop("ChecksumType", None)
            return {"PartNumber": number, "ETag": done["ETag"], **checksums}

        starts = range(0, len(content), nbytes)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(n, start)) for n, start in enumerate(starts, 1)]
        return [task.result() for task in tasks]


class _PutRefused(OSError):  # noqa: N818
    """Another object was there than the one that was looked at."""
