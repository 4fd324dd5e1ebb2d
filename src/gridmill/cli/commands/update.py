"""`gridmill update`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options import (
    Archive,
    Cluster,
    archive_options,
    cluster_options,
    now_option,
    present,
    revalidate_option,
)
from gridmill.cli.output import Output, output_options
from gridmill.cli.running import run_shown

if TYPE_CHECKING:
    from gridmill.dataset import Listener
    from gridmill.run_report import RunReport

__all__ = ["update"]


@click.command(
    short_help="Bring an archive up to the present.",
    epilog="""\b
Examples:
  gridmill update ostia-sst-monthly --store sst.zarr
  GRIDMILL_STORE=sst.zarr gridmill update ostia-sst-monthly --json

Exits with 3 if the run went well and there was nothing new to publish.
""",
)
@archive_options
@cluster_options
@revalidate_option
@now_option
@output_options
def update(
    archive: Archive, cluster: Cluster, revalidate: bool, now: str | None, output: Output
) -> ExitCode:
    """Bring an archive up to the present: what is new, and what was late or failed before."""
    dataset = archive.open()
    moment = present(now)
    planned = dataset.plan(now=moment)

    def run(client: Any, listener: Listener) -> RunReport:
        return dataset.reformat_operational_update(
            revalidate=revalidate, client=client, now=moment, listener=listener
        )

    return run_shown("update", dataset, planned, cluster, output, run)
