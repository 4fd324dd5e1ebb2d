"""Final stores by their URL, whatever their format."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gridmill.model.urls import canonical, check_address, is_same_kind
from gridmill.stores.final_store import FinalStore
from gridmill.stores.objects.opening import state_url
from gridmill.stores.versions import NEXT, PRESENT, address_of, state_of
from gridmill.stores.zarr_store import ZarrStore

__all__ = ["FORMATS", "open_replica", "open_store"]

FORMATS = ("zarr", "icechunk")


def open_store(
    url: str,
    dataset_id: str,
    *,
    format: str | None = None,  # noqa: A002
    state: str | None = None,
    fsync: bool = False,
    storage_options: Mapping[str, Any] | None = None,
    format_version: int | None = None,
    cache_control: Mapping[str, str] | None = None,
    staged: int | str | None = None,
) -> FinalStore:
    """Return the final store at a URL; touches nothing yet.

    Parameters
    ----------
    url
        A local path, ``s3://bucket/prefix`` (``s3a://`` is the same), or what else fsspec knows.
    dataset_id
        The dataset in it.
    format
        One of `FORMATS`; None means Icechunk for a URL that ends in ``.icechunk``, else Zarr.
    state
        Where the records are kept; None means ``<url>.gridmill``.
    fsync
        Whether what is written to a local store also survives a power loss.
    storage_options
        For a remote store, what its file system takes: for S3 those of s3fs (`key`, `secret`,
        `profile`, `anon`, `endpoint_url`, ...).
    format_version
        Of Icechunk's format, for a new archive: 1, which every Icechunk opens and is the default,
        or 2. An archive that exists stays in the one that it was made in.
    cache_control
        For plain Zarr, what caches may do with new objects, by kind: ``{"metadata": ...,
        "coordinates": ..., "data": ...}``, values of Cache-Control; ``"no-cache"`` where nothing
        is given. Files on a disk say nothing.
    staged
        What is meant is another version beside the archive at the URL, with records of its own: of
        Icechunk a branch, the next one or the one of this name; of plain Zarr an address that ends
        with this number.

    Raises
    ------
    ValueError
        The address is written wrong, the format or the URL's scheme is not supported, or its
        library is not installed.
    """
    url = canonical(check_address(url))
    format = format or _format_of(url)  # noqa: A001
    if format not in FORMATS:
        raise ValueError(f"format {format!r} is not one of {', '.join(FORMATS)}")
    if staged is not None:
        name = NEXT if format == "icechunk" and isinstance(staged, int) else str(staged)
        own = state_of(state or state_url(url), name if format == "icechunk" else f"v{name}")
        state = own if state or format == "icechunk" else None
    if format == "icechunk":
        if fsync:
            raise ValueError("Icechunk does not say when its files survive a power loss: no fsync")
        if cache_control:
            raise ValueError("Icechunk writes its objects itself: it takes no cache_control")
        try:
            from gridmill.stores.icechunk.store import IcechunkStore
        except ImportError as error:
            raise ValueError(f"{error}: pip install 'gridmill[icechunk]'") from error
        return IcechunkStore(
            url,
            dataset_id,
            state=state,
            storage_options=storage_options,
            format_version=format_version,
            branch=PRESENT if staged is None else name,
        )
    if format_version is not None:
        raise ValueError(f"format version {format_version}: only Icechunk archives have a choice")
    return ZarrStore(
        url if staged is None else address_of(url, int(staged)),
        dataset_id,
        state=state,
        fsync=fsync,
        storage_options=storage_options,
        cache_control=cache_control,
    )


def open_replica(
    given: str | Path | Mapping[str, Any],
    store: FinalStore,
    dataset_id: str,
    storage_options: Mapping[str, Any] | None,
    cache_control: Mapping[str, str] | None = None,
    staged: str | None = None,
) -> FinalStore:
    """Return the store of a replica; touches nothing yet.

    Parameters
    ----------
    given
        Its address, or what `open_store` takes, with the address as ``url``.
    store, dataset_id, storage_options, cache_control
        The store that it is a replica of, the dataset in it, and that store's options: they are
        the replica's, too, where it is of the same kind and has none of its own.
    staged
        Another version of it is meant, see `open_store`.

    Raises
    ------
    ValueError
        It is the store itself; or as by `open_store`.
    """
    options: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"url": str(given)}
    url = canonical(str(options.pop("url")))
    if url.rstrip("/") == store.url.rstrip("/"):
        raise ValueError(f"{url} is the archive itself: give another replica")
    if is_same_kind(url, store.url):
        options.setdefault("storage_options", storage_options)
    options.setdefault("format", _format_of(url))
    if options["format"] == store.format:
        options.setdefault("cache_control", cache_control)
    return open_store(url, dataset_id, **options, staged=staged)


def _format_of(url: str) -> str:
    """Name the format that a URL means where none is given."""
    return "icechunk" if url.rstrip("/").endswith(".icechunk") else "zarr"
