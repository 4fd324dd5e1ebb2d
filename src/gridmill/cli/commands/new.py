"""`gridmill new`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.completion import complete_proposed
from gridmill.cli.options.declaring import credential_option
from gridmill.cli.output.output import Output, output_options

if TYPE_CHECKING:
    from gridmill.authoring.scaffold import Names
    from gridmill.operations.samples.proposal import Proposal
    from gridmill.sources.fetch.credentials.rules import Credential

__all__ = ["new"]


@click.command(
    short_help="Write the package of a new dataset.",
    epilog="""\b
Examples:
  gridmill new noaa hrrr
  gridmill new my-institute ocean-model --into src/ocean
  gridmill new noaa rap --from samples/*.grib2
  gridmill new noaa gfs --from https://data.example.org/gfs.t00z.f006 --dry-run
""",
)
@click.argument("provider")
@click.argument("model")
@click.argument("more_samples", nargs=-1, metavar="[SAMPLES]...", type=click.Path())
@click.option(
    "--into",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The new folder.  [default: PROVIDER-MODEL]",
)
@click.option(
    "--from",
    "samples",
    metavar="FILE_OR_URL",
    multiple=True,
    type=click.Path(),
    help="Propose the dataset from sample files or inventories; repeat it, or list more after it.",
)
@click.option(
    "--variables",
    metavar="NAMES",
    shell_complete=complete_proposed,
    help="Restrict to these variables, separated by commas, by their proposed names.",
)
@credential_option
@click.option("--dry-run", is_flag=True, help="Show the proposal without writing anything.")
@output_options
def new(
    provider: str,
    model: str,
    more_samples: tuple[str, ...],
    into: Path | None,
    samples: tuple[str, ...],
    variables: str | None,
    credential: tuple[Credential, ...],
    dry_run: bool,
    output: Output,
) -> ExitCode:
    """Write the package of a new dataset with its contract test.

    Without --from, the package runs on generated data, and its README explains step by step
    what to change. With --from, it is derived from sample files of the provider (GRIB, NetCDF,
    HDF5, Zarr, GeoTIFF, also compressed) or their inventories (.idx, .index), which are also
    found beside the files. What the samples do not say is marked "QUESTION" in the code and
    listed.
    """
    from gridmill.authoring.scaffold import names_of, write_package
    from gridmill.display.terminal.datasets import scaffold_content, show_scaffold

    names = names_of(provider, model)
    folder = into or Path(names.dataset_id)
    if samples:
        from gridmill.operations.samples.propose import proposal_from

        if folder.exists() and not dry_run:
            raise ValueError(f"{folder} exists already: give another place with --into")
        only = tuple(name.strip() for name in variables.split(",")) if variables else ()
        with proposal_from((*samples, *more_samples), only, credential) as proposal:
            return _propose(proposal, names, folder, dry_run, output)
    if more_samples or variables or dry_run:
        raise ValueError(
            "samples, --variables and --dry-run need --from: gridmill new noaa rap --from FILE"
        )
    written = write_package(names, folder)
    output.show(scaffold_content(names, folder, written), show_scaffold)
    return ExitCode.SUCCESS


def _propose(
    proposal: Proposal, names: Names, folder: Path, dry_run: bool, output: Output
) -> ExitCode:
    from gridmill.display.terminal.datasets import proposal_content, show_proposal
    from gridmill.operations.samples.writing.package import write_proposal

    written = [] if dry_run else write_proposal(proposal, names, folder)
    output.show(proposal_content(proposal, names, folder, written), show_proposal)
    return ExitCode.SUCCESS
