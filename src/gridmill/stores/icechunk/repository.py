"""The repository: opened once a process, wherever it is, with credentials found there."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import icechunk
from zarr.abc.store import Store

from gridmill.model.urls import is_local, local_path
from gridmill.stores.icechunk.keys import get
from gridmill.stores.icechunk.patience import few_attempts
from gridmill.stores.metadata import ROOT

__all__ = ["AT_ONCE", "BRANCH", "RepositoryAt"]

BRANCH = "main"
# Icechunk makes requests at once by itself; these keep it busy.
AT_ONCE = 16


class RepositoryAt:
    """The repository at a URL, whether it is there yet or not.

    Parameters
    ----------
    url
        A local path or ``s3://bucket/prefix``.
    storage_options
        See `IcechunkStore`.
    """

    def __init__(self, url: str, storage_options: Mapping[str, Any]) -> None:
        self.url = url
        self.storage_options = storage_options
        _options_of[url] = storage_options

    def __repr__(self) -> str:
        return f"RepositoryAt({self.url!r})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _options_of[self.url] = self.storage_options

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(local_path(self.url).resolve()) if is_local(self.url) else self.url

    def published(self, *, travels: bool = False) -> Store | None:
        """Give what readers see; None if there is no repository or nothing in it."""
        try:
            repository = self.open(travels=travels)
        except FileNotFoundError:
            return None
        store: Store = repository.readonly_session(BRANCH).store
        return None if get(store, ROOT) is None else store

    def messages(self, start: str) -> list[str]:
        """Return the messages of the versions that begin so, the latest first."""
        ancestry = self.open().ancestry(branch=BRANCH)
        return [one.message for one in ancestry if one.message.startswith(start)]

    def as_of(self, moment: datetime) -> Store:
        """Return the last version that was published before a moment.

        Raises
        ------
        ValueError
            None is kept.
        """
        try:
            store: Store = self.open().readonly_session(BRANCH, as_of=moment).store
        except icechunk.IcechunkError as error:
            raise ValueError(
                f"{self.url} keeps no version of {moment.isoformat(timespec='seconds')}: it began "
                "later, or such versions are expired (gridmill upkeep)"
            ) from error
        return store

    def open(self, *, create: bool = False, travels: bool = False) -> icechunk.Repository:
        """Open the repository, once a process.

        What comes of one that travels works wherever it is unpickled; what comes of the other
        only where its store is, because credentials are no part of it.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        key = (self.url, repr(sorted(self.storage_options.items())), travels)
        with _opening:
            if key not in _repositories:
                storage = self.storage(travels=travels)
                if not icechunk.Repository.exists(storage):
                    if not create:
                        raise FileNotFoundError(f"there is no Icechunk repository at {self.url}")
                    icechunk.Repository.create(storage)
                _repositories[key] = icechunk.Repository.open(storage, few_attempts())
            return _repositories[key]

    def storage(self, *, travels: bool = False) -> icechunk.Storage:
        """Say how it is reached, for Icechunk; makes a local folder."""
        if is_local(self.url):
            path = local_path(self.url)
            path.mkdir(parents=True, exist_ok=True)
            return icechunk.local_filesystem_storage(str(path))
        options = self.storage_options
        client = options.get("client_kwargs", {})
        endpoint = options.get("endpoint_url") or client.get("endpoint_url") or _env_endpoint()
        region = client.get("region_name") or _env_region()
        bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
        anonymous = bool(options.get("anon"))
        return icechunk.s3_storage(
            bucket=bucket,
            # Icechunk does not take the root of a bucket.
            prefix=prefix or None,
            region=region or ("us-east-1" if endpoint else None),
            endpoint_url=endpoint,
            allow_http=bool(endpoint and endpoint.startswith("http://")),
            force_path_style=endpoint is not None,
            anonymous=anonymous or None,
            get_credentials=None
            if anonymous
            else _Credentials(self.url, options if travels else None),
        )


# A repository belongs to a process, and is safe in its threads.
_repositories: dict[tuple[str, str, bool], icechunk.Repository] = {}
_opening = threading.RLock()
# Where tokens find credentials, because they carry none.
_options_of: dict[str, Mapping[str, Any]] = {}


@dataclass(frozen=True)
class _Credentials:
    """Finds credentials in the process where they are needed.

    Pickles as the store's URL, and with the store's options only if they are given.
    """

    url: str
    options: Mapping[str, Any] | None = field(default=None, repr=False)

    def __call__(self) -> icechunk.S3StaticCredentials:
        options = self.options or _options_of.get(self.url, {})
        if options.get("key"):
            return icechunk.S3StaticCredentials(
                access_key_id=options["key"],
                secret_access_key=options["secret"],
                session_token=options.get("token"),
            )
        # It takes a while, and Icechunk's S3 client waits seconds at most.
        import botocore.session  # type: ignore[import-untyped]

        session = botocore.session.Session(profile=options.get("profile"))
        found = session.get_credentials()
        if found is None:
            raise PermissionError(f"no credentials found for {self.url}")
        frozen = found.get_frozen_credentials()
        soon = datetime.now(UTC) + timedelta(minutes=10)
        return icechunk.S3StaticCredentials(
            access_key_id=frozen.access_key,
            secret_access_key=frozen.secret_key,
            session_token=frozen.token,
            expires_after=soon if frozen.token else None,
        )


def _env_endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def _env_region() -> str | None:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")


if "ICECHUNK_LOG" not in os.environ:
    # It warns that local commits need a lock, which gridmill holds.
    with suppress(Exception):
        icechunk.set_logs_filter("error")
