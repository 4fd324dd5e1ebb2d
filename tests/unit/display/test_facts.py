"""What is said of runs, plans and archives: once, and the same wherever it is shown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text as Line

from gridmill.display.cards import status_card
from gridmill.display.facts.archives import describe_archive
from gridmill.display.facts.forms import Fact, Verdict
from gridmill.display.facts.runs import describe_publication, describe_run, verdict_on_run
from gridmill.display.run_page import report_page
from gridmill.display.terminal.archive import show_status
from gridmill.display.terminal.report import show_report
from gridmill.model.reports.run_report import RunReport
from shown_html import Text

STATUS = {
    "dataset_id": "tiny",
    "store": "a.zarr",
    "positions": 6,
    "first": "2020-01-01 00:00:00",
    "last": "2020-01-01 05:00:00",
    "age_s": 7200.0,
    "expected_last": "2020-01-01 07:00:00",
    "late": 2,
    "regions": 2,
    "incomplete": [
        {
            "region": "2020-01-01 04:00:00",
            "why": "1 source file not yet available",
            "missing": 5,
            "files": [{"url": f"{n}.npy", "why": "not yet available"} for n in range(5)],
        }
    ],
    "gaps": 3,
    "pending": 2,
    "held": 1,
    "running": [{"kind": "update", "run": "r", "host": "h", "pid": 1, "since": "2020-01-01T05:00"}],
    "last_run": {"kind": "update", "run": "q", "ended": "2020-01-01T04:00:00", "succeeded": True},
    "last_runs": [],
    "made_earlier": {},
    "remarks": [],
}


def in_terminal(shown) -> str:
    """Give what a wide terminal shows."""
    console = Console(width=400, file=io.StringIO())
    console.print(shown)
    return console.file.getvalue()


def test_an_archive_is_described_alike_in_terminal_and_notebook():
    """Every fact, and the source files that are waited for, are worded once."""
    facts = describe_archive(STATUS)
    assert [fact.label for fact in facts] == [
        "published",
        "expected",
        "regions",
        "readers lack",
        "held by gates",
        "held by",
        "last run",
    ]
    terminal, card = in_terminal(show_status(STATUS)), Text(status_card(STATUS)).text
    for said in (*(fact.text for fact in facts), "2.npy (not yet available)", "… 2 more"):
        assert said in terminal
        assert said in card


def test_an_archive_that_says_nothing_of_itself():
    """Without positions, age or expectation no sentence is left half."""
    unknown = {"positions": 0, "age_s": None, "late": None, "last_run": None, "running": []}
    nothing = {"gaps": 0, "pending": 0, "held": 0, "incomplete": []}
    facts = describe_archive({**STATUS, **unknown, **nothing})
    assert [fact.text for fact in facts] == [
        "nothing yet",
        "no expected time declared",
        "2 regions recorded, 2 settled",
        "none is recorded",
    ]


def test_a_run_is_described_alike_in_terminal_and_on_its_page():
    """Labels and texts of the terminal's summary are those of the page."""
    report = RunReport("r", "tiny", "update", "2020-01-01T00:00:00", "2020-01-01T00:01:00")
    report.published_after, report.positions_after = "2020-01-01 05:00:00", 6
    report.retries, report.nbytes_downloaded = 2, 1000
    facts = describe_run(report.summary())
    page = Text(report_page(report)).text
    content = {**report.summary(), "page": "runs/r.html"}
    terminal = in_terminal(show_report(content, Line("done")))
    for label, text, _ in facts:
        assert label + text in page
        assert text in terminal or label in ("run", "took")
    assert Fact("retries", "source files retried 2 times") in facts


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ((None, 0), (None, 0), "nothing yet"),
        ((None, 0), ("2020-01-06", 6), "nothing → 2020-01-06 (6 positions)"),
        (("2020-01-06", 6), ("2020-01-06", 6), "up to 2020-01-06, as before (6 positions)"),
        (("2020-01-05", 5), ("2020-01-06", 6),
         "2020-01-05 → 2020-01-06 (6 positions, 1 of them new)"),
        (("2020-01-06", 6), ("2020-01-05", 5), "2020-01-06 → 2020-01-05 (5 positions)"),
    ],
)  # fmt: skip
def test_how_far_readers_see_is_said_for_every_change(before, after, said):
    """Nothing, more, the same and less: each reads as what it is."""
    labels = {"published_before": before[0], "published_after": after[0]}
    counts = {"positions_before": before[1], "positions_after": after[1]}
    assert describe_publication({**labels, **counts}) == said


def test_a_run_that_left_gaps_does_not_say_success():
    """The page of a run ends as the command line did: with what readers lack since."""
    report = RunReport("r", "tiny", "update", "2020-01-01T00:00:00", "2020-01-01T00:01:00")
    report.regions_done, report.new_gaps = 1, 2
    assert verdict_on_run(report.to_dict(), is_by_hand=False) == Verdict("2 new gaps", "warning")
    report.new_gaps = 0
    assert verdict_on_run(report.to_dict(), is_by_hand=False) == Verdict("succeeded", "good")
