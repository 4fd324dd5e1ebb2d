"""What is told of an archive whose metadata are damaged."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from gridmill.archive.salvage import declared_labels, own_metadata, undamaged_metadata
from gridmill.stores.metadata import array_metadata
from tiny import TinyTemplate, hours, until

OWN, ROOT = {"shape": [4, 2, 3], "fill_value": 0}, {"shape": [8, 2, 3], "fill_value": 1}


def store_of(root: Any, **own: bytes) -> Any:
    """Give a store with this root, and these arrays' own objects."""
    return SimpleNamespace(
        metadata=lambda: None if root is None else {"consolidated_metadata": {"metadata": root}},
        read_object=lambda key: own.get(key.removesuffix("/zarr.json")),
    )


def arrays_of(*args: Any) -> dict[str, Any]:
    found = undamaged_metadata(*args)
    assert found is not None
    return dict(array_metadata(found))


def test_an_array_is_told_by_whichever_of_its_two_objects_can_be_read():
    """By its own where the root lacks it, by the root where its own is damaged."""
    own = json.dumps(OWN).encode()
    assert arrays_of(store_of(None, a=own), TinyTemplate()) == {"a": OWN}
    assert arrays_of(store_of({"a": ROOT}, a=b"{"), TinyTemplate()) == {"a": ROOT}
    assert undamaged_metadata(store_of(None), TinyTemplate()) is None


@pytest.mark.parametrize(("believed", "found"), [("own", OWN), ("root", ROOT), ("neither", {})])
def test_where_the_two_differ_what_is_believed_counts(believed, found):
    """Nothing is guessed: by default such an array says nothing."""
    store = store_of({"a": ROOT}, a=json.dumps(OWN).encode())
    assert arrays_of(store, TinyTemplate(), believed) == {"a": found}


@pytest.mark.parametrize("content", [b"{", b"[]", b""])
def test_what_is_no_json_object_is_no_metadata(content):
    """A damaged object counts as none."""
    assert own_metadata(store_of(None, a=content), "a") is None


def test_labels_go_one_beyond_what_is_asked_for():
    """Also where the archive shows more than was due by now."""
    labels = declared_labels(TinyTemplate(), 5, until(2))
    assert list(labels) == hours(6)
