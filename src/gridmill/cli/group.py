"""The command `gridmill` and its commands."""

from __future__ import annotations

from typing import NoReturn

import click

from gridmill.cli.errors import OneLineErrors
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.importing import collect_hardly
from gridmill.cli.late_commands import Commands

__all__ = ["cli", "main"]

EPILOG = """\b
Examples:
  gridmill list --details
  gridmill plan ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill backfill ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill update ostia-sst-monthly --store sst.zarr

\b
Exit codes:
  0    success
  1    failure: a source file, a variable, a region or the cluster; or validate
       or prove found an error, compare a difference
  2    wrong usage or input: nothing was written
  3    nothing new to publish
  4    another run holds the archive
  5    the store cannot be written
  6    late: a deadline passed, or the archive is behind what is expected
  7    a record beside the store is damaged, missing, or was written by a later
       gridmill: restore it; nothing was changed
  8    published with new gaps (status --check: gaps are open, or a gate holds
       something); alert, do not retry: later updates fill what they can
  9    no worker was available for longer than --worker-timeout
  130  interrupted (Ctrl-C, SIGTERM, SIGHUP); rerun to resume

\b
Options can also be set through environment variables, which each command's
help names, and in a settings file: gridmill.toml in this folder, or --config
FILE. The command line has precedence, then the environment, then the file.

\b
Completion of commands, options, datasets, variables, formats and clusters, for
bash (or zsh, fish):
  eval "$(_GRIDMILL_COMPLETE=bash_source gridmill)"
"""


# In the order in which one meets them.
COMMANDS = (
    "list",
    "template",
    "layout",
    "plan",
    "backfill",
    "update",
    "status",
    "report",
    "history",
    "statistics",
    "validate",
    "prove",
    "gaps",
    "accept",
    "release",
    "reject",
    "withdraw",
    "truncate",
    "retain",
    "migrate-metadata",
    "remove-variable",
    "restore-metadata",
    "rebuild-records",
    "reindex",
    "grow",
    "adopt",
    "copy",
    "compare",
    "promote",
    "headers",
    "catalog",
    "tag",
    "upkeep",
    "run-one",
    "new",
    "demo",
)


@click.group(
    cls=OneLineErrors,
    commands=Commands(COMMANDS),
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(package_name="gridmill")
@click.pass_context
def cli(context: click.Context) -> ExitCode | None:
    """Build cloud Zarr archives of gridded weather and climate data, and keep them current.

    A DATASET is a name that `gridmill list` shows, or package.module:Class. `backfill` builds its
    archive, `update` brings it up to date, and `plan` shows what either would do. Runs resume where
    an earlier run stopped. Readers can open the archive at any time.
    """
    if context.invoked_subcommand is not None:
        return None
    click.echo(context.get_help())
    return ExitCode.WRONG_INPUT


def main() -> NoReturn:
    """Run the command line: the console script."""
    collect_hardly()
    cli.main(prog_name="gridmill")
