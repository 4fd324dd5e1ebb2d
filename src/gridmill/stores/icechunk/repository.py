"""The repository: opened once a process, wherever it is, with credentials found there."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import icechunk
from zarr.abc.store import Store

from gridmill.model.urls import is_local, local_path, mask_url
from gridmill.stores.icechunk.keys import Array, get
from gridmill.stores.icechunk.patience import patient_config
from gridmill.stores.icechunk.settings.formats import (
    RepositoryTooNew,
    format_in,
    format_of,
    newest_format,
)
from gridmill.stores.icechunk.settings.manifests import new_config
from gridmill.stores.icechunk.settings.storage import (
    find_options_here,
    storage_at,
    storage_class_in,
)
from gridmill.stores.metadata import ROOT
from gridmill.stores.objects.clouds.addresses import is_cloud
from gridmill.stores.objects.opening import open_objects

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
    storage_options, format_version, branch
        See `IcechunkStore`.
    """

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any],
        format_version: int | None = None,
        branch: str = BRANCH,
    ) -> None:
        self.url = url
        self.branch = branch
        self.storage_options = storage_options
        self.format_version = format_version
        find_options_here(url, storage_options)

    def __repr__(self) -> str:
        return f"RepositoryAt({self.url!r})"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        find_options_here(self.url, self.storage_options)

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return str(local_path(self.url).resolve()) if is_local(self.url) else self.url

    def published(self, *, travels: bool = False) -> Store | None:
        """Return what readers see; None if there is no repository or nothing in it."""
        try:
            repository = self.open(travels=travels)
        except FileNotFoundError:
            return None
        if self.branch != BRANCH and self.branch not in repository.list_branches():
            return None
        store: Store = repository.readonly_session(self.branch).store
        return None if get(store, ROOT) is None else store

    def messages(self, start: str) -> list[str]:
        """Return the messages of the versions that begin so, the latest first."""
        ancestry = self.open().ancestry(branch=self.branch)
        return [one.message for one in ancestry if one.message.startswith(start)]

    def open(self, *, travels: bool = False) -> icechunk.Repository:
        """Open the repository, once a process.

        What comes of one that travels works wherever it is unpickled; what comes of the other
        only where its store is, because credentials are no part of it.

        Raises
        ------
        FileNotFoundError
            There is none.
        RepositoryTooNew
            It is in a format that this Icechunk does not know.
        ValueError
            It is in another format than was asked for.
        """
        key = self._key(travels)
        with _opening:
            if is_local(self.url) and not local_path(self.url).exists():
                _repositories.pop(key, None)  # deleted since
            if key not in _repositories:
                _repositories[key] = self._opened(self.storage(travels=travels))
            repository = _repositories[key]
        found = format_of(repository)
        if self.format_version not in (None, found):
            raise ValueError(
                f"{mask_url(self.url)} is an Icechunk repository in format {found}, not "
                f"{self.format_version}: leave the format version out, or give another store"
            )
        return repository

    def create(self, append_dim: str | None, arrays: Mapping[str, Array], version: int) -> None:
        """Make the repository, unless it is there; see `new_config`."""
        with _opening, suppress(FileNotFoundError):
            self.open()
            return
        config = None if append_dim is None else new_config(append_dim, arrays)
        make: Any = icechunk.Repository.create
        # Before Icechunk 2 there was one format, and no way to name it.
        chosen = {"spec_version": version} if newest_format() > 1 else {}
        make(self.storage(), config, **chosen)

    def forget(self) -> None:
        """Reopen the repository when it is next needed: its configuration has changed."""
        with _opening:
            for travels in (False, True):
                _repositories.pop(self._key(travels), None)

    def _key(self, travels: bool) -> tuple[str, str, bool]:
        # A process may change its working folder.
        place = str(local_path(self.url).absolute()) if is_local(self.url) else self.url
        return (place, repr(sorted(self.storage_options.items())), travels)

    def storage(self, *, travels: bool = False) -> icechunk.Storage:
        """Say how it is reached, for Icechunk; makes a local folder."""
        return storage_at(self.url, self.storage_options, travels=travels)

    def _config(self) -> icechunk.RepositoryConfig:
        at_s3 = not is_local(self.url) and not is_cloud(self.url)
        return patient_config(storage_class_in(self.storage_options) if at_s3 else None)

    def _opened(self, storage: icechunk.Storage) -> icechunk.Repository:
        """Open the repository.

        Raises
        ------
        FileNotFoundError
            There is none.
        RepositoryTooNew
            It is in a format that this Icechunk does not know. Some say of one that there is none.
        """
        try:
            if icechunk.Repository.exists(storage):
                return icechunk.Repository.open(storage, self._config())
        except icechunk.IcechunkError:
            self._check_format()
            raise
        self._check_format()
        raise FileNotFoundError(f"there is no Icechunk repository at {self.url}")

    def _check_format(self) -> None:
        with suppress(PermissionError):  # what is not there, to those who may not list
            found = format_in(open_objects(self.url, storage_options=self.storage_options))
            if found is not None and found > newest_format():
                raise RepositoryTooNew(self.url, found, newest_format())


# A repository belongs to a process, and is safe in its threads.
_repositories: dict[tuple[str, str, bool], icechunk.Repository] = {}
_opening = threading.RLock()


if "ICECHUNK_LOG" not in os.environ:
    # It warns that local commits need a lock, which gridmill holds.
    with suppress(Exception):
        icechunk.set_logs_filter("error")
