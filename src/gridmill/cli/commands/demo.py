"""`gridmill demo`."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

import click

from gridmill.cli.errors import Failed
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.importing import collect_from_now
from gridmill.cli.output.output import Output, output_options

__all__ = ["demo"]


@click.command(short_help="Build and update a real archive on this machine.")
@click.option(
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Folder for archives and picture.",
)
@click.option("--s3", is_flag=True, help="Store the archives in an S3 server that the demo starts.")
@output_options
def demo(folder: Path, s3: bool, output: Output) -> int:
    """Build and update a real archive from a server on this machine while a reader watches.

    Requires pip install 'gridmill[demo]'.
    """
    with redirect_stdout(sys.stderr if output.as_json else sys.stdout):
        try:
            from gridmill.demo import run

            collect_from_now()

            code: int = run(output=folder, s3=s3)
        except ModuleNotFoundError as error:
            raise Failed(
                f"the demo needs {error.name}, which is not installed; run: "
                "pip install 'gridmill[demo]'",
                ExitCode.FAILED,
            ) from error
    if output.as_json:
        click.echo(json.dumps({"output": str(folder), "exit_code": int(code)}))
    return code
