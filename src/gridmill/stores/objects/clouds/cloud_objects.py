"""Whole objects in Google Cloud Storage and Azure, through obstore.

Why not S3 as well, which obstore speaks: what users configure there is s3fs. obstore has no word
for its profiles, sessions, `client_kwargs` and `config_kwargs`; what `s3_additional_kwargs` says
can only be sent with every request alike, and S3 refuses encryption headers with a GET; a put
carries no CRC32; uploads that killed processes left cannot be listed; and what a store answered is
known by the text of an error. Here, with two services that each keep conditions and have one way to
be configured, none of that is missed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from gridmill.stores.headers import Headers
from gridmill.stores.objects.checked import PutRefused, put_checked
from gridmill.stores.objects.clouds.addresses import cloud_address
from gridmill.stores.objects.clouds.bucket import CloudBucket, Version
from gridmill.stores.objects.clouds.requests import is_absent, is_refused
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Change
from gridmill.stores.objects.zarr_reader import ObjectsReader

__all__ = ["CloudObjects"]

# As with S3: below this one request is faster than several, and a retry sends little again.
MULTIPART_FROM_NBYTES = 64 << 20


class CloudObjects:
    """Objects below a prefix of a bucket of Google Cloud Storage, or of a container of Azure.

    Parameters
    ----------
    url
        ``gs://bucket/prefix``, ``abfs://container/prefix``, or
        ``abfs://container@account.dfs.core.windows.net/prefix``.
    storage_options
        What gcsfs or adlfs take, or obstore's names; see `addresses`.
    headers
        What objects that are put say of themselves.
    patience
        How long a request is tried.

    Raises
    ------
    UnknownOption
        An option is not known here.
    ValueError
        The URL names no bucket, or no account is known.
    ImportError
        obstore is not installed.

    Notes
    -----
    Pickles small, as URL and options; safe in several threads, and not for processes that fork
    after they used it. `repr` shows no option.

    Puts carry the condition that nobody put another object since it was looked at: by its
    generation on Google Cloud Storage, by its ETag on Azure. Both services mean what they promise,
    so that nothing is probed. Objects from 64 MiB on go in parts, without a condition.

    What arrives is compared with its MD5 where Google Cloud Storage gives it as the ETag. Azure
    gives none that obstore passes on: what holds there is TLS, the length, and the crc32c inside
    every chunk.
    """

    # Latency, not bandwidth, is what many small objects wait for.
    at_once = 16

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        headers: Headers | None = None,
        patience: Patience | None = None,
    ) -> None:
        import obstore  # noqa: F401  said now rather than with the first request

        self.url = url.rstrip("/")
        self.storage_options = dict(storage_options or {})
        self.headers = headers or Headers()
        self.patience = patience or Patience()
        self._bucket = CloudBucket(cloud_address(self.url, self.storage_options), self.patience)

    def __repr__(self) -> str:
        return f"CloudObjects({self.url!r})"

    # -- objects ------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        self._put(key, content, "overwrite", in_parts=len(content) >= MULTIPART_FROM_NBYTES)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written."""
        # An answer that got lost was followed by another attempt, which met our own object.
        return self._put_over(key, content, None) or self.get(key) == content

    def overwrite(
        self, key: str, content: bytes, check: Callable[[], None], *, is_new: bool = False
    ) -> None:
        """Write an object over the one that is there, if any, and `check` lets it pass.

        `is_new` says that most likely none is there, which saves a look.

        Raises
        ------
        OSError
            The condition was refused as often as `patience` allows, with a look before each put.
        """
        version = None if is_new else self._bucket.version(key)
        self._put_checked(key, content, version, check)

    def change(self, key: str, content: bytes) -> Change | None:
        """Look at an object, and give what overwrites it; None if it is the same already."""
        found, version = self._bucket.read(key) or (None, None)
        if found == content:
            return None
        return partial(self._put_checked, key, content, version)

    def copy(self, key: str, to: str) -> bool:
        """Write an object's content to another key; whether there was such an object."""
        content = self.get(key)
        if content is not None:
            self.put(to, content)
        return content is not None

    def relabel(self, key: str) -> Change | None:
        """Look at an object's headers, and give what makes them those of new ones.

        It is put again with them, on the condition that it is still the same.
        """
        wanted = _attributes(self.headers.of(key))
        found = self._bucket.get(key)
        if found is None:
            return None
        content, version, there = found
        if all(there.get(name) == value for name, value in wanted.items()):
            return None
        return partial(self._put_checked, key, content, version)

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        found = self._bucket.read(key)
        return None if found is None else found[0]

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""
        if (start, stop) == (0, None):
            return self.get(key)
        if start < 0 and self._bucket.address.service == "azure":
            return self._get_end(key, -start)
        wanted: Any = {"offset": start} if stop is None else (start, stop)
        found = self._bucket.get(key, range={"suffix": -start} if start < 0 else wanted)
        return None if found is None else found[0]

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        found = self._bucket.head(key)
        return None if found is None else int(found["size"])

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self._bucket.delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted."""
        yield from sorted(self._bucket.keys(prefix))

    def folders(self) -> list[str]:
        """Name the folders that are at the root."""
        return sorted(self._bucket.folders())

    # -- what the store can do ----------------------------------------------------------------

    @property
    def impatient(self) -> CloudObjects:
        """The same objects, for callers that must learn soon that nothing answers."""
        few = replace(self.patience, attempts=min(4, self.patience.attempts))
        return CloudObjects(self.url, self.storage_options, headers=self.headers, patience=few)

    def probe(self, key: str) -> None:
        """Raise OSError, and soon, unless an object can be put and deleted."""
        hasty = self.impatient
        hasty.put(key, b"probe")
        hasty.delete(key)

    def as_zarr(self) -> ObjectsReader:
        """Return a Zarr store that reads these objects."""
        return ObjectsReader(self)

    def abort_abandoned_uploads(self) -> int:
        """Do nothing: obstore lists no uploads. Azure forgets them after a week by itself."""
        return 0

    # -- puts on a condition --------------------------------------------------------------------

    def _put_checked(
        self, key: str, content: bytes, version: Version | None, check: Callable[[], None]
    ) -> None:
        """Check and put over what was looked at; look again where another one is there by now."""
        put_checked(
            self.patience,
            f"{self.url}/{key}",
            content,
            version,
            check=check,
            look=lambda: self._bucket.read(key) or (None, None),
            put_over=partial(self._put_over, key, content),
        )

    def _put_over(self, key: str, content: bytes, version: Version | None) -> bool:
        """Put an object over this version, or where none is; whether it was put."""
        if len(content) >= MULTIPART_FROM_NBYTES:
            self.put(key, content)
            return True
        try:
            self._put(key, content, "create" if version is None else dict(version))
        except Exception as error:
            if not is_refused(error) and not is_absent(error):
                raise
            return False
        return True

    def _put(self, key: str, content: bytes, mode: Any, *, in_parts: bool = False) -> None:
        attributes = _attributes(self.headers.of(key))
        self._bucket.put(key, content, attributes, mode, in_parts=in_parts)

    def _get_end(self, key: str, nbytes: int) -> bytes | None:
        """Read an object's last bytes where the service knows no suffixes: its size, then them."""
        for attempt in self.patience.attempts_at(PutRefused):
            with attempt:
                there = self._bucket.head(key)
                if there is None or not there["size"]:
                    return None if there is None else b""
                span = (max(0, there["size"] - nbytes), there["size"])
                try:
                    found = self._bucket.get(key, range=span, if_match=there["e_tag"])
                except Exception as error:
                    if not is_refused(error):
                        raise
                    raise PutRefused(f"{self.url}/{key} is replaced all the time") from None
                return None if found is None else found[0]
        raise AssertionError("stamina raises what the last attempt raised")


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    """Return headers by their own names."""
    return {re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name): value for name, value in headers.items()}
