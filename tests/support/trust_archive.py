"""Archives as a test sees them, on each kind of store: what readers see, records, leftovers.

Nothing here goes through gridmill's stores: plain Zarr is objects, Icechunk is opened by itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.protocol import Objects
from gridmill.testing import FaultProxy, S3Server
from trust_reader import Opening, open_repository

# Where the archive is, and its format.
KINDS: Mapping[str, tuple[str, str]] = {
    "local": ("local", "zarr"),
    "s3": ("s3", "zarr"),
    "icechunk": ("local", "icechunk"),
    "s3-icechunk": ("s3", "icechunk"),
}
BUCKET = "archives"
AT_ONCE = 16


class S3:
    """A real S3 server with a proxy in front of it, which can be told to fail; a context manager.

    Runs under faults go through the proxy; readers and tests ask the server.

    Parameters
    ----------
    outage
        A file that is there while the server is not.
    """

    def __init__(self, outage: Path) -> None:
        self.server = S3Server(public_buckets=[BUCKET])
        self.outage = outage

    def __enter__(self) -> S3:
        self.server.__enter__()
        self.proxy = FaultProxy(self.server.endpoint_url).__enter__()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.proxy.__exit__(*exc)
        self.server.__exit__(*exc)

    @property
    def writing(self) -> dict[str, Any]:
        """What gridmill is given."""
        return {**self.server.storage_options, "endpoint_url": self.proxy.url}

    @property
    def reading(self) -> dict[str, Any]:
        """What readers are given: no credentials."""
        options = self.server.storage_options
        return {"anon": True, **{k: options[k] for k in ("endpoint_url", "client_kwargs")}}

    def kill(self) -> None:
        """End the server with SIGKILL."""
        self.outage.touch()
        self.server.kill()

    def restart(self) -> None:
        """Start it again, with its data."""
        self.server.restart()
        self.outage.unlink()


@dataclass(frozen=True)
class Archive:
    """A final store and the records beside it.

    Parameters
    ----------
    kind
        One of `KINDS`.
    url
        Where it is.
    s3
        The server, for a kind on S3.
    """

    kind: str
    url: str
    s3: S3 | None = field(default=None, repr=False)

    @property
    def format(self) -> str:
        """Its format."""
        return KINDS[self.kind][1]

    @property
    def options(self) -> dict[str, Any]:
        """What gridmill is given to write it."""
        return {} if self.s3 is None else self.s3.writing

    @property
    def opening(self) -> Opening:
        """How readers open it."""
        options = {} if self.s3 is None else self.s3.reading
        return Opening(self.url, self.format, options)

    @property
    def path(self) -> Path:
        """Its folder, if it is local."""
        assert self.s3 is None
        return Path(self.url)

    @property
    def objects(self) -> Objects:
        """All that is stored for it, history and all."""
        staging = None if self.s3 else Path(f"{self.url}.test-staging")
        return self._objects(self.url, staging)

    @property
    def state(self) -> Objects:
        """The records beside it."""
        return self._objects(f"{self.url}.gridmill", None)

    def _objects(self, url: str, staging: Path | None) -> Objects:
        options = None if self.s3 is None else self.s3.server.storage_options
        return open_objects(url, staging, storage_options=options)

    # -- what readers see -----------------------------------------------------------------------

    def contents(self, expected: Collection[str] = ()) -> dict[str, bytes]:
        """Give every object of the Zarr hierarchy that readers see, by key.

        The `expected` are asked for by key, as readers do: SeaweedFS that was killed may never
        list an object that it has.
        """
        if self.format == "zarr":
            return _read(self.objects, {*self.objects.keys(), *expected})
        return _read_snapshot(self._session().store)

    def change(self, changes: Mapping[str, bytes | None]) -> None:
        """Put and delete objects of the Zarr hierarchy, as no run does."""
        if self.format == "zarr":
            for key, content in changes.items():
                if content is None:
                    self.objects.delete(key)
                else:
                    self.objects.put(key, content)
            return
        session = self._session(writable=True)
        _write_snapshot(session.store, changes)
        session.commit("Changed by a test")

    def copy_to(self, other: Archive) -> None:
        """Copy all of it to where nothing is yet."""
        for ours, theirs in ((self.objects, other.objects), (self.state, other.state)):
            content = _read(ours, ours.keys())
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(theirs.put, content, content.values()))

    def digests(self, expected: Collection[str] = ()) -> dict[str, str]:
        """Give the checksum of every object that readers see, by key."""
        return digests_of(self.contents(expected))

    def _session(self, *, writable: bool = False) -> Any:
        options = {} if self.s3 is None else self.s3.server.storage_options
        repository = open_repository(self.url, options)
        return (
            repository.writable_session("main") if writable else repository.readonly_session("main")
        )

    # -- records and leftovers ------------------------------------------------------------------

    def regions(self) -> dict[str, bytes]:
        """Give the progress records, by key."""
        return _read(self.state, self.state.keys("regions"))

    def region_digests(self) -> dict[str, str]:
        """Give the checksums of the progress records."""
        return digests_of(self.regions())

    def age_beats(self) -> None:
        """Let beats be minutes old: a younger one without a claim may be about to claim."""
        state = self.state
        for key in list(state.keys("leases")):
            if key.endswith("/beat"):
                content = json.loads(state.get(key) or b"{}")
                state.put(key, json.dumps({**content, "at": content["at"] - 600}).encode())

    def leftovers(self) -> list[str]:
        """List leases, what is staged or probes, and multipart uploads that nobody ended."""
        state = self.state
        left = [*state.keys("leases"), *state.keys("staging")]
        left += ["probe"] * (state.get("probe") is not None)
        left += [key for key in self.objects.keys("") if ".gridmill" in key]
        if self.s3 is not None:
            left += self._multipart_uploads()
        return left

    def _multipart_uploads(self) -> list[str]:
        assert self.s3 is not None
        listed = self.s3.server._client().list_multipart_uploads(Bucket=BUCKET)
        prefix = self.url.removeprefix(f"s3://{BUCKET}/")
        keys = [upload["Key"] for upload in listed.get("Uploads", ())]
        return [f"upload of {key}" for key in keys if key.startswith(prefix)]


class Shelf:
    """Gives places for new archives of one kind.

    Parameters
    ----------
    kind
        One of `KINDS`.
    folder
        Where local ones are.
    s3
        The server, for a kind on S3.
    """

    def __init__(self, kind: str, folder: Path, s3: S3 | None) -> None:
        self.kind, self.folder, self.s3 = kind, folder, s3

    def new(self, name: str) -> Archive:
        """Give a place where nothing is."""
        unique = f"{name}-{uuid.uuid4().hex[:8]}"
        base = str(self.folder / unique) if self.s3 is None else f"s3://{BUCKET}/{unique}"
        return Archive(self.kind, f"{base}/a.{KINDS[self.kind][1]}", self.s3)


def is_on_s3(kind: str) -> bool:
    """Whether a kind of store is in a bucket."""
    return KINDS[kind][0] == "s3"


def is_icechunk(kind: str) -> bool:
    """Whether a kind of store is Icechunk, where a publication is a commit."""
    return KINDS[kind][1] == "icechunk"


def digests_of(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Give the checksum of every object, by key.

    Of a shard without the zeros that may precede its index: those that replaced a longer one
    have them.
    """
    nbytes = _index_nbytes(contents)
    found = {}
    for key, content in contents.items():
        variable, is_data, _ = key.partition("/c/")
        if is_data and variable in nbytes:
            content = without_padding(content, nbytes[variable])
        found[key] = hashlib.sha256(content).hexdigest()
    return found


