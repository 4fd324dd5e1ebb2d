"""What a run did: its report comes back from JSON, and its page tells all and stands alone."""

from __future__ import annotations

import json

import pytest

from gridmill.display.run_page import report_card, report_page
from gridmill.display.svg import MOST_BARS, stages_by_worker_chart, throughput_chart
from gridmill.model.reports.entries import Failure, FetchedFile, Problem, RegionTimes
from gridmill.model.reports.run_report import MOST_SLOW_FILES, RunReport
from gridmill.model.reports.spans import STAGES, Span
from shown_html import Text

RUN = "20260101T000000000-abcdef"


def full_report(tasks: int = 6) -> RunReport:
    """Give a report with something of everything."""
    report = RunReport(
        RUN, "tiny", "update", "2026-01-01T00:00:00.000+00:00", "2026-01-01T00:01:00.000+00:00"
    )
    report.published_after, report.positions_after, report.regions_done = "2026-01-01", 8, 2
    report.files.update({"succeeded": 7, "download failed": 1})
    report.failures.append(Failure("2026-01-01 00:00:00", "t2m", "KeyError: '<x>'"))
    report.problems.append(Problem("2026-01-01 00:00:00", "a/<b>.nc", "download failed", "503"))
    report.note_fetched(FetchedFile("2026-01-01 00:00:00", "a/slow.nc", 9.5, 1000, 3))
    times = ("2026-01-01T00:00:01+00:00", "2026-01-01T00:00:09+00:00")
    seen, available = "2026-01-01T00:00:10+00:00", "2025-12-31T23:59:50+00:00"
    report.regions.append(RegionTimes("2026-01-01 00:00:00", 4, *times, available, seen))
    report.regions.append(RegionTimes("2026-01-02 00:00:00", 8, *times))
    for number in range(tasks):
        stage = STAGES[number % 3]
        key = f"{stage}-0000000004-t2m-{RUN}a0"
        started = 1767225600.0 + number / 10
        report.spans.append(Span(stage, key, f"tcp://w{number % 2}", started, started + 1, 100))
    return report


def test_a_report_comes_back_from_json():
    """Nothing of it is lost, and what a newer gridmill adds is passed over."""
    report = full_report()
    content = json.loads(report.to_json())
    back = RunReport.from_dict({**content, "news": 1})
    assert back.to_dict() == report.to_dict()


def test_a_report_of_an_older_gridmill_can_be_read():
    """What was not noted then is empty."""
    content = full_report().to_dict()
    for name in ("slowest", "regions", "retries", "chains_retried", "store"):
        del content[name]
    back = RunReport.from_dict(content)
    assert (back.slowest, back.retries, len(back.regions)) == ([], 0, 0)
    assert report_page(back)


def test_what_is_no_report_is_refused():
    """It says so, whatever it is instead."""
    with pytest.raises(ValueError, match="not a run's report"):
        RunReport.from_dict({"run": "x"})


def test_the_slowest_files_are_kept_in_order_and_retries_are_counted():
    """However many files there are, a bounded number is kept."""
    report = full_report()
    for number in range(100):
        report.note_fetched(FetchedFile("r", f"{number}", (number * 37) % 100 / 100, 1, 2))
    seconds = [file.seconds for file in report.slowest]
    assert seconds == [9.5, *(n / 100 for n in range(99, 100 - MOST_SLOW_FILES, -1))]
    assert report.retries == 102


def test_freshness_is_from_source_to_reader():
    """Twenty seconds from the newest source file to the reader; unknown until then."""
    seen, unseen = full_report().regions
    assert (seen.freshness_s, unseen.freshness_s) == (20.0, None)


def test_the_page_shows_everything_and_stands_alone():
    """Failures, slow files, retries and freshness are on it, and nothing has to be fetched."""
    html = report_page(full_report())
    page = Text(html)
    for said in (
        "something failed",
        "KeyError: '<x>'",
        "a/<b>.nc",
        "a/slow.nc",
        "source files retried 2 times",
        "20 s",
        "not yet",
        "compress t2m of the region at 4",
        "worker 2",
    ):
        assert said in page.text
    assert "http" not in html
    assert "script" not in page.counts


def test_the_card_and_the_page_of_a_run_that_did_nothing():
    """There is no chart without spans, and no table without rows."""
    report = RunReport(RUN, "tiny", "update", "2026-01-01T00:00:00.000+00:00")
    for shown in (report_card(report), report_page(report)):
        counts = Text(shown).counts
        assert "svg" not in counts
        assert "table" not in counts


def test_a_chart_of_very_many_tasks_stays_small():
    """Beyond what a page shows well, neighbours are drawn as one."""
    few = Text(str(stages_by_worker_chart(list(full_report(60).spans))))
    assert few.counts["rect"] == 60
    many = list(full_report(5 * MOST_BARS).spans)
    assert Text(str(stages_by_worker_chart(many))).counts["rect"] < MOST_BARS
    assert len(throughput_chart(many)) < 30_000
