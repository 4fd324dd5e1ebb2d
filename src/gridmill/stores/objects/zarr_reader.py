"""Lets zarr read a remote store with the patience and the certainty of its objects.

zarr takes every 404 for a chunk that was never written, and so for fill values, even if it is the
bucket that is missing for a moment. What gridmill reads back it writes again, so here only a key
that is known to be absent is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from zarr.abc.store import (
    ByteRequest,
    OffsetByteRequest,
    RangeByteRequest,
    Store,
    SuffixByteRequest,
)
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.buffer.core import default_buffer_prototype

from gridmill.stores.lookahead import each

__all__ = ["ObjectsReader", "Readable"]


class Readable(Protocol):
    """What is needed of a store's objects."""

    url: str
    at_once: int

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""


class ObjectsReader(Store):
    """A Zarr store that reads objects and writes nothing.

    Notes
    -----
    Lists nothing: open it consolidated, or an array by its path.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False
    supports_partial_writes = False

    def __init__(self, objects: Readable) -> None:
        super().__init__(read_only=True)
        self.objects = objects
        self._held: dict[str, bytes | None] = {}
        self._holders = 0

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_held": {}, "_holders": 0}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectsReader) and other.objects.url == self.objects.url

    def __hash__(self) -> int:
        return hash(self.objects.url)

    def __str__(self) -> str:
        return self.objects.url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.objects.url!r})"

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Answer from memory what was read with `hold`, for the time of the outermost `with`."""
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if not self._holders:
                self._held = {}

    def hold(self, keys: Sequence[str]) -> list[bytes | None]:
        """Read whole objects, several at once, and keep them in memory; see `holding`.

        What is in memory already is not read again.
        """
        new = [key for key in keys if key not in self._held]
        found = each(lambda key: self.objects.get_range(key, 0, None), new, self.objects.at_once)
        self._held |= dict(zip(new, found, strict=True))
        return [self._held[key] for key in keys]

    def _held_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        held = self._held[key]
        return None if held is None else held[start:stop]

    async def get(
        self,
        key: str,
        prototype: BufferPrototype | None = None,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Read an object or a part of it; None if it is absent."""
        start, stop = _span(byte_range)
        if key in self._held:
            content = self._held_range(key, start, stop)
        else:
            content = await asyncio.to_thread(self.objects.get_range, key, start, stop)
        prototype = prototype or default_buffer_prototype()
        return None if content is None else prototype.buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Read parts of objects at once."""
        return await asyncio.gather(*(self.get(key, prototype, at) for key, at in key_ranges))

    async def exists(self, key: str) -> bool:
        """Whether there is an object."""
        return await asyncio.to_thread(self.objects.nbytes, key) is not None

    async def set(self, key: str, value: Buffer) -> None:
        """Refuse to write."""
        raise NotImplementedError("this store only reads")

    async def delete(self, key: str) -> None:
        """Refuse to delete."""
        raise NotImplementedError("this store only reads")

    def list(self) -> AsyncIterator[str]:
        """Refuse to list."""
        raise NotImplementedError("this store lists nothing: open it consolidated")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        return self.list()

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Refuse to list."""
        return self.list()


def _span(byte_range: ByteRequest | None) -> tuple[int, int | None]:
    match byte_range:
        case RangeByteRequest(start=start, end=end):
            return start, end
        case OffsetByteRequest(offset=offset):
            return offset, None
        case SuffixByteRequest(suffix=suffix):
            return -suffix, None
    return 0, None
