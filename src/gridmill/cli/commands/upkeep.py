"""`gridmill upkeep`."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options
from gridmill.cli.options.durations import parse_duration
from gridmill.cli.output.output import Output, output_options

__all__ = ["upkeep"]


@click.command(
    short_help="Expire old Icechunk snapshots and delete unreferenced data.",
    epilog="""\b
Examples:
  gridmill upkeep my-forecast --store a.icechunk --older-than 30d --dry-run
  gridmill upkeep my-forecast --store a.icechunk --older-than 30d

\b
Readers who hold a snapshot that is forgotten get errors: choose a duration
that is longer than anybody reads. A dry run counts what no snapshot holds
now; what only the forgotten ones hold comes on top.
""",
)
@archive_options
@click.option(
    "--older-than",
    metavar="DURATION",
    required=True,
    help="Expire snapshots older than this, like 30d; the published state always stays.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@output_options
def upkeep(archive: ArchiveOptions, older_than: str, dry_run: bool, output: Output) -> ExitCode:
    """Expire old Icechunk snapshots and delete unreferenced data.

    Spares what runs uploaded and no publication shows yet, and whatever runs that live began with.
    """
    from gridmill.display.terminal.archive import show_upkeep, upkeep_content

    before = datetime.now(UTC) - parse_duration(older_than, "--older-than")
    store = archive.open().store
    went = store.forget_versions(before, dry_run=dry_run)
    output.show(upkeep_content(store.url, before, went, dry_run), show_upkeep)
    return ExitCode.SUCCESS
