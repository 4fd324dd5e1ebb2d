"""The workers of a run: what is wrong with those that join, and what keeps others from joining."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

import dask
from dask.utils import parse_timedelta
from distributed import Client, LocalCluster

from gridmill.model.wording import format_duration
from gridmill.runs.dask.plugin.pipeline import PLUGIN, PipelinePlugin
from gridmill.runs.dask.workers.jobs import Jobs, is_of_a_queue
from gridmill.runs.dask.workers.joining import (
    TOPIC,
    ByValue,
    Joining,
    add_where_missing,
    cannot_import,
    versions_of,
)
from gridmill.runs.dask.workers.queues import unknown_jobs, why_none_runs
from gridmill.runs.workplaces.workplace import threads_per_worker

__all__ = [
    "PACKAGES",
    "NoWorkers",
    "Workforce",
    "expected_workers",
    "is_one_machine",
    "keep_most",
    "keep_size",
]

log = logging.getLogger(__name__)

# Of these a difference between two processes means other bytes, or tasks that do not arrive.
PACKAGES = ("python", "gridmill", "distributed", "numpy", "numcodecs", "zarr")
# A run without workers says so after the first, and then each time that it waited twice as long.
SAY_AFTER_S = 20.0
SAY_AGAIN_S = 600.0
WORKER_TIMEOUT = "30 minutes"
# Jobs of a queue that ended are asked for again, no faster than a queue takes them.
REPLACE_INTERVAL_S = 30.0

Finding = tuple[str, str, bool]

_sizes: WeakKeyDictionary[Client, int] = WeakKeyDictionary()
_most: WeakKeyDictionary[Client, int] = WeakKeyDictionary()
_said: WeakKeyDictionary[Client, set[str]] = WeakKeyDictionary()


class NoWorkers(RuntimeError):  # noqa: N818
    """No worker came to do anything: what is recorded is safe, run again when there are some."""


def is_one_machine(client: Client) -> bool:
    """Whether a cluster starts all its workers on this machine."""
    return isinstance(client.cluster, LocalCluster)


def keep_size(client: Client, workers: int) -> None:
    """Let runs on a client ask its cluster for workers again whose jobs ended."""
    _sizes[client] = workers


def keep_most(client: Client, workers: int) -> None:
    """Let runs on a client know up to how many workers work may bring.

    Not every cluster object says so: a gateway's clusters are adapted by its server.
    """
    _most[client] = workers


def expected_workers(client: Client, workers: int) -> int:
    """Return how many workers work should be in flight for.

    An adaptive cluster starts workers for what waits: there must be more than the present ones do.
    """
    adaptive = getattr(client.cluster, "_adaptive", None)
    most = max(_most.get(client, 0), getattr(adaptive, "maximum", 0))
    return int(max(min(2 * workers, most), workers, 1))


class Workforce:
    """The workers that a run has, now and later.

    Parameters
    ----------
    client
        The Dask client.
    plugin
        Given to every worker on which it can be set up.
    module
        Defines the jobs' class; every worker must be able to import it.
    """

    def __init__(self, client: Client, plugin: PipelinePlugin, module: str) -> None:
        self.client = client
        self.plugin = plugin
        # What is defined in a notebook or script is sent by value.
        self.module = "" if module == "__main__" else module
        self.timeout_s = float(parse_timedelta(_setting("worker-timeout", WORKER_TIMEOUT)))
        self._events = 0
        # By kind and address.
        self._found: dict[str, dict[str, str]] = {}
        # By address; and what became of the last, as long as there is no other worker.
        self._useless: dict[str, str] = {}
        self._last_closed = ""
        self._without_since: float | None = None
        self._say_next = SAY_AFTER_S
        self._replace_next = self._ask_queue_next = 0.0
        of_a_queue = is_of_a_queue(type(client.cluster))
        self._jobs = Jobs(client.cluster) if of_a_queue else None

    # -- who is there, and who joins -------------------------------------------------------------

    def open(self) -> None:
        """Look at the workers that are there, and have each that joins later looked at.

        Raises
        ------
        ValueError
            There are workers, and not one can run anything.
        """
        self._refuse_useless()
        self._events = len(self._told())
        versions = versions_of(list(PACKAGES))
        wanted = {"modules": ["gridmill"], "threads": threads_per_worker(), "versions": versions}
        self._register(Joining(PLUGIN, pickle.dumps(self.plugin), wanted))
        if self.module:
            self._register(Joining(self._import_plugin, b"", {"modules": self._modules}))
        present: Mapping[str, int] = self.client.nthreads()  # type: ignore[no-untyped-call]
        for _, told in self._told()[: self._events]:
            # By a run before this one, which may have been another process's.
            if told["address"] in present:
                self._note(told["address"], told["findings"])
        self.look(present)

    def close(self) -> None:
        """Ask no worker for the jobs' module any more: another run has another one."""
        client: Any = self.client
        if self.module:
            with suppress(Exception):
                client.unregister_worker_plugin(self._import_plugin)

    @property
    def _modules(self) -> list[str]:
        return ["gridmill", self.module] if self.module else ["gridmill"]

    @property
    def _import_plugin(self) -> str:
        return f"{PLUGIN}-{self.module}"

    def _register(self, joining: Joining) -> None:
        try:
            self.client.register_plugin(ByValue(joining))
        except OSError:
            # A worker was lost meanwhile. The scheduler gives the plugin to those that join later;
            # of the present ones some may not have been reached.
            self.client.run(ByValue(add_where_missing), ByValue(joining), on_error="ignore")

    def _refuse_useless(self) -> None:
        # A worker that is lost meanwhile says nothing, and is no reason to stop.
        answers = self.client.run(ByValue(cannot_import), self._modules, on_error="ignore")
        if answers and all(answers.values()):
            address, ((_, text, _), *_) = next(iter(answers.items()))
            raise ValueError(f"no worker can run anything: {address} {text}")

    def _told(self) -> tuple[tuple[float, Mapping[str, Any]], ...]:
        """Return what workers that joined told the scheduler of themselves."""
        return self.client.get_events(TOPIC)  # type: ignore[no-any-return]

    def _note(self, address: str, findings: Iterable[Finding]) -> None:
        for kind, text, is_fatal in findings:
            self._found.setdefault(kind, {})[address] = text
            if is_fatal:
                self._useless[address] = self._last_closed = f"{address} {text}"

    def _say(self, workers: int) -> None:
        """Say each kind of finding once a client, with how many workers are of it by then."""
        said = _said.setdefault(self.client, set())
        for kind, texts in self._found.items():
            if kind not in said:
                said.add(kind)
                number = len(texts)
                log.warning(
                    "%d of %d workers %s", number, max(number, workers), [*texts.values()][-1]
                )

    # -- nobody is there -------------------------------------------------------------------------

    def look(self, present: Collection[str]) -> None:
        """Say what was found since, and that there is nobody; called every few seconds.

        Parameters
        ----------
        present
            The addresses of the cluster's workers.

        Raises
        ------
        NoWorkers
            There was nobody for so long that the run gives up.
        OSError
            The scheduler does not answer.
        """
        events = self._told()
        for _, told in events[self._events :]:
            self._note(told["address"], told["findings"])
        self._events = len(events)
        self._say(len(present))
        workers = sum(address not in self._useless for address in present)
        if workers:
            self._without_since, self._last_closed = None, ""
        self._look_at_jobs()
        self._replace(workers)
        if not workers:
            self._wait()

    def _wait(self) -> None:
        now = time.monotonic()
        if self._without_since is None:
            self._without_since, self._say_next = now, SAY_AFTER_S
        waited = now - self._without_since
        if waited >= self.timeout_s:
            raise NoWorkers(
                f"there was no worker for {format_duration(waited)}: {self._why()}. Recorded "
                "work is safe: rerun when there are workers, or with a longer "
                "--worker-timeout"
            )
        if waited >= self._say_next:
            self._say_next = waited + min(2 * waited, SAY_AGAIN_S)
            left = format_duration(self.timeout_s - waited)
            so_long = format_duration(waited)
            log.warning("no worker for %s (gives up in %s): %s", so_long, left, self._why())

    def _why(self) -> str:
        if self._last_closed:
            return (
                "the last one that joined was closed, since it could do nothing: "
                f"{self._last_closed}"
            )
        return why_none_runs(self.client.cluster)

    def _look_at_jobs(self) -> None:
        """Say once of each reason that the queue refuses jobs, and let ended ones be replaced."""
        if self._jobs is None:
            return
        said = _said.setdefault(self.client, set())
        for reason in self._jobs.refusals:
            if reason not in said:
                said.add(reason)
                log.warning("the queue refused a job, which is asked for again: %s", reason)
        gone: set[str] = set()
        if time.monotonic() >= self._ask_queue_next:
            self._ask_queue_next = time.monotonic() + REPLACE_INTERVAL_S
            gone = unknown_jobs(self._jobs.waiting())
        self._jobs.forget_ended(gone)

    def _replace(self, workers: int) -> None:
        """Ask again for workers whose jobs ended, unless such workers can do nothing."""
        wanted = _sizes.get(self.client, 0)
        if workers >= wanted or self._last_closed or time.monotonic() < self._replace_next:
            return
        self._replace_next = time.monotonic() + REPLACE_INTERVAL_S
        cluster: Any = self.client.cluster
        with suppress(Exception):
            cluster.scale(wanted)


def _setting(name: str, default: Any) -> Any:
    return dask.config.get(f"gridmill.{name}", default)
