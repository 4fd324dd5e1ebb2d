"""`gridmill gaps`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gridmill.cli.commands.validate import selection_options
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.output.output import Output, output_options

__all__ = ["gaps"]


@click.command(
    short_help="List missing and provisional source files.",
    epilog="""\b
Examples:
  gridmill gaps my-forecast --store a.zarr
  gridmill gaps my-forecast --store a.zarr --start 2026-11-01 --json
""",
)
@archive_options
@selection_options
@now_option
@output_options
def gaps(
    archive: ArchiveOptions,
    start: str | None,
    end: str | None,
    variables: Sequence[str] | None,
    now: str | None,
    output: Output,
) -> ExitCode:
    """List missing source files, with their positions, variables and causes.

    First what readers lack, since when, and when an update retries it; then what holds the
    archive back; then what was accepted as missing. Neighbours with the same cause form one
    group, with the command that retries it now. Provisional files are listed apart: they are
    not gaps, and updates fetch the final ones. Last come labels that arrived after the settling
    window.
    """
    from gridmill.display.terminal.archive import gaps_content, show_gaps
    from gridmill.validation import Context
    from gridmill.validation.checks.gaps import find_gaps, find_late, find_provisional, group_gaps

    dataset = archive.open()
    context = Context(
        dataset,
        start=start,
        end=end,
        variables=variables,
        now=present(now),
        invocation=archive.invocation(),
        beyond=True,
    )
    groups = group_gaps(context, find_gaps(context))
    provisional = group_gaps(context, find_provisional(context))
    late = find_late(context)
    repair = context.command("reindex") if late else ""
    content = gaps_content(
        dataset.dataset_id,
        dataset.store.url,
        groups,
        provisional=provisional,
        late=late,
        reindex=repair,
    )
    output.show(content, show_gaps)
    return ExitCode.SUCCESS
