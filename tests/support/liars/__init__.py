"""Providers of every kind that lie, by name: each in a module of its own.

Each tells a day's truth or a lie in its own form, and knows the dataset that is made of it. What is
told is that of `daily_netcdf`; some lies are of one kind of provider alone.
"""

from __future__ import annotations

from liars.files import Provider
from liars.geotiffs import GeoTiff
from liars.groups import Groups, Hdf5
from liars.listings import Listing
from liars.mirrors import Raced
from liars.parts import Parts
from liars.queues import Queue
from liars.tokens import Token
from liars.zarr_archives import IcechunkSource, ZarrSource

__all__ = ["PROVIDERS", "Provider"]

PROVIDERS: dict[str, type[Provider]] = {
    "token": Token,
    "listing": Listing,
    "zarr": ZarrSource,
    "icechunk": IcechunkSource,
    "geotiff": GeoTiff,
    "hdf5 groups": Hdf5,
    "netcdf groups": Groups,
    "queue": Queue,
    "raced mirrors": Raced,
    "parts of a day": Parts,
}