def _index_nbytes(contents: Mapping[str, bytes]) -> dict[str, int]:
    """Give the length of a shard's index, for every array that has shards."""
    found = {}
    for key in (key for key in contents if key.endswith("/zarr.json")):
        array = json.loads(contents[key])
        codec = array["codecs"][0]
        if codec["name"] == "sharding_indexed":
            shard = array["chunk_grid"]["configuration"]["chunk_shape"]
            chunk = codec["configuration"]["chunk_shape"]
            found[key.partition("/")[0]] = 16 * math.prod(shard) // math.prod(chunk) + 4
    return found


def without_padding(shard: bytes, index_nbytes: int) -> bytes:
    """Cut what lies between a shard's last chunk and its index; it must be zeros."""
    index = np.frombuffer(shard[-index_nbytes:-4], "<u8").reshape(-1, 2)
    end = int(index[index[:, 0] != 2**64 - 1].sum(axis=1).max(initial=0))
    assert not any(shard[end:-index_nbytes]), "something other than zeros fills a shard"
    return shard[:end] + shard[-index_nbytes:]


def _read(objects: Objects, keys: Iterable[str]) -> dict[str, bytes]:
    names = list(keys)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(names, pool.map(objects.get, names), strict=True))
    return {key: content for key, content in found.items() if content is not None}


def _read_snapshot(store: Any) -> dict[str, bytes]:
    from zarr.core.buffer.core import default_buffer_prototype
    from zarr.core.sync import sync

    async def read() -> dict[str, bytes]:
        keys = [key async for key in store.list()]
        found = {key: await store.get(key, default_buffer_prototype()) for key in keys}
        return {key: buffer.to_bytes() for key, buffer in found.items() if buffer is not None}

    contents: dict[str, bytes] = sync(read())
    return contents


def _write_snapshot(store: Any, changes: Mapping[str, bytes | None]) -> None:
    from zarr.core.buffer import cpu
    from zarr.core.sync import sync

    for key, content in changes.items():
        if content is None:
            sync(store.delete(key))
        else:
            sync(store.set(key, cpu.Buffer.from_bytes(content)))
