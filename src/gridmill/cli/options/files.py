"""Which source files an operator decides on."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from gridmill.cli.options.confirmation import who_option
from gridmill.cli.options.declaring import Command, with_options

__all__ = ["Decision", "decision_options"]


@dataclass(frozen=True)
class Decision:
    """The source files that an operator decides on; who it is, and why."""

    files: tuple[str, ...]
    reviewed: Path | None
    why: str
    who: str

    def names(self, *, status: str | None = None) -> list[str]:
        """Return the files that are named, in a list those of a status that nobody accepted.

        Raises
        ------
        click.UsageError
            None is named, or the list has another form.
        """
        names = [*self.files, *(_urls_of(self.reviewed, status) if self.reviewed else ())]
        if not names:
            of_list = f" that names what is {status}" if status else ""
            raise click.UsageError(f"name a source file, or several with --from GAPS.json{of_list}")
        return names


def decision_options(verb: str) -> Command:
    """Return the options that name source files and say who decides, and why.

    They pass a `Decision`.

    Parameters
    ----------
    verb
        What is done with the files, and with which of a list.
    """
    options = (
        click.argument("files", nargs=-1, metavar="[FILE…]"),
        click.option(
            "--from",
            "reviewed",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="GAPS.json",
            help=f"{verb} that this output of gridmill gaps --json names.",
        ),
        click.option("--why", metavar="TEXT", required=True, help="Reason, kept in the records."),
        who_option,
    )

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(
            files: tuple[str, ...], reviewed: Path | None, why: str, who: str, **rest: Any
        ) -> Any:
            return command(decision=Decision(files, reviewed, why, who), **rest)

        return with_options(wrapped, options)

    return decorate


def _urls_of(reviewed: Path, status: str | None) -> Iterator[str]:
    """Yield the source files that the output of ``gridmill gaps --json`` names, each once."""
    try:
        groups = json.loads(reviewed.read_text())["groups"]
        gaps = [gap for group in groups for gap in group["gaps"]]
        open_ones = [gap for gap in gaps if gap["status"] == status and not gap["accepted"]]
        urls = dict.fromkeys(gap["url"] for gap in (gaps if status is None else open_ones))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise click.UsageError(
            f"{reviewed} is not what gridmill gaps --json prints ({type(error).__name__}: "
            f"{error}); leave its form as it is, and take out whole groups or files"
        ) from error
    yield from urls
