"""How a command prints its result, as JSON or for people, and how it tells errors."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from gridmill.cli.errors import told_in_one_line
from gridmill.cli.interruption import Interruption
from gridmill.cli.options.declaring import Command, setting, with_options
from gridmill.cli.options.settings import config_option
from gridmill.cli.output.logs import configure_logging
from gridmill.cli.output.secrets import mask

if TYPE_CHECKING:
    from rich.console import RenderableType


__all__ = ["Output", "output_options"]

# Wide enough that nothing wraps: what reads a pipe looks for whole lines.
PIPE_WIDTH = 2000


@dataclass(frozen=True)
class Output:
    """How to say things."""

    as_json: bool
    verbose: bool
    debug: bool
    log_format: str = "text"

    def show(self, content: Any, show: Callable[[Any], RenderableType]) -> None:
        """Print a value: as JSON, or as `show` draws it."""
        if self.as_json:
            click.echo(json.dumps(content, indent=1, allow_nan=False, default=str))
            return
        from rich.console import Console

        # What is shown may hold brackets of its own: nothing in it is markup.
        console = Console(highlight=False, markup=False, emoji=False)
        if console.is_terminal:
            console.print(show(content), crop=False)
            return
        console.width = PIPE_WIDTH
        with console.capture() as captured:
            console.print(show(content), crop=False)
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def output_options(command: Command) -> Command:
    """Take how to print, and tell every error in one line; passes an `Output`.

    A command that is told to stop gives back what it holds.
    """
    options = [
        config_option,
        click.option("--json", "as_json", is_flag=True, help="Print only JSON on stdout."),
        click.option(
            "-v", "--verbose", is_flag=True, help="Log one line per region, and warnings."
        ),
        click.option("--debug", is_flag=True, help="Log everything, with tracebacks of errors."),
        setting(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="Text for people, or one JSON object per line.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(as_json: bool, verbose: bool, debug: bool, log_format: str, **rest: Any) -> Any:
        output = Output(as_json, verbose, debug, log_format)
        configure_logging(output)
        try:
            with Interruption():
                return command(output=output, **rest)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BaseException as error:
            if debug:
                click.echo(mask("".join(traceback.format_exception(error))), err=True)
            raise told_in_one_line(error) from error

    return with_options(wrapped, options)
