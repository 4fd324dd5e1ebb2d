"""`gridmill history`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import (
    ArchiveOptions,
    archive_options,
    now_option,
    present,
    variables_option,
)
from gridmill.cli.options.durations import moment_since
from gridmill.cli.output.output import Output, output_options

__all__ = ["history"]


@click.command(
    short_help="Show the source files, runs and times behind a label.",
    epilog="""\b
Examples:
  gridmill history my-forecast --store a.zarr --at 2026-11-01T06:00
  gridmill history my-forecast --store a.zarr --at 2026-11-01 --variables t2m --json
  gridmill history my-forecast --store a.zarr --feed --since 2d
""",
)
@archive_options
@click.option("--at", metavar="LABEL", help="A label of the append dim, or static.")
@variables_option("--variable", "variables")
@click.option("--feed", is_flag=True, help="Show publications, earliest first.")
@click.option(
    "--since",
    metavar="TIME",
    help="With --feed: from this time on (UTC), or for this long, like 7d.  [default: 7d]",
)
@now_option
@output_options
def history(
    archive: ArchiveOptions,
    at: str | None,
    variables: Sequence[str] | None,
    feed: bool,
    since: str | None,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Show the source files, runs and times behind a label, or the feed of publications.

    Everything comes from the records and the feed beside the store; no provider is contacted.
    Records of earlier releases do not say when a source file arrived.
    """
    if feed == (at is not None):
        raise click.UsageError("give either --at or --feed", click.get_current_context())
    if feed and variables:
        raise click.UsageError("--variables goes with --at", click.get_current_context())
    if since is not None and not feed:
        raise click.UsageError("--since goes with --feed", click.get_current_context())
    from gridmill.display.terminal.provenance import history as shown
    from gridmill.display.terminal.values import masked

    dataset = archive.open()
    if at is None:
        from gridmill.operations.history.feed import read_feed

        lines = read_feed(dataset, moment_since(since or "7d", "--since"))
        content = shown.feed_content(dataset.dataset_id, masked(dataset.store.url), lines)
        output.show(content, shown.show_feed)
        return ExitCode.SUCCESS
    from gridmill.operations.history.history import read_history

    found = read_history(dataset, at, variables, now=present(now))
    output.show(shown.history_content(found), shown.show_history)
    return ExitCode.SUCCESS
