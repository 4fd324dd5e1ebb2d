"""What every final store, and every kind of objects, must do: suites for pytest to run.

Subclass one, say how a store is made, and let pytest collect the subclass; see `StoreContract`.
Needs nothing of pytest but its fixtures.
"""

from __future__ import annotations

import functools
import json
import pickle
import shutil
import warnings
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import google_crc32c
import numpy as np
import xarray as xr
import zarr

from gridmill.stores.final_store import (
    CoordinateValues,
    FinalStore,
    ObjectReplaced,
    StagedRegion,
    Uploaded,
)
from gridmill.stores.leases import LeaseLost, LeaseProof
from gridmill.stores.objects.protocol import Objects

__all__ = ["ObjectsContract", "StoreContract"]

DIM = "time"
# A region is four positions: two shards of `small`, one of `large`.
REGION = 4
SMALL, LARGE, STATIC = "small", "large", "static"
# A coordinate that speaks of the data, in objects of six positions.
SHARE = "share"
CELLS = 3


class ObjectsContract:
    """What `gridmill.stores.Objects` promise; subclass it and define `make_objects`.

    Attributes
    ----------
    puts_if_absent_atomically : bool
        Whether of several writers at once exactly one may be told that it wrote.
    secrets : sequence of str
        What must not show in a `repr`.
    """

    puts_if_absent_atomically = True
    secrets: Sequence[str] = ()

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give objects in a place where nothing is yet, a new one for every `tmp_path`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_objects()")

    def test_what_was_put_is_read(self, tmp_path: Path) -> None:
        """An object is read as it was put, with its size; so is an empty one."""
        objects = self.make_objects(tmp_path)
        for key, content in {"a": b"one", "deep/er/b.json": b"two two", "empty": b""}.items():
            objects.put(key, content)
            assert objects.get(key) == content
            assert objects.nbytes(key) == len(content)

    def test_what_is_absent_is_none(self, tmp_path: Path) -> None:
        """An absent object has neither content nor size, and deleting it is no error."""
        objects = self.make_objects(tmp_path)
        objects.put("folder/key", b"x")
        for key in ("nothing", "folder/nothing", "folder/key/below"):
            assert objects.get(key) is None
            assert objects.nbytes(key) is None
        objects.delete("nothing")

    def test_a_put_replaces(self, tmp_path: Path) -> None:
        """A second put replaces the whole object, also by a shorter one."""
        objects = self.make_objects(tmp_path)
        objects.put("key", b"first, longer")
        objects.put("key", b"second")
        assert objects.get("key") == b"second"

    def test_bytes_are_read_from_both_ends(self, tmp_path: Path) -> None:
        """A range counts from the start, or from the end if it is negative."""
        objects = self.make_objects(tmp_path)
        objects.put("key", b"0123456789")
        assert objects.get_range("key", 2, 5) == b"234"
        assert objects.get_range("key", 7, None) == b"789"
        assert objects.get_range("key", -4, None) == b"6789"
        assert objects.get_range("nothing", 0, 1) is None

    def test_keys_are_listed_sorted_below_a_folder(self, tmp_path: Path) -> None:
        """Keys come sorted; a prefix is a folder, not the beginning of a name; deletions show."""
        objects = self.make_objects(tmp_path)
        for key in ("b/2", "b/10", "bb/1", "a"):
            objects.put(key, b"x")
        assert list(objects.keys()) == ["a", "b/10", "b/2", "bb/1"]
        assert list(objects.keys("b")) == ["b/10", "b/2"]
        objects.delete("b/10")
        assert list(objects.keys("b")) == ["b/2"]
        assert list(objects.keys("nothing")) == []

    def test_nothing_is_cached(self, tmp_path: Path) -> None:
        """What one instance writes or deletes, another that looked before sees at once."""
        objects = self.make_objects(tmp_path)
        other = pickle.loads(pickle.dumps(objects))
        assert list(other.keys("folder")) == []
        assert other.get("folder/key") is None
        objects.put("folder/key", b"x")
        assert list(other.keys("folder")) == ["folder/key"]
        assert other.get("folder/key") == b"x"
        objects.delete("folder/key")
        assert other.nbytes("folder/key") is None

    def test_put_if_absent_writes_once(self, tmp_path: Path) -> None:
        """Only the first of two writers writes, and is told so."""
        objects = self.make_objects(tmp_path)
        assert objects.put_if_absent("folder/key", b"first")
        assert not objects.put_if_absent("folder/key", b"second")
        assert objects.get("folder/key") == b"first"

    def test_an_object_is_overwritten_if_the_check_passes(self, tmp_path: Path) -> None:
        """Checked once each time, before it is put; an error of the check leaves what was there."""
        objects = self.make_objects(tmp_path)
        checks: list[bytes | None] = []

        def check() -> None:
            checks.append(objects.get("folder/key"))
            if len(checks) > 2:
                raise PermissionError("not now")

        objects.overwrite("folder/key", b"first", check)
        objects.overwrite("folder/key", b"second, longer", check)
        try:
            objects.overwrite("folder/key", b"third", check)
        except PermissionError:
            checks.append(b"refused")
        assert checks == [None, b"first", b"second, longer", b"refused"]
        assert objects.get("folder/key") == b"second, longer"

    def test_an_object_that_is_the_same_is_not_put(self, tmp_path: Path) -> None:
        """What is changed is checked first; what is not changed is neither checked nor put."""
        objects = self.make_objects(tmp_path)
        checks: list[bytes | None] = []

        def check() -> None:
            checks.append(objects.get("folder/key"))

        changes = []
        for content in (b"first", b"first", b"second, longer", b"second, longer", b""):
            changes.append(objects.change("folder/key", content))
            if changes[-1] is not None:
                changes[-1](check)
        assert [change is not None for change in changes] == [True, False, True, False, True]
        assert checks == [None, b"first", b"second, longer"]
        assert objects.get("folder/key") == b""

    def test_of_many_writers_at_once_one_is_the_first(self, tmp_path: Path) -> None:
        """Of many that put if absent at once, one is told that it wrote, and it did."""
        if not self.puts_if_absent_atomically:
            return
        objects = self.make_objects(tmp_path)
        contents = [f"writer {number}".encode() for number in range(4)]
        for race in range(2):
            with ThreadPoolExecutor(len(contents)) as pool:
                key = f"race-{race}"
                wrote = list(pool.map(lambda c: objects.put_if_absent(key, c), contents))  # noqa: B023
            assert wrote.count(True) == 1
            assert objects.get(key) == contents[wrote.index(True)]

    def test_a_reader_never_meets_half_an_object(self, tmp_path: Path) -> None:
        """While an object is replaced again and again, every read gives one whole version."""
        objects = self.make_objects(tmp_path)
        versions = [bytes([letter]) * 200_000 for letter in b"abcd"]
        objects.put("key", versions[0])
        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(lambda: _put_all(objects, versions * 5))
            while not writing.done():
                assert objects.get("key") in versions
            writing.result()

    def test_instances_are_small_and_work_in_another_process(self, tmp_path: Path) -> None:
        """A pickled instance is small, and works in a process that was spawned."""
        objects = self.make_objects(tmp_path)
        objects.put("ours", b"ours")
        assert len(pickle.dumps(objects)) < 5_000
        assert _elsewhere().submit(_put_and_get, objects).result() in (b"ours", None)

    def test_an_instance_shows_no_secret(self, tmp_path: Path) -> None:
        """The `repr` of an instance holds no credential."""
        shown = repr(self.make_objects(tmp_path))
        assert not [secret for secret in self.secrets if secret in shown]


