"""Somebody's Icechunk repository, read as any other Zarr archive; its versions are snapshots.

Which snapshot a region was read from is part of its identity: what changed since is told by
Icechunk, without fetching anything. Icechunk makes requests by itself, with its own retries.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import google_crc32c
import icechunk
from zarr.core.buffer.core import default_buffer_prototype
from zarr.core.sync import sync

from gridmill.model.urls import is_local, local_path, mask_text, mask_url, split_url
from gridmill.sources.arrays.opened import Remote
from gridmill.sources.fetch.credentials.access import use_for
from gridmill.sources.fetch.credentials.reading import CredentialMissing, read_credential
from gridmill.sources.fetch.credentials.rules import S3Access
from gridmill.sources.fetch.download import DownloadFailed, DownloadSettings, FileIdentity
from gridmill.sources.fetch.failures import NotAvailable, PermanentError, TransientError
from gridmill.sources.fetch.hosts import place_at
from gridmill.sources.fetch.s3 import check_s3_keys, s3_options

__all__ = ["IcechunkRemote"]

AnswerT = TypeVar("AnswerT")
KeptT = TypeVar("KeptT")

SNAPSHOT = re.compile(r"@(\w+)")
# Earlier snapshots of an archive that are kept open; regions of one run share few.
MOST_EARLIER = 4
# Icechunk has one class of errors: what it says where a snapshot is collected, where it is no
# ancestor (expired, say, and not collected yet), and where it never was one.
NOT_KNOWN = ("snapshot not found", "ancestry doesn't include", "invalid snapshot id")


class SnapshotUnknown(DownloadFailed):
    """Icechunk does not find a snapshot, or how it came to the present one."""


class IcechunkRemote(Remote):
    """A branch of an Icechunk repository, as it is now.

    Parameters
    ----------
    url
        A local path, ``s3://bucket/prefix``, or ``gs://bucket/prefix`` (public ones).
    settings
        `s3_options` say how S3 is reached, and the `S3Access` that is declared for its bucket who
        asks; `most_at_host` holds.
    branch
        Which one.
    snapshot
        One of its snapshots; None means the last.

    Raises
    ------
    DownloadFailed
        It cannot be opened.
    """

    def __init__(
        self, url: str, settings: DownloadSettings, branch: str, snapshot: str | None = None
    ) -> None:
        self._place, self._branch = url.rstrip("/"), branch
        self._settings = settings
        self._opening = Lock()
        self._by_keys: dict[str, tuple[icechunk.Repository, icechunk.Session]] = {}
        self._earlier: OrderedDict[str, IcechunkRemote | None] = OrderedDict()
        self._diffs: OrderedDict[str, icechunk.Diff | None] = OrderedDict()
        self.snapshot = snapshot
        self.snapshot = self._answer(lambda repository, session: str(session.snapshot_id))
        super().__init__(url, settings)

    def read(self, key: str) -> tuple[bytes, FileIdentity]:
        """Fetch an object of the snapshot; what names it is a checksum of what it holds."""

        def get(repository: icechunk.Repository, session: icechunk.Session) -> Any:
            return sync(session.store.get(key, default_buffer_prototype()))

        with place_at(self._place, self._settings.most_at_host):
            found = self._answer(get)
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

        Raises
        ------
        DownloadFailed
            It cannot be asked now.
        """
        found = SNAPSHOT.search(etag or "")
        if found is None or found[1] == self.snapshot:
            return None if found is None else self
        own = (self._place, self._settings, self._branch)
        return self._kept(self._earlier, found[1], partial(IcechunkRemote, *own, found[1]))

    def has_changed(self, before: Remote, arrays: Iterable[str], keys: Iterable[str]) -> bool:
        """Whether chunks changed, or arrays were recreated.

        Parameters
        ----------
        before
            The archive at another snapshot.
        arrays
            Names of the arrays.
        keys
            Of their chunks.

        Raises
        ------
        DownloadFailed
            It cannot be asked now.
        """
        snapshot = before.snapshot
        if snapshot == self.snapshot:
            return False
        if snapshot is None:
            return True  # nobody knows
        since = self._kept(self._diffs, snapshot, partial(self._diff, snapshot))
        if since is None:
            return True  # nobody knows
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

    def _diff(self, snapshot: str) -> icechunk.Diff:
        ends = {"from_snapshot_id": snapshot, "to_snapshot_id": self.snapshot}
        return self._answer(lambda repository, session: repository.diff(**ends))

    def _kept(
        self, kept: OrderedDict[str, KeptT | None], snapshot: str, make: Callable[[], KeptT]
    ) -> KeptT | None:
        """Return what is kept of an earlier snapshot; None if nobody knows that any more."""
        with self.lock:
            if snapshot not in kept:
                try:
                    kept[snapshot] = make()
                except NotAvailable:
                    kept[snapshot] = None
                except SnapshotUnknown:
                    # Icechunk says so too while it cannot reach its storage: that fails here.
                    self._answer(lambda repository, _: repository.lookup_branch(self._branch))
                    kept[snapshot] = None
            kept.move_to_end(snapshot)
            if len(kept) > MOST_EARLIER:
                kept.popitem(last=False)
            return kept[snapshot]

    def _answer(self, ask: Callable[[icechunk.Repository, icechunk.Session], AnswerT]) -> AnswerT:
        """Ask the repository; a failure is told without credentials."""
        failure = DownloadFailed
        try:
            return self._asked(ask)
        except icechunk.IcechunkError as error:
            if any(text in str(error) for text in NOT_KNOWN):
                failure = SnapshotUnknown
            told = f"IcechunkError: {mask_text(' '.join(str(error).split()))[:500]}"
        except CredentialMissing as error:
            told = str(error)
        # Here what is raised has no context, which would be shown, and sent, unmasked.
        raise failure(self._place, told, 1)

    def _asked(self, ask: Callable[[icechunk.Repository, icechunk.Session], AnswerT]) -> AnswerT:
        """Ask it with the keys that are declared for its bucket."""
        use = use_for(self._place)
        if use is None or not use.rule.needs_secret:
            return ask(*self._opened(use and use.rule))

        def with_keys(secret: str) -> AnswerT:
            try:
                return ask(*self._opened(use.rule, secret))
            except icechunk.IcechunkError:
                # Which does not tell a refusal from what else may be the matter.
                ref = f"{self._place}/refs/branch.{self._branch}/ref.json"
                with suppress(NotAvailable, PermanentError, TransientError):
                    check_s3_keys(ref, self._settings, secret)
                raise

        return use.send(with_keys)

    def _opened(
        self, rule: Any = None, secret: str = ""
    ) -> tuple[icechunk.Repository, icechunk.Session]:
        """Open the repository, or that same snapshot with other keys."""
        with self._opening:
            if secret not in self._by_keys:
                storage = _storage(self._place, self._settings, rule, secret)
                repository = icechunk.Repository.open(storage)
                if self.snapshot is None:
                    session = repository.readonly_session(self._branch)
                else:
                    session = repository.readonly_session(snapshot_id=self.snapshot)
                self._by_keys = {secret: (repository, session)}
            return self._by_keys[secret]


