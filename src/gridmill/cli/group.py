"""The command `gridmill` and its commands."""

from __future__ import annotations

import atexit
import gc
from typing import NoReturn

import click

from gridmill.cli.commands.accept import accept
from gridmill.cli.commands.adopt import adopt
from gridmill.cli.commands.backfill import backfill
from gridmill.cli.commands.catalog import catalog
from gridmill.cli.commands.compare import compare
from gridmill.cli.commands.copy import copy
from gridmill.cli.commands.demo import demo
from gridmill.cli.commands.gaps import gaps
from gridmill.cli.commands.grow import grow
from gridmill.cli.commands.headers import headers
from gridmill.cli.commands.history import history
from gridmill.cli.commands.layout import layout
from gridmill.cli.commands.list import list_datasets
from gridmill.cli.commands.migrate_metadata import migrate_metadata
from gridmill.cli.commands.new import new
from gridmill.cli.commands.plan import plan
from gridmill.cli.commands.promote import promote
from gridmill.cli.commands.prove import prove
from gridmill.cli.commands.rebuild_records import rebuild_records
from gridmill.cli.commands.reindex import reindex
from gridmill.cli.commands.reject import reject
from gridmill.cli.commands.release import release
from gridmill.cli.commands.remove_variable import remove_variable
from gridmill.cli.commands.report import report
from gridmill.cli.commands.restore_metadata import restore_metadata
from gridmill.cli.commands.retain import retain
from gridmill.cli.commands.run_one import run_one
from gridmill.cli.commands.statistics import statistics
from gridmill.cli.commands.status import status
from gridmill.cli.commands.tag import tag
from gridmill.cli.commands.template import template
from gridmill.cli.commands.truncate import truncate
from gridmill.cli.commands.update import update
from gridmill.cli.commands.upkeep import upkeep
from gridmill.cli.commands.validate import validate
from gridmill.cli.commands.withdraw import withdraw
from gridmill.cli.errors import OneLineErrors
from gridmill.cli.exit_codes import ExitCode

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


@click.group(
    cls=OneLineErrors,
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


# In the order in which one meets them.
COMMANDS = (
    list_datasets,
    template,
    layout,
    plan,
    backfill,
    update,
    status,
    report,
    history,
    statistics,
    validate,
    prove,
    gaps,
    accept,
    release,
    reject,
    withdraw,
    truncate,
    retain,
    migrate_metadata,
    remove_variable,
    restore_metadata,
    rebuild_records,
    reindex,
    grow,
    adopt,
    copy,
    compare,
    promote,
    headers,
    catalog,
    tag,
    upkeep,
    run_one,
    new,
    demo,
)
for command in COMMANDS:
    cli.add_command(command)


# As many objects as by default, 700 × 10 × 10, are made between two looks at all there are.
COLLECT_AFTER = (20_000, 2, 2)


def main() -> NoReturn:
    """Run the command line: the console script."""
    _collect_rarely()
    cli.main(prog_name="gridmill")


def _collect_rarely() -> None:
    """Look for garbage less often while modules are imported, and not at the end.

    Hardly anything of what a command imports becomes garbage. To look through it again and again,
    and twice more as the interpreter ends, is a third of what an update costs that finds nothing.
    """
    gc.set_threshold(*COLLECT_AFTER)
    atexit.register(gc.freeze)
