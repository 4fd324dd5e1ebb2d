"""Follow a dataset's cycle: update again and again, until all that is expected is there."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_expected
from gridmill.authoring.source_file import ListedFileCoord, SourceFileCoord, url_of
from gridmill.model.reports.run_report import RunReport
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.planning.prepare import results_from_record
from gridmill.planning.source_files.asking import ask_files
from gridmill.planning.source_files.rhythm import WAITS
from gridmill.runs.on_demand import OnDemand, where_of
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.state.leases import LeaseHeld

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.runs.coordinator import Listener

__all__ = ["DeadlinePassed", "Waiting", "follow_cycle"]

log = logging.getLogger(__name__)

# A provider is asked soon after something came, because more comes; then ever more rarely.
SHORTEST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 120.0
# A cluster that would wait for longer without work is given back: it may cost money.
IDLE_S = 60.0
NOT_AWAITED = (SourceFileStatus.HELD, SourceFileStatus.SUCCEEDED)
# Of thousands of files that are awaited a few tell whether anything came. What a provider makes in
# its order begins with the earliest of a cycle: these are asked for at each turn, one may be
# skipped for good; of the others some at each turn, which comes round to all.
FIRST_OF_A_CYCLE = 3
FIRST_AT_A_TURN = 16
OTHERS_AT_A_TURN = 16


@dataclass(frozen=True)
class Waiting:
    """What is awaited.

    Parameters
    ----------
    files
        How many source files.
    first
        The URL of the first of them; empty if it is no file that is awaited.
    pause_s
        Seconds until the provider is asked again.
    """

    files: int
    first: str
    pause_s: float = 0.0

    def __str__(self) -> str:
        if not self.files:
            return "variables that failed"
        return f"{self.files} source files, the first is {self.first}"


class DeadlinePassed(RuntimeError):  # noqa: N818
    """Time is up, and not all that is expected is there."""

    def __init__(self, waiting: Waiting) -> None:
        super().__init__(waiting)
        self.waiting = waiting

    def __str__(self) -> str:
        return f"the deadline passed while waiting for {self.waiting}"


def follow_cycle(
    dataset: DynamicalDataset,
    *,
    deadline_s: float,
    revalidate: bool = False,
    client: Any = None,
    now: Any = None,
    listener: Listener = lambda event: None,
    on_wait: Callable[[Waiting], None] = lambda waiting: None,
    longest_pause_s: float = LONGEST_PAUSE_S,
) -> Iterator[RunReport]:
    """Update an archive until all source files of the present cycle are settled.

    What comes is published as it comes. Where the archive is to end is decided once, at the start:
    what falls due while this waits is for the next call. Before a pause of a minute or more a
    cluster is given back; work that comes then starts another one.

    Parameters
    ----------
    dataset
        With its archive.
    deadline_s
        Seconds after which to give up.
    revalidate, client, now, listener
        See `DynamicalDataset.reformat_operational_update`; `revalidate` holds for the first run.
    on_wait
        Told what is awaited before each pause.
    longest_pause_s
        The provider is asked at least as often; more often after something came.

    Yields
    ------
    RunReport
        Of each run; a run is made only if there is news.

    Raises
    ------
    DeadlinePassed
        Not everything is there.
    LeaseHeld
        Another run holds the archive when the first run wants to begin.

    Notes
    -----
    A variable that fails twice in a row for the same reason ends the waiting: that is an error in
    code, and waiting does not fix it.
    """
    with where_of(client) as where:
        clock = _Clock(dataset.present(now))
        pauses = _Pauses(clock, deadline_s, longest_pause_s, on_wait)
        yield from _updates(dataset, where, clock, pauses, revalidate, listener)


def _updates(
    dataset: DynamicalDataset,
    where: OnDemand,
    clock: _Clock,
    pauses: _Pauses,
    revalidate: bool,
    listener: Listener,
) -> Iterator[RunReport]:
    end = clock.start
    update = partial(
        dataset.reformat_operational_update, until=end, client=where, listener=listener
    )
    report = update(revalidate=revalidate, now=end)
    yield report
    awaited = _awaited(dataset, end)
    while awaited or report.failures:
        if pauses.next_s >= IDLE_S:
            where.give_back()
        pauses.wait(awaited)
        if any(_is_unlisted(one.coord) for one in awaited):
            awaited = _awaited(dataset, end)  # which lists their folders again
        if not (report.failures or _is_news(awaited, clock.now(), pauses.turn)):
            continue
        failures_before = set(report.failures)
        try:
            report = update(now=clock.now())
        except LeaseHeld as held:
            log.info("%s", held)
            continue
        yield report
        if report.failures and set(report.failures) == failures_before:
            return
        before, awaited = awaited, _awaited(dataset, end)
        if len(awaited) < len(before):
            pauses.shorten()


@dataclass(frozen=True)
class _Awaited:
    job: RegionJob[Any, Any]
    coord: SourceFileCoord
    variables: list[DataVar]

    @property
    def cycle(self) -> Hashable:
        """What comes in an order of its own: a label's files of the same variables."""
        label = self.coord.out_loc().get(self.job.append_dim)
        return str(label), tuple(var.name for var in self.variables)

    def is_expected(self, now: Any) -> bool:
        """Whether one of its variables gives it up by now."""
        return any(is_expected(self.job, self.coord, var, now) for var in self.variables)


