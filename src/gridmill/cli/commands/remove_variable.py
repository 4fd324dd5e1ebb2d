"""`gridmill remove-variable`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["remove_variable"]


@click.command(
    "remove-variable",
    short_help="Remove a variable that the dataset no longer declares.",
    epilog="""\b
Examples:
  gridmill remove-variable my-forecast old_name --store a.zarr

\b
First the variable is removed from the metadata. On plain Zarr, its objects are
deleted after --grace: readers that opened the archive earlier then read missing
values. On Icechunk, earlier versions keep it until gridmill upkeep expires them.
""",
)
@archive_options
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--why", metavar="TEXT", default="", help="Reason, kept in the report.")
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Wait this long before objects are deleted (plain Zarr).",
)
@click.option("--force", is_flag=True, help="Remove a former name before its date.")
@yes_option
@now_option
@output_options
def remove_variable(
    archive: ArchiveOptions,
    names: tuple[str, ...],
    why: str,
    grace: float,
    force: bool,
    yes: bool,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Remove variables that the dataset no longer declares, and former names.

    Waits for active runs; runs that start meanwhile wait for it.
    """
    from gridmill.display.terminal.by_hand import show_truncation, truncation_content
    from gridmill.operations.variables.removing import check_removal, remove_variables

    dataset = archive.open()
    moment = present(now)
    check_removal(dataset, names, now=moment, force=force)
    confirm(f"{', '.join(names)} of {dataset.where} will be deleted. Continue?", yes=yes)
    report = remove_variables(dataset, names, why=why, force=force, grace_s=grace, now=moment)
    output.show(truncation_content(report, dataset.store.url), show_truncation)
    return code_by_hand(report)
