"""A driver in a process of its own, and what may befall it."""

from __future__ import annotations

import functools
import importlib
import json
import os
import signal
import sys
import tempfile
import time
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import gridmill.dataset
import gridmill.runs.coordinator
import gridmill.stores.state.claims
import gridmill.stores.state.leases
from gridmill.runs.dask import on_cluster
from gridmill.runs.narration import Event
from gridmill.stores.objects.s3.objects import S3Objects
from trust_faults import FATE, Death, die


@dataclass(frozen=True)
class Errand:
    """What a driver process is to do.

    Parameters
    ----------
    folder
        For its result, log and temporary files.
    dataset
        ``module:class``.
    store, source, put_log, format, storage_options
        Arguments of the dataset.
    kind
        ``backfill`` or ``update``.
    until, now
        See `DynamicalDataset.backfill`; an update knows only `now`.
    start, end, revalidate
        Filters of a backfill, and whether it believes records unseen.
    scheduler
        Address of the cluster; None lets the run start its own, with workers in `folder`.
    death
        Where the driver dies.
    dies_at_event
        Kind and detail of an event, and at which of those the driver dies.
    clock_off_s
        How far the driver's clock is off.
    machine
        A name that makes it a driver of another machine, whose pid means nothing here.
    lease_lives_s
        How long others wait before they take its lease over.
    """

    folder: Path
    dataset: str
    store: str
    source: str
    put_log: Path
    kind: str
    now: str
    until: str | None = None
    start: str | None = None
    end: str | None = None
    revalidate: bool = False
    format: str = "zarr"
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    scheduler: str | None = None
    death: Death | None = None
    dies_at_event: tuple[str, str, int] | None = None
    clock_off_s: float = 0.0
    machine: str | None = None
    lease_lives_s: float | None = None

    def but(self, **changes: Any) -> Errand:
        """Give it with changes."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Result:
    """How an errand ended."""

    error: str | None = None
    message: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether the run went to its end and nothing failed."""
        return self.error is None and bool(self.report["succeeded"])


def run(errand: Errand) -> None:
    """Do an errand: the main function of a driver process."""
    # A session of its own, by which the processes that it starts are known when it is gone.
    os.setsid()
    errand.folder.mkdir(parents=True, exist_ok=True)
    _redirect(errand.folder / "log.txt")
    # One for all drivers of an archive: what a killed one leaves there, the next one sweeps.
    tmp = errand.folder.parent / "tmp"
    tmp.mkdir(exist_ok=True)
    tempfile.tempdir = str(tmp)
    FATE.death = errand.death
    # Nobody else writes here: parts that a killed process left are nobody's.
    S3Objects.abort_abandoned_uploads.__defaults__ = (timedelta(0),)
    if os.environ.get("TRUST_WORKERS_SHARE_DISK"):
        # As a run sees it that started the cluster itself.
        on_cluster.is_one_machine = lambda client: True
    _set_clock_and_machine(errand)
    # A parent that starts many children may ignore SIGINT; a driver in a terminal does not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        result = {"report": _run(errand)}
    except BaseException as error:
        import traceback

        traceback.print_exc()
        result = {"error": type(error).__name__, "message": str(error)[:2000]}
    partial = errand.folder / "result.partial"
    partial.write_text(json.dumps(result))
    partial.rename(errand.folder / "result.json")


def _run(errand: Errand) -> dict[str, Any]:
    module, _, name = errand.dataset.partition(":")
    dataset_class = getattr(importlib.import_module(module), name)
    dataset = dataset_class(
        errand.store,
        source_base=errand.source,
        put_log=errand.put_log,
        format=errand.format,
        storage_options=dict(errand.storage_options) or None,
    )
    options = {
        "client": errand.scheduler,
        "now": errand.now,
        "listener": _Listener(errand),
        "revalidate": errand.revalidate,
    }
    if errand.scheduler is None:
        import dask

        dask.config.set({"temporary-directory": str(errand.folder / "workers")})
    if errand.kind == "update":
        report = dataset.reformat_operational_update(**options)
    else:
        report = dataset.backfill(errand.until, start=errand.start, end=errand.end, **options)
    content = report.to_dict()
    del content["spans"]
    return content


class _Listener:
    def __init__(self, errand: Errand) -> None:
        self.dies_at = errand.dies_at_event
        self.seen = 0

    def __call__(self, event: Event) -> None:
        if self.dies_at is None:
            return
        kind, detail, nth = self.dies_at
        if event.kind == kind and (not detail or event.detail == detail):
            self.seen += 1
            if self.seen == nth:
                die({"event": f"{kind} {detail}", "nth": nth})


def _set_clock_and_machine(errand: Errand) -> None:
    if errand.clock_off_s:
        clock = types.SimpleNamespace(**vars(time))
        clock.time = lambda: time.time() + errand.clock_off_s
        gridmill.stores.state.claims.time = gridmill.stores.state.leases.time = clock
    if errand.machine is not None:
        for module in (gridmill.stores.state.claims, gridmill.stores.state.leases):
            module.machine_name = lambda: errand.machine
    if errand.lease_lives_s is not None:
        gridmill.runs.coordinator.Lease = functools.partial(
            gridmill.runs.coordinator.Lease, time_to_live_s=errand.lease_lives_s
        )


def _redirect(log: Path) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
