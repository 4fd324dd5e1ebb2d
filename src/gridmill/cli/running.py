"""Run on a cluster with progress shown, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gridmill.cli.errors import warn
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.clusters import Cluster, has_dashboard, on_demand
from gridmill.cli.output.announcing import Announcer
from gridmill.cli.output.cataloguing import CATALOGUE_INTERVAL_S, Cataloguing
from gridmill.cli.output.hooks import Hooks
from gridmill.cli.output.output import Output
from gridmill.cli.verdict import verdict_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from gridmill.dataset import DynamicalDataset
    from gridmill.display.terminal.values import Content
    from gridmill.model.reports.run_report import RunReport
    from gridmill.runs.coordinator import Listener
    from gridmill.runs.narration import Event
    from gridmill.runs.on_demand import OnDemand
    from gridmill.validation import Validation

__all__ = ["run_shown"]

# Gives the report of each run as it ends; there are several where one waits for source files.
Runs = Callable[["OnDemand", "Listener"], "Iterable[RunReport]"]
# Looks at the archive after them.
Validate = Callable[[], "Validation"]
# What the run did: what looks at the archive after it can still find a failure.
NO_FAILURE = (ExitCode.SUCCESS, ExitCode.NOTHING_NEW, ExitCode.GAPS)
# Somebody is told of.
ALARMING = (ExitCode.FAILED, ExitCode.LATE, ExitCode.GAPS)


def run_shown(
    kind: str,
    dataset: DynamicalDataset,
    cluster: Cluster,
    output: Output,
    hooks: Hooks,
    runs: Runs,
    validate: Validate | None = None,
) -> ExitCode:
    """Run on a cluster with progress on stderr, then print what was done.

    A cluster is started by the first work. With `validate` the archive is looked at while the
    cluster is there; an error that is found is a failure of the command.
    """
    from gridmill.display.terminal.report import report_content
    from gridmill.model.reports.run_report import join_reports
    from gridmill.operations.follow import DeadlinePassed

    reports: list[RunReport] = []
    found: list[Validation] = []
    late: DeadlinePassed | None = None

    def runs_and_look(where: OnDemand, listener: Listener) -> Iterator[RunReport]:
        yield from runs(where, listener)
        if validate is not None:
            found.append(validate())

    try:
        _run(kind, dataset, cluster, output, hooks, runs_and_look, reports)
    except DeadlinePassed as error:
        late = error
    report = join_reports(reports)
    code, verdict = verdict_of(report, late)
    if code in NO_FAILURE and not all(v.succeeded for v in found):
        code = ExitCode.FAILED
    if code in ALARMING:
        content = report_content(report, dataset, code)
        why = None if late is None else str(late)
        note = hooks.failed({**content, "error": why})
        _note(dataset, report, [] if note is None else [note])
    _show(report_content(report, dataset, code), verdict, found, output)
    return code


def _show(content: Content, verdict: Text, found: Sequence[Validation], output: Output) -> None:
    """Print what a run did, and what was found when somebody looked at the archive after it."""
    from rich.console import Group

    from gridmill.display.terminal.report import show_report
    from gridmill.display.terminal.validation import show_validation, validation_content

    if found:
        content["validation"] = validation_content(found[-1])

    def show(content: Content) -> RenderableType:
        told = show_report(content, verdict)
        return Group(told, "", show_validation(content["validation"])) if found else told

    output.show(content, show)


def _run(
    kind: str,
    dataset: DynamicalDataset,
    cluster: Cluster,
    output: Output,
    hooks: Hooks,
    runs: Runs,
    reports: list[RunReport],
) -> None:
    from gridmill.display.progress import ProgressDisplay
    from gridmill.display.terminal.report import report_content
    from gridmill.sources.fetch.download import mask_url

    store = mask_url(dataset.store.url)
    about = {"dataset_id": dataset.dataset_id, "store": store, "kind": kind}
    display = ProgressDisplay(f"{kind} {dataset.dataset_id} → {store}")

    def show_dashboard(client: Any) -> None:
        if has_dashboard(cluster):
            display.show_dashboard(client.dashboard_link)

    with on_demand(cluster, output, show_dashboard) as where, display:
        announcers = _announcers(dataset, hooks, about)

        def listen(event: Event) -> None:
            display(event)
            for announcer in announcers:
                announcer(event)

        try:
            with announcers[0], announcers[1]:
                for report in runs(where, listen):
                    reports.append(report)
                    if report.published_anything:
                        content = report_content(report, dataset, ExitCode.SUCCESS)
                        notes = [note for a in announcers for note in a.conclude(content)]
                        _note(dataset, report, notes)
        except KeyboardInterrupt:
            display.console.print("interrupted: stopping what runs")
            raise


def _announcers(
    dataset: DynamicalDataset, hooks: Hooks, about: Content
) -> tuple[Announcer, Announcer]:
    """Return what tells of publications; the catalogue first, since a hook may look at it."""
    catalogue = Cataloguing(dataset, hooks.catalogue)
    return (
        Announcer(catalogue, about, interval_s=CATALOGUE_INTERVAL_S),
        Announcer(hooks, about),
    )


def _note(dataset: DynamicalDataset, report: RunReport, notes: Sequence[str]) -> None:
    """Keep in a run's report that hooks failed."""
    if not notes:
        return
    from gridmill.display.run_page import report_page

    report.notes.extend(notes)
    try:
        dataset.store.tracker.reports.write(report, report_page(report))
    except OSError as error:
        warn(f"the report of {report.run} cannot be written: {error}")
