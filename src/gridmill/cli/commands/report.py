"""`gridmill report`."""

from __future__ import annotations

from pathlib import Path

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.output.pages import page_option, write_page
from gridmill.cli.verdict import verdict_of

__all__ = ["report"]


@click.command(
    short_help="Show what a run did.",
    epilog="""\b
Examples:
  gridmill report ostia-sst-monthly --store sst.zarr
  gridmill report ostia-sst-monthly --store sst.zarr --list
  gridmill report my-forecast 20250701T0 --store s3://bucket/a.zarr --html run.html
""",
)
@archive_options
@click.argument("run", required=False)
@click.option("--list", "as_list", is_flag=True, help="List the runs, newest first.")
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Number of runs that --list shows.",
)
@page_option
@output_options
def report(
    archive: ArchiveOptions,
    run: str | None,
    as_list: bool,
    last: int,
    page: Path | None,
    output: Output,
) -> ExitCode:
    """Show what a run did; RUN is its name or the beginning of it, by default the last run.

    Reports are kept beside the records, as JSON and as a page: which stage ran when on which
    worker, throughput, overlap, the time from source file to reader, slow and failed source files,
    retries.
    """
    from gridmill.display.run_page import report_page
    from gridmill.display.terminal.report import report_content, show_report, show_runs

    if as_list and (run or page):
        raise click.UsageError("--list shows no single run", click.get_current_context())
    dataset = archive.open()
    tracker = dataset.store.tracker
    names = tracker.reports.names()
    if not names:
        raise ValueError(f"no run has left a report at {tracker.objects.url}")
    if as_list:
        output.show([one.brief() for one in tracker.reports.past(last)], show_runs)
        return ExitCode.SUCCESS
    name = None if run is None else _find(names, run)
    found = next(tracker.reports.past(), None) if name is None else tracker.reports.read(name)
    if found is None:
        raise ValueError(f"no report that can be read is at {tracker.objects.url}")
    if page is not None:
        # Rebuilt: it shows what this gridmill knows to show.
        write_page(page, report_page(found))
    code, verdict = verdict_of(found)
    content = report_content(found, dataset, code)
    if page is None or output.as_json:
        output.show(content, lambda content: show_report(content, verdict))
    return ExitCode.SUCCESS


def _find(names: list[str], run: str) -> str:
    """Return the one run that is meant."""
    found = [name for name in names if name.startswith(run)]
    if len(found) == 1:
        return found[0]
    if run in found:
        return run
    why = f"begins {len(found)} runs" if found else "is no run of this archive"
    raise ValueError(f"{run} {why}: gridmill report --list names them")