class _Clock:
    """The present as a label of the append dim: it goes on from where it was said to be."""

    def __init__(self, start: Any) -> None:
        self.start = start
        self._started_s = time.monotonic()

    def elapsed_s(self) -> float:
        return time.monotonic() - self._started_s

    def now(self) -> Any:
        return self.start + timedelta(seconds=self.elapsed_s())


class _Pauses:
    """The pauses between two times of asking: each twice as long as the one before."""

    def __init__(
        self,
        clock: _Clock,
        deadline_s: float,
        longest_s: float,
        on_wait: Callable[[Waiting], None],
    ) -> None:
        self._clock = clock
        self._deadline_s = deadline_s
        self._longest_s = longest_s
        self._on_wait = on_wait
        self.turn = 0
        self.shorten()

    def shorten(self) -> None:
        """Begin again with the shortest: something came."""
        self.next_s = min(SHORTEST_PAUSE_S, self._longest_s)

    def wait(self, awaited: Sequence[_Awaited]) -> None:
        """Make a pause; raises `DeadlinePassed` where there is no time left for one."""
        left_s = self._deadline_s - self._clock.elapsed_s()
        waiting = Waiting(len(awaited), _first_url(awaited), min(self.next_s, left_s))
        if left_s <= 0:
            raise DeadlinePassed(waiting)
        self._on_wait(waiting)
        log.info("waiting for %s; asking again in %.0f s", waiting, waiting.pause_s)
        time.sleep(waiting.pause_s)
        self.turn += 1
        self.next_s = min(2 * self.next_s, self._longest_s)


def _awaited(dataset: DynamicalDataset, end: Any) -> list[_Awaited]:
    """List the source files of an update that readers wait for, each once a region.

    For what a gate holds it is no use to wait, the final one of a provisional file may take weeks,
    and nobody waits for variables that are not essential.
    """
    found: dict[tuple[str, str], _Awaited] = {}
    for prepared in dataset.plan(now=end).prepared():
        if prepared.record is None:
            continue
        results = results_from_record(prepared, prepared.record)
        for var in (var for var in prepared.job.data_vars if var.is_essential):
            for coord in results.get(var.name, ()):
                if not coord.settled and coord.status not in NOT_AWAITED:
                    key = (prepared.job.region.key, url_of(coord))
                    found.setdefault(key, _Awaited(prepared.job, coord, [])).variables.append(var)
    return list(found.values())


def _is_unlisted(coord: SourceFileCoord) -> bool:
    """Whether a listing did not show a source file: its address is not known yet."""
    return isinstance(coord, ListedFileCoord) and not coord.listed.is_listed


def _is_news(awaited: Sequence[_Awaited], now: Any, turn: int) -> bool:
    """Whether a run would do something: a file came, is accepted as missing, or due for a retry."""
    if any(one.coord.status.is_failure or one.is_expected(now) for one in awaited):
        return True
    # Of what is there and waits for the rest of its shard, only that rest is news.
    awaited = [one for one in awaited if one.coord.detail != WAITS]
    asked: dict[str, list[_Awaited]] = {}
    for one in _asked_now(awaited, turn):
        asked.setdefault(one.job.region.key, []).append(one)
    answers = (ask_files(some[0].job, [one.coord for one in some]) for some in asked.values())
    return any(any(answer.values()) for answer in answers)


def _asked_now(awaited: Sequence[_Awaited], turn: int) -> list[_Awaited]:
    """Choose the earliest of each cycle, and of the others those whose turn it is."""
    counts: Counter[Hashable] = Counter()
    early: list[tuple[int, int]] = []
    for index, one in enumerate(awaited):
        if counts[one.cycle] < FIRST_OF_A_CYCLE:
            early.append((counts[one.cycle], index))
        counts[one.cycle] += 1
    # Of many cycles the very first of each, before the second of any.
    first = {index for _, index in sorted(early)[:FIRST_AT_A_TURN]}
    others = [index for index in range(len(awaited)) if index not in first]
    step = max(1, len(others) // OTHERS_AT_A_TURN)
    return [awaited[index] for index in (*sorted(first), *others[turn % step :: step])]


def _first_url(awaited: Sequence[_Awaited]) -> str:
    return mask_url(url_of(awaited[0].coord)) if awaited else ""
