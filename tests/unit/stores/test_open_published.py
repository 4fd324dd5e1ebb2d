"""A distant archive is opened with few rounds of requests, and with the values that are stored."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.stores.metadata import ROOT, Seen, expect_uploads, looking, open_published
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.objects.zarr_reader import ObjectsReader

LABELS = pd.date_range("2020-01-01", periods=10, freq="h")


class Distant(LocalObjects):
    """Objects that zarr reads through them, and that are asked which conditions they mean."""

    asked_conditions = 0

    def as_zarr(self):
        return ObjectsReader(self)

    def honours_conditions(self) -> bool:
        self.asked_conditions += 1
        return True


class Asked(Distant):
    """Objects that note what is asked of them, as a distant store's log would."""

    def __init__(self, root, staging) -> None:
        super().__init__(root, staging)
        self.asked: list[tuple[str, int, int | None]] = []

    def get_range(self, key, start, stop):
        self.asked.append((key, start, stop))
        return super().get_range(key, start, stop)


def dataset_of(names=("t2m",)) -> xr.Dataset:
    values = np.arange(10 * 4, dtype=np.float32).reshape(10, 4)
    return xr.Dataset(
        dict.fromkeys(names, (("time", "station"), values)),
        coords={
            "time": LABELS,
            "station": ["a", "b", "c", "d"],
            "height": ("station", [1.0, 2.0, 3.0, 4.0]),
            "valid": ("time", LABELS + pd.Timedelta("1h")),
        },
    )


@pytest.fixture
def objects(tmp_path):
    encoding = {"time": {"chunks": (4,)}, "t2m": {"chunks": (5, 4)}, "valid": {"chunks": (2,)}}
    dataset_of().to_zarr(tmp_path / "a", zarr_format=3, consolidated=True, encoding=encoding)
    return Asked(tmp_path / "a", tmp_path / "staging")


def test_each_label_is_asked_for_once(objects):
    """The root first, then the dims' labels and the ends of other times; nothing of the rest."""
    with open_published(ObjectsReader(objects), None) as ds:
        asked = [key for key, _, _ in objects.asked]
        assert asked[0] == ROOT
        ends = ["valid/c/0", "valid/c/4"]
        assert sorted(asked[1:]) == ["station/c/0", *(f"time/c/{n}" for n in range(3)), *ends]
        xr.testing.assert_identical(ds.load(), dataset_of())


def test_what_was_held_is_asked_for_again_later(objects):
    """Only the opening answers from memory: what is read later is what is there by then."""
    reader = ObjectsReader(objects)
    with open_published(reader, {}) as ds:
        asked = len(objects.asked)
        twin = pickle.loads(pickle.dumps(reader))
        assert twin._held == reader._held == {}
        np.testing.assert_array_equal(ds["height"].values, [1.0, 2.0, 3.0, 4.0])
        assert [key for key, _, _ in objects.asked[asked:]] == ["height/c/0"]


def test_a_range_of_what_is_held_is_that_range(objects):
    """From the start, between two bytes, from one on, and from the end."""
    reader, whole = ObjectsReader(objects), objects.get("time/c/0")
    with reader.holding():
        reader.hold(["time/c/0", "absent"])
        asked = len(objects.asked)
        for start, stop in [(0, None), (2, 5), (3, None), (-4, None)]:
            assert reader._held_range("time/c/0", start, stop) == whole[start:stop]
        assert reader._held_range("absent", 0, None) is None
        assert len(objects.asked) == asked


@pytest.mark.parametrize("separator", [".", "/"])
def test_labels_under_foreign_keys_are_read(tmp_path, separator):
    """Whatever keys another program gave chunks, the values are those that it stored."""
    keys = {"name": "v2" if separator == "." else "default", "separator": separator}
    encoding = {"time": {"chunks": (4,), "chunk_key_encoding": keys}}
    dataset_of().to_zarr(tmp_path / "a", zarr_format=3, consolidated=True, encoding=encoding)
    objects = Asked(tmp_path / "a", tmp_path / "staging")
    with open_published(ObjectsReader(objects), None) as ds:
        xr.testing.assert_identical(ds.load(), dataset_of())


def without_chunk_grid(root: bytes) -> bytes:
    metadata = json.loads(root)
    del metadata["consolidated_metadata"]["metadata"]["station"]["chunk_grid"]
    return json.dumps(metadata).encode()


@pytest.mark.parametrize("root", [None, b"", b"[]", b"{", b"{}", b'{"zarr_format": 3}', "no grid"])
def test_a_damaged_root_fails_as_it_does_for_any_reader(objects, root):
    """What is wrong with it is said by who opens it, and not by who read ahead."""
    if root is None:
        objects.delete(ROOT)
    else:
        objects.put(ROOT, without_chunk_grid(objects.get(ROOT)) if root == "no grid" else root)
    errors = []
    for opened in (
        lambda: open_published(ObjectsReader(objects), None),
        lambda: xr.open_zarr(ObjectsReader(objects), zarr_format=3, consolidated=True, chunks=None),
    ):
        with pytest.raises(Exception) as error:  # noqa: PT011
            opened()
        errors.append((type(error.value), str(error.value)))
    assert errors[0] == errors[1]


class Store:
    """A store as `ZarrStore` reads it."""

    def __init__(self, objects) -> None:
        self.seen = Seen(objects)


def test_what_readers_see_is_read_once_while_somebody_looks(objects):
    """Root and labels, however often they are asked for; then again, as others may publish."""
    store = Store(objects)
    with looking(store), looking(store):
        for _ in range(3):
            metadata = store.seen.metadata()
            with open_published(store.seen.reader(), None) as ds:
                assert ds.get_index("time").equals(LABELS)
    assert metadata["zarr_format"] == 3
    keys = [key for key, _, _ in objects.asked]
    assert sorted(keys) == sorted(set(keys))
    objects.delete(ROOT)
    assert store.seen.metadata() is None
    with looking(store):
        assert store.seen.metadata() is None
        objects.put(ROOT, b"{}")
        assert store.seen.metadata() is None
    assert store.seen.metadata() == {}


def test_another_thread_is_not_answered_from_memory(objects):
    """It may be about to publish over what others put meanwhile."""
    store = Store(objects)
    with looking(store), ThreadPoolExecutor(1) as pool:
        assert store.seen.metadata() != {}
        objects.put(ROOT, b"{}")
        assert pool.submit(store.seen.metadata).result() == {}
        assert store.seen.metadata() != {}
        assert pickle.loads(pickle.dumps(store.seen))._held == {}


def test_an_error_while_somebody_looks_ends_the_look(objects):
    """Nothing stays in memory."""
    store = Store(objects)

    def fail() -> None:
        store.seen.metadata()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), looking(store):
        fail()
    objects.delete(ROOT)
    assert store.seen.metadata() is None


def test_a_local_store_is_read_as_ever(tmp_path):
    """It costs nothing, and what is written meanwhile is seen."""
    store = Store(LocalObjects(tmp_path / "a", tmp_path / "staging"))
    with looking(store):
        assert store.seen.metadata() is None
        store.seen.objects.put(ROOT, b"{}")
        assert store.seen.metadata() == {}


def test_only_who_can_say_is_asked_for_conditions(tmp_path, objects):
    """Neither a folder nor a store of another kind is."""
    expect_uploads(Store(objects))
    assert objects.asked_conditions == 1
    expect_uploads(Store(LocalObjects(tmp_path / "b", tmp_path / "staging")))
    with looking(object()):
        expect_uploads(object())
