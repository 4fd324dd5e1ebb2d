"""`gridmill restore-metadata`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["restore_metadata"]


@click.command(
    "restore-metadata",
    short_help="Repair damaged metadata and coordinates of an archive.",
    epilog="""\b
Examples:
  gridmill validate my-forecast --store a.zarr
  gridmill restore-metadata my-forecast --store a.zarr
""",
)
@archive_options
@click.option(
    "--force",
    is_flag=True,
    help="Allow it if the records do not prove that the archive was created with this template.",
)
@who_option
@yes_option
@now_option
@output_options
def restore_metadata(
    archive: ArchiveOptions, force: bool, who: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """Rewrite metadata and coordinates of an archive as its template declares them.

    For a store, or a replica, that was changed by another program. Data objects are not
    changed.
    """
    from gridmill.display.terminal.by_hand import restoration_content, show_restoration
    from gridmill.operations.restore import restore_metadata as restore

    dataset = archive.open()
    confirm(f"Rewrite metadata and coordinates of {dataset.where}?", yes=yes)
    report = restore(dataset, who=who, force=force, now=present(now))
    output.show(restoration_content(report, dataset.store.url), show_restoration)
    return code_by_hand(report)
