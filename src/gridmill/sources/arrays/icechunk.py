"""Somebody's Icechunk repository, read as any other Zarr archive; its versions are snapshots.

Which snapshot a region was read from is part of its identity: what changed since is told by
Icechunk, without fetching anything. Icechunk makes requests by itself, with its own retries.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import icechunk
from zarr.core.buffer.core import default_buffer_prototype
from zarr.core.sync import sync

from gridmill.model.urls import is_local, local_path, mask_text
from gridmill.sources.arrays.opened import Remote
from gridmill.sources.fetch.download import DownloadFailed, DownloadSettings, FileIdentity
from gridmill.sources.fetch.failures import NotAvailable
from gridmill.sources.fetch.hosts import place_at

__all__ = ["IcechunkRemote"]

SNAPSHOT = re.compile(r"@(\w+)")
# Earlier snapshots of an archive that are kept open; regions of one run share few.
MOST_EARLIER = 4


class IcechunkRemote(Remote):
    """A branch of an Icechunk repository, as it is now.

    Parameters
    ----------
    url
        A local path, ``s3://bucket/prefix``, or ``gs://bucket/prefix`` (public ones).
    settings
        `s3_options` say how S3 is reached; `most_at_host` holds.
    branch
        Which one.

    Raises
    ------
    DownloadFailed
        It cannot be opened.
    """

    def __init__(self, url: str, settings: DownloadSettings, branch: str) -> None:
        self._place = self.url = url.rstrip("/")
        self._settings = settings
        with _as_failure(url):
            self._repository = icechunk.Repository.open(_storage(self._place, settings))
            session = self._repository.readonly_session(branch)
        self._most_at_host = settings.most_at_host
        self._open(session)

    def _open(self, session: icechunk.Session) -> None:
        self._store: Any = session.store
        self.snapshot = str(session.snapshot_id)
        self._earlier: OrderedDict[str, IcechunkRemote] = OrderedDict()
        super().__init__(self.url, self._settings)

    def read(self, key: str) -> tuple[bytes, FileIdentity]:
        """Fetch an object of the snapshot; what names it is a checksum of what it holds."""
        with place_at(self._place, self._most_at_host), _as_failure(self._place):
            found = sync(self._store.get(key, default_buffer_prototype()))
        if found is None:
            raise NotAvailable(f"{self.url}/{key}", "the snapshot does not have it")
        content = found.to_bytes()
        return content, FileIdentity(
            nbytes=len(content), etag=f'"{google_crc32c.value(content):08x}"'
        )

    def identify(self, key: str) -> FileIdentity:
        """Return which version of an object there is, which takes all of it."""
        return self.read(key)[1]

    def _fetch_small(self, key: str) -> bytes:
        return self.read(key)[0]

    def before(self, etag: str | None) -> IcechunkRemote | None:
        """Return the archive as it was when a region was read, by that region's ETag.

        None if nobody knows: the ETag is of no snapshot, or that has expired.
        """
        found = SNAPSHOT.search(etag or "")
        if found is None or found[1] == self.snapshot:
            return None if found is None else self
        with self.lock:
            if found[1] not in self._earlier:
                earlier = copy(self)
                try:
                    with _as_failure(self._place):
                        earlier._open(self._repository.readonly_session(snapshot_id=found[1]))
                except (NotAvailable, DownloadFailed):
                    return None
                self._earlier[found[1]] = earlier
            self._earlier.move_to_end(found[1])
            if len(self._earlier) > MOST_EARLIER:
                self._earlier.popitem(last=False)
            return self._earlier[found[1]]

    def has_changed(self, before: Remote, arrays: Iterable[str], keys: Iterable[str]) -> bool:
        """Whether chunks changed, or arrays were made anew.

        Parameters
        ----------
        before
            The archive at another snapshot.
        arrays
            Names of the arrays.
        keys
            Of their chunks.
        """
        if before.snapshot == self.snapshot:
            return False
        try:
            since = self._repository.diff(
                from_snapshot_id=before.snapshot, to_snapshot_id=self.snapshot
            )
        except icechunk.IcechunkError:
            return True  # the snapshot expired: nobody knows
        ours = {f"/{self.array(name).path}" for name in arrays}
        if ours & {*since.new_arrays, *since.deleted_arrays}:
            return True
        wanted = set(keys)
        for path, chunks in since.updated_chunks.items():
            if path in ours:
                encode = self.array(path.strip("/")).metadata.encode_chunk_key
                at = (f"{path}/{encode(tuple(chunk))}".lstrip("/") for chunk in chunks)
                if wanted & set(at):
                    return True
        return False


def _storage(url: str, settings: DownloadSettings) -> icechunk.Storage:
    if is_local(url):
        return icechunk.local_filesystem_storage(str(local_path(url)))
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if parts.scheme == "gs":
        return icechunk.gcs_storage(bucket=parts.netloc, prefix=prefix, anonymous=True)
    if parts.scheme != "s3":
        raise ValueError(f"{url}: Icechunk is read from s3, gs, or a local path")
    options = dict(settings.s3_options)
    endpoint = options.get("endpoint_url") or options.get("client_kwargs", {}).get("endpoint_url")
    has_key = "key" in options
    return icechunk.s3_storage(
        bucket=parts.netloc,
        prefix=prefix,
        region=options.get("client_kwargs", {}).get("region_name"),
        endpoint_url=endpoint,
        allow_http=str(endpoint or "").startswith("http://"),
        force_path_style=endpoint is not None,
        access_key_id=options.get("key"),
        secret_access_key=options.get("secret"),
        session_token=options.get("token"),
        anonymous=True if options.get("anon") else None,
        from_env=None if has_key or options.get("anon") else True,
    )


@contextmanager
def _as_failure(url: str) -> Iterator[None]:
    try:
        yield
    except icechunk.IcechunkError as error:
        cause = mask_text(" ".join(str(error).split()))[:500]
        raise DownloadFailed(url, f"IcechunkError: {cause}", 1) from None
