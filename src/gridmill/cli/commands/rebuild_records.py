"""`gridmill rebuild-records`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["rebuild_records"]


@click.command(
    "rebuild-records",
    short_help="Restore the lost records of an archive.",
    epilog="""\b
Examples:
  gridmill rebuild-records my-forecast --store a.zarr
  gridmill gaps my-forecast --store a.zarr
""",
)
@archive_options
@who_option
@yes_option
@now_option
@output_options
def rebuild_records(
    archive: ArchiveOptions, who: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """Restore the lost declaration and records of an archive.

    For an archive whose <store>.gridmill was deleted, entirely or in part. Finds out from the
    store which places have values, and from the provider which source files exist. Data objects
    and existing records are not changed. Places without values become gaps; the next run fills
    those that the provider has.
    """
    from gridmill.display.terminal.by_hand import restoration_content, show_restoration
    from gridmill.operations.rebuild import rebuild_records as rebuild

    dataset = archive.open()
    confirm(f"Rebuild the records of {dataset.where}?", yes=yes)
    report = rebuild(dataset, who=who, now=present(now))
    output.show(restoration_content(report, dataset.store.url), show_restoration)
    return code_by_hand(report)
