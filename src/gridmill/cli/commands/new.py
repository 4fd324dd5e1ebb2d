"""`gridmill new`."""

from __future__ import annotations

from pathlib import Path

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.output.output import Output, output_options

__all__ = ["new"]


@click.command(
    short_help="Write the package of a new dataset.",
    epilog="""\b
Examples:
  gridmill new noaa hrrr
  gridmill new my-institute ocean-model --into src/ocean
""",
)
@click.argument("provider")
@click.argument("model")
@click.option(
    "--into",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The new folder.  [default: PROVIDER-MODEL]",
)
@output_options
def new(provider: str, model: str, into: Path | None, output: Output) -> ExitCode:
    """Write the package of a new dataset, which runs on generated data and has its test.

    Its README explains what to change, step by step.
    """
    from gridmill.authoring.scaffold import names_of, write_package
    from gridmill.display.terminal.datasets import scaffold_content, show_scaffold

    names = names_of(provider, model)
    folder = into or Path(names.dataset_id)
    written = write_package(names, folder)
    output.show(scaffold_content(names, folder, written), show_scaffold)
    return ExitCode.SUCCESS
