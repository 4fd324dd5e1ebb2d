"""The calls of obstore that objects are made of, for one bucket or container."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from gridmill.stores.objects.clouds.addresses import CloudAddress
from gridmill.stores.objects.clouds.requests import CloudRequests, Transient
from gridmill.stores.objects.patience import Patience

__all__ = ["CloudBucket", "Version"]

T = TypeVar("T")

PART_NBYTES = 16 << 20
PARTS_AT_ONCE = 4
MD5 = re.compile(r'"?([0-9a-f]{32})"?')
# What a process knows of a bucket whose tags are none.
NO_CHECKSUMS = "tags are no checksums"

# An object's tag and generation, as obstore wants them for a condition.
Version = Mapping[str, Any]


@dataclass(frozen=True)
class CloudBucket:
    """Objects by their keys below a prefix, each call tried until it succeeds or patience ends.

    Parameters
    ----------
    address
        Where it is.
    patience
        How long a request is tried.
    """

    address: CloudAddress
    patience: Patience

    def put(
        self, key: str, content: bytes, attributes: Mapping[str, str], mode: Any, *, in_parts: bool
    ) -> None:
        """Put an object: over another one, only as the first one, or over a version."""
        import obstore

        over = mode

        def put(store: Any) -> None:
            nonlocal over
            done = obstore.put(
                store,
                self._path(key),
                content,
                attributes=dict(attributes),
                mode=over,
                use_multipart=in_parts,
                chunk_size=PART_NBYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
            if not self._has_arrived(key, content, str(done.get("e_tag"))):
                over = mode if mode == "overwrite" else _version(done)
                raise Transient(f"{key} was damaged on its way to {self.address.bucket}")

        self._requests.run(put)

    def read(self, key: str) -> tuple[bytes, Version] | None:
        """Read an object with its version; None if there is none."""
        found = self.get(key)
        return None if found is None else found[:2]

    def get(self, key: str, **options: Any) -> tuple[bytes, Version, Mapping[str, str]] | None:
        """Read an object, or what options say, with its version and headers; None if absent."""
        import obstore

        wanted: Any = options or None

        def get(store: Any) -> tuple[bytes, Version, Mapping[str, str]]:
            found = obstore.get(store, self._path(key), options=wanted)
            return bytes(found.bytes()), _version(found.meta), dict(found.attributes)

        return self._or_none(get)

    def version(self, key: str) -> Version | None:
        """Ask for an object's version; None if there is none."""
        found = self.head(key)
        return None if found is None else _version(found)

    def head(self, key: str) -> Mapping[str, Any] | None:
        """Ask for an object's size and version; None if there is none."""
        import obstore

        def head(store: Any) -> Mapping[str, Any]:
            found: Any = obstore.head(store, self._path(key))
            return dict(found)

        return self._or_none(head)

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        import obstore

        self._or_none(lambda store: obstore.delete(store, self._path(key)))

    def keys(self, prefix: str) -> list[str]:
        """List the keys below a folder."""
        import obstore

        root = f"{self.address.prefix}/" if self.address.prefix else ""
        below = f"{root}{prefix.strip('/')}".strip("/") or None

        def listed(store: Any) -> list[str]:
            return [found["path"] for page in obstore.list(store, below) for found in page]

        return [path.removeprefix(root) for path in self._requests.run(listed)]

    def folders(self) -> list[str]:
        """List the folders at the root."""
        import obstore

        def listed(store: Any) -> list[str]:
            return list(obstore.list_with_delimiter(store, self.address.prefix)["common_prefixes"])

        return [path.rstrip("/").rpartition("/")[2] for path in self._requests.run(listed)]

    @property
    def _requests(self) -> CloudRequests:
        return CloudRequests(self.address, self.patience)

    def _path(self, key: str) -> str:
        return f"{self.address.prefix}/{key}" if self.address.prefix else key

    def _has_arrived(self, key: str, content: bytes, tag: str) -> bool:
        """Whether what is stored is what was sent, as far as its tag says.

        With a customer's key tags are no checksums: then what is stored is read once, and no tag
        of the bucket is compared any more.
        """
        md5 = MD5.fullmatch(tag)
        known = self._requests.known
        if self.address.service != "gcs" or md5 is None or known.get(NO_CHECKSUMS):
            return True
        if md5[1] == hashlib.md5(content, usedforsecurity=False).hexdigest():
            return True
        stored = self.read(key)
        known[NO_CHECKSUMS] = stored is not None and stored[0] == content
        return bool(known[NO_CHECKSUMS])

    def _or_none(self, request: Callable[[Any], T]) -> T | None:
        try:
            return self._requests.run(request)
        except FileNotFoundError:
            return None


def _version(meta: Mapping[str, Any]) -> Version:
    return {name: meta[name] for name in ("e_tag", "version") if meta[name] is not None}
