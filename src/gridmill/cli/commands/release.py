"""`gridmill release`."""

from __future__ import annotations

from functools import partial

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.files import Decision, decision_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["release"]


@click.command(
    short_help="Publish what a gate holds, with the next run.",
    epilog="""\b
Examples:
  gridmill release my-forecast 20250701/00/forecast.f006 --store a.zarr \\
      --why "a storm, seen by other stations"
  gridmill gaps my-forecast --store a.zarr --json > gaps.json
  gridmill release my-forecast --from gaps.json --store a.zarr --why "reviewed"
""",
)
@archive_options
@decision_options("Release every held source file")
@now_option
@output_options
def release(
    archive: ArchiveOptions,
    decision: Decision,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Release values that a gate holds: the next run publishes them.

    FILE is a URL as `gridmill status` or `gridmill gaps` shows it, or its end after a "/". This
    version of the file is not held again; a revised version is checked like any other.
    """
    from gridmill.display.terminal.by_hand import acceptance_content, show_acceptance
    from gridmill.model.settled import SourceFileStatus
    from gridmill.operations.decisions.held import release_files

    names = decision.names(status=SourceFileStatus.HELD)
    who, why = decision.who, decision.why
    done = release_files(archive.open(), names, who=who, why=why, now=present(now))
    output.show(acceptance_content(done, "released"), partial(show_acceptance, word="released"))
    return code_by_hand(done.report)
