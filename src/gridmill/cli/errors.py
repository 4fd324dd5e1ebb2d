"""Errors in one line on stderr, with their exit code, and without credentials."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.settings import settings_for
from gridmill.cli.output.secrets import mask

__all__ = ["Failed", "OneLineErrors", "causes", "masked", "told_in_one_line", "warn"]


class Failed(click.ClickException):
    """An error that is told in one line, with its exit code."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class OneLineErrors(click.Group):
    """A group whose errors are one line on stderr, and whose commands return an exit code."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command line and exit."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            message = " ".join(error.format_message().split())
            if isinstance(error, click.UsageError) and error.ctx is not None:
                message += f" (see {error.ctx.command_path} --help)"
            click.echo(f"error: {message}", err=True)
            code = error.exit_code
        except click.Abort:
            code = ExitCode.INTERRUPTED
        sys.exit(int(code or 0))

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, and give it the settings of the file as defaults."""
        name, command, rest = super().resolve_command(context, args)
        if command is not None and name is not None and not context.resilient_parsing:
            context.default_map = {name: settings_for(context, command, self.commands, rest)}
        return name, command, rest

    def list_commands(self, context: click.Context) -> list[str]:
        """List the commands in the order in which one meets them."""
        return list(self.commands)


def told_in_one_line(error: BaseException) -> Failed:
    """Turn whatever was raised into a line and an exit code."""
    from gridmill.model.state_files import UnreadableState
    from gridmill.runs.dask.workers.workforce import NoWorkers
    from gridmill.runs.workplaces.workplace import SchedulerLost
    from gridmill.stores.objects.writable import StoreUnwritable
    from gridmill.stores.state.leases import LeaseHeld, LeaseLost

    if _was_interrupted(error):
        message = "interrupted: recorded work is safe; rerun to resume"
        return Failed(message, ExitCode.INTERRUPTED)
    codes: list[tuple[type[BaseException], ExitCode]] = [
        (LeaseHeld, ExitCode.HELD),
        (StoreUnwritable, ExitCode.UNWRITABLE),
        (UnreadableState, ExitCode.UNREADABLE),
        (ValueError, ExitCode.WRONG_INPUT),
        (NoWorkers, ExitCode.NO_WORKERS),
        (SchedulerLost, ExitCode.FAILED),
        (LeaseLost, ExitCode.FAILED),
    ]
    for kind, code in codes:
        if isinstance(error, kind):
            return Failed(masked(error), code)
    message = f"{type(error).__name__}: {masked(error)} (--debug shows where)"
    return Failed(message, ExitCode.FAILED)


def masked(error: BaseException) -> str:
    """Return an error's text in one line, without credentials."""
    return mask(" ".join(str(error).split()))


def _was_interrupted(error: BaseException) -> bool:
    """Whether it all began with Ctrl-C: closing a cluster may raise in its turn."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in causes(error))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what led to it, back to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def warn(message: str) -> None:
    """Say what is not as it should be, though the command goes on."""
    click.echo(f"warning: {message}", err=True)