def _put_all(objects: Objects, versions: Iterable[bytes]) -> None:
    for version in versions:
        objects.put("key", version)


def _put_and_get(objects: Objects) -> bytes | None:
    objects.put("theirs", b"theirs")
    assert objects.get("theirs") == b"theirs"
    return objects.get("ours")


@functools.cache
def _elsewhere() -> ProcessPoolExecutor:
    """Give a process that was spawned and knows nothing; one for all tests, because it is slow."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


@dataclass
class _Proof:
    """A lease that stands for so many checks."""

    checks: float = float("inf")
    made: list[int] = field(default_factory=list)

    def check(self) -> None:
        self.made.append(1)
        if len(self.made) > self.checks:
            raise LeaseLost("taken over by the contract's test")


class StoreContract:
    """What a final store promises, run over any; subclass it and define `make_store`.

    Attributes
    ----------
    secrets : sequence of str
        What must not show in a `repr`, a token or anything that the store writes.

    Examples
    --------
    In a test module of whoever makes a store::

        from gridmill.testing import StoreContract

        class TestMyStore(StoreContract):
            def make_store(self, tmp_path):
                return MyStore(str(tmp_path / "archive"), "contract")
    """

    secrets: Sequence[str] = ()

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a store where nothing is yet, a new one for every `tmp_path`."""
        raise NotImplementedError(f"{type(self).__name__} must define make_store()")

    # -- nothing is visible before it is published ---------------------------------------------

    def test_a_store_that_is_not_there_says_so(self, tmp_path: Path) -> None:
        """Before the first publication there is no metadata, no length and no record."""
        store = self.make_store(tmp_path)
        assert store.metadata() is None
        assert store.published_length(DIM) is None
        assert store.progress() == []

    def test_the_check_before_a_run_leaves_nothing(self, tmp_path: Path) -> None:
        """`check_writable` writes, and leaves no trace that a reader or a record shows."""
        store = self.make_store(tmp_path)
        store.check_writable()
        assert store.metadata() is None
        assert list(store.state.keys()) == []

    def test_uploads_are_not_visible(self, tmp_path: Path) -> None:
        """What is uploaded and not published changes nothing that a reader sees."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        assert not archive.store.published_length(DIM)
        archive.publish(REGION)
        seen = archive.values(SMALL)
        archive.upload(1)
        assert archive.store.published_length(DIM) == REGION
        np.testing.assert_array_equal(archive.values(SMALL), seen)

    def test_receipts_name_every_object(self, tmp_path: Path) -> None:
        """An upload's receipts are the keys, sizes and checksums of what was to be uploaded."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        for name in (SMALL, LARGE):
            folder, keys = archive.region_folder(name, 0)
            receipts = archive.store.upload(folder, keys, archive.proof).objects
            contents = {key: (folder / key).read_bytes() for key in keys}
            assert {r.key: r.nbytes for r in receipts} == {k: len(c) for k, c in contents.items()}
            sums = {key: google_crc32c.value(content) for key, content in contents.items()}
            assert {r.key: r.crc32c for r in receipts} == sums
            assert len(keys) == (2 if name == SMALL else 1)

    # -- publications ---------------------------------------------------------------------------

    def test_what_is_published_is_what_was_uploaded(self, tmp_path: Path) -> None:
        """Readers see the values, coordinates and attributes of every region, static ones too."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        for number in range(3):
            archive.upload(number)
        archive.publish(3 * REGION)
        archive.check(3 * REGION)

    def test_the_archive_grows_region_by_region(self, tmp_path: Path) -> None:
        """Each publication shows the regions up to its end, in whatever order they came."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        for number in (2, 0, 1):
            archive.upload(number)
        for number in range(3):
            archive.publish((number + 1) * REGION, upto=number)
            archive.check((number + 1) * REGION)

    def test_a_region_may_be_visible_in_part(self, tmp_path: Path) -> None:
        """A publication may end inside a region and inside a shard, and a later one go on."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.upload(1)
        for length in (1, 3, 4, 5, 7, 8):
            archive.publish(length)
            archive.check(length)

    def test_publishing_again_changes_nothing(self, tmp_path: Path) -> None:
        """The same publication twice says the second time that it changed nothing."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        assert archive.publish(REGION)
        assert not archive.publish(REGION)
        archive.check(REGION)

    def test_a_published_region_is_replaced(self, tmp_path: Path) -> None:
        """A region that is uploaded again has its new values after the next publication."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        for number in range(3):
            archive.upload(number)
        archive.publish(3 * REGION)
        archive.upload(1, version=1)
        archive.publish(3 * REGION)
        archive.check(3 * REGION)

    def test_a_region_replaced_while_the_archive_grew(self, tmp_path: Path) -> None:
        """An upload from before others were published replaces its region, and only that."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        for number in range(2):
            archive.upload(number)
        archive.publish(2 * REGION)
        archive.upload(0, version=1)
        for number in (2, 3):
            archive.upload(number)
            archive.publish((number + 1) * REGION, without=[0])
            archive.check((number + 1) * REGION)
        archive.publish(4 * REGION)
        archive.check(4 * REGION)

    def test_any_order_of_uploads_and_publications_is_right(self, tmp_path: Path) -> None:
        """Regions are uploaded, again and ahead, and published whole or in part, in any order."""
        for seed in range(2):
            folder = tmp_path / str(seed)
            folder.mkdir()
            archive = _Archive(self.make_store(folder), folder)
            archive.act_at_random(np.random.default_rng(seed), steps=16)

    def test_attributes_may_change_without_data(self, tmp_path: Path) -> None:
        """A publication of metadata alone changes what readers see of it, and no value."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        archive.title = "Another title"
        assert archive.publish(REGION)
        archive.check(REGION)

    def test_values_of_a_coordinate_come_with_the_data(self, tmp_path: Path) -> None:
        """Those that are given change, the others stay; the same again change nothing."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)

        def show(length: int, start: int, *values: float) -> bool:
            given = CoordinateValues(SHARE, start, np.array(values, "float32"))
            return archive.publish(length, values=[given])

        for number in range(2):
            archive.upload(number)
        archive.publish(REGION)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0]
        assert show(2 * REGION, 4, 1, 0.5, 1, 1)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0, 1, 0.5, 1, 1]
        assert not show(2 * REGION, 4, 1, 0.5, 1, 1)
        assert show(2 * REGION, 3, 0.25, 0, 1)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0.25, 0, 1, 1, 1]
        archive.upload(2)
        archive.publish(3 * REGION)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0.25, 0, 1, 1, 1, 0, 0, 0, 0]
        assert show(3 * REGION, 4, 0, 0, 0, 0)
        assert archive.values(SHARE).tolist() == [0, 0, 0, 0.25, *[0] * 8]
        archive.check(3 * REGION)

    def test_a_truncated_archive_shows_less_and_grows_again(self, tmp_path: Path) -> None:
        """It ends inside a region; what is left stays, and what is uploaded again is published."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        for number in range(4):
            archive.upload(number)
        archive.publish(4 * REGION)
        assert archive.truncate(REGION + 1) > 0
        archive.check(REGION + 1)
        for number in (1, 2):
            archive.upload(number, version=1)
        archive.publish(3 * REGION, upto=2)
        archive.check(3 * REGION)

    # -- what workers rely on --------------------------------------------------------------------

    def test_published_values_are_read_back(self, tmp_path: Path) -> None:
        """`read` gives published values of a selection, in the stored dtype."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.upload(1)
        archive.publish(2 * REGION - 1)
        found = archive.store.read(SMALL, (slice(3, 7), slice(1, 3)))
        np.testing.assert_array_equal(found, archive.truth(SMALL)[3:7, 1:3])
        assert found.dtype == np.dtype("float32")

    def test_uploaded_values_are_read_back_before_they_are_published(self, tmp_path: Path) -> None:
        """`read_uploaded` gives what an upload made durable, and not what one before it did."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        selection = (slice(REGION + 1, 2 * REGION), slice(1, 3))
        for version in (0, 1):
            archive.upload(1, version=version)
            uploaded = archive.uploaded[SMALL, 1]
            folder = tmp_path / f"shards-{SMALL}-1-{version}"
            metadata = json.loads((folder / SMALL / "zarr.json").read_text())
            found = archive.store.read_uploaded(SMALL, selection, metadata, uploaded.token)
            np.testing.assert_array_equal(found, _values(SMALL, 1, version)[1:, 1:3])
            assert found.dtype == np.dtype("float32")
        archive.check(REGION)

    def test_uploads_run_at_once(self, tmp_path: Path) -> None:
        """Uploads from several threads do not disturb each other."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(archive.upload, range(4)))
        archive.publish(4 * REGION)
        archive.check(4 * REGION)

    def test_uploads_come_from_other_processes(self, tmp_path: Path) -> None:
        """A pickled store is small and uploads from a process that was spawned."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        assert len(pickle.dumps(archive.store)) < 5_000
        tasks = [(n, *archive.region_folder(n, 0)) for n in (SMALL, LARGE)]
        for name, folder, keys in tasks:
            task = _elsewhere().submit(archive.store.upload, folder, keys, archive.proof)
            archive.keep(name, 0, task.result())
        archive.upload_static()
        archive.publish(REGION)
        archive.check(REGION)

    def test_tokens_outlive_the_process(self, tmp_path: Path) -> None:
        """What was uploaded is published by a store that was opened anew, from the tokens."""
        first = self.make_store(tmp_path)
        archive = _Archive(first, tmp_path)
        archive.upload(0)
        archive.store = pickle.loads(pickle.dumps(first))
        archive.publish(REGION)
        archive.check(REGION)

    def test_an_upload_stops_when_the_lease_is_lost(self, tmp_path: Path) -> None:
        """No object follows after the lease is lost, and nothing of it is visible."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        folder, keys = archive.region_folder(SMALL, 0)
        lost = cast(LeaseProof, _Proof(checks=0))
        try:
            archive.store.upload(folder, keys, lost)
        except LeaseLost:
            pass
        else:
            raise AssertionError("the upload went on")
        assert not archive.store.published_length(DIM)

    def test_a_vanished_folder_is_told_from_other_errors(self, tmp_path: Path) -> None:
        """A local folder that is gone raises FileNotFoundError, so that it is made again."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        folder, keys = archive.region_folder(SMALL, 0)
        (folder / keys[-1]).unlink()
        try:
            archive.store.upload(folder, keys, archive.proof)
        except FileNotFoundError:
            return
        raise AssertionError("the upload found what is not there")

    # -- what resuming relies on ------------------------------------------------------------------

    def test_what_is_there_is_not_missing(self, tmp_path: Path) -> None:
        """No upload is missing, before it is published, after, and after a later one."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        for number in range(2):
            archive.upload(number)
            assert archive.missing() == []
            archive.publish((number + 1) * REGION)
            assert archive.missing() == []

    def test_what_is_gone_or_short_is_missing(self, tmp_path: Path) -> None:
        """An object that was never written, or is shorter than its receipt, is missing."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        uploaded = archive.uploaded[SMALL, 0]
        known = uploaded.objects[0]
        never = type(known)(f"{SMALL}/c/9/0", 10, 0)
        longer = type(known)(known.key, known.nbytes + 1, known.crc32c)
        missing = archive.store.missing([known, never, longer], *_token(uploaded))
        assert missing == [never.key, longer.key]

    def test_what_was_uploaded_is_downloaded(self, tmp_path: Path) -> None:
        """Objects come back byte by byte, published or not; one that is another is refused."""
        archive = _Archive(self.make_store(tmp_path), tmp_path)
        archive.upload(0)
        for number in range(2):
            uploaded = archive.uploaded[SMALL, 0]
            here = tmp_path / f"downloaded-{number}"
            archive.store.download(here, uploaded.objects, *_token(uploaded))
            for receipt in uploaded.objects:
                content = (here / receipt.key).read_bytes()
                assert (len(content), google_crc32c.value(content)) == (
                    receipt.nbytes,
                    receipt.crc32c,
                )
            archive.publish(REGION)
        crc32c = uploaded.objects[0].crc32c
        assert crc32c is not None
        other = replace(uploaded.objects[0], crc32c=crc32c ^ 1)
        try:
            archive.store.download(tmp_path / "refused", [other], *_token(uploaded))
        except ObjectReplaced:
            return
        raise AssertionError("an object with another checksum was downloaded")

    # -- secrecy ----------------------------------------------------------------------------------

    def test_no_secret_is_shown_or_written(self, tmp_path: Path) -> None:
        """Neither a `repr`, nor a token, nor an object of the records holds a credential."""
        store = self.make_store(tmp_path)
        archive = _Archive(store, tmp_path)
        archive.upload(0)
        archive.publish(REGION)
        tokens = [uploaded.token or "" for uploaded in archive.uploaded.values()]
        decoded = [str(_unpacked(token)) for token in tokens if token]
        beside = [str(store.state.get(key)) for key in store.state.keys()]  # noqa: SIM118
        for shown in (repr(store), repr(store.state), *tokens, *decoded, *beside):
            assert not [secret for secret in self.secrets if secret in shown]


class _Archive:
    """Builds a small archive in a store, and knows what it must hold."""

    def __init__(self, store: FinalStore, tmp_path: Path) -> None:
        self.store = store
        self.tmp_path = tmp_path
        self.proof = cast(LeaseProof, _Proof())
        self.title = "Contract"
        self.length = 4 * REGION
        self.versions: dict[int, int] = {}
        self.shown: dict[int, int] = {}
        self.uploaded: dict[tuple[str, int], Uploaded] = {}
        self.visible = 0
        with self._folder(0) as folder, self._folder(self.length):
            store.prepare(folder)

    def upload(self, number: int, version: int = 0) -> None:
        """Upload all variables of a region, and the static one if it is not yet."""
        self.versions[number] = version
        for name in (SMALL, LARGE):
            folder, keys = self.region_folder(name, number, version)
            self.keep(name, number, self.store.upload(folder, keys, self.proof))
        if number == 0:
            self.upload_static()

    def upload_static(self) -> None:
        """Upload the variable without the append dim."""
        folder, keys = self.region_folder(STATIC, 0)
        self.keep(STATIC, -1, self.store.upload(folder, keys, self.proof))

    def keep(self, name: str, number: int, uploaded: Uploaded) -> None:
        """Keep a receipt."""
        self.versions.setdefault(number, 0)
        self.uploaded[name, number] = uploaded

    def publish(
        self,
        length: int,
        upto: int | None = None,
        without: Collection[int] = (),
        values: Sequence[CoordinateValues] = (),
    ) -> bool:
        """Make positions visible, from the receipts of the regions that they touch."""
        staged = []
        for number in sorted({n for _, n in self.uploaded}):
            if number * REGION >= length or (upto is not None and number > upto):
                continue
            if number in without:
                continue
            self.shown[number] = self.versions[number]
            of_region = {v: u for (v, n), u in self.uploaded.items() if n == number}
            tokens = {name: u.token for name, u in of_region.items() if u.token is not None}
            stop = max(0, min((number + 1) * REGION, length))
            name = "static" if number < 0 else str(number)
            if tokens:
                staged.append(StagedRegion(name, stop, tokens, DIM, self.visible, f"region {name}"))
        with self._folder(length) as folder:
            changed = self.store.publish(folder, staged, "metadata", values=values)
        self.visible = length
        return changed

    def truncate(self, length: int) -> int:
        """Let readers see fewer positions; the number of objects that are gone."""
        with self._folder(length) as folder:
            deleted = self.store.truncate(folder, DIM, "truncate")
        self.visible = length
        return deleted

    def act_at_random(self, random: np.random.Generator, steps: int) -> None:
        """Upload and publish as a seed says, and check all after each publication."""
        for _ in range(steps):
            whole = next(n for n in range(5) if n not in self.versions)
            if whole * REGION > self.visible and random.random() < 0.4:
                length = int(random.integers(self.visible + 1, whole * REGION + 1))
                # What is visible as it was may wait for a later publication.
                seen = [n for n in range(4) if (n + 1) * REGION <= self.visible]
                self.publish(length, without=[n for n in seen if random.random() < 0.5])
                self.check(self.visible)
            elif self.visible and random.random() < 0.2:
                self.publish(self.visible)
                self.check(self.visible)
            else:
                number = int(random.integers(0, 4))
                self.upload(number, self.versions.get(number, -1) + 1)
        for number in set(range(4)) - set(self.versions):
            self.upload(number)
        self.publish(self.length)
        self.check(self.length)

    def missing(self) -> list[str]:
        """Give what the store misses of all that was uploaded."""
        return [
            key
            for uploaded in self.uploaded.values()
            for key in self.store.missing(uploaded.objects, *_token(uploaded))
        ]

    def check(self, length: int) -> None:
        """Compare all that a reader sees with what it must be."""
        assert self.store.published_length(DIM) == length
        metadata = self.store.metadata()
        assert metadata is not None
        assert metadata["attributes"]["title"] == self.title
        arrays = metadata["consolidated_metadata"]["metadata"]
        assert arrays[SMALL]["shape"] == [length, CELLS]
        with self.store.open_dataset() as ds:
            assert ds.attrs["title"] == self.title
            np.testing.assert_array_equal(ds[DIM].values, np.arange(length) * 10)
            np.testing.assert_array_equal(ds["cell"].values, np.arange(CELLS))
            for name in (SMALL, LARGE, STATIC):
                truth = self.truth(name)
                np.testing.assert_array_equal(
                    ds[name].values, truth if name == STATIC else truth[:length]
                )

    def values(self, name: str) -> np.ndarray[Any, Any]:
        """Give what a reader sees of a variable."""
        with self.store.open_dataset() as ds:
            return np.asarray(ds[name].values)

    def truth(self, name: str) -> np.ndarray[Any, Any]:
        """Give what the whole archive holds once every region is uploaded."""
        if name == STATIC:
            return np.arange(CELLS, dtype="float32")
        versions = self.shown if self.store.stages else self.versions
        parts = [_values(name, n, versions.get(n, 0)) for n in range(self.length // REGION)]
        return np.concatenate(parts)

    def region_folder(self, name: str, number: int, version: int = 0) -> tuple[Path, list[str]]:
        """Write one variable of a region as compress does: a folder, and the keys in it."""
        with self._folder(self.length) as template:
            folder = self.tmp_path / f"shards-{name}-{number}-{version}"
            (folder / name).mkdir(parents=True, exist_ok=True)
            for key in ("zarr.json", f"{name}/zarr.json"):
                shutil.copy(template / key, folder / key)
        array = zarr.open_array(folder, path=name, mode="r+", zarr_format=3)
        if name == STATIC:
            array[:] = np.arange(CELLS, dtype="float32")
        else:
            array[number * REGION : (number + 1) * REGION] = _values(name, number, version)
        paths = [p for p in (folder / name).rglob("*") if p.is_file() and p.name != "zarr.json"]
        return folder, sorted(path.relative_to(folder).as_posix() for path in paths)

    @contextmanager
    def _folder(self, length: int) -> Any:
        folder = self.tmp_path / f"metadata-{length}-{self.title}"
        if not folder.exists():
            self._write(folder, length)
        yield folder
        shutil.rmtree(folder / SHARE / "c", ignore_errors=True)

    def _write(self, folder: Path, length: int) -> None:
        def empty(*shape: int) -> np.ndarray[Any, Any]:
            return np.zeros(shape, dtype="float32")

        ds = xr.Dataset(
            {
                SMALL: ((DIM, "cell"), empty(length, CELLS)),
                LARGE: ((DIM, "cell"), empty(length, CELLS)),
                STATIC: (("cell",), empty(CELLS)),
            },
            coords={
                DIM: np.arange(length) * 10,
                "cell": np.arange(CELLS),
                SHARE: (DIM, empty(length)),
            },
            attrs={"title": self.title},
        )
        encoding: dict[str, dict[str, Any]] = {
            SMALL: {"chunks": (1, CELLS), "shards": (2, CELLS)},
            LARGE: {"chunks": (2, 1), "shards": (REGION, CELLS)},
            STATIC: {"chunks": (CELLS,)},
            DIM: {"chunks": (64,)},
            SHARE: {"chunks": (6,), "fill_value": 0.0, "_FillValue": None},
        }
        for name in (SMALL, LARGE, STATIC):
            encoding[name]["_FillValue"] = np.float32("nan")
            # Loaded variables would be written: these are for their metadata only.
            if ds[name].size:
                ds[name] = ds[name].chunk()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds.to_zarr(
                folder,
                mode="w",
                compute=False,
                consolidated=True,
                zarr_format=3,
                encoding=encoding,
            )


def _values(name: str, number: int, version: int) -> np.ndarray[Any, Any]:
    cells = np.arange(REGION * CELLS, dtype="float32").reshape(REGION, CELLS)
    return cells + np.float32(100 * number + 1000 * version + (0.5 if name == LARGE else 0.0))


def _token(uploaded: Uploaded) -> tuple[str, ...]:
    return () if uploaded.token is None else (uploaded.token,)


def _unpacked(token: str) -> Iterable[object]:
    """Give a token's parts, decoded as far as their form is known."""
    import base64

    parts: list[object] = [token]
    try:
        content = json.loads(token)
    except ValueError:
        return parts
    for value in content.values() if isinstance(content, dict) else ():
        for decode in (base64.b85decode, base64.b64decode):
            try:
                parts.append(decode(value))
            except (ValueError, TypeError):
                continue
    return parts
