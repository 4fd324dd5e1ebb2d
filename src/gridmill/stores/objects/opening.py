"""Objects by their URL, and where the records of a store are."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gridmill.model.urls import (
    canonical,
    check_address,
    is_local,
    is_same_kind,
    local_path,
    mask_url,
)
from gridmill.stores.headers import Headers
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.objects.protocol import Objects

__all__ = ["open_objects", "open_state", "state_url"]

log = logging.getLogger(__name__)


def open_objects(
    url: str,
    staging: Path | None = None,
    *,
    fsync: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    headers: Headers | None = None,
) -> Objects:
    """Return the objects below a URL; touches nothing yet.

    Parameters
    ----------
    url
        A local path, or a URL of a scheme that fsspec knows.
    staging
        For local objects, see `LocalObjects`; None means a folder ``staging`` below the root.
    fsync
        See `LocalObjects`.
    storage_options
        For remote objects, what the file system takes: see `S3Objects`,
        `CloudObjects` and `FsspecObjects`.
    headers
        What remote objects that are put say of themselves; by default that caches ask again.

    Raises
    ------
    ValueError
        The URL's scheme is not supported.
    """
    url = canonical(check_address(url))
    if is_local(url):
        root = local_path(url)
        return LocalObjects(root, staging or root / "staging", fsync=fsync)
    # Imported here, because local stores need neither.
    if url.startswith("s3://"):
        from gridmill.stores.objects.s3.objects import S3Objects

        return S3Objects(url, storage_options, headers=headers)
    if (found := _in_a_cloud(url, storage_options, headers)) is not None:
        return found
    from gridmill.stores.objects.remote import FsspecObjects

    return FsspecObjects(url, storage_options, headers=headers)


def _in_a_cloud(
    url: str, options: Mapping[str, Any] | None, headers: Headers | None
) -> Objects | None:
    """Return objects of Google Cloud Storage or Azure; None where fsspec is what reaches them.

    That is where obstore is not installed, or has no word for an option, and gcsfs or adlfs are.

    Raises
    ------
    ValueError
        Neither is installed, or the other knows an option.
    """
    from gridmill.stores.objects.clouds.addresses import UnknownOption, is_cloud

    if not is_cloud(url):
        return None
    try:
        from gridmill.stores.objects.clouds.cloud_objects import CloudObjects

        return CloudObjects(url, options, headers=headers)
    except (ImportError, UnknownOption) as error:
        library, extra = ("gcsfs", "gcs") if url.startswith("g") else ("adlfs", "azure")
        missing = f"{mask_url(url)}: obstore is not installed: pip install 'gridmill[{extra}]'"
        why = missing if isinstance(error, ImportError) else f"{mask_url(url)}: {error}"
        if find_spec(library) is None:
            raise ValueError(why) from None
        log.warning("%s; going through %s, with fewer guarantees", why, library)
        return None


def state_url(url: str) -> str:
    """Return the place of the records beside a store."""
    return f"{local_path(url) if is_local(url) else url.rstrip('/')}.gridmill"


def open_state(
    url: str,
    state: str | None,
    *,
    fsync: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Objects:
    """Return the records of the store at `url`, which are beside it or where `state` says."""
    state = state or state_url(url)
    options = storage_options if is_same_kind(state, url) else None
    return open_objects(state, fsync=fsync, storage_options=options)
