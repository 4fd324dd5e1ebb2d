"""`gridmill accept`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import Archive, archive_options, now_option, present
from gridmill.cli.options.confirmation import who_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import judge_by_hand

__all__ = ["accept"]


@click.command(
    short_help="Settle a source file by hand that holds the archive back.",
    epilog="""\b
Examples:
  gridmill accept my-forecast 20250701/00/forecast.f006 --store a.zarr \\
      --why "lost at the provider, ticket 4711"
""",
)
@archive_options
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option("--why", metavar="TEXT", required=True, help="Kept in the records.")
@who_option
@now_option
@output_options
def accept(
    archive: Archive, files: tuple[str, ...], why: str, who: str, now: str | None, output: Output
) -> ExitCode:
    """Settle source files that will never come, or never be readable, and publish what they held.

    FILE is a URL as `gridmill status` shows it, or how it ends, from a "/" on. Its place stays as
    it was. If it arrives after all, an update takes it in.
    """
    from gridmill.display.terminal.by_hand import acceptance_content, show_acceptance
    from gridmill.operations.accept import accept_files

    done = accept_files(archive.open(), files, who=who, why=why, now=present(now))
    output.show(acceptance_content(done), show_acceptance)
    return judge_by_hand(done.report)
