"""What a person sees while a run goes on: regions, stages, failures, how far readers see.

`ProgressTally` counts the driver's events and knows nothing of terminals; `ProgressDisplay` shows
it. On a terminal that is a few lines that change in place, with failures above them as they happen;
in a notebook a card that changes in place. Elsewhere (a log, CI, a pipe) it is one line at the
start, and the first failures.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from gridmill.model.reports.spans import STAGES
from gridmill.model.wording import count_of, format_clock, format_nbytes, shorten_label

if TYPE_CHECKING:
    from types import TracebackType

    from distributed import Client

    from gridmill.runs.narration import Event
    from gridmill.runs.plan import Plan

__all__ = ["ProgressDisplay", "ProgressTally", "StageTally"]

# Chains take seconds: a shorter window would show a throughput that jumps.
WINDOW_S = 30.0
# The run's report has all of them; a screen of failures tells no more than these.
MOST_FAILURES_SHOWN = 20
REFRESHES_PER_S = 4


@dataclass
class StageTally:
    """What one stage has done so far."""

    count: int = 0
    nbytes: int = 0
    recent: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, nbytes: int, at_s: float) -> None:
        """Count one that ended."""
        self.count += 1
        self.nbytes += nbytes
        self.recent.append((at_s, nbytes))
        self._forget_before(at_s - WINDOW_S)

    def throughput(self, at_s: float, started_s: float) -> float:
        """Return bytes a second over the last half minute, or since the start of the run."""
        self._forget_before(at_s - WINDOW_S)
        window_s = min(WINDOW_S, at_s - started_s)
        return sum(nbytes for _, nbytes in self.recent) / window_s if window_s > 0 else 0.0

    def _forget_before(self, time_s: float) -> None:
        while self.recent and self.recent[0][0] < time_s:
            self.recent.popleft()


@dataclass
class ProgressTally:
    """What the events of a run add up to.

    Parameters
    ----------
    total
        Region jobs of the run, those that will be skipped included.
    clock
        Gives seconds.

    Notes
    -----
    Grows with the failed regions in flight, not with the regions of the run. Not thread-safe.
    """

    total: int
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    skipped: int = 0
    failed: int = 0
    failures: int = 0
    published: str | None = None
    stages: dict[str, StageTally] = field(
        default_factory=lambda: {stage: StageTally() for stage in STAGES}
    )
    started_s: float = field(init=False)
    _failing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.started_s = self.clock()

    def add(self, event: Event) -> None:
        """Count one event; kinds that are not known here are passed over."""
        match event.kind:
            case "planned":
                self.total = event.count
            case "skipped":
                self.skipped += 1
            case "stage":
                tally = self.stages.setdefault(event.detail, StageTally())
                tally.add(event.count, self.clock())
            case "failed":
                self.failures += 1
                self._failing.add(event.region)
            case "region":
                has_failed = event.region in self._failing
                self._failing.discard(event.region)
                self.failed += has_failed
                self.done += not has_failed
            case "published":
                self.published = event.detail

    @property
    def finished(self) -> int:
        """Region jobs that are over, one way or another."""
        return self.done + self.skipped + self.failed

    def elapsed_s(self) -> float:
        """Return the seconds since the start."""
        return self.clock() - self.started_s

    def remaining_s(self) -> float | None:
        """Estimate the seconds to go from the regions so far; None before there are two."""
        processed = self.done + self.failed
        if processed < 2:
            return None
        return self.elapsed_s() / processed * max(self.total - self.finished, 0)


class ProgressDisplay:
    """Shows a run while it goes on; a context manager, and the run's listener.

    In a notebook or a script::

        with ProgressDisplay.of(dataset.plan("2025-01-01"), client) as progress:
            dataset.backfill("2025-01-01", client=client, listener=progress)

    Parameters
    ----------
    title
        What runs, in a few words.
    total
        Region jobs of the run; 0 as long as nobody knows, the run says it.
    dashboard
        The Dask dashboard's link, if there is one to look at.
    console
        Where to; None means standard error.
    clock
        Gives seconds.

    Notes
    -----
    Events arrive in the driver's thread while another draws.
    """

    def __init__(
        self,
        title: str,
        total: int = 0,
        *,
        dashboard: str | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.title = title
        self.dashboard = dashboard
        self.console = console or Console(stderr=True, highlight=False)
        self.tally = ProgressTally(total, clock)
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._handle: Any = None
        self._state = "running"
        self._failures: list[str] = []
        self._drawn_s = 0.0

    @classmethod
    def of(cls, plan: Plan, client: Client | None = None) -> Self:
        """Make the display of a run that was planned.

        Parameters
        ----------
        plan
            What `DynamicalDataset.plan` gave.
        client
            The Dask client, for its dashboard's link.
        """
        title = f"{plan.kind} {plan.dataset_id} → {plan.store}"
        dashboard = None if client is None else client.dashboard_link
        return cls(title, len(plan.jobs), dashboard=dashboard)

    def __enter__(self) -> Self:
        if self.console.is_jupyter:
            from IPython.display import display

            self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]
        elif self.console.is_terminal:
            self._live = Live(
                get_renderable=self.render,
                console=self.console,
                refresh_per_second=REFRESHES_PER_S,
                transient=True,
            )
            self._live.start(refresh=True)
        elif self.tally.total:
            self._say_what_runs()
        return self

    def show_dashboard(self, link: str) -> None:
        """Show where the dashboard is, of a cluster that was started while the run goes on."""
        self.dashboard = link
        # Where nothing was said yet, the first line has it.
        if self.tally.total and self._live is None and self._handle is None:
            self._say(f"dashboard {link}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._state = "done" if kind is None else "stopped"
        if self._live is not None:
            self._live.stop()
        if self._handle is not None:
            self._handle.update(self)

    def __call__(self, event: Event) -> None:
        """Take in one event of the run."""
        is_first = not self.tally.total
        with self._lock:
            self.tally.add(event)
        if event.kind == "planned" and is_first and self._live is None and self._handle is None:
            self._say_what_runs()
        if event.kind == "failed":
            self._say_failure(event)
        now = self.tally.clock()
        if self._handle is not None and now - self._drawn_s >= 1 / REFRESHES_PER_S:
            self._drawn_s = now
            self._handle.update(self)

    def render(self) -> RenderableType:
        """Draw the present state."""
        with self._lock:
            return Group(self._title(), self._bar(), self._stages(), *self._places())

    def _repr_html_(self) -> str:
        # A terminal does without.
        from gridmill.display.cards import progress_card

        with self._lock:
            tally, now = self.tally, self.tally.clock()
            return progress_card(
                self.title,
                self._state,
                counts={
                    "total": tally.total,
                    "done": tally.done,
                    "skipped": tally.skipped,
                    "failed": tally.failed,
                },
                times=(tally.elapsed_s(), tally.remaining_s()),
                stages={
                    name: (stage.count, stage.nbytes, stage.throughput(now, tally.started_s))
                    for name, stage in tally.stages.items()
                },
                published=tally.published,
                dashboard=self.dashboard,
                failures=self._failures,
            )

    # -- parts --------------------------------------------------------------------------------

    def _title(self) -> Text:
        return Text(self.title, style="bold", no_wrap=True, overflow="ellipsis")

    def _bar(self) -> Table:
        tally = self.tally
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(
            total=max(tally.total, 1),
            completed=tally.finished,
            width=24,
            complete_style="cyan",
            finished_style="green",
        )
        counts = [f"{tally.finished} of {tally.total}"]
        counts += [f"{tally.skipped} already done"] * bool(tally.skipped)
        times = [format_clock(tally.elapsed_s())]
        remaining = tally.remaining_s()
        if remaining:
            times.append(f"about {format_clock(remaining)} to go")
        text = Text(" · ".join(counts))
        if tally.failures:
            text.append(f" · {tally.failures} failed", "bold red")
        text.append("   " + " · ".join(times), "dim")
        row.add_row(_label("regions"), bar, text)
        return row

    def _stages(self) -> Table:
        grid = Table.grid(padding=(0, 2))
        grid.add_column()
        for _ in range(3):
            grid.add_column(justify="right", min_width=9)
        now = self.tally.clock()
        for stage, tally in self.tally.stages.items():
            throughput = tally.throughput(now, self.tally.started_s)
            speed = f"{format_nbytes(throughput)}/s" if throughput else "–"
            count = Text(f"{tally.count}")
            grid.add_row(_label(stage), count, format_nbytes(tally.nbytes), Text(speed, "cyan"))
        return grid

    def _places(self) -> list[Table]:
        published = self.tally.published
        facts = {
            "published": published and Text(f"up to {shorten_label(published)}", "green"),
            "dashboard": self.dashboard and Text(self.dashboard, f"dim link {self.dashboard}"),
        }
        grids = []
        for name, fact in facts.items():
            if fact:
                grid = Table.grid(padding=(0, 2))
                grid.add_row(_label(name), fact)
                grids.append(grid)
        return grids

    # -- lines --------------------------------------------------------------------------------

    def _say_what_runs(self) -> None:
        link = f" (dashboard {self.dashboard})" if self.dashboard else ""
        self._say(f"{self.title}: {count_of(self.tally.total, 'region')}{link}")

    def _say_failure(self, event: Event) -> None:
        number = self.tally.failures
        if number <= MOST_FAILURES_SHOWN:
            said = f"region {shorten_label(event.region)}, {' '.join(event.detail.split())}"
            if self._handle is not None:
                self._failures.append(said)
            else:
                self._say(f"[red]✗[/red] {escape(said)}")
        elif number == MOST_FAILURES_SHOWN + 1 and self._handle is None:
            self._say("✗ more failed; the run's report has them all")

    def _say(self, markup: Any) -> None:
        self.console.print(markup, soft_wrap=True)


def _label(text: str) -> Text:
    return Text(f"  {text:<9}", "dim")
