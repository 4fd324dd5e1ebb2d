"""Nothing to do costs nothing: no cluster, few requests, few imports; little is done right here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridmill.model.records import ProgressRecord
from gridmill.operations import follow
from gridmill.runs import driver, on_demand
from gridmill.runs.on_demand import OnDemand, seconds_of
from gridmill.runs.workplaces.here import HERE, Here
from gridmill.runs.workplaces.specs import check_spec
from gridmill.sources.fetch.hosts import PlacesHere
from gridmill.testing import ArchiveServer
from repository import ROOT
from tiny import Provider, Tiny, TinyJob, dataset_of, hours, snapshot, truth, until, url_of

PATHS = os.pathsep.join(str(ROOT / path) for path in ("src", "tests/support"))
# None of these is needed to find that there is nothing to do in a local archive.
HEAVY = (
    "dask",
    "distributed",
    "eccodes",
    "icechunk",
    "jinja2",
    "netCDF4",
    "pyproj",
    "s3fs",
    # Of our own: what is for work, for regridding, and for other commands.
    "gridmill.authoring.grids",
    "gridmill.cli.commands.backfill",
    "gridmill.pipeline.compress",
)


@pytest.fixture
def provider(tmp_path) -> Provider:
    """A provider with the first six of eight files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(6))
    return provider


def make(tmp_path: Path, kind=Tiny, name: str = "a"):
    return kind(tmp_path / name, source_base=str(tmp_path / "source"))


class Cluster:
    """Counts how often it is started and stopped; work on it goes to a client of the tests."""

    def __init__(self, client) -> None:
        self.client = client
        self.started = self.stopped = 0

    @contextmanager
    def __call__(self):
        self.started += 1
        yield self.client
        self.stopped += 1

    def on_demand(self, spec="auto") -> OnDemand:
        return OnDemand(spec, connect=self)


# -- a cluster --------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", ["local", "coiled:Cluster", "auto"])
def test_an_update_that_finds_nothing_starts_no_cluster(provider, tmp_path, spec, monkeypatch):
    """Whichever is named; the first file that comes starts it."""
    monkeypatch.setattr(on_demand, "check_spec", lambda spec: None)
    monkeypatch.setattr(on_demand, "HERE_AT_MOST_S", 0.0)
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none", now=until(8))
    cluster = Cluster(None)
    with cluster.on_demand(spec) as where:
        report = dataset.reformat_operational_update(client=where, now=until(8))
        assert report.regions_skipped == 2
        assert cluster.started == 0
        provider.publish(hours(2, 6))
        with pytest.raises(AttributeError):  # it has no client
            dataset.reformat_operational_update(client=where, now=until(8))
        assert cluster.started == 1


def test_a_finished_backfill_starts_no_cluster(provider, tmp_path):
    """Every region is looked at, and none is for a cluster."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none", now=until(8))
    cluster = Cluster(None)
    with cluster.on_demand("local") as where:
        assert dataset.backfill(until(4), client=where, now=until(8)).regions_skipped == 1
    assert cluster.started == 0


def test_a_cluster_that_does_not_start_leaves_the_records_as_they_were(provider, tmp_path):
    """What an earlier run did is not taken back for work that nobody begins."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none", now=until(8))
    before = {k: v for k, v in snapshot(tmp_path).items() if "/regions/" in str(k)}
    provider.publish(hours(2, 6))

    @contextmanager
    def refuses():
        raise OSError("no quota")
        yield

    with OnDemand("local", connect=refuses) as where, pytest.raises(OSError, match="no quota"):
        dataset.reformat_operational_update(client=where, now=until(8))
    assert {k: v for k, v in snapshot(tmp_path).items() if "/regions/" in str(k)} == before
    assert before
    assert dataset.reformat_operational_update(client="none", now=until(8)).positions_after == 8


def test_a_cluster_that_does_not_start_begins_no_archive(provider, tmp_path):
    """Nothing is left of it, neither a store nor a declaration."""

    @contextmanager
    def refuses():
        raise OSError("no quota")
        yield

    with OnDemand("local", connect=refuses) as where, pytest.raises(OSError, match="no quota"):
        make(tmp_path).backfill(until(8), client=where, now=until(8))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_one_cluster_serves_several_runs_until_it_is_given_back(client, provider, tmp_path):
    """It is started once for them, and once more after that."""
    dataset, cluster = make(tmp_path), Cluster(client)
    with cluster.on_demand("local") as where:
        for n in (4, 5, 6):
            dataset.backfill(until(n), client=where, now=until(8))
        assert (cluster.started, cluster.stopped) == (1, 0)
        where.give_back()
        assert (cluster.started, cluster.stopped) == (1, 1)
        provider.publish(hours(2, 6))
        dataset.backfill(until(8), client=where, now=until(8))
        assert (cluster.started, cluster.stopped) == (2, 1)
    assert cluster.stopped == 2


