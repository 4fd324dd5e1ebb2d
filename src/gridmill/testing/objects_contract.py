"""What every kind of objects must do: a suite for pytest to run.

Subclass it, say how objects are made, and let pytest collect the subclass. Needs nothing of pytest
but its fixtures.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import zarr

from gridmill.stores.objects.protocol import Objects
from gridmill.testing.contract_archive import other_process

__all__ = ["ObjectsContract"]


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
        """Return objects in a place where nothing is yet, a new one for every `tmp_path`."""
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

    def test_folders_are_those_at_the_root(self, tmp_path: Path) -> None:
        """`folders` names each once, and neither objects nor what is deeper."""
        objects = self.make_objects(tmp_path)
        for key in ("b/c/0", "a/zarr.json", "b/zarr.json", "zarr.json"):
            objects.put(key, b"1")
        # Some servers name those that are empty by now, too.
        named = objects.folders()
        assert [name for name in named if name in ("a", "b", "c", "b/c", "zarr.json")] == ["a", "b"]

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

    def test_a_probe_leaves_nothing(self, tmp_path: Path) -> None:
        """Whether objects can be put is tried without a trace."""
        objects = self.make_objects(tmp_path)
        objects.put("folder/key", b"x")
        objects.probe("probe")
        assert list(objects.keys()) == ["folder/key"]

    def test_the_impatient_are_the_same_objects(self, tmp_path: Path) -> None:
        """They give up sooner, and hold what the others hold."""
        objects = self.make_objects(tmp_path)
        objects.put("folder/key", b"x")
        assert objects.impatient.url == objects.url
        assert objects.impatient.get("folder/key") == b"x"

    def test_zarr_reads_the_objects(self, tmp_path: Path) -> None:
        """An array that was put object by object is read as it was written."""
        objects = self.make_objects(tmp_path)
        written = zarr.create_array(tmp_path / "array.zarr", shape=(4,), chunks=(2,), dtype="i4")
        written[:] = range(4)
        for path in (p for p in (tmp_path / "array.zarr").rglob("*") if p.is_file()):
            objects.put(path.relative_to(tmp_path).as_posix(), path.read_bytes())
        read = zarr.open_array(objects.as_zarr(), path="array.zarr", mode="r", zarr_format=3)
        assert np.asarray(read[1:]).tolist() == [1, 2, 3]

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
        assert other_process().submit(_put_and_get, objects).result() in (b"ours", None)

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
