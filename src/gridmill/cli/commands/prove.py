"""`gridmill prove`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.clusters import Cluster, cluster_options, on_demand
from gridmill.cli.options.declaring import setting
from gridmill.cli.options.durations import parse_duration
from gridmill.cli.output.output import Output, output_options

__all__ = ["prove"]


@click.command(
    short_help="Reprocess regions from their source files and compare.",
    epilog="""\b
Examples:
  gridmill prove my-forecast --store a.zarr --regions 3
  gridmill prove my-forecast --store a.zarr --regions 10 --cluster local --json

\b
Run it every night: every region gets its turn. The archive and its records
are not changed; results are kept beside the records, and gridmill status
counts them. Exits with 1 if a region differs from its source files.
""",
)
@archive_options
@click.option(
    "--regions",
    metavar="K",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Number of regions: first those never proven, then those proven longest ago.",
)
@setting(
    "--overdue",
    metavar="DURATION",
    default="90d",
    show_default=True,
    help="Time after which a region counts as overdue.",
)
@cluster_options
@now_option
@output_options
def prove(
    archive: ArchiveOptions,
    regions: int,
    overdue: str,
    cluster: Cluster,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Reprocess regions from their source files and compare them with the archive.

    Objects are compared byte by byte. Where they differ, their values are compared bit by bit.
    A region whose source files are gone or were revised cannot be proven; the files that remain
    are still compared.
    """
    from gridmill.display.terminal.provenance.proofs import proving_content, show_proving
    from gridmill.operations.proving.prove import prove as prove_regions

    after = parse_duration(overdue, "--overdue")
    dataset = archive.open()
    with on_demand(cluster, output) as where:
        done = prove_regions(dataset, regions, overdue=after, client=where, now=present(now))
    output.show(proving_content(done), show_proving)
    return ExitCode.FAILED if done.failed else ExitCode.SUCCESS
