"""Temporary folders live as long as their key, and no longer."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from gridmill.pipeline.workspace import Workspace, delete


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "gridmill")


def test_a_folder_is_empty_and_belongs_to_its_key(workspace):
    """Each call makes another folder, and all of a key go with it, no other's."""
    one, two, other = (workspace.make(key) for key in ("a", "a", "b"))
    (one / "file").write_bytes(b"1")
    assert len({one, two, other}) == 3
    assert workspace.owned() == {"a": [one, two], "b": [other]}
    delete(workspace.release("a"))
    assert [folder.exists() for folder in (one, two, other)] == [False, False, True]
    assert workspace.owned() == {"b": [other]}


def test_releasing_is_idempotent(workspace):
    """A key that owns nothing, or whose folder is gone already, is released without error."""
    shutil.rmtree(workspace.make("a"))
    delete(workspace.release("a"))
    delete(workspace.release("a"))
    delete(workspace.release("never"))
    assert workspace.owned() == {}


def test_what_a_key_makes_after_its_release_stays(workspace):
    """A task that runs again under its old key keeps its new folder."""
    workspace.make("a")
    delete(workspace.release("a"))
    again = workspace.make("a")
    assert again.is_dir()
    assert workspace.owned() == {"a": [again]}


def test_a_folder_can_go_before_its_key(workspace):
    """discard deletes one folder, and the key's others stay."""
    space = workspace.of_key("a")
    one, two = space.make(), space.make()
    space.discard(one)
    space.discard(one)
    assert not one.exists()
    assert workspace.owned() == {"a": [two]}


def test_folders_of_another_worker_are_used_only_on_a_shared_disk(tmp_path):
    """A folder counts if it exists and the workers share a disk, or it is this worker's own."""
    theirs = Workspace(tmp_path / "theirs").make("a")
    for shares_disk in (True, False):
        workspace = Workspace(tmp_path / "ours", shares_disk=shares_disk)
        space = workspace.of_key("b")
        assert space.has(theirs) == shares_disk
        ours = space.make()
        assert space.has(ours)
        space.discard(ours)
        assert not space.has(ours)


def test_threads_do_not_disturb_each_other(workspace):
    """Keys made and released in several threads leave exactly what was not released."""

    def work(number):
        for _ in range(20):
            workspace.make(f"gone-{number}")
            workspace.make(f"kept-{number}")
            delete(workspace.release(f"gone-{number}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    owned = workspace.owned()
    assert sorted(owned) == [f"kept-{n}" for n in range(8)]
    assert all(folder.is_dir() for folders in owned.values() for folder in folders)
    assert len(list(workspace.root.iterdir())) == 160
