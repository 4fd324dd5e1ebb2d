"""Objects are whole or not there, whoever reads, writes or dies meanwhile."""

from __future__ import annotations

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gridmill.model.urls import local_path
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.writable import check_writable


@pytest.fixture(params=[False, True], ids=["", "fsync"])
def objects(tmp_path, request):
    return LocalObjects(tmp_path / "root", tmp_path / "staging", fsync=request.param)


def staged(objects: LocalObjects) -> list[Path]:
    return list(objects.staging.iterdir())


def test_what_is_put_is_read(objects):
    """get, nbytes and keys agree with what was put last."""
    objects.put("a/b/c", b"one")
    objects.put("a/b/c", b"other")
    objects.put("a/d", b"")
    assert (objects.get("a/b/c"), objects.nbytes("a/b/c")) == (b"other", 5)
    assert (objects.get("a/d"), objects.nbytes("a/d")) == (b"", 0)
    assert list(objects.keys()) == ["a/b/c", "a/d"]
    assert list(objects.keys("a/b")) == ["a/b/c"]
    assert staged(objects) == []


def test_a_probe_of_what_was_not_there_leaves_no_folder(tmp_path):
    """Two that share folders are probed at once; what was there stays."""
    state = LocalObjects(tmp_path / "a.gridmill", tmp_path / "a.gridmill" / "staging")
    store = LocalObjects(tmp_path / "a", tmp_path / "a.gridmill" / "staging")
    check_writable((store, ".probe"), (state, "probe"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a").mkdir()
    check_writable((store, ".probe"), (state, "probe"))
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_is_not_there_is_none(objects):
    """An absent object is None or no key; deleting it is no error."""
    assert objects.get("a") is None
    assert objects.nbytes("a/b") is None
    assert list(objects.keys("a")) == []
    objects.delete("a/b")
    objects.put("a", b"file")
    assert objects.get("a/b") is None
    assert objects.nbytes("a/b") is None


def test_a_deleted_object_is_gone(objects):
    """After a delete it can be put again, and put_if_absent writes."""
    objects.put("a/b", b"one")
    objects.delete("a/b")
    assert objects.get("a/b") is None
    assert objects.put_if_absent("a/b", b"two")
    assert not objects.put_if_absent("a/b", b"three")
    assert objects.get("a/b") == b"two"
    assert staged(objects) == []


def test_of_many_that_put_if_absent_one_writes(objects):
    """Of eight threads at once exactly one writes, and the object is that one's."""
    for number in range(25):
        barrier = threading.Barrier(8)

        def claim(who, key=f"claims/{number}", barrier=barrier):
            barrier.wait()
            return objects.put_if_absent(key, b"%d" % who)

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(claim, range(8)))
        assert sum(won) == 1
        assert objects.get(f"claims/{number}") == b"%d" % won.index(True)
    assert staged(objects) == []


def test_a_reader_never_sees_a_part_of_an_object(tmp_path):
    """While an object is replaced again and again, each read is one of its versions, whole."""
    objects = LocalObjects(tmp_path / "root", tmp_path / "staging")
    versions = [bytes([n]) * 300_000 for n in range(1, 4)]
    objects.put("big", versions[0])
    over, torn, reads = threading.Event(), [], 0

    def write() -> None:
        deadline = time.monotonic() + 0.7
        while time.monotonic() < deadline:
            for version in versions:
                objects.put("big", version)
        over.set()

    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(write)
        while not over.is_set():
            content = objects.get("big")
            reads += 1
            if content not in versions:
                torn.append(content)
        written.result()
    assert reads > 10
    assert not torn


@pytest.mark.parametrize("method", ["put", "put_if_absent"])
def test_a_put_that_fails_leaves_nothing(tmp_path, method):
    """Where the object cannot be, the put raises and its staged file is gone."""
    objects = LocalObjects(tmp_path / "root", tmp_path / "staging")
    objects.put("a/b", b"one")
    if method == "put":
        with pytest.raises(OSError, match="directory"):
            objects.put("a", b"a folder is there")
    else:
        assert not objects.put_if_absent("a", b"a folder is there")
    with pytest.raises(OSError):  # noqa: PT011
        objects.put("a/b/c", b"a file is there")
    assert list(objects.staging.iterdir()) == []
    assert objects.get("a/b") == b"one"


def test_listing_goes_on_while_objects_come_and_go(tmp_path):
    """Keys of objects that stay are always listed, whatever else is put and deleted."""
    objects = LocalObjects(tmp_path / "root", tmp_path / "staging")
    objects.put("leases/stays/claim", b"1")
    over = threading.Event()

    def churn() -> None:
        for number in range(300):
            objects.put(f"leases/{number}/claim", b"1")
            objects.delete(f"leases/{number}/claim")
        over.set()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(churn)
        while not over.is_set():
            assert "leases/stays/claim" in list(objects.keys("leases"))
            if done.done():
                break
        done.result()


def test_opening_touches_nothing(tmp_path):
    """Objects are opened by path or file URL, and the folder is made at the first put."""
    for url in (str(tmp_path / "new"), f"file://{tmp_path}/new"):
        objects = open_objects(url)
        assert objects.get("a") is None
        assert local_path(url) == tmp_path / "new"
    assert list(tmp_path.iterdir()) == []
    assert pickle.loads(pickle.dumps(objects)).url == objects.url
