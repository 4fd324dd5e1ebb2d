"""Write the manual pages, one a command: click's own words, then examples and exit codes.

Run by ``make man``, with the folder to write to.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from click_man.core import write_man_pages

from gridmill import __version__
from gridmill.cli.group import cli


def main(folder: Path) -> None:
    """Write them; click-man leaves out what stands below the options of a help text."""
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("gridmill", cli, version=__version__, target_dir=str(folder))
    context = click.Context(cli, info_name="gridmill")
    pages = {"gridmill": cli}
    pages |= {f"gridmill-{name}": command for name, command in cli.commands.items()}
    for name, command in pages.items():
        page = folder / f"{name}.1"
        lines = [*page.read_text().rstrip().splitlines(), *epilog(command.epilog or "")]
        page.write_text("\n".join(lines) + "\n")
    print(f"{len(pages)} pages in {folder}, shown by: man -l {folder}/{context.info_name}.1")


def epilog(text: str) -> Iterator[str]:
    """Yield it as roff, a section for each paragraph with a title, lines as they are."""
    for paragraph in text.replace("\b\n", "").strip().split("\n\n"):
        title, *rest = paragraph.splitlines() or [""]
        if not title:
            continue
        has_title = title.endswith(":") and bool(rest)
        yield f".SH {title.rstrip(':').upper()}" if has_title else ".PP"
        yield ".nf"
        yield from map(escaped, rest if has_title else [title, *rest])
        yield ".fi"


def escaped(line: str) -> str:
    """Return a line that roff takes as text."""
    plain = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{plain}" if plain.startswith((".", "'")) else plain


if __name__ == "__main__":
    main(Path(sys.argv[1]))
