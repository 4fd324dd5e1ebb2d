"""`gridmill reject`."""

from __future__ import annotations

from functools import partial

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.files import Decision, decision_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["reject"]


@click.command(
    short_help="Accept what a gate holds as missing.",
    epilog="""\b
Examples:
  gridmill reject my-forecast 20250701/00/forecast.f006 --store a.zarr \\
      --why "a broken sensor, ticket 4711"
  gridmill gaps my-forecast --store a.zarr --json > gaps.json
  gridmill reject my-forecast --from gaps.json --store a.zarr --why "reviewed"
""",
)
@archive_options
@decision_options("Reject every held source file")
@now_option
@output_options
def reject(
    archive: ArchiveOptions,
    decision: Decision,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Reject values that a gate holds: accept them as missing, and publish the rest.

    FILE is a URL as `gridmill status` or `gridmill gaps` shows it, or its end after a "/". The
    archive keeps what it had in that place. An update takes in a revised file within the
    lookback.
    """
    from gridmill.display.terminal.by_hand import acceptance_content, show_acceptance
    from gridmill.model.settled import SourceFileStatus
    from gridmill.operations.decisions.held import reject_files

    names = decision.names(status=SourceFileStatus.HELD)
    who, why = decision.who, decision.why
    done = reject_files(archive.open(), names, who=who, why=why, now=present(now))
    output.show(acceptance_content(done, "rejected"), partial(show_acceptance, word="rejected"))
    return code_by_hand(done.report)
