"""A store as it is found, by any writer: what is there, also where no root lists it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zarr.abc.store import Store

from gridmill.stores.final_store import FinalStore
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.objects.zarr_reader import ObjectsReader
from gridmill.stores.zarr_store import ZarrStore

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ListedReader", "found_in", "open_found"]

# What says that a group is consolidated, in Zarr v2.
V2_CONSOLIDATED = ".zmetadata"


class ListedReader(ObjectsReader):
    """Reads objects, and lists the keys that there are.

    Parameters
    ----------
    objects
        What is read; all keys are listed once, when the first of them is asked for.
    """

    supports_listing = True

    def __init__(self, objects: Objects) -> None:
        super().__init__(objects)
        self._listed = objects

    @cached_property
    def _keys(self) -> list[str]:
        return list(self._listed.keys())

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in self._keys:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin so."""
        for key in self._keys:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below a prefix."""
        below = f"{prefix.rstrip('/')}/" if prefix else ""
        names = {k[len(below) :].partition("/")[0] for k in self._keys if k.startswith(below)}
        for name in sorted(names):
            yield name


def found_in(store: FinalStore) -> Store | None:
    """Return what reads and lists a store as it is; None if there is nothing that readers see."""
    if isinstance(store, ZarrStore):
        return ListedReader(store.objects)
    icechunk: Any = store
    found: Store | None = icechunk.repository.published()
    return found


def open_found(store: FinalStore) -> xr.Dataset:
    """Open what readers see, without Dask, in whichever version of Zarr it is written.

    Raises
    ------
    ValueError
        Readers see nothing.
    """
    import xarray as xr

    found = found_in(store)
    root = None if not isinstance(store, ZarrStore) else store.metadata()
    v2 = store.read_object(V2_CONSOLIDATED) if isinstance(store, ZarrStore) else None
    is_consolidated = v2 is not None or bool((root or {}).get("consolidated_metadata"))
    if found is None:
        raise ValueError(f"readers see nothing at {store.url}: give the address of an archive")
    try:
        ds: xr.Dataset = xr.open_zarr(found, chunks=None, consolidated=is_consolidated)
    except FileNotFoundError as error:  # zarr's: neither version has a group here
        raise ValueError(
            f"readers see nothing at {store.url}: give the address of an archive"
        ) from error
    return ds
