"""What objects say of themselves to caches and readers: Cache-Control and Content-Type. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePosixPath

__all__ = ["REVALIDATE", "CachePolicy", "Headers", "cache_policy"]

# A cache may keep it, and asks before each use whether it is the newest.
REVALIDATE = "no-cache"
METADATA_SUFFIX = ".json"
CONTENT_TYPES = {
    METADATA_SUFFIX: "application/json",
    ".html": "text/html; charset=utf-8",
    ".png": "image/png",
}
ANY_BYTES = "application/octet-stream"


@dataclass(frozen=True)
class Headers:
    """What the objects of one store say.

    Parameters
    ----------
    metadata, others
        Cache-Control of metadata and of all other objects; empty for none.

    Examples
    --------
    >>> Headers(others="max-age=300").of("t2m/zarr.json")
    {'ContentType': 'application/json', 'CacheControl': 'no-cache'}
    >>> Headers(others="max-age=300").of("t2m/c/0/0/0")
    {'ContentType': 'application/octet-stream', 'CacheControl': 'max-age=300'}
    """

    metadata: str = REVALIDATE
    others: str = REVALIDATE

    def of(self, key: str) -> dict[str, str]:
        """Return the headers of an object, by the names that S3's API gives them."""
        suffix = PurePosixPath(key).suffix
        control = self.metadata if suffix == METADATA_SUFFIX else self.others
        kind = {"ContentType": CONTENT_TYPES.get(suffix, ANY_BYTES)}
        return {**kind, "CacheControl": control} if control else kind


@dataclass(frozen=True, kw_only=True)
class CachePolicy:
    """What caches may do with each kind of object: values of Cache-Control, empty for none.

    Parameters
    ----------
    metadata
        Every ``zarr.json``.
    coordinates
        Values of coordinates: that of the append dim grows with each publication.
    data
        Values of data variables. Whether one of these objects is ever written again is known to no
        program: an update fills a shard, a revised source file or a repair replaces it.
    """

    metadata: str = REVALIDATE
    coordinates: str = REVALIDATE
    data: str = REVALIDATE

    def __post_init__(self) -> None:
        for kind in (field.name for field in fields(self)):
            value = getattr(self, kind)
            if not isinstance(value, str) or not value.isprintable():
                raise ValueError(
                    f"cache_control of {kind} is a Cache-Control header like 'max-age=300', "
                    f"not {value!r}"
                )

    @property
    def of_structure(self) -> Headers:
        """Headers of metadata and coordinates."""
        return Headers(self.metadata, self.coordinates)

    @property
    def of_data(self) -> Headers:
        """Headers of data."""
        return Headers(self.metadata, self.data)


def cache_policy(given: Mapping[str, str] | None) -> CachePolicy:
    """Return the policy that a mapping of kinds to Cache-Control means.

    Raises
    ------
    ValueError
        There is no such kind, or a value is no header.

    Examples
    --------
    >>> cache_policy({"data": "max-age=300"}).coordinates
    'no-cache'
    """
    kinds = [field.name for field in fields(CachePolicy)]
    unknown = [kind for kind in given or {} if kind not in kinds]
    if unknown:
        raise ValueError(
            f"cache_control has no kind of object {unknown[0]!r}: give {', '.join(kinds)}"
        )
    return CachePolicy(**(given or {}))
