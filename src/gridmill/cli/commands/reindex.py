"""`gridmill reindex`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["reindex"]


@click.command(
    short_help="Insert labels that arrived late.",
    epilog="""\b
Examples:
  gridmill gaps my-scenes --store scenes.icechunk
  gridmill reindex my-scenes --store scenes.icechunk --yes
  gridmill update my-scenes --store scenes.icechunk
""",
)
@archive_options
@click.option("--soon", is_flag=True, help="Allow it less than a day after the last reindex.")
@who_option
@yes_option
@now_option
@output_options
def reindex(
    archive: ArchiveOptions, soon: bool, who: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """Insert all labels that arrived after the settling window, in one commit.

    For Icechunk archives with an irregular append dim. Rewrites all regions from the first late
    label on, with the archive's own values; Icechunk replicas follow. The next update fetches the
    late source files. If interrupted, or if a replica was unreachable, rerun to complete it; until
    then, runs are refused, or skip that replica.
    """
    from gridmill.display.terminal.by_hand import restoration_content, show_restoration
    from gridmill.operations.axis.reindex import late_of
    from gridmill.operations.axis.reindex import reindex as take_in

    dataset = archive.open()
    late = late_of(dataset, present(now))
    what = f"Take {len(late):,} late labels into" if len(late) else "Let replicas follow in"
    confirm(f"{what} {dataset.where}?", yes=yes)
    report = take_in(dataset, who=who, soon=soon, now=present(now))
    output.show(restoration_content(report, dataset.store.url), show_restoration)
    return code_by_hand(report)
