"""What is done in this process: uploads wait for the store while the next variable is made."""

from __future__ import annotations

import logging
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

from gridmill.runs.workplaces import here
from tiny import NAMES, Provider, Tiny, hours, truth, until

PATIENCE_S = 60.0


@pytest.fixture
def dataset(tmp_path, monkeypatch) -> Tiny:
    """An archive of two regions that is not made yet, with temporary files of its own."""
    Provider(tmp_path / "source").publish(hours(8))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))


def assert_whole(dataset: Tiny) -> None:
    with dataset.store.open_dataset() as ds:
        for name in NAMES:
            np.testing.assert_array_equal(ds[name].values, truth(hours(8), name))


def left_of(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "tmp").rglob("*"))


def test_a_variable_is_compressed_while_another_one_is_uploaded(dataset, tmp_path, monkeypatch):
    """A distant store is waited for beside the work, and not after it."""
    compressed, upload, compress = threading.Semaphore(0), here.upload, here.compress
    waits = iter([2, 0, 2, 0])  # the first of each region waits for the second one to be made

    def noted(*args):
        shards = compress(*args)
        compressed.release()
        return shards

    def patient(*args):
        for _ in range(next(waits)):
            assert compressed.acquire(timeout=PATIENCE_S)
        return upload(*args)

    monkeypatch.setattr(here, "compress", noted)
    monkeypatch.setattr(here, "upload", patient)
    assert dataset.backfill(until(8), client="none", now=until(8)).succeeded
    assert_whole(dataset)
    assert left_of(tmp_path) == []


def test_an_upload_that_fails_is_its_variables_own_failure(dataset, tmp_path, monkeypatch):
    """The other one is done, the next run makes what failed, and nothing is left."""
    upload = here.upload

    def refused(bench, context, shards):
        if shards.keys[0].startswith(NAMES[0]):
            raise PermissionError("the store refuses")
        return upload(bench, context, shards)

    with monkeypatch.context() as patched:
        patched.setattr(here, "upload", refused)
        report = dataset.backfill(until(4), client="none", now=until(8))
    assert {failure.variable for failure in report.failures} == {NAMES[0]}
    assert "the store refuses" in report.failures[0].cause
    assert left_of(tmp_path) == []
    assert dataset.backfill(until(8), client="none", now=until(8)).variables_done == 3
    assert_whole(dataset)


def test_an_interrupted_run_leaves_no_upload_behind(dataset, tmp_path, monkeypatch):
    """What is under way comes to its end before the run does; the next run completes the rest."""
    upload, compress, begun = here.upload, here.compress, threading.Event()
    ended, works = [], []
    filters = list(logging.getLogger("stamina").filters)

    def slow(*args):
        begun.set()
        receipt = upload(*args)
        ended.append(receipt)
        return receipt

    def interrupted(bench, context, work, fetched):
        if works:
            assert begun.wait(PATIENCE_S)
            raise KeyboardInterrupt
        works.append(work)
        return compress(bench, context, work, fetched)

    with monkeypatch.context() as patched:
        patched.setattr(here, "upload", slow)
        patched.setattr(here, "compress", interrupted)
        with pytest.raises(KeyboardInterrupt):
            dataset.backfill(until(8), client="none", now=until(8))
    assert len(ended) == 1
    assert left_of(tmp_path) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("upload")]
    assert logging.getLogger("stamina").filters == filters
    assert dataset.backfill(until(8), client="none", now=until(8)).succeeded
    assert_whole(dataset)
