"""Several runs on one scheduler: an update's tasks go first, and no region is two runs'."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clusters import local_client
from gridmill.runs.dask.plugin.executors import stage_executors
from gridmill.stores.state.leases import LeaseHeld
from steps import PATIENCE_S, STEPS, OfBackfill, OfUpdate, meanwhile, wait_until
from tiny import HOUR, START, Provider, Tiny, dataset_of, hours, until

# -- whose tasks go first -----------------------------------------------------------------------


def test_what_goes_first_overtakes_what_waits():
    """A thread that is free takes what goes first, in order, and then the rest in order."""
    executors = stage_executors({"compress": 1})
    order: list[int] = []
    blocked = threading.Event()
    futures = [executors["compress"].submit(blocked.wait, PATIENCE_S)]
    futures += [executors["compress"].submit(order.append, number) for number in (3, 4)]
    futures += [executors["compress-first"].submit(order.append, number) for number in (1, 2)]
    blocked.set()
    for future in futures:
        future.result(PATIENCE_S)
    assert order == [1, 2, 3, 4]
    executors["compress"].shutdown()


def test_what_a_stage_raises_reaches_who_waits_and_the_rest_goes_on():
    """A call that fails fails alone; a cancelled one is not called; after a shutdown none is."""
    executor = stage_executors({"compress": 1})["compress"]
    blocked = threading.Event()
    executor.submit(blocked.wait, PATIENCE_S)
    cancelled, failed = executor.submit(pytest.fail), executor.submit(int, "x")
    done = executor.submit(int, "7")
    assert cancelled.cancel()
    blocked.set()
    with pytest.raises(ValueError, match="invalid literal"):
        failed.result(PATIENCE_S)
    assert done.result(PATIENCE_S) == 7
    blocked.clear()
    executor.submit(blocked.wait, PATIENCE_S)
    late = executor.submit(pytest.fail)
    executor.shutdown(wait=False, cancel_futures=True)
    blocked.set()
    assert late.cancelled()


@pytest.mark.parametrize("stage", ["download", "compress"])
def test_an_update_starts_before_what_of_a_backfill_waits(stage, tmp_path):
    """On a worker all of whose threads a backfill has, only what runs already goes on before it."""
    STEPS.reset("nothing")
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(44))
    source = str(provider.root)
    early = dataset_of(job=OfBackfill)(tmp_path / "early.zarr", source_base=source)
    late = dataset_of(job=OfUpdate)(tmp_path / "late.zarr", source_base=source)
    now = START + 44 * HOUR
    with local_client(n_workers=1, processes=False) as client:
        worker = next(iter(client.cluster.workers.values()))
        # The update's region lies far behind those of the backfill.
        late.backfill(until(40), client=client)
        STEPS.reset(stage)
        with meanwhile(lambda: early.backfill(until(40), client=client)):
            wait_until(lambda: STEPS.of("backfill") == {"download": 2, "compress": 1}[stage])
            wait_until(lambda: worker.state.executing_count == worker.state.nthreads)
            with meanwhile(lambda: late.reformat_operational_update(client=client, now=now)):
                wait_until(lambda: sum("-0000000040-" in name for name in names(worker)) >= 2)
                first = worker.executors[f"{stage}-first"].lines[0]
                while not first and not STEPS.of("update"):
                    before = STEPS.of("backfill")
                    STEPS.let()
                    # Whichever the free thread took: it may not have noted it yet.
                    wait_until(lambda n=before: STEPS.of("backfill") > n or STEPS.of("update") > 0)
                begun = STEPS.of("backfill")
                STEPS.let()
                wait_until(lambda: STEPS.of("update") > 0)
                assert [run for run, _ in STEPS.began].index("update") <= begun
                STEPS.let(100)


def names(worker: Any) -> list[str]:
    """Name the tasks that a worker knows."""
    return [str(key) for key in list(worker.state.tasks)]


def test_an_update_has_the_higher_priority_wherever_its_region_lies(tmp_path):
    """Of what waits on the scheduler or in a worker's heap, all of an update comes first."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(12))
    seen: dict[str, list[tuple[Any, ...]]] = {"backfill": [], "update": []}
    with local_client(n_workers=1, processes=False) as client:
        dataset = Tiny(tmp_path / "a.zarr", source_base=str(provider.root))
        for kind in seen:
            scheduler = client.cluster.scheduler
            plugin = NotesPriorities(scheduler, seen[kind])
            scheduler.add_plugin(plugin)
            if kind == "backfill":
                dataset.backfill(until(8), client=client)
            else:
                now = START + 12 * HOUR
                dataset.reformat_operational_update(client=client, now=now)
            scheduler.remove_plugin(plugin.name)
    assert len(seen["update"]) >= 4
    assert max(seen["update"]) < min(seen["backfill"])


class NotesPriorities:
    """A scheduler plugin that notes the priority of every task; the lowest is first."""

    name = "notes-priorities"

    def __init__(self, scheduler: Any, seen: list[tuple[Any, ...]]) -> None:
        self.scheduler, self.seen = scheduler, seen

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Note it."""
        if finish == "processing" and not str(key).startswith("examine"):
            self.seen.append(self.scheduler.tasks[key].priority)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: None


def test_two_runs_at_once_never_have_one_region(tmp_path):
    """A second driver on the same scheduler is refused what the first has in hand."""
    STEPS.reset("compress")
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    dataset = dataset_of(job=OfBackfill)(tmp_path / "a.zarr", source_base=str(provider.root))
    with (
        local_client(n_workers=1, processes=False) as client,
        meanwhile(lambda: dataset.backfill(until(8), client=client)),
    ):
        wait_until(lambda: STEPS.of("backfill") == 1)
        with pytest.raises(LeaseHeld, match="backfill"):
            dataset.reformat_operational_update(client=client, now=START + 8 * HOUR)
        STEPS.let(100)
