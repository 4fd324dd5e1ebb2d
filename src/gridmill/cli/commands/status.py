"""`gridmill status`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options import Archive, archive_options
from gridmill.cli.output import Output, output_options

__all__ = ["status"]


@click.command(short_help="Show what an archive holds, and who is writing it.")
@archive_options
@output_options
def status(archive: Archive, output: Output) -> ExitCode:
    """Show what an archive holds, what of it may still change, and who is writing it."""
    from gridmill.presentation.status import show_status, status_content

    dataset = archive.open()
    if dataset.store.metadata() is None and dataset.store.tracker.read_declaration() is None:
        raise ValueError(f"there is no archive at {dataset.store.url}: gridmill backfill makes one")
    output.show(status_content(dataset.status()), show_status)
    return ExitCode.SUCCESS
