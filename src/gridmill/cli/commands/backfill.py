"""`gridmill backfill`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gridmill.cli.commands.validate import look_after, validate_option
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import (
    UNTIL_HELP,
    ArchiveOptions,
    archive_options,
    filter_options,
    max_lead_option,
    now_option,
    present,
    redo_option,
    revalidate_option,
)
from gridmill.cli.options.clusters import Cluster, cluster_options
from gridmill.cli.options.creation import is_new
from gridmill.cli.output.hooks import Hooks, hook_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.running import run_shown

if TYPE_CHECKING:
    from gridmill.model.reports.run_report import RunReport
    from gridmill.runs.coordinator import Listener
    from gridmill.runs.on_demand import OnDemand

__all__ = ["backfill"]


@click.command(
    short_help="Build an archive up to a date; resumes where it stopped.",
    epilog="""\b
Examples:
  gridmill backfill ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill backfill my-forecast --until 2025-07-01 --store sst.zarr \\
      --start 2025-01-01 --variables temperature_2m,wind_u_10m
  gridmill backfill my-forecast --until 2025-07-01 --store sst.zarr \\
      --cluster coiled --workers 20 --cluster-option worker_disk_size=100
  gridmill backfill my-forecast --until 2025-07-01 --store sst.zarr \\
      --start 2025-03-01 --end 2025-03-08 --variables wind_u_10m --redo
""",
)
@archive_options
@click.option("--until", metavar="DATE", required=True, help=UNTIL_HELP)
@filter_options
@max_lead_option
@cluster_options
@redo_option
@revalidate_option
@validate_option
@hook_options
@now_option
@output_options
def backfill(
    archive: ArchiveOptions,
    until: str,
    start: str | None,
    end: str | None,
    variables: list[str] | None,
    max_lead: str | None,
    cluster: Cluster,
    redo: bool,
    revalidate: bool,
    look: bool,
    hooks: Hooks,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Build an archive up to a date; resumes where an earlier run stopped."""
    dataset = archive.open()
    moment = present(now)
    chosen: dict[str, Any] = {
        "start": start,
        "end": end,
        "variables": variables,
        "max_lead": max_lead,
        "redo": redo,
    }
    # What is wrong is said before a new archive is started; of one that is there, the run says it.
    planned = dataset.plan(until, **chosen, now=moment) if look or is_new(dataset) else None

    def runs(where: OnDemand, listener: Listener) -> Iterator[RunReport]:
        yield dataset.backfill(
            until,
            **chosen,
            revalidate=revalidate,
            client=where,
            now=moment,
            listener=listener,
        )

    after = None
    if look and planned is not None:
        after = look_after(archive, dataset, planned, moment)
    return run_shown("backfill", dataset, cluster, output, hooks, runs, after)
