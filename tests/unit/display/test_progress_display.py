"""What a person sees while a run goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gridmill.display.progress import MOST_FAILURES_SHOWN, ProgressDisplay, ProgressTally
from gridmill.runs.narration import Event
from shown_html import Text


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    """A clock at second 100."""
    return Clock()


def screen(display: ProgressDisplay) -> str:
    """Draw a display as plain text."""
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(display.render())
    return captured.get()


def make_display(clock, *, terminal: bool, total: int = 4, dashboard: str | None = None):
    """Make a display that writes to memory."""
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal, highlight=False)
    return ProgressDisplay(
        "backfill x", total, dashboard=dashboard, console=console, clock=clock
    ), console.file


def test_a_region_with_a_failed_variable_counts_as_failed(clock):
    """Done, skipped and failed regions are told apart, whatever the order of their events."""
    tally = ProgressTally(4, clock)
    tally.add(Event("skipped", "a"))
    tally.add(Event("submitted", "b", count=3))
    tally.add(Event("failed", "c", "t2m: KeyError"))
    tally.add(Event("failed", "c", "tp: KeyError"))
    tally.add(Event("region", "b"))
    tally.add(Event("region", "c"))
    assert (tally.done, tally.skipped, tally.failed, tally.failures) == (1, 1, 1, 2)
    assert tally.finished == 3


def test_throughput_is_that_of_the_last_half_minute(clock):
    """A stage that stands still falls to zero, and bytes of long ago do not count."""
    tally = ProgressTally(1, clock)
    stage = tally.stages["download"]
    clock.now += 10
    tally.add(Event("stage", "a", "download", 1000))
    assert stage.throughput(clock.now, tally.started_s) == 100.0
    clock.now += 31
    assert stage.throughput(clock.now, tally.started_s) == 0.0
    assert (stage.count, stage.nbytes) == (1, 1000)


def test_time_to_go_follows_the_regions_that_were_processed(clock):
    """Skipped regions cost nothing and do not make the estimate better than it is."""
    tally = ProgressTally(10, clock)
    for _ in range(4):
        tally.add(Event("skipped", "s"))
    clock.now += 20
    tally.add(Event("region", "a"))
    assert tally.remaining_s() is None
    tally.add(Event("region", "b"))
    assert tally.remaining_s() == 40.0


def test_a_kind_of_event_that_is_not_known_is_passed_over(clock):
    """A newer driver does not break the display."""
    ProgressTally(1, clock).add(Event("news", "a"))  # type: ignore[arg-type]


def test_the_screen_shows_regions_stages_extent_and_dashboard(clock):
    """Everything that is going on is on the screen."""
    display, _ = make_display(clock, terminal=True, dashboard="http://host:8787/status")
    clock.now += 5
    for event in (
        Event("skipped", "a"),
        Event("stage", "b", "download", 5_000_000),
        Event("failed", "b", "t2m: KeyError: 'x'"),
        Event("region", "b"),
        Event("published", "2017-01-31 00:00:00", "2017-01-31 00:00:00"),
    ):
        display(event)
    shown = screen(display)
    for fragment in (
        "backfill x",
        "2 of 4 · 1 already done · 1 failed",
        "0:05",
        "5.0 MB",
        "1.0 MB/s",
        "up to 2017-01-31",
        "http://host:8787/status",
    ):
        assert fragment in shown


def test_a_narrow_terminal_does_not_break_the_screen(clock):
    """Forty columns are enough to draw."""
    display, _ = make_display(clock, terminal=True, dashboard="http://host:8787/status")
    console = Console(file=io.StringIO(), width=40)
    console.print(display.render())
    assert max(len(line) for line in console.file.getvalue().splitlines()) <= 40


def test_without_a_terminal_a_run_is_one_line_and_its_failures(clock):
    """A log gets what matters, as plain lines: no control codes, no line a region."""
    display, file = make_display(clock, terminal=False, total=2000)
    with display:
        for number in range(1000):
            display(Event("stage", str(number), "upload", 10))
            display(Event("region", str(number)))
        display(Event("failed", "2017-01-05 00:00:00", "t2m: KeyError: '[x]'\nsecond line"))
    assert file.getvalue().splitlines() == [
        "backfill x: 2,000 regions",
        "✗ region 2017-01-05, t2m: KeyError: '[x]' second line",
    ]


def test_failures_appear_at_once_and_not_by_the_thousand(clock):
    """The first failures are shown as they happen; the report has the others."""
    display, file = make_display(clock, terminal=False)
    with display:
        display(Event("failed", "0", "t2m: x"))
        assert "region 0, t2m: x" in file.getvalue()
        for number in range(1, 500):
            display(Event("failed", str(number), "t2m: x"))
    assert len(file.getvalue().splitlines()) == MOST_FAILURES_SHOWN + 2


def test_on_a_terminal_nothing_but_failures_stays(clock):
    """The lines that change in place are erased in the end."""
    display, file = make_display(clock, terminal=True)
    with display:
        display(Event("failed", "a", "t2m: x"))
    written = file.getvalue()
    assert "region a, t2m: x" in written
    assert written.rstrip().endswith("\x1b[2K") or "\x1b[?25h" in written


# -- in a notebook ----------------------------------------------------------------------------


class Handle:
    """What `IPython.display.display` returns: keeps what it is told to show."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, display: ProgressDisplay) -> None:
        """Draw again."""
        self.shown.append(display._repr_html_())


@pytest.fixture
def handle(monkeypatch):
    """A notebook that shows what is displayed."""
    handle = Handle()

    def display(shown, *, display_id):
        assert display_id
        handle.update(shown)
        return handle

    monkeypatch.setattr("IPython.display.display", display)
    return handle


def test_in_a_notebook_a_card_changes_in_place(clock, handle):
    """At most four times a second while the run goes on, and at its end."""
    console = Console(file=io.StringIO(), force_jupyter=True)
    display = ProgressDisplay("backfill x", 4, dashboard="http://d/s", console=console, clock=clock)
    with display:
        for _ in range(100):
            display(Event("stage", "a", "download", 10))
        assert len(handle.shown) == 2
        clock.now += 1
        display(Event("failed", "a", "t2m: KeyError: '<x>'"))
        display(Event("region", "a"))
        display(Event("published", "b", "2020-01-02 00:00:00"))
    first, *_, last = [Text(shown) for shown in handle.shown]
    assert "running" in first.text
    for said in (
        "1 of 4 regions · 1 failed · 0:01",
        "1.0 kB",
        "KeyError: '<x>'",
        "up to 2020-01-02",
        "http://d/s",
        "✗ failed",
    ):
        assert said in last.text
    assert console.file.getvalue() == ""


def test_an_interrupted_run_says_so_in_the_notebook(clock, handle):
    """The last card tells that the same call goes on."""
    console = Console(file=io.StringIO(), force_jupyter=True)
    display = ProgressDisplay("backfill x", 4, console=console, clock=clock)
    with pytest.raises(KeyboardInterrupt), display:
        raise KeyboardInterrupt
    assert "interrupted: rerun to resume" in handle.shown[-1]
