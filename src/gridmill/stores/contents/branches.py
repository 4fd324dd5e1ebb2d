"""The versions of an archive that are beside each other, where its format can have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gridmill.model.urls import mask_url
from gridmill.stores.final_store import FinalStore

if TYPE_CHECKING:
    from gridmill.stores.versions import Branches

__all__ = ["branches_of"]


def branches_of(store: FinalStore) -> Branches:
    """Return the versions of an archive that are beside each other.

    Raises
    ------
    ValueError
        Readers of this format cannot be moved to another version at the same address.
    """
    if store.shows_uploads:
        raise ValueError(
            f"{mask_url(store.url)} is plain Zarr, whose objects cannot be exchanged in one step: "
            "who opened it before would read objects of another version by the metadata of this one"
        )
    from gridmill.stores.icechunk.named.branches import IcechunkBranches

    icechunk: Any = store
    return IcechunkBranches(icechunk.repository)
