"""Ask before something is lost."""

from __future__ import annotations

import getpass
import socket
import sys

import click

from gridmill.cli.errors import Failed
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.declaring import Command, setting

__all__ = ["confirm", "who_option", "yes_option"]

yes_option: Command = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")


def _operator() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()


who_option: Command = setting(
    "--who",
    metavar="NAME",
    default=_operator,
    help="Name for the records.  [default: user@host]",
)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal; elsewhere --yes is needed.

    Raises
    ------
    Failed
        The answer is no, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise Failed(f"{question} There is no terminal to ask: give --yes", ExitCode.WRONG_INPUT)
    if not click.confirm(question, err=True):
        raise Failed("nothing was changed", ExitCode.WRONG_INPUT)