def test_who_waits_gives_an_idle_cluster_back(client, provider, tmp_path, monkeypatch):
    """Before a long pause, not before a short one; what comes then starts another one."""
    monkeypatch.setattr(follow, "IDLE_S", 0.04)
    monkeypatch.setattr(follow, "SHORTEST_PAUSE_S", 0.01)
    dataset, cluster, pauses = make(tmp_path), Cluster(client), []

    def on_wait(waiting) -> None:
        pauses.append((waiting.pause_s, cluster.started, cluster.stopped))
        if len(pauses) == 4:
            provider.publish(hours(2, 6))

    with cluster.on_demand("local") as where:
        options = {"deadline_s": 60.0, "longest_pause_s": 0.05, "on_wait": on_wait}
        list(follow.follow_cycle(dataset, client=where, now=until(8), **options))
    assert [stopped for pause_s, _, stopped in pauses if pause_s < 0.03] == [0, 0]
    assert pauses[2][1:] == pauses[3][1:] == (1, 1)
    assert cluster.started == 2
    np.testing.assert_array_equal(dataset.store.open_dataset().a.values, truth(hours(8)))


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("nonsense", {}, "is no cluster"),
        ("no_such_package:Cluster", {}, "cannot be used"),
        ("none", {"workers": 2}, "no cluster is started"),
        ("tcp://127.0.0.1:1", {"options": {"a": 1}}, "already there"),
        ("/nowhere/scheduler.json", {}, "no scheduler file"),
    ],
)
def test_a_mistake_is_said_though_there_is_nothing_to_do(spec, options, message):
    """Not by the first update that has work, in the middle of the night."""
    with pytest.raises(ValueError, match=message):
        check_spec(spec, **options)


# -- in this process --------------------------------------------------------------------------


def test_little_work_is_done_here_and_much_by_workers(client, provider, tmp_path, monkeypatch):
    """The plan decides, and both make the same objects."""
    cluster = Cluster(client)
    little, much = make(tmp_path, name="a"), make(tmp_path, name="b")
    with cluster.on_demand() as where:
        here = little.backfill(until(6), client=where, now=until(8))
        assert cluster.started == 0
        assert {span.worker for span in here.spans} == {HERE}
        monkeypatch.setattr(on_demand, "HERE_AT_MOST_S", 0.0)
        there = much.backfill(until(6), client=where, now=until(8))
        assert cluster.started == 1
        assert HERE not in {span.worker for span in there.spans}
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


@contextmanager
def busy():
    """Keep this process busy while the body runs: whatever it does takes several times as long."""
    ended = threading.Event()

    def spin() -> None:
        while not ended.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=spin) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_one_file_starts_no_cluster_however_busy_the_machine_is(provider, tmp_path):
    """Nor does a provider that is slow: what there is to do decides, and nothing that is timed."""
    make(tmp_path).backfill(until(8), client="none", now=until(8))
    provider.publish(hours(1, 6))
    cluster = Cluster(None)
    with ArchiveServer(tmp_path / "source", latency_s=0.2) as slow, busy():
        slow.release_all()
        dataset = Tiny(tmp_path / "a", source_base=slow.url)
        with cluster.on_demand() as where:
            report = dataset.reformat_operational_update(client=where, now=until(8))
    assert (report.positions_after, cluster.started) == (7, 0)


def test_the_estimate_counts_what_is_to_do(provider, tmp_path):
    """Bytes of values, whole regions of each variable, source files to fetch, and variables."""
    dataset = make(tmp_path)
    both = Count(nbytes=2 * 4 * 6 * 4, chains=2)
    every = [seconds_of(one) for one in dataset.plan(now=until(8)).prepared()]
    assert every == [both.seconds(n_files=4)] * 2
    dataset.backfill(until(8), client="none", now=until(8))
    provider.publish(hours(1, 6))
    found = [one for one in dataset.plan(now=until(8)).prepared() if one.todo]
    assert [seconds_of(one) for one in found] == [both.seconds(n_files=4)]


@dataclass(frozen=True)
class Count:
    """What there is to do of a region."""

    nbytes: int
    chains: int

    def seconds(self, n_files: int) -> float:
        """Return what that takes one core."""
        rates = on_demand.RAW_NBYTES_PER_S, on_demand.FILE_S, on_demand.CHAIN_S
        return self.nbytes / rates[0] + rates[1] * n_files + rates[2] * self.chains


def test_the_estimate_looks_no_further_than_it_must():
    """Where enough is known, nothing more is prepared for it."""
    seen = []

    def seconds():
        for region_s in (2.0, 2.0, 2.0, 2.0):
            seen.append(region_s)
            yield region_s

    assert not OnDemand("auto").is_little(seconds())
    assert len(seen) == 3
    assert OnDemand("auto").is_little([2.0, 2.0])
    assert OnDemand("none").is_little([1e9])
    assert not OnDemand("local").is_little([0.0])


