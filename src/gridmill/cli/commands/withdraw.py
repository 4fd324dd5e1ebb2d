"""`gridmill withdraw`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import (
    ArchiveOptions,
    archive_options,
    now_option,
    present,
    variables_option,
)
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.hooks import Hooks, hook_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["withdraw"]


@click.command(
    short_help="Replace wrong published values with missing ones.",
    epilog="""\b
Examples:
  gridmill withdraw my-forecast --store a.zarr --start 2025-07-01T06:00 \\
      --end 2025-07-01T12:00 --variables temperature_2m \\
      --why "wrong units at the provider, ticket 4711"

\b
On Icechunk, earlier snapshots keep the values until they expire; --keep restores
the values from before the wrong ones arrived.
""",
)
@archive_options
@click.option("--start", metavar="DATE", required=True, help="Only positions from this date on.")
@click.option("--end", metavar="DATE", required=True, help="Only positions before this date.")
@variables_option(required=True)
@click.option("--why", metavar="TEXT", required=True, help="Reason, kept in the records.")
@click.option(
    "--keep",
    metavar="TIME",
    help="Restore the values published at this time (UTC), or of this tag, instead; Icechunk only.",
)
@who_option
@yes_option
@hook_options
@now_option
@output_options
def withdraw(
    archive: ArchiveOptions,
    start: str,
    end: str,
    variables: Sequence[str],
    why: str,
    keep: str | None,
    who: str,
    yes: bool,
    hooks: Hooks,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Replace wrong published values with missing ones.

    Their source files are not read again for these variables. An update within the lookback, or
    backfill --redo, takes in another version of a file.
    """
    from gridmill.display.terminal.by_hand import show_withdrawal, withdrawal_content
    from gridmill.operations.decisions.withdraw import withdraw as withdraw_values

    dataset = archive.open()
    names = ", ".join(variables)
    kept = None if keep is None else _moment(dataset, keep)
    become = "missing" if kept is None else f"what readers saw at {kept:%Y-%m-%dT%H:%M:%S} UTC"
    question = f"{names} of {dataset.where} will be {become} from {start} to before {end}."
    confirm(f"{question} Continue?", yes=yes)
    moment = present(now)
    done = withdraw_values(
        dataset,
        start=start,
        end=end,
        variables=variables,
        who=who,
        why=why,
        keep=kept,
        now=moment,
    )
    content = withdrawal_content(done)
    hooks.published({**content, "store": done.report.store, "is_over": True})
    output.show(content, show_withdrawal)
    return code_by_hand(done.report)


def _moment(dataset: DynamicalDataset, keep: str) -> datetime:
    """Read a moment, or the name of a tag."""
    from gridmill.operations.versions.tags import moment_of

    try:
        moment = datetime.fromisoformat(keep)
    except ValueError:
        return moment_of(dataset, keep)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
