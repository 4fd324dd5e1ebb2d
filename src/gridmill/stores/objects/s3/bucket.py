"""Requests for the objects below a prefix of an S3 bucket, each tried patiently."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from gridmill.stores.headers import Headers
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.s3.requests import (
    S3Requests,
    abort_uploads,
    copy_in_place,
    copy_object,
    error_code,
    error_status,
    range_header,
)

__all__ = ["MULTIPART_FROM_NBYTES", "S3Bucket"]

T = TypeVar("T")

# Below this one request is faster than three, and a retry sends little again.
MULTIPART_FROM_NBYTES = 64 << 20
PART_NBYTES = 16 << 20
MAX_PARTS = 10_000
PARTS_AT_ONCE = 4


@dataclass(frozen=True)
class S3Bucket:
    """Objects below a prefix, by their keys; `repr` shows no option.

    Parameters
    ----------
    name
        Of the bucket.
    prefix
        What all keys begin with, without the slash that follows it.
    storage_options
        Keyword arguments of `s3fs.S3FileSystem`.
    patience
        How long a request is tried.
    headers
        What objects that are put say of themselves. What `s3_additional_kwargs` says goes first.
    """

    name: str
    prefix: str
    storage_options: Mapping[str, Any] = field(repr=False)
    patience: Patience
    headers: Headers

    @property
    def root(self) -> str:
        """What all keys begin with."""
        return f"{self.prefix}/" if self.prefix else ""

    @property
    def requests(self) -> S3Requests:
        """Makes them, through the process's connection."""
        return S3Requests(self.name, self.storage_options, self.patience)

    # -- reading --------------------------------------------------------------------------------

    def head(self, key: str) -> Mapping[str, Any] | None:
        """Return an object's headers; None if there is none."""
        return self._run(partial(_head, at=self._at(key)))

    def tag(self, key: str) -> str | None:
        """Return an object's ETag; None if there is none."""
        found = self.head(key)
        return None if found is None else str(found["ETag"])

    def get(self, key: str, start: int = 0, stop: int | None = None) -> tuple[bytes, str] | None:
        """Read bytes of an object, from its end if `start` is negative, and its ETag."""
        wanted = {} if (start, stop) == (0, None) else {"Range": range_header(start, stop)}
        return self._run(partial(_get, at={**self._at(key), **wanted}))

    def page(self, below: str, wanted: Mapping[str, str]) -> dict[str, Any]:
        """List a page of what begins with `below`: the first, or the one that is wanted."""
        at = {"Bucket": self.name, "Prefix": below}
        return self._run(lambda client: client.list_objects_v2(**at, **wanted))

    # -- writing --------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> None:
        """Put an object, a large one in parts; it appears whole."""
        if self.is_large(content):
            self._run(lambda client: self._put_in_parts(client, key, content))
        else:
            self._run(lambda client: client.put_object(**self._new(key), Body=content))

    def is_large(self, content: bytes) -> bool:
        """Whether an object goes in parts, and so without a condition."""
        return len(content) >= MULTIPART_FROM_NBYTES

    def put_if(self, key: str, content: bytes, **condition: str) -> bool:
        """Put an object on a condition; whether that held.

        Raises
        ------
        NotImplementedError
            The store says that it knows no conditions.
        """
        return self._run(partial(_put_if, at={**self._new(key), **condition}, content=content))

    def copy(self, key: str, to: str) -> bool:
        """Let the bucket copy an object to another key; whether there was such an object."""
        given = {**self._given, **self.headers_of(to)}
        return self._run(lambda c: copy_object(c, self._at(key), self._at(to), given))

    def copy_in_place(self, key: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
        """Copy an object onto itself with other headers; whether it was still the one found."""
        given = self._given
        return self._run(lambda c: copy_in_place(c, self._at(key), found, wanted, given))

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._run(lambda client: client.delete_object(**self._at(key)))

    def abort_uploads(self, before: datetime) -> int:
        """Delete the parts of uploads that began before a time and never ended; their number."""
        return self._run(lambda client: abort_uploads(client, self.name, self.root, before))

    def headers_of(self, key: str) -> dict[str, str]:
        """Return what an object is to say of itself, where no option says it."""
        given = self._given
        return {name: value for name, value in self.headers.of(key).items() if name not in given}

    # -- requests -----------------------------------------------------------------------------

    @property
    def _given(self) -> Mapping[str, Any]:
        return self.storage_options.get("s3_additional_kwargs") or {}

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.name, "Key": f"{self.root}{key}"}

    def _new(self, key: str) -> dict[str, str]:
        return {**self._at(key), **self.headers_of(key)}

    def _run(self, request: Callable[[Any], Awaitable[T]]) -> T:
        return self.requests.run(request)

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
                done = await self.requests.patiently(
                    lambda: client.upload_part(**at, PartNumber=number, Body=body)
                )
            checksums = {k: v for k, v in done.items() if k.startswith("Checksum")}
            checksums.pop("ChecksumType", None)
            return {"PartNumber": number, "ETag": done["ETag"], **checksums}

        starts = range(0, len(content), nbytes)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(put(n, start)) for n, start in enumerate(starts, 1)]
        return [task.result() for task in tasks]


async def _head(client: Any, at: Mapping[str, str]) -> Mapping[str, Any] | None:
    """Ask for an object's size and tag; None if there is none."""
    try:
        found: Mapping[str, Any] = await client.head_object(**at)
    except client.exceptions.ClientError as error:
        if error_status(error.response) == 404:
            return None
        raise
    return found


async def _get(client: Any, at: Mapping[str, str]) -> tuple[bytes, str] | None:
    """Read an object with its tag; None if there is none."""
    try:
        response = await client.get_object(**at)
    except client.exceptions.NoSuchKey:
        return None
    async with response["Body"] as body:
        return bytes(await body.read()), response["ETag"]


async def _put_if(client: Any, at: Mapping[str, str], content: bytes) -> bool:
    """Put an object on a condition; whether that held.

    Raises
    ------
    NotImplementedError
        The store says that it knows no conditions.
    """
    try:
        await client.put_object(**at, Body=content)
    except client.exceptions.ClientError as error:
        code, status = error_code(error.response), error_status(error.response)
        # A condition on an object that is gone by now is answered with 404.
        if status == 412 or (status == 404 and code != "NoSuchBucket"):
            return False
        if status == 501:
            raise NotImplementedError(code) from None
        raise
    return True
