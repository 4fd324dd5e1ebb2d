"""`gridmill retain`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.options.durations import parse_duration
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["retain"]


@click.command(
    short_help="Drop the oldest regions of a rolling archive.",
    epilog="""\b
Examples:
  gridmill retain my-forecast --store a.icechunk --retention 90d
  gridmill retain my-forecast --store a.icechunk --retention 90d --yes
  gridmill upkeep my-forecast --store a.icechunk --older-than 7d
""",
)
@archive_options
@click.option(
    "--retention",
    required=True,
    metavar="DURATION",
    help="Keep at least this much before the last published label, like 90d.",
)
@who_option
@yes_option
@now_option
@output_options
def retain(
    archive: ArchiveOptions, retention: str, who: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """Drop the oldest regions of a rolling archive, in one commit.

    For Icechunk archives; needs Icechunk 2. Nothing is rewritten: arrays are shifted, and the
    archive then begins later; Icechunk replicas follow. Earlier snapshots keep the dropped values
    until `gridmill upkeep` expires them. If interrupted, or if a replica was unreachable, rerun to
    complete it; until then, runs are refused, or skip that replica.
    """
    from gridmill.display.terminal.by_hand import restoration_content, show_restoration
    from gridmill.operations.retention.retain import retain as let_go
    from gridmill.operations.retention.retain import to_be_dropped

    keep = parse_duration(retention, "--retention")
    dataset = archive.open()
    dropped = to_be_dropped(dataset, keep)
    if dropped:
        confirm(f"Drop the first {dropped:,} positions of {dataset.where}?", yes=yes)
    report = let_go(dataset, keep, who=who, now=present(now))
    output.show(restoration_content(report, dataset.store.url), show_restoration)
    return code_by_hand(report)
