"""Where the tasks of runs are done, decided with the first of them: no work starts nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.planning.prepare import PreparedRegion
from gridmill.runs.workplaces.specs import AUTO, LOCAL, NONE, check_spec
from gridmill.runs.workplaces.workplace import Workplace

if TYPE_CHECKING:
    from types import TracebackType

    from distributed import Client

    from gridmill.sources.fetch.hosts import Places

__all__ = ["HERE_AT_MOST_S", "OnDemand", "seconds_of", "where_of"]

log = logging.getLogger(__name__)

# Work for one core. Two workers take 2 s, and 5 s of CPU, before their first task ends: what takes
# longer than this here is done sooner by them.
HERE_AT_MOST_S = 5.0
# What one core decodes, rounds, compresses and stores in a second, in raw bytes of values; and what
# each source file and each chain takes beside. `python -m benchmarks idle` shows the estimate with
# the CPU seconds of the stages of NetCDF, which are less: many forms of GRIB take longer.
RAW_NBYTES_PER_S = 40e6
FILE_S = 0.05
CHAIN_S = 0.01


class OnDemand:
    """Where runs do their tasks; a context manager that gives back in the end what it started.

    Parameters
    ----------
    spec
        What `gridmill.connect` takes; or ``"auto"``: work of a few seconds is done in this process,
        all else by workers on this machine.
    connect
        Connects to the cluster instead.
    on_start
        Told of the client once there is one.

    Raises
    ------
    ValueError
        `spec` means nothing.

    Notes
    -----
    A cluster that was started for one run is there for the next, until it is given back.
    """

    def __init__(
        self,
        spec: Any = AUTO,
        *,
        connect: Callable[[], AbstractContextManager[Client]] | None = None,
        on_start: Callable[[Client], object] = lambda client: None,
    ) -> None:
        check_spec(spec)
        self.spec = spec
        self.on_start = on_start
        self._connect = connect or self._connected
        self._client: Client | None = None
        self._stack = ExitStack()

    def __enter__(self) -> OnDemand:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client = None
        self._stack.__exit__(kind, error, trace)

    def give_back(self) -> None:
        """Stop a cluster that was started; the next work starts another one."""
        self._client = None
        self._stack.close()

    def start(self) -> None:
        """Start the cluster that was named, for who knows that there is work."""
        if self.spec not in (AUTO, NONE):
            self.client()

    def client(self) -> Client:
        """Return the client of the cluster, which is started if it is not there."""
        if self._client is None:
            self._client = self._stack.enter_context(self._connect())
            self.on_start(self._client)
        return self._client

    def places(self) -> Places | None:
        """Return what all runs on a cluster share of source hosts, if it is there already."""
        if self._client is None and isinstance(self.spec, str):
            return None
        from gridmill.runs.dask.plugin.places import HostPlaces

        client = self.client()
        return HostPlaces(client.scheduler, client.loop)

    def workplace(self, seconds: Iterable[float], root: Path | None = None) -> Workplace:
        """Return where to do work.

        Parameters
        ----------
        seconds
            About how long it takes one core, region by region; taken as far as it is needed.
        root
            Where a folder may be made in this process.
        """
        if self.is_little(seconds):
            from gridmill.runs.workplaces.here import Here

            return Here(root)
        from gridmill.runs.dask.on_cluster import OnCluster

        return OnCluster(self.client())

    def is_little(self, seconds: Iterable[float]) -> bool:
        """Whether work is done in this process, see `workplace`."""
        if self.spec != AUTO or self._client is not None:
            return bool(self.spec == NONE)
        total = 0.0
        for region_s in seconds:
            total += region_s
            if total > HERE_AT_MOST_S:
                log.info("over %.0f s of work for one core: starting workers", HERE_AT_MOST_S)
                return False
        log.info("about %.1f s of work: done in this process", total)
        return True

    def _connected(self) -> AbstractContextManager[Client]:
        from gridmill.runs.dask.clusters import connect

        return connect(LOCAL if self.spec == AUTO else self.spec)


def where_of(client: Any) -> AbstractContextManager[OnDemand]:
    """Return where a run does its tasks that was given a client, see `DynamicalDataset.backfill`.

    An `OnDemand` stays open for who made it.
    """
    if isinstance(client, OnDemand):
        return nullcontext(client)
    given = _current_client() if client is None else client
    return OnDemand(AUTO if given is None else given)


def _current_client() -> Any:
    """Return the current Dask client; there is none where nobody imported distributed."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None


def seconds_of(prepared: PreparedRegion) -> float:
    """Estimate how long what is to do of a region takes one core.

    A stored object is written whole: all of a variable's region counts, however few of its source
    files are new.
    """
    nbytes = chains = 0
    for group in prepared.groups:
        for var in group.variables:
            if var.name in group.todo:
                shape = [prepared.sizes[dim] for dim in var.dims]
                nbytes += int(prod(shape) * np.dtype(var.encoding.value_dtype).itemsize)
                chains += 1
    return nbytes / RAW_NBYTES_PER_S + FILE_S * prepared.n_files + CHAIN_S * chains
