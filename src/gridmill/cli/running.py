"""Run on a cluster with progress shown, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from gridmill.cli.clusters import connected, has_dashboard
from gridmill.cli.errors import warn
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.hooks import Hooks
from gridmill.cli.interruption import Interruption
from gridmill.cli.options import Cluster
from gridmill.cli.output import Output

if TYPE_CHECKING:
    from rich.text import Text

    from gridmill.dataset import DynamicalDataset, Listener, Plan
    from gridmill.run_report import RunReport

__all__ = ["run_shown"]

# Gives the report of each run as it ends; there are several where one waits for source files.
Runs = Callable[[Any, "Listener"], "Iterable[RunReport]"]


def run_shown(
    kind: str,
    dataset: DynamicalDataset,
    planned: Plan,
    cluster: Cluster,
    output: Output,
    hooks: Hooks,
    runs: Runs,
) -> ExitCode:
    """Run on a cluster with progress on stderr, then print what was done.

    Input was checked when it was planned: a mistake costs no cluster.
    """
    from gridmill.presentation.report import report_content, show_report
    from gridmill.run_report import join_reports
    from gridmill.waiting import DeadlinePassed

    reports: list[RunReport] = []
    late: DeadlinePassed | None = None
    try:
        _check_writable(dataset)
        _run(kind, dataset, planned, cluster, output, hooks, runs, reports)
    except DeadlinePassed as error:
        late = error
    report = join_reports(reports)
    code, verdict = _judge(kind, report, late)
    if code in (ExitCode.FAILED, ExitCode.LATE):
        content = report_content(report, dataset, code)
        why = None if late is None else str(late)
        _note(dataset, report, hooks.failed({**content, "error": why}))
    content = report_content(report, dataset, code)
    output.show(content, lambda content: show_report(content, verdict))
    return code


def _run(
    kind: str,
    dataset: DynamicalDataset,
    planned: Plan,
    cluster: Cluster,
    output: Output,
    hooks: Hooks,
    runs: Runs,
    reports: list[RunReport],
) -> None:
    from gridmill.presentation.report import report_content
    from gridmill.progress_display import ProgressDisplay
    from gridmill.sources.download import mask_url

    title = f"{kind} {dataset.dataset_id} → {mask_url(dataset.store.url)}"
    with Interruption() as interruption, connected(cluster, output) as client:
        dashboard = client.dashboard_link if has_dashboard(cluster) else None
        with ProgressDisplay(title, len(planned.jobs), dashboard=dashboard) as display:
            try:
                for report in runs(client, display):
                    reports.append(report)
                    if report.published_anything:
                        content = report_content(report, dataset, ExitCode.SUCCESS)
                        _note(dataset, report, hooks.published(content))
            except KeyboardInterrupt:
                interruption.seen = True
                display.console.print("interrupted: stopping what runs")
                raise


def _note(dataset: DynamicalDataset, report: RunReport, note: str | None) -> None:
    """Keep in a run's report that a hook failed."""
    if note is None:
        return
    report.notes.append(note)
    try:
        dataset.store.tracker.write_report(report)
    except OSError as error:
        warn(f"the report of {report.run} cannot be written: {error}")


def _judge(kind: str, report: RunReport, late: Exception | None = None) -> tuple[ExitCode, Text]:
    """Say how a run ended, as an exit code and in a line."""
    from rich.text import Text

    from gridmill.wording import count_of

    took = f"{kind} of {report.dataset_id}: "
    unusable = _count_unusable(report)
    if not report.succeeded or unusable:
        parts = [count_of(len(report.failures), "variable")] * bool(report.failures)
        parts += [count_of(unusable, "source file")] * bool(unusable)
        failed = " and ".join(parts) or count_of(report.regions_failed, "region")
        return ExitCode.FAILED, Text.assemble(("✗ ", "red"), took, (f"{failed} failed", "bold red"))
    if late is not None:
        return ExitCode.LATE, Text.assemble(("✗ ", "red"), took, (str(late), "bold red"))
    done_before = report.regions_skipped + report.variables_skipped
    nothing_new = kind == "update" or not (report.files["succeeded"] or done_before)
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
    from gridmill.progress import SourceFileStatus

    times = sum(n for status, n in report.files.items() if SourceFileStatus(status).is_failure)
    waiting = SourceFileStatus.NOT_YET_AVAILABLE
    named = {(p.region, p.url) for p in report.problems if p.status != waiting}
    return len(named) if len(report.problems) < (report.problems.maxlen or 0) else times


def _check_writable(dataset: DynamicalDataset) -> None:
    from gridmill.dataset import StoreUnwritable

    try:
        dataset.store.check_writable()
    except OSError as error:
        raise StoreUnwritable(f"cannot write to {dataset.store.url}: {error}") from error