def test_who_looks_at_many_regions_has_no_little_work(provider, tmp_path, monkeypatch):
    """What is done is skipped meanwhile, once, and what is not is done in its turn."""
    monkeypatch.setattr(driver, "LOOKS_AHEAD", 2)
    provider.publish(hours(20))
    dataset = make(tmp_path)
    dataset.backfill(until(20), end=until(12), client="none", now=until(20))
    cluster = Cluster(None)
    with cluster.on_demand() as where, pytest.raises(AttributeError):
        dataset.backfill(until(20), client=where, now=until(20), redo=True)
    assert cluster.started == 1
    monkeypatch.undo()
    report = dataset.backfill(until(20), now=until(20), client="auto")
    assert (report.regions_done, report.regions_skipped) == (2, 3)
    assert report.positions_after == 20


def test_what_is_done_here_leaves_nothing_behind(provider, tmp_path, monkeypatch):
    """No folder, and the process is as it was; a variable that fails leaves the others alone."""
    import numcodecs.blosc

    class Fails(TinyJob):
        def transform_values_inplace(self, values, data_var):
            if data_var.name == "b":
                raise RuntimeError("no")

    monkeypatch.setattr(numcodecs.blosc, "use_threads", True)
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(made))
    dataset = make(tmp_path, dataset_of(job=Fails))
    report = dataset.backfill(until(4), client="none", now=until(8))
    assert [failure.variable for failure in report.failures] == ["b"]
    assert report.variables_done == 1
    assert list(made.iterdir()) == []
    assert numcodecs.blosc.use_threads is True


