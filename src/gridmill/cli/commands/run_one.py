"""`gridmill run-one`."""

from __future__ import annotations

from pathlib import Path
from tempfile import gettempdir

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.output.output import Output, output_options

__all__ = ["run_one"]


@click.command(
    "run-one",
    short_help="Process one variable of one region here, to debug a dataset.",
    epilog="""\b
Examples:
  gridmill run-one ostia-sst-monthly 2007-01-01 sst --source-base URL
  gridmill run-one my_module:MyForecast 2025-07-01 t2m --into one.zarr
  python -m pdb -m gridmill.cli run-one my_module:MyForecast 2025-07-01 t2m
""",
)
@archive_options
@click.argument("region")
@click.argument("variable")
@click.option(
    "--into",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A new folder for the result: a Zarr store up to the region's end.",
)
@now_option
@output_options
def run_one(
    archive: ArchiveOptions,
    region: str,
    variable: str,
    into: Path | None,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Download, compress and upload one VARIABLE of one REGION, without Dask.

    REGION is any label in it, or "static". Writes only to --into. With --store, published
    values are kept where source files are missing, as in a run.
    """
    from gridmill.display.terminal.plan import chain_content, show_chain
    from gridmill.operations.run_one import run_one_chain

    nowhere = str(Path(gettempdir()) / "gridmill-run-one-has-no-store")
    dataset = archive.open(default=nowhere)
    outcome = run_one_chain(dataset, region, variable, folder=into, now=present(now))
    output.show(chain_content(outcome, into), show_chain)
    if outcome.failed:
        return ExitCode.FAILED
    return ExitCode.SUCCESS if outcome.objects else ExitCode.NOTHING_NEW
