"""`gridmill truncate`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["truncate"]


@click.command(
    short_help="Shorten an archive.",
    epilog="""\b
Examples:
  gridmill truncate my-forecast --store a.zarr --end 2025-07-01

\b
Only the end can be removed. Zarr numbers the objects of an array from its first
position, so dropping old positions would rewrite every object. To drop the
front, use gridmill retain (Icechunk), or build a new archive with a later
--start.
""",
)
@archive_options
@click.option(
    "--end",
    metavar="DATE",
    required=True,
    help="First label to remove (ISO 8601, UTC).",
)
@click.option("--why", metavar="TEXT", default="", help="Reason, kept in the report.")
@yes_option
@now_option
@output_options
def truncate(
    archive: ArchiveOptions, end: str, why: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """Shorten an archive to end before a date, and delete what is after it.

    Refused while a run holds any part of the archive.
    """
    from gridmill.display.terminal.by_hand import show_truncation, truncation_content
    from gridmill.operations.truncate import check_truncation
    from gridmill.operations.truncate import truncate as truncate_archive

    dataset = archive.open()
    moment = present(now)
    opened = dataset.archive(moment)
    kept = check_truncation(dataset, opened, end)
    published = dataset.store.published_length(opened.config.append_dim) or 0
    confirm(
        f"{max(0, published - kept):,} of {published:,} positions of {dataset.where} will be "
        f"deleted, from {opened.index[kept]} on. Continue?",
        yes=yes,
    )
    report = truncate_archive(dataset, end, why=why, now=moment)
    output.show(truncation_content(report, dataset.store.url), show_truncation)
    return code_by_hand(report)
