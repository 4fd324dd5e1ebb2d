"""Whole objects in an S3 bucket, through s3fs.

s3fs takes the options that its users know (`key`, `secret`, `profile`, `anon`, `endpoint_url`,
`client_kwargs`, `config_kwargs`, `s3_additional_kwargs`, `requester_pays`), finds credentials by
the usual chain, and adds to each request what its options say; the requests are made here, because
what a store must tell apart (a missing key from a missing bucket, a throttled request from a
refused one) is lost in a file system's errors. No listing is ever cached.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from gridmill.stores.headers import Headers
from gridmill.stores.objects.checked import PutRefused, put_checked
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Change
from gridmill.stores.objects.s3.bucket import S3Bucket
from gridmill.stores.objects.s3.conditions import find_conditions
from gridmill.stores.objects.s3.requests import Conditions
from gridmill.stores.objects.zarr_reader import ObjectsReader

__all__ = ["S3Objects"]

log = logging.getLogger(__name__)

# No upload takes a day: what is older was left by a process that was killed.
ABANDONED_AFTER = timedelta(days=1)
ADVICE = ", or, if there is none, report how this store compares If-Match with its ETags"


class S3Objects:
    """Objects below a prefix of an S3 bucket.

    Parameters
    ----------
    url
        ``s3://bucket/prefix``.
    storage_options
        Keyword arguments of `s3fs.S3FileSystem`. Without credentials in them those of the
        environment, a profile or the machine are used, as every AWS client does.
    patience
        How long a request is tried.
    headers
        What objects that are put say of themselves. What `s3_additional_kwargs` says goes first.

    Raises
    ------
    ValueError
        The URL names no bucket.

    Notes
    -----
    Pickles small, as URL and options; a connection belongs to a process and is recreated after a
    fork. Safe in several threads. `repr` shows no option.

    A throttled caller waits, longer each time, and has nothing else in flight meanwhile: so a
    cluster settles at what the bucket allows without a word between workers. botocore's
    ``adaptive`` mode does the same far too well: after 20 refusals it took 42 s for 200 small puts
    that take 1 s.

    Checksums are those of botocore: CRC32 with every put by default; ``config_kwargs=
    {"request_checksum_calculation": "when_required"}`` turns them off for stores that refuse them.
    """

    # Latency, not bandwidth, is what many small objects wait for.
    at_once = 16

    def __init__(
        self,
        url: str,
        storage_options: Mapping[str, Any] | None = None,
        *,
        patience: Patience | None = None,
        headers: Headers | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        name, _, prefix = self.url.partition("://")[2].partition("/")
        if not name:
            raise ValueError(f"{url!r} names no bucket; give s3://bucket/prefix")
        options, patience = dict(storage_options or {}), patience or Patience()
        self.bucket = S3Bucket(name, prefix, options, patience, headers or Headers())

    def __repr__(self) -> str:
        return f"S3Objects({self.url!r})"

    # -- objects ------------------------------------------------------------------------------

    def put(self, key: str, content: bytes) -> None:
        """Write an object, replacing the one that was there."""
        self.bucket.put(key, content)

    def put_if_absent(self, key: str, content: bytes) -> bool:
        """Write an object unless one is there; whether it was written.

        Notes
        -----
        By a conditional put where the store was found to mean ``If-None-Match: *``. Elsewhere by
        looking first, which leaves a moment in which two writers can both believe that they were
        the first.
        """
        if not self._conditions().absent:
            if self.nbytes(key) is not None:
                return False
            self.put(key, content)
            return True
        if self._put_over(key, content, None):
            return True
        # An answer that got lost was followed by another attempt, which met our own object.
        return self.get(key) == content

    def overwrite(
        self, key: str, content: bytes, check: Callable[[], None], *, is_new: bool = False
    ) -> None:
        """Write an object over the one that is there, if any, and `check` lets it pass.

        `is_new` says that most likely none is there, which saves a look.

        Raises
        ------
        OSError
            The condition was refused as often as `patience` allows, with a look before each put.

        Notes
        -----
        Put on condition that nobody put another one since it was looked at, before `check`: a
        process that stands still cannot undo what was put meanwhile. Where the store does not mean
        conditions, and for objects that go in parts, the moment between `check` and put remains.
        """
        bucket = self.bucket
        tag = None if is_new else bucket.tag(key)
        self._put_checked(key, content, tag, check, lambda: (None, bucket.tag(key)))

    def change(self, key: str, content: bytes) -> Change | None:
        """Look at an object, and give what overwrites it as `overwrite` does; None if the same."""
        found, tag = self._look(key)

        def put(check: Callable[[], None]) -> None:
            self._put_checked(key, content, tag, check, lambda: self._look(key))

        return None if found == content else put

    def _look(self, key: str) -> tuple[bytes | None, str | None]:
        return self.bucket.get(key) or (None, None)

    def _put_checked(
        self,
        key: str,
        content: bytes,
        tag: str | None,
        check: Callable[[], None],
        look: Callable[[], tuple[bytes | None, str | None]],
    ) -> None:
        put_checked(
            self.bucket.patience,
            f"{self.url}/{key}",
            content,
            tag,
            check=check,
            look=look,
            put_over=partial(self._put_over, key, content),
            advice=ADVICE,
        )

    def _put_over(self, key: str, content: bytes, tag: str | None) -> bool:
        """Put an object over the one with this tag, or where none is; whether it was put."""
        condition = {} if self.bucket.is_large(content) else self._conditions().on(tag)
        if not condition:
            self.put(key, content)
            return True
        return self.bucket.put_if(key, content, **condition)

    def get(self, key: str) -> bytes | None:
        """Read an object; None if there is none."""
        return self.get_range(key, 0, None)

    def get_range(self, key: str, start: int, stop: int | None) -> bytes | None:
        """Read bytes of an object, from its end if `start` is negative; None if there is none."""
        found = self.bucket.get(key, start, stop)
        return None if found is None else found[0]

    def nbytes(self, key: str) -> int | None:
        """Size of an object in bytes; None if there is none."""
        found = self.bucket.head(key)
        return None if found is None else int(found["ContentLength"])

    def relabel(self, key: str) -> Change | None:
        """Look at an object's headers, and give what sets them; None if they are right.

        Notes
        -----
        It is copied onto itself, on the condition that it is the one that was looked at; with its
        own metadata, tags, storage class and encryption, as far as no option names others. An
        access list that is not the bucket's default is an option's (`s3_additional_kwargs`).
        """
        found, wanted = self.bucket.head(key), self.bucket.headers_of(key)
        if found is None or all(found.get(name) == value for name, value in wanted.items()):
            return None
        return partial(self._relabel, key, found)

    def _relabel(self, key: str, found: Mapping[str, Any], check: Callable[[], None]) -> None:
        condition = self._conditions().of_source(found["ETag"])
        wanted = {**self.bucket.headers_of(key), **condition}
        check()
        copied = self.bucket.copy_in_place(key, found, wanted)
        # Another one is there by now, put with headers of its own.
        again = None if copied else self.relabel(key)
        if again is not None:
            raise PutRefused(
                f"{self.url}/{key} was replaced meanwhile by an object without the headers: "
                "end the process that writes it, and call the same command again"
            )

    def copy(self, key: str, to: str) -> bool:
        """Let the bucket copy an object to another key; whether there was such an object."""
        return self.bucket.copy(key, to)

    def delete(self, key: str) -> None:
        """Delete an object, if it is there."""
        self.bucket.delete(key)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys below `prefix` (a folder), sorted: S3 Express lists them in no order."""
        root = self.bucket.root
        below = f"{root}{prefix.strip('/')}/" if prefix else root
        keys, page = [], self.bucket.page(below, {})
        while True:
            keys += [found["Key"].removeprefix(root) for found in page.get("Contents", ())]
            if not page.get("IsTruncated"):
                break
            page = self.bucket.page(below, {"ContinuationToken": page["NextContinuationToken"]})
        yield from sorted(keys)

    def folders(self) -> list[str]:
        """Name the folders that are at the root, of the first page."""
        root = self.bucket.root
        page = self.bucket.page(root, {"Delimiter": "/"})
        found = (str(one["Prefix"]) for one in page.get("CommonPrefixes", ()))
        return sorted(prefix.removeprefix(root).rstrip("/") for prefix in found)

    # -- what the store can do ----------------------------------------------------------------

    @property
    def impatient(self) -> S3Objects:
        """The same objects, for callers that must learn soon that nothing answers."""
        bucket = self.bucket
        few = replace(bucket.patience, attempts=min(4, bucket.patience.attempts))
        return S3Objects(self.url, bucket.storage_options, patience=few, headers=bucket.headers)

    def honours_conditions(self) -> bool:
        """Whether the store means the conditions of puts, both of which it was asked to keep.

        Asked of the store once a process, see `find_conditions`. Some ignore the headers and
        overwrite, some refuse whatever comes: then the lease alone keeps writers apart, and one
        warning says so.
        """
        conditions = self._conditions()
        return conditions.absent and conditions.as_sent is not None

    def _conditions(self) -> Conditions:
        name, connection = self.bucket.name, self.bucket.requests.connection
        with connection.asking:
            if name not in connection.known:
                connection.known[name] = found = find_conditions(self.bucket)
                if not_meant := found.not_meant:
                    log.warning(
                        "bucket %s at %s does not honour %s of puts: the lease alone keeps a run "
                        "that stood still from undoing what another one wrote",
                        *(name, self.bucket.requests.endpoint, not_meant),
                    )
            known: Conditions = connection.known[name]
        return known

    def probe(self, key: str) -> None:
        """Raise OSError, and soon, unless an object can be put and deleted."""
        hasty = self.impatient
        hasty.put(key, b"probe")
        hasty.delete(key)

    def as_zarr(self) -> ObjectsReader:
        """Return a Zarr store that reads these objects."""
        return ObjectsReader(self)

    def abort_abandoned_uploads(self, older_than: timedelta = ABANDONED_AFTER) -> int:
        """Delete the parts of multipart uploads that killed processes left; their number."""
        return self.bucket.abort_uploads(datetime.now(UTC) - older_than)
