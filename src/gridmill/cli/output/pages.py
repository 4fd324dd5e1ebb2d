"""Pages that a command writes to a file, to be looked at in a browser."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["page_option", "write_page"]

page_option = click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, writable=True, allow_dash=True, path_type=Path),
    help="Write a self-contained page for a browser.",
)


def write_page(path: Path, page: str) -> None:
    """Write a page to a file, or to stdout where it is called `-`."""
    with click.open_file(str(path), "w", encoding="utf-8") as file:
        file.write(page)
