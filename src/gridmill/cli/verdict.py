"""How a run ended, as an exit code and in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridmill.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.text import Text

    from gridmill.model.reports.run_report import RunReport

__all__ = ["code_by_hand", "verdict_of"]


def code_by_hand(report: RunReport) -> ExitCode:
    """Return the exit code of a maintenance command: it reached every replica, or not."""
    return ExitCode.FAILED if any(r.failure for r in report.replicas) else ExitCode.SUCCESS


def verdict_of(report: RunReport, late: Exception | None = None) -> tuple[ExitCode, Text]:
    """Say how a run ended, as an exit code and in a line."""
    from rich.text import Text

    code, sign, (what, style), rest = _ending(report, late)
    colour = style.removeprefix("bold ")
    took = f"{report.kind} of {report.dataset_id}: "
    return code, Text.assemble((f"{sign} ", colour), took, (what, style), rest)


def _ending(
    report: RunReport, late: Exception | None
) -> tuple[ExitCode, str, tuple[str, str], str]:
    """Return the exit code, a sign, what to say in which style, and what follows it."""
    from gridmill.model.wording import count_of

    red, yellow, green = "bold red", "bold yellow", "bold green"
    if report.interrupted:
        return ExitCode.FAILED, "✗", ("interrupted", red), f" by {report.interrupted}"
    if report.is_by_hand:
        return ExitCode.SUCCESS, "✓", ("maintenance done", green), ""
    unusable = _count_unusable(report)
    if not report.succeeded or unusable:
        return ExitCode.FAILED, "✗", (f"{_failed(report, unusable)} failed", red), ""
    if late is not None:
        return ExitCode.LATE, "✗", (str(late), red), ""
    if report.new_gaps:
        gaps = count_of(report.new_gaps, "new gap")
        return ExitCode.GAPS, "!", (gaps, yellow), ": gridmill gaps says what readers lack"
    done_before = report.regions_skipped + report.variables_skipped
    nothing_new = report.kind == "update" or not (report.files["succeeded"] or done_before)
    if nothing_new and not report.published_anything:
        return ExitCode.NOTHING_NEW, "–", ("nothing new to publish", yellow), ""
    done = count_of(report.regions_done, "region") + " done"
    if not report.regions_done:
        done = f"{count_of(report.regions_skipped, 'region')} already done, nothing to do"
    return ExitCode.SUCCESS, "✓", (done, green), ""


def _failed(report: RunReport, unusable: int) -> str:
    from gridmill.model.wording import count_of

    parts = [count_of(len(report.failures), "variable")] * bool(report.failures)
    parts += [count_of(unusable, "source file")] * bool(unusable)
    failing = sum(replica.failure is not None for replica in report.replicas)
    parts += [count_of(failing, "replica")] * bool(failing)
    return " and ".join(parts) or count_of(report.regions_failed, "region")


def _count_unusable(report: RunReport) -> int:
    """Count the source files that failed: each once, as far as the report names them."""
    from gridmill.model.settled import SourceFileStatus

    times = sum(n for status, n in report.files.items() if SourceFileStatus(status).is_failure)
    waiting = SourceFileStatus.NOT_YET_AVAILABLE
    held_back = (p for p in report.problems if not p.is_pending)
    named = {(p.region, p.url) for p in held_back if p.status != waiting}
    return len(named) if len(report.problems) < (report.problems.maxlen or 0) else times
