"""Final stores, where readers read, and the records beside them."""

from __future__ import annotations

from gridmill.stores.lease import Lease, LeaseHeld, LeaseLost, LeaseProof
from gridmill.stores.objects import LocalObjects, Objects, open_objects
from gridmill.stores.plain_zarr import ZarrStore
from gridmill.stores.tracker import UpdateProgressTracker

__all__ = [
    "Lease",
    "LeaseHeld",
    "LeaseLost",
    "LeaseProof",
    "LocalObjects",
    "Objects",
    "UpdateProgressTracker",
    "ZarrStore",
    "open_objects",
]
