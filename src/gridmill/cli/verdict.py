"""How a run ended, as an exit code and in a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gridmill.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.text import Text

    from gridmill.model.reports.run_report import RunReport

__all__ = ["judge", "judge_by_hand"]


def judge_by_hand(report: RunReport) -> ExitCode:
    """Say how it went what was done by hand: it reached every replica, or not."""
    return ExitCode.FAILED if any(r.failure for r in report.replicas) else ExitCode.SUCCESS


def judge(report: RunReport, late: Exception | None = None) -> tuple[ExitCode, Text]:
    """Say how a run ended, as an exit code and in a line."""
    from rich.text import Text

    from gridmill.model.wording import count_of

    took = f"{report.kind} of {report.dataset_id}: "
    if report.interrupted:
        why = ("interrupted", "bold red")
        return ExitCode.FAILED, Text.assemble(("✗ ", "red"), took, why, f" by {report.interrupted}")
    if report.is_by_hand:
        return ExitCode.SUCCESS, Text.assemble(
            ("✓ ", "green"), took, ("done by hand", "bold green")
        )
    unusable = _count_unusable(report)
    if not report.succeeded or unusable:
        parts = [count_of(len(report.failures), "variable")] * bool(report.failures)
        parts += [count_of(unusable, "source file")] * bool(unusable)
        lame = sum(replica.failure is not None for replica in report.replicas)
        parts += [count_of(lame, "replica")] * bool(lame)
        failed = " and ".join(parts) or count_of(report.regions_failed, "region")
        return ExitCode.FAILED, Text.assemble(("✗ ", "red"), took, (f"{failed} failed", "bold red"))
    if late is not None:
        return ExitCode.LATE, Text.assemble(("✗ ", "red"), took, (str(late), "bold red"))
    if report.new_gaps:
        gaps = (f"{count_of(report.new_gaps, 'new gap')}", "bold yellow")
        return ExitCode.GAPS, Text.assemble(
            ("! ", "yellow"), took, gaps, ": gridmill gaps says what readers lack"
        )
    done_before = report.regions_skipped + report.variables_skipped
    nothing_new = report.kind == "update" or not (report.files["succeeded"] or done_before)
    if nothing_new and not report.published_anything:
        return ExitCode.NOTHING_NEW, Text.assemble(
            ("– ", "yellow"), took, ("nothing new to publish", "bold yellow")
        )
    done = count_of(report.regions_done, "region") + " done"
    if not report.regions_done:
        done = f"{count_of(report.regions_skipped, 'region')} already done, nothing to do"
    return ExitCode.SUCCESS, Text.assemble(("✓ ", "green"), took, (done, "bold green"))


def _count_unusable(report: RunReport) -> int:
    """Count the source files that failed: each once, as far as the report names them."""
    from gridmill.model.settled import SourceFileStatus

    times = sum(n for status, n in report.files.items() if SourceFileStatus(status).is_failure)
    waiting = SourceFileStatus.NOT_YET_AVAILABLE
    held_back = (p for p in report.problems if not p.is_pending)
    named = {(p.region, p.url) for p in held_back if p.status != waiting}
    return len(named) if len(report.problems) < (report.problems.maxlen or 0) else times