def test_hosts_are_asked_by_no_more_threads_than_they_bear():
    """Also where no cluster counts them."""
    places, most, now = PlacesHere(), 0, 0
    lock = threading.Lock()

    def ask() -> None:
        nonlocal most, now
        with places("http://a", 2):
            with lock:
                now += 1
                most = max(most, now)
            barrier.wait(0.05)
            with lock:
                now -= 1

    class Barrier:
        def wait(self, seconds: float) -> None:
            threading.Event().wait(seconds)

    barrier = Barrier()
    threads = [threading.Thread(target=ask) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert most <= 2


def test_a_batch_is_nothing_to_this_process():
    """Nobody asks for one: its tasks cost nothing beside their work."""
    assert Here().seconds_of_batch == 0.0
    with pytest.raises(RuntimeError, match="none are shared"):
        Here().submit_batch([], "a0")


# -- a run that does nothing ------------------------------------------------------------------


def test_a_run_that_did_nothing_keeps_no_page(provider, tmp_path):
    """Its report is there for machines; one that did something has both."""
    dataset = make(tmp_path)
    first = dataset.backfill(until(8), client="none", now=until(8))
    again = dataset.reformat_operational_update(client="none", now=until(8))
    kept = {path.name for path in (tmp_path / "a.gridmill" / "runs").iterdir()}
    assert kept == {f"{first.run}.json", f"{first.run}.html", f"{again.run}.json"}
    assert not again.did_anything


def test_what_a_killed_run_left_unpublished_is_shown_before_the_rest_is_done(provider, tmp_path):
    """However busy the next run is: its first regions are found done, and readers see them."""
    provider.publish(hours(24))
    dataset = make(tmp_path)
    for job in dataset.plan(until(24), now=until(24)).jobs[:3]:
        job.process()
    assert dataset.store.published_length("time") is None
    seen = []

    def note(event):
        if event.kind == "region":
            seen.append(dataset.store.published_length("time"))

    dataset.backfill(until(24), client="none", now=until(24), listener=note)
    assert len(seen) == 3
    assert seen[-1] >= 12, seen
    assert dataset.store.published_length("time") == 24


IDLE = """
import gc, json, sys
import psutil
sys.argv = ["gridmill", *{arguments!r}]
from gridmill.cli import main
try:
    main()
except SystemExit:
    pass
assert gc.get_threshold()[0] == 20_000 and gc.get_freeze_count(), "garbage piles up"
heavy = sorted(name for name in {heavy!r} if name in sys.modules)
children = len(psutil.Process().children(recursive=True))
print(json.dumps([heavy, children]), file=sys.stderr)
"""


def updated_in_a_process(folder: Path, url: str) -> tuple[list[str], int, dict[str, Any]]:
    """Update by the command line; what it imported that is heavy, its processes, and its report."""
    where = ["--store", str(folder / "a"), "--source-base", url]
    arguments = ["update", "tiny:Tiny", *where, "--now", until(8), "--json"]
    done = subprocess.run(
        [sys.executable, "-c", IDLE.format(arguments=arguments, heavy=HEAVY)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": PATHS},
    )
    heavy, children = json.loads(done.stderr.splitlines()[-1])
    return heavy, children, json.loads(done.stdout)


def test_an_update_that_finds_nothing_is_one_process_with_few_imports(tmp_path):
    """And it asks the provider at most once for each file that it expects."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    with ArchiveServer(tmp_path / "source") as server:
        for label in hours(6):
            server.release(url_of(label))
        dataset = Tiny(tmp_path / "a", source_base=server.url)
        dataset.backfill(until(8), client="none", now=until(8))
        before = len(server.requests)
        heavy, children, report = updated_in_a_process(tmp_path, server.url)
        asked = [request.path for request in server.requests[before:]]
    assert heavy == []
    assert children == 0
    assert report["regions_skipped"] == 2
    assert sorted(set(asked)) == sorted(asked)
    assert {url_of(label) for label in hours(2, 6)} <= set(asked) <= set(map(url_of, hours(8)))


def test_an_update_of_one_step_is_one_process_with_few_imports(tmp_path):
    """What little there is to do is done here, and shown on a page, without Dask and its kin."""
    Provider(tmp_path / "source").publish(hours(7))
    with ArchiveServer(tmp_path / "source") as server:
        server.release_all()
        Tiny(tmp_path / "a", source_base=server.url).backfill(until(6), client="none", now=until(6))
        heavy, children, report = updated_in_a_process(tmp_path, server.url)
    assert (heavy, children) == (["gridmill.pipeline.compress", "jinja2"], 0)  # makes the page
    assert report["variables_done"] == 2
    assert (tmp_path / "a.gridmill" / "runs" / f"{report['run']}.html").exists()


LATE = """
import sys
from gridmill.cli.importing import import_dask_late
import_dask_late()
import numpy as np, xarray as xr
ds = xr.Dataset({"a": ("x", np.arange(4.0))}, coords={"x": np.arange(4)})
assert float((ds.a + 1).isel(x=slice(1, 3)).sum()) == 5.0
assert "dask" not in sys.modules, "xarray asks in another way: see import_dask_late"
lazy = ds.chunk(x=2)
assert lazy.chunks == {"x": (2, 2)}
assert lazy.a.variable._data.__class__.__module__.startswith("dask.array")
assert "dask" in repr(lazy)
again = xr.Dataset({"a": ("x", lazy.a.data)})
assert again.chunks == {"x": (2, 2)}
assert float(again.a.sum().compute()) == 6.0
assert (again.a.load().values == ds.a.values).all()
from xarray.namedarray.pycompat import mod_version
import dask
assert str(mod_version("dask")) == dask.__version__
"""


def test_xarray_knows_dasks_arrays_once_there_are_any():
    """Without one it does not import Dask; with one it does what it always does."""
    subprocess.run(
        [sys.executable, "-c", LATE], check=True, env={**os.environ, "PYTHONPATH": PATHS}
    )


# -- plans ------------------------------------------------------------------------------------


def test_a_plan_asks_for_the_files_of_a_region_once(provider, tmp_path, monkeypatch):
    """And cuts the template once for each, however many variables there are."""
    asked, cut = [], []

    class Counts(TinyJob):
        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            asked.append(self.region)
            return super().generate_source_file_coords(processing_region_ds, data_var_group)

        def processing_region_ds(self):
            cut.append(self.region)
            return super().processing_region_ds()

    plan = make(tmp_path, dataset_of(job=Counts)).plan(until(40))
    assert len(plan.describe()["regions"]) == 10
    assert len(asked) == len(set(asked)) == 10
    assert len(cut) == 10


def test_a_region_that_is_found_done_is_read_once(provider, tmp_path, monkeypatch):
    """A rerun reads each record once, and asks the provider for nothing."""
    dataset = make(tmp_path)
    dataset.backfill(until(6), end=until(4), client="none", now=until(8))
    read = []
    before = ProgressRecord.from_json.__func__

    def counted(cls, *args, **options):
        record = before(cls, *args, **options)
        read.append(record.start)
        return record

    monkeypatch.setattr(ProgressRecord, "from_json", classmethod(counted))
    report = dataset.backfill(until(6), end=until(4), client="none", now=until(8))
    assert report.regions_skipped == 1
    assert len(read) <= 2


def test_a_plan_says_what_its_run_needs(provider, tmp_path):
    """Sizes are those of the processing region, which may be longer than the region."""

    class Longer(TinyJob):
        def get_processing_region(self):
            first, last = self.region.start, self.region.stop
            return slice(max(first - 1, 0), last)

    plain, longer = (make(tmp_path, dataset_of(job=j)).plan(until(8)) for j in (TinyJob, Longer))
    first, second = (plan.describe()["regions"][1]["raw_nbytes"] for plan in (plain, longer))
    assert second == first * 5 / 4
