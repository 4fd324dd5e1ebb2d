"""What a store's objects say of themselves holds no credential."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from gridmill.cli.options.archive import ArchiveOptions
from gridmill.cli.output.cataloguing import CatalogueOptions
from gridmill.stores.opening import open_store

SECRET = "hidden"
STORES: Mapping[str, Mapping[str, Any]] = {
    "s3://bucket/a.zarr": {
        "key": SECRET,
        "secret": SECRET,
        "s3_additional_kwargs": {"SSECustomerKey": SECRET},
    },
    "s3://bucket/a.icechunk": {"key": SECRET, "secret": SECRET},
    "gs://bucket/a.zarr": {"bearer_token": SECRET},
    "az://box/a.zarr": {"account_name": "me", "account_key": SECRET},
    "sftp://host/a.zarr": {"username": "me", "password": SECRET},
}


def within(value: Any, known: set[int]) -> Iterator[Any]:
    """Yield an object of gridmill's and all others that it holds, also those that it makes."""
    ours = type(value).__module__.startswith("gridmill.")
    if not ours or id(value) in known:
        return
    known.add(id(value))
    yield value
    for held in [*vars(value).values(), getattr(value, "requests", None)]:
        yield from within(held, known)


@pytest.mark.parametrize("url", STORES)
def test_no_repr_of_what_a_store_is_made_of_shows_a_secret(url: str) -> None:
    """Whichever of its objects an error, a log or a debugger shows."""
    pytest.importorskip("paramiko" if url.startswith("sftp") else "obstore")
    store = open_store(url, "tiny", storage_options=STORES[url])
    objects = {type(one).__name__: repr(one) for one in within(store, set())}
    assert {"UpdateProgressTracker", "Feed"} <= objects.keys()
    assert ("S3Bucket" in objects, "S3Requests" in objects) == (url.startswith("s3"),) * 2
    assert not [text for text in objects.values() if SECRET in text]


def test_the_options_of_a_command_show_none() -> None:
    """They are in the frames of whatever goes wrong."""
    options = ArchiveOptions("tiny:Tiny", "a", None, (), None, {"secret": SECRET}, {}, False, ())
    assert SECRET not in repr(options)
    assert SECRET not in repr(CatalogueOptions("b", {"secret": SECRET}))
