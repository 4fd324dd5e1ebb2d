"""`gridmill statistics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import (
    ArchiveOptions,
    archive_options,
    now_option,
    present,
    variables_option,
)
from gridmill.cli.options.declaring import parse_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["statistics"]


@click.command(
    short_help="Show count, mean, deviation and range of each variable, or publish them.",
    epilog="""\b
Examples:
  gridmill statistics my-forecast --store a.zarr
  gridmill statistics my-forecast --store a.zarr --publish
  gridmill statistics my-forecast --store a.zarr --read --to statistics.zarr
""",
)
@archive_options
@variables_option("--variable", "variables")
@click.option(
    "--read",
    "reads",
    is_flag=True,
    help="Read values from the archive where no record has statistics, and keep the result.",
)
@click.option("--publish", "publishes", is_flag=True, help="Write them to the attributes.")
@click.option("--to", metavar="URL", help="Also write them to this separate Zarr group.")
@click.option(
    "--to-option",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_options,
    help="Passed to the group's file system; the value may be JSON.  [default: the archive's "
    "options, where it is in the same kind of store]",
)
@now_option
@output_options
def statistics(
    archive: ArchiveOptions,
    variables: Sequence[str] | None,
    reads: bool,
    publishes: bool,
    to: str | None,
    to_option: Mapping[str, Any],
    now: str | None,
    output: Output,
) -> ExitCode:
    """Show count, mean, standard deviation and range of each variable, as readers see it.

    The numbers come from the records: every run keeps those of the regions that it processes.
    Missing and infinite values do not count. Use --read for regions from earlier releases, and
    for those that are published in part.
    """
    from gridmill.display.terminal.by_hand import show_splitting, splitting_content
    from gridmill.display.terminal.provenance.statistics import (
        show_statistics,
        statistics_content,
    )
    from gridmill.model.urls import canonical, is_same_kind
    from gridmill.operations.statistics.gathering import read_statistics
    from gridmill.operations.statistics.publishing import publish_statistics, write_statistics

    if to_option and to is None:
        raise click.UsageError("--to-option needs --to: it is for the group that is written")
    dataset, present_now = archive.open(), present(now)
    found = read_statistics(dataset, variables, reads=reads, now=present_now)
    code = ExitCode.SUCCESS
    if publishes:
        report = publish_statistics(dataset, found, now=present_now)
        code = code_by_hand(report)
        if not output.as_json:
            output.show(splitting_content(report, dataset.store.url), show_splitting)
    if to is not None:
        alike = is_same_kind(canonical(to), dataset.store.url)
        write_statistics(found, to, to_option or (archive.storage_options if alike else None))
    output.show(statistics_content(found), show_statistics)
    return code
