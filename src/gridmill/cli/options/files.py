"""Which source files an operator decides on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from gridmill.cli.options.confirmation import who_option
from gridmill.cli.options.declaring import Command, with_options

__all__ = ["chosen_files", "files_options"]


def files_options(verb: str) -> Command:
    """Return the options that name source files, and say who decides, and why.

    Parameters
    ----------
    verb
        What is done with them, and with which of a list.
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
    return lambda command: with_options(command, options)


def chosen_files(
    files: tuple[str, ...], reviewed: Path | None, *, status: str | None = None
) -> list[str]:
    """Return the source files that are named, in a list those of a status that nobody accepted.

    Raises
    ------
    click.UsageError
        None is named, or the list has another form.
    """
    names = [*files, *(_urls_of(reviewed, status) if reviewed else ())]
    if not names:
        of_list = f" that names what is {status}" if status else ""
        raise click.UsageError(f"name a source file, or several with --from GAPS.json{of_list}")
    return names


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
