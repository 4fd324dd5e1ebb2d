"""Readers see a forecast lead by lead, for a budget of writing that is kept and counted."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.model.variables import DataVar, Encoding
from gridmill.operations.follow import follow_cycle
from gridmill.testing.archive_server import ArchiveServer
from leads import (
    LEADS,
    START,
    STEP,
    LeadJob,
    Leads,
    LeadTemplate,
    Updates,
    lead_var,
    path_of,
    put_nbytes,
    release,
    values_of,
)
from tiny import dataset_of, snapshot

HOUR = pd.Timedelta(hours=1)
NOW = START + 3 * HOUR
ATTRS = {"long_name": "b", "units": "1"}


class Reader:
    """Opens the archive again and again, and checks it by what the provider released by then."""

    def __init__(self, store: Path, source: Path) -> None:
        self.store = store
        self.source = source
        self.seen: dict[str, np.ndarray] = {}
        self.faults: list[str] = []
        self.looks = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                self.look()
            except FileNotFoundError:
                continue  # nothing is published yet

    def look(self) -> None:
        """Read completeness first and the values after: what it promises must be there."""
        if not (self.store / "zarr.json").exists():
            raise FileNotFoundError(self.store)
        ds = xr.open_zarr(self.store, chunks=None)
        promised = ds.completeness.values
        for name in ds.data_vars:
            values = ds[name].values
            there = ~np.isnan(values).any(-1)
            for (i, n), is_there in np.ndenumerate(there):
                init, lead = START + i * STEP, LEADS[n]
                if is_there and not np.array_equal(values[i, n], values_of(init, lead, name)):
                    self.faults.append(f"{name} at {i}, {n} is wrong")
                if is_there and not (self.source / path_of(init, lead, name)).exists():
                    self.faults.append(f"{name} at {i}, {n} was never released")
                if promised[i, n] == 1 and not is_there:
                    self.faults.append(f"{name} at {i}, {n} is promised and missing")
            before = self.seen.get(name)
            if before is not None and (before & ~there[: len(before)]).any():
                self.faults.append(f"{name} lost what readers saw")
            self.seen[name] = there
        self.looks += 1


def update(dataset, now=NOW):
    return dataset.reformat_operational_update(client="none", now=now)


def fetched_from(provider: ArchiveServer, n_before: int = 0) -> Counter[str]:
    """Count by path how often a file was fetched since some requests."""
    since = provider.requests[n_before:]
    return Counter(one.path for one in since if one.method == "GET" and one.status == 200)


def built_at_once(tmp_path: Path, kind=Leads) -> Path:
    store = tmp_path / "at-once"
    kind(store, source_base=str(tmp_path / "source")).backfill(
        str(START + STEP), client="none", now=NOW
    )
    return store


def is_promised(store: Path) -> list[bool]:
    return (xr.open_zarr(store, chunks=None).completeness[0] == 1).values.tolist()


def data_of(store: Path) -> dict[str, bytes]:
    return {key: content for key, content in snapshot(store).items() if "/c/" in key}


@pytest.mark.parametrize("dies", [False, True])
def test_leads_are_seen_as_they_come_within_the_budget(tmp_path, dies):
    """Through kills at every step; the end is what is built at once, byte by byte."""
    store, source, log = (tmp_path / name for name in ("a", "source", "puts"))
    source.mkdir()
    kills = 0
    with Reader(store, source) as reader, Updates(store, source, log) as driver:
        for number, lead in enumerate(LEADS):
            release(source, START, lead)
            if dies:
                lived = driver.update(NOW, dies_at=2 + 3 * number % 17)
                kills += not lived
            assert driver.update(NOW)
    reader.look()
    assert (kills > 6) == dies
    assert reader.looks > 3
    assert not reader.faults
    assert is_promised(store) == [True] * len(LEADS)
    assert data_of(store) == data_of(built_at_once(tmp_path))
    final = sum(map(len, (c for key, c in data_of(store).items() if key[:1] in "ab")))
    assert put_nbytes(log) <= LeadJob.write_budget * final


def test_what_is_not_there_yet_is_missing_and_no_gap(tmp_path):
    """The first lead is seen at once; the rest is no gap, and an update of nothing does nothing."""
    store, source = tmp_path / "a", tmp_path / "source"
    dataset = Leads(store, source_base=str(source))
    release(source, START, LEADS[0])
    report = update(dataset)
    assert (report.positions_after, report.new_gaps, report.succeeded) == (1, 0, True)
    assert is_promised(store) == [True] + [False] * 11
    assert not update(dataset).did_anything
    late = update(dataset, START + 25 * HOUR)
    assert late.new_gaps == 2 * (len(LEADS) - 1)
    release(source, START, LEADS[5])
    update(dataset, START + 27 * HOUR)
    assert is_promised(store)[5]


def test_what_waits_for_its_shard_is_recorded_and_awaited(tmp_path):
    """With a budget of one a shard is written once it is whole; nothing is fetched before."""
    store, source = tmp_path / "a", tmp_path / "source"
    patient = dataset_of(template=LeadTemplate, job=type("Job", (LeadJob,), {"write_budget": 1.0}))
    dataset = patient(store, source_base=str(source))
    for lead in LEADS[:3]:
        release(source, START, lead)
    assert update(dataset).nbytes_downloaded == 0
    assert not update(dataset).did_anything
    release(source, START, LEADS[3])
    report = update(dataset)
    assert report.positions_after == 1
    seen = xr.open_zarr(store, chunks=None)
    assert seen.a[0].notnull().all("x").values.tolist() == [True] * 4 + [False] * 8
    assert not seen.b[0].notnull().any()
    for lead in LEADS[4:]:
        release(source, START, lead)
    report = update(dataset)
    assert data_of(store) == data_of(built_at_once(tmp_path))
    # What is stored of shards without any lead is few bytes.
    (note,) = (note for note in report.notes if "times its final bytes" in note)
    assert "1 are allowed" in note
    assert 1 <= float(note.split(" times ")[0].split()[-1]) < 1.1


def test_waiting_follows_the_leads_of_a_cycle(tmp_path):
    """`--wait` shows each step as it comes, and ends with the last lead."""
    store, source = tmp_path / "a", tmp_path / "source"
    dataset = Leads(store, source_base=str(source))
    release(source, START, LEADS[0])
    seen = []
    coming = iter(LEADS[1:])

    def on_wait(waiting: object) -> None:
        if (lead := next(coming, None)) is not None:
            release(source, START, lead)

    options = {"deadline_s": 120.0, "longest_pause_s": 0.01, "client": "none", "now": NOW}
    for report in follow_cycle(dataset, on_wait=on_wait, **options):
        assert report.succeeded
        seen.append(sum(is_promised(store)))
    assert seen == sorted(seen)
    assert seen[-1] == len(LEADS)
    assert len(seen) > 6


def test_plan_says_what_it_costs_at_most(tmp_path):
    """The worst case by the shards, and that they do not fit the rhythm where they do not."""
    plan = Leads(tmp_path / "a", source_base=str(tmp_path / "source")).plan(now=NOW).describe()
    assert 1 < plan["writes_at_most"] <= 3
    assert any("× the final bytes" in warning for warning in plan["warnings"])
    assert any("do not fit the rhythm" in warning for warning in plan["warnings"])
    parts = {"data_vars": (lead_var("a", 1), lead_var("b", 1))}
    fits = dataset_of(template=type("T", (LeadTemplate,), parts), job=LeadJob)
    plan = fits(tmp_path / "b", source_base=str(tmp_path / "source")).plan(now=NOW).describe()
    assert plan["writes_at_most"] == 1
    assert not any("rhythm" in warning for warning in plan["warnings"])


def test_a_budget_that_cannot_be_kept_is_refused(tmp_path):
    """Shards of several inits write each of them again; nothing is written less than once."""
    encoding = Encoding(chunks=(1, 1, 400), shards=(2, 4, 400))
    parts = {"data_vars": (lead_var("a", 4), DataVar(name="b", encoding=encoding, attrs=ATTRS))}
    with pytest.raises(ValueError, match="no write_budget could be kept"):
        dataset_of(template=type("T", (LeadTemplate,), parts), job=LeadJob)(tmp_path / "a")
    little = type("Job", (LeadJob,), {"write_budget": 0.5})
    with pytest.raises(ValueError, match="values are written at least once"):
        dataset_of(template=LeadTemplate, job=little)(tmp_path / "a")


@pytest.mark.parametrize(
    ("job", "own", "complaint"),
    [
        ({"publication_delay": None}, {}, "has no deadline.*declare publication_delay"),
        ({"lookback": 20 * HOUR}, {}, "its deadline after 1 day.*declare a longer Job.lookback"),
        ({}, {"publication_delay": 200 * HOUR}, "'a' is published lead by lead and has its dead"),
        ({"publication_delay": None, "expected": lambda *_: True}, {}, None),
        ({"lookback": 24 * HOUR}, {"publication_delay": 2 * HOUR}, None),
    ],
)
def test_leads_have_a_deadline_while_updates_look(tmp_path, job, own, complaint):
    """What waits for a lead that never comes is stored at its deadline, while somebody looks."""
    parts = {"data_vars": (lead_var("a", 4, **own), lead_var("b", 6))}
    template, job_class = type("T", (LeadTemplate,), parts), type("Job", (LeadJob,), job)

    def declare() -> None:
        dataset_of(template=template, job=job_class)(tmp_path / "a")

    if complaint is None:
        declare()
        return
    with pytest.raises(ValueError, match=complaint):
        declare()


def together(job, data_vars):
    """Give both variables one group: each file holds both."""
    return [data_vars]


@pytest.mark.parametrize("own_job", [{}, {"source_groups": together}], ids=["apart", "together"])
def test_a_variable_is_stored_at_its_own_deadline(tmp_path, own_job):
    """What waits for its shard is stored once the variable gives the rest up, not all others.

    Also where the others are made of the same source files: each of them is fetched once a run.
    """
    own = {"data_vars": (lead_var("a", 4, publication_delay=2 * HOUR), lead_var("b", 6))}
    job = type("Job", (LeadJob,), {"write_budget": 1.0, **own_job})
    kind = dataset_of(template=type("T", (LeadTemplate,), own), job=job)
    with ArchiveServer(tmp_path / "source") as provider:
        provider.release_all()
        dataset = kind(tmp_path / "a", source_base=provider.url)
        for lead in LEADS[:3]:
            release(tmp_path / "source", START, lead)
        update(dataset, START + 2 * HOUR)
        seen = xr.open_zarr(tmp_path / "a", chunks=None)
        assert seen.a[0].notnull().all("x").values.tolist() == [True] * 3 + [False] * 9
        assert not seen.b[0].notnull().any()
        assert fetched_from(provider) == Counter(path_of(START, lead, "a") for lead in LEADS[:3])
        n_before = len(provider.requests)
        for lead in LEADS[3:]:
            release(tmp_path / "source", START, lead)
        update(dataset, START + 3 * HOUR)
        names = "a" if "source_groups" in own_job else "ab"
        every = Counter(path_of(START, lead, name) for lead in LEADS for name in names)
        assert fetched_from(provider, n_before) == every
    seen = xr.open_zarr(tmp_path / "a", chunks=None)
    assert seen[["a", "b"]].notnull().all().to_array().all()


def test_the_next_lead_of_each_cycle_is_asked_for_at_each_turn(tmp_path):
    """Of both variables, however many are awaited; of the others a few, and all in the end."""
    cycles = [START + i * STEP for i in range(3)]
    for init in cycles:
        release(tmp_path / "source", init, LEADS[0])
    turns, n_before = [], 0
    with ArchiveServer(tmp_path / "source") as provider:
        provider.release_all()

        def on_wait(waiting: object) -> None:
            nonlocal n_before
            requests = provider.requests
            turns.append({one.path for one in requests[n_before:]})
            n_before = len(requests)
            if len(turns) > 6:
                raise StopAsyncIteration

        dataset = Leads(tmp_path / "a", source_base=provider.url)
        options = {"deadline_s": 120.0, "longest_pause_s": 0.01, "client": "none"}
        with pytest.raises(StopAsyncIteration):
            list(follow_cycle(dataset, on_wait=on_wait, now=cycles[-1] + HOUR, **options))
    nexts = {path_of(init, LEADS[1], name) for init in cycles for name in "ab"}
    every = {path_of(init, lead, name) for init in cycles for lead in LEADS[1:] for name in "ab"}
    assert all(nexts <= turn for turn in turns[1:])
    assert all(len(turn) <= len(every) // 2 for turn in turns[1:])
    assert set().union(*turns[1:]) == every


def test_on_icechunk_leads_are_commits(tmp_path):
    """Each step is a commit, within the same budget; the end is what is built at once."""
    pytest.importorskip("icechunk")
    source = tmp_path / "source"
    dataset = Leads(tmp_path / "a", source_base=str(source), format="icechunk")
    put, steps = 0, []
    for lead in LEADS:
        release(source, START, lead)
        put += update(dataset).nbytes_uploaded
        seen = dataset.store.open_dataset(chunks=None)
        for name in ("a", "b"):
            there = seen[name][0].notnull().all("x").values
            for at in np.flatnonzero(there):
                expected = values_of(START, LEADS[at], name)
                np.testing.assert_array_equal(seen[name][0, at], expected)
        steps.append(int((seen.completeness[0] == 1).sum()))
    assert steps == sorted(steps)
    assert steps[0] == 1
    assert steps[-1] == len(LEADS)
    at_once = data_of(built_at_once(tmp_path))
    final = sum(len(content) for key, content in at_once.items() if key[:1] in "ab")
    assert put <= LeadJob.write_budget * final
    keys = [key for key in at_once if key[:1] in "ab"]
    assert [dataset.store.read_object(key) for key in keys] == [at_once[key] for key in keys]
