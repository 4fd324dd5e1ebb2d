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
    short_help="Shorten an archive: readers see less, what lies beyond is deleted.",
    epilog="""\b
Examples:
  gridmill truncate my-forecast --store a.zarr --end 2025-07-01

\b
Only the end can be cut off. In Zarr the first position of an array is where
its objects are counted from: to drop old positions, every object would have to
be written again. An archive that rolls is built anew now and then, beside the
old one, with a later --start; readers then change over.
""",
)
@archive_options
@click.option(
    "--end",
    metavar="DATE",
    required=True,
    help="The first label that readers are no more to see (ISO 8601, UTC).",
)
@click.option("--why", metavar="TEXT", default="", help="Kept in the report.")
@yes_option
@now_option
@output_options
def truncate(
    archive: ArchiveOptions, end: str, why: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """Let an archive end before a date, for instance to build its end again.

    The one command after which readers see less than before. It waits for nobody: while a run
    holds any of the archive, it refuses.
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
        f"deleted, from {opened.index[kept]} on. Go on?",
        yes=yes,
    )
    report = truncate_archive(dataset, end, why=why, now=moment)
    output.show(truncation_content(report, dataset.store.url), show_truncation)
    return code_by_hand(report)
