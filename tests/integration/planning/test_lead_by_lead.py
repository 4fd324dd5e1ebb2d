"""Readers see a forecast lead by lead, for a budget of writing that is kept and counted."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.model.variables import Encoding
from gridmill.operations.follow import follow_cycle
from leads import (
    LEADS,
    START,
    STEP,
    LeadJob,
    Leads,
    LeadTemplate,
    lead_var,
    path_of,
    put_nbytes,
    release,
    update_in_a_process,
    values_of,
)
from tiny import dataset_of, snapshot

HOUR = pd.Timedelta(hours=1)
NOW = START + 3 * HOUR


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
    with Reader(store, source) as reader:
        for number, lead in enumerate(LEADS):
            release(source, START, lead)
            if dies:
                lived = update_in_a_process(store, source, log, NOW, dies_at=2 + 3 * number % 17)
                kills += not lived
            assert update_in_a_process(store, source, log, NOW)
    reader.look()
    assert (kills > 6) == dies
    assert reader.looks > 3
    assert not reader.faults
    assert is_promised(store) == [True] * len(LEADS)
    assert data_of(store) == data_of(built_at_once(tmp_path))
    final = sum(map(len, (c for key, c in data_of(store).items() if key[:1] in "ab")))
    assert put_nbytes(log) <= LeadJob.write_budget * final
