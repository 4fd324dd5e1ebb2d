"""`gridmill grow`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["grow"]


@click.command(
    short_help="Add members, leads or levels to an archive.",
    epilog="""\b
Examples:
  gridmill grow my-forecast --store a.zarr
  gridmill update my-forecast --store a.zarr
""",
)
@archive_options
@who_option
@yes_option
@now_option
@output_options
def grow(archive: ArchiveOptions, who: str, yes: bool, now: str | None, output: Output) -> ExitCode:
    """Add the labels that the code declares to the dims of an existing archive.

    For members, leads or levels that a provider adds after the existing ones. Declare from when
    the provider has them (RegionJob.offerings). Nothing is reprocessed: the new places are
    missing before that date, and updates fill them from then on. If interrupted, rerun.
    """
    from gridmill.display.terminal.by_hand import restoration_content, show_restoration
    from gridmill.operations.axis.grow import grow as grow_dims
    from gridmill.operations.axis.grow import growth_of

    dataset = archive.open()
    added = ", ".join(str(growth) for growth in growth_of(dataset, now=present(now)))
    confirm(f"Grow {dataset.where}: {added or 'nothing'}?", yes=yes)
    report = grow_dims(dataset, who=who, now=present(now))
    output.show(restoration_content(report, dataset.store.url), show_restoration)
    return code_by_hand(report)
