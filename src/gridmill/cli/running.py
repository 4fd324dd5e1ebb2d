"""Run on a cluster with progress shown, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gridmill.cli.clusters import connected, has_dashboard
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.interruption import Interruption
from gridmill.cli.options import Cluster
from gridmill.cli.output import Output

if TYPE_CHECKING:
    from rich.text import Text

    from gridmill.dataset import DynamicalDataset, Listener, Plan
    from gridmill.run_report import RunReport

__all__ = ["run_shown"]


def run_shown(
    kind: str,
    dataset: DynamicalDataset,
    planned: Plan,
    cluster: Cluster,
    output: Output,
    call: Callable[[Any, Listener], RunReport],
) -> ExitCode:
    """Run on a cluster with progress on stderr, then print what was done.

    Input was checked when it was planned: a mistake costs no cluster.
    """
    from gridmill.presentation.report import report_content, show_report
    from gridmill.progress_display import ProgressDisplay
    from gridmill.sources.download import mask_url

    _check_writable(dataset)
    title = f"{kind} {dataset.dataset_id} → {mask_url(dataset.store.url)}"
    with Interruption() as interruption, connected(cluster, output) as client:
        dashboard = client.dashboard_link if has_dashboard(cluster) else None
        with ProgressDisplay(title, len(planned.jobs), dashboard=dashboard) as display:
            try:
                report = call(client, display)
            except KeyboardInterrupt:
                interruption.seen = True
                display.console.print("interrupted: stopping what runs")
                raise
    code, verdict = _judge(kind, report)
    content = report_content(report, dataset, code)
    output.show(content, lambda content: show_report(content, verdict))
    return code


def _judge(kind: str, report: RunReport) -> tuple[ExitCode, Text]:
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
