"""`gridmill plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import (
    UNTIL_HELP,
    ArchiveOptions,
    archive_options,
    filter_options,
    max_lead_option,
    now_option,
    present,
    redo_option,
)
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.output.pages import page_option, write_page

__all__ = ["plan"]


@click.command(
    short_help="Show what a backfill or an update would do.",
    epilog="""\b
Examples:
  gridmill plan ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill plan ostia-sst-monthly --store sst.zarr
  gridmill plan ostia-sst-monthly --store sst.zarr --html plan.html
""",
)
@archive_options
@click.option("--until", metavar="DATE", help=f"{UNTIL_HELP} Without it, plan an update.")
@filter_options
@max_lead_option
@redo_option
@now_option
@page_option
@output_options
def plan(
    archive: ArchiveOptions,
    until: str | None,
    start: str | None,
    end: str | None,
    variables: list[str] | None,
    max_lead: str | None,
    redo: bool,
    now: str | None,
    page: Path | None,
    output: Output,
) -> ExitCode:
    """Show what a backfill, or without --until an update, would do, without doing it.

    Region jobs, source files, bytes, the memory and local disk that a worker needs, what will be
    skipped and why, and, from the reports of earlier runs, how long it will take.
    """
    from gridmill.display.plan_page import plan_page
    from gridmill.display.terminal.plan import show_plan

    if until is None and (start or end or variables or max_lead or redo):
        raise click.UsageError(
            "--start, --end, --variables, --max-lead and --redo are for the plan of a backfill: "
            "give --until, too",
            click.get_current_context(),
        )
    dataset = archive.open()
    chosen: dict[str, Any] = {
        "start": start,
        "end": end,
        "variables": variables,
        "max_lead": max_lead,
        "redo": redo,
    }
    content = dataset.plan(until, **chosen, now=present(now)).describe()
    if page is not None:
        write_page(page, plan_page(content))
    if page is None or output.as_json:
        output.show(content, show_plan)
    return ExitCode.SUCCESS
