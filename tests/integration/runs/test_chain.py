"""What the worker plugin gives to workers, and how chains look on the cluster."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask
import pytest
from distributed import Client, get_worker

from clusters import local_client
from gridmill.runs.dask.plugin import memory
from gridmill.runs.dask.plugin.pipeline import PLUGIN, PipelinePlugin
from gridmill.runs.dask.tasks import _bench
from gridmill.runs.workplaces.workplace import STAGE_WIDTHS, threads_per_worker
from tiny import Provider, Tiny, hours, until


@pytest.fixture
def client() -> Iterator[Client]:
    """One worker with the plugin."""
    with local_client(n_workers=1, processes=False) as client:
        client.register_plugin(PipelinePlugin())
        yield client


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def folders_in_use(client: Client) -> list[int]:
    """Count the temporary folders of each worker, which runs in this process."""
    workers = client.cluster.workers.values()
    owned = [worker.plugins[PLUGIN].workspace.owned() for worker in workers]
    return [sum(map(len, folders.values())) for folders in owned]


def make_folder() -> str:
    folder = _bench().space.make()
    (folder / "file").write_bytes(b"1")
    return str(folder)


def test_every_stage_has_its_threads(client):
    """Tasks annotated with a stage run in that stage's own threads."""

    def thread_name() -> str:
        import threading

        return threading.current_thread().name

    for stage in STAGE_WIDTHS:
        with dask.annotate(executor=stage):
            name = client.submit(thread_name, key=f"{stage}-0-x", pure=False).result()
        assert name.startswith(stage)
    assert threads_per_worker() == sum(STAGE_WIDTHS.values())


def test_a_folder_goes_with_its_key(client):
    """It is there as long as someone wants the result, below the worker's own directory."""
    future = client.submit(make_folder, key="compress-0-x", pure=False)
    folder = Path(future.result())
    local = client.submit(lambda: get_worker().local_directory, pure=False).result()
    assert folder.is_relative_to(local)
    assert (folder / "file").exists()
    assert folders_in_use(client) == [1]
    del future
    wait_until(lambda: not folder.exists())
    assert folders_in_use(client) == [0]


def test_a_folder_of_a_task_that_failed_goes_too(client):
    """Nothing is left of a stage that raised."""

    def fails() -> None:
        make_folder()
        raise TypeError("code")

    future = client.submit(fails, key="compress-0-x", pure=False)
    assert isinstance(future.exception(), TypeError)
    del future
    gc.collect()
    wait_until(lambda: folders_in_use(client) == [0])


def test_a_key_that_comes_back_keeps_what_it_makes_then(client, monkeypatch):
    """Dask may want a key again before the folders that it had are deleted."""
    started, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        assert go_on.wait(20)

    def submit():
        return client.submit(make_folder, key="download-0-x", pure=False)

    (worker,) = client.cluster.workers.values()
    future = submit()
    before = Path(future.result())
    with ThreadPoolExecutor(1) as deleting, monkeypatch.context() as patched:
        patched.setitem(worker.executors, "offload", deleting)
        held = deleting.submit(hold)
        assert started.wait(20)
        del future
        wait_until(lambda: "download-0-x" not in worker.state.tasks)
        future = submit()
        after = Path(future.result())
        assert before.exists()
        go_on.set()
        held.result()
    wait_until(lambda: not before.exists())
    assert (after / "file").exists()
    assert folders_in_use(client) == [1]


def test_a_run_leaves_no_folder_and_no_task(client, tmp_path):
    """After a backfill the workers hold nothing of it, and its keys read stage by stage."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    dataset = Tiny(tmp_path / "a.zarr", source_base=str(provider.root))
    report = dataset.backfill(until(8), client=client)
    stages = {span.key.split("-")[0] for span in report.spans}
    assert stages == set(STAGE_WIDTHS)
    assert all(span.key.split("-")[1].isdigit() for span in report.spans)
    wait_until(lambda: folders_in_use(client) == [0])
    prefixes = client.run_on_scheduler(lambda dask_scheduler: list(dask_scheduler.task_prefixes))
    assert set(STAGE_WIDTHS) <= set(prefixes)


def test_workers_keep_freed_memory(monkeypatch):
    """Where the C library has no such setting, that is known."""
    assert memory.keep_freed_memory()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    monkeypatch.setattr(memory.sys, "platform", "linux")
    assert not memory.keep_freed_memory()


class Claims:
    """Nothing, which claims to be a gigabyte."""

    def __sizeof__(self) -> int:
        return 1 << 30


def test_handles_that_move_do_not_make_the_network_look_fast():
    """Else Dask would soon move every task away from its files."""
    with local_client() as client:
        client.register_plugin(PipelinePlugin())
        here, there = client.scheduler_info()["workers"]
        before = client.run(lambda dask_worker: dask_worker.bandwidth)
        made = client.submit(Claims, workers=[here], pure=False)
        moved = client.submit(lambda handle: type(handle), made, workers=[there], pure=False)
        assert moved.result().__name__ == "Claims"
        del made, moved
        assert client.submit(int, workers=[there], pure=False).result() == 0
        assert client.run(lambda dask_worker: dask_worker.bandwidth) == before