def _storage(
    url: str, settings: DownloadSettings, rule: S3Access | None, secret: str
) -> icechunk.Storage:
    if is_local(url):
        return icechunk.local_filesystem_storage(str(local_path(url)))
    parts = split_url(url)
    prefix = parts.path.strip("/")
    if parts.scheme == "gs":
        return icechunk.gcs_storage(bucket=parts.netloc, prefix=prefix, anonymous=True)
    if parts.scheme != "s3":
        raise ValueError(f"{mask_url(url)}: Icechunk is read from s3, gs, or a local path")
    profile = settings.s3_options.get("profile")
    if not secret and profile is not None:  # of which Icechunk knows nothing
        secret = read_credential(S3Access(f"s3://{parts.netloc}", profile=profile), url)
    options = s3_options(settings, secret)
    client = options.get("client_kwargs", {})
    endpoint = options.get("endpoint_url") or client.get("endpoint_url") or _endpoint_here()
    pays = bool(options.get("requester_pays") or (rule is not None and rule.requester_pays))
    return icechunk.s3_storage(
        bucket=parts.netloc,
        prefix=prefix,
        region=client.get("region_name"),
        endpoint_url=endpoint,
        allow_http=str(endpoint or "").startswith("http://"),
        force_path_style=endpoint is not None,
        requester_pays=pays,
        **_who_asks(options),
    )


def _endpoint_here() -> str | None:
    """Return what s3fs takes for the endpoint where its options name none."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _who_asks(options: Mapping[str, Any]) -> dict[str, Any]:
    if options.get("anon"):
        return {"anonymous": True}
    if "key" not in options:
        return {"from_env": True}
    return {
        "access_key_id": options["key"],
        "secret_access_key": options.get("secret"),
        "session_token": options.get("token"),
    }
