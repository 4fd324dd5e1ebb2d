"""`gridmill accept`."""

from __future__ import annotations

from pathlib import Path

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.files import chosen_files, files_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["accept"]


@click.command(
    short_help="Accept source files as missing.",
    epilog="""\b
Examples:
  gridmill accept my-forecast 20250701/00/forecast.f006 --store a.zarr \\
      --why "lost at the provider, ticket 4711"
  gridmill gaps my-forecast --store a.zarr --json > gaps.json
  gridmill accept my-forecast --from gaps.json --store a.zarr --why "reviewed"
""",
)
@archive_options
@files_options("Accept every source file")
@now_option
@output_options
def accept(
    archive: ArchiveOptions,
    files: tuple[str, ...],
    reviewed: Path | None,
    why: str,
    who: str,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Accept source files as missing, and publish what they held back.

    FILE is a URL as `gridmill status` or `gridmill gaps` shows it, or its end after a "/".
    Its place stays as it was. If the file arrives after all, an update takes it in.
    """
    from gridmill.display.terminal.by_hand import acceptance_content, show_acceptance
    from gridmill.operations.accept import accept_files

    names = chosen_files(files, reviewed)
    done = accept_files(archive.open(), names, who=who, why=why, now=present(now))
    output.show(acceptance_content(done), show_acceptance)
    return code_by_hand(done.report)
