"""Pages that are made from the code when the site is built: datasets, settings, notebooks.

They lie beside the pages that are written, and git ignores them. A page whose content is the same
is left untouched, so that a second build is quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalogue_pages
import click
from benchmarks.results import newest, read_runs, table_row
from sphinx.application import Sphinx

from gridmill.cli import cli
from gridmill.registry import dataset_entries

DOCS = Path(__file__).parents[1]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx: called once, before pages are read."""
    app.connect("config-inited", lambda app, config: write_all())
    return {"parallel_read_safe": True}


def write_all() -> None:
    """Write every generated page."""
    for notebook in sorted((DOCS.parent / "notebooks").glob("*.ipynb")):
        _write(DOCS / "tutorials" / notebook.name, notebook.read_text())
    _write(DOCS / "reference" / "settings_table.md", settings_table())
    _write(DOCS / "reference" / "benchmarks_table.md", benchmarks_table())
    for entry in dataset_entries():
        if entry.package.startswith("gridmill "):
            page = catalogue_pages.page_of(entry.name, entry.load())
            _write(DOCS / "catalogue" / f"{entry.name}.md", page)


def settings_table() -> str:
    """Return a Markdown table of every option that the environment or a file can set."""
    found: dict[str, tuple[click.Option, list[str]]] = {}
    for command, name, option in _settings():
        found.setdefault(name, (option, []))[1].append(command)
    rows = [_setting_row(name, *found[name]) for name in sorted(found)]
    return "\n".join(["| setting | environment | commands |", "|---|---|---|", *rows, ""])


def benchmarks_table() -> str:
    """Return a Markdown table of the newest result of each benchmark, and when it was measured."""
    head = ["| benchmark | promise | measured | unit | when |", "|---|---|---|---|---|"]
    rows = [table_row(when, measure) for when, measure in newest(read_runs())]
    return "\n".join([*head, *rows, ""])


def _settings() -> Iterator[tuple[str, str, click.Option]]:
    for command_name, command in cli.commands.items():
        for option in command.params:
            if isinstance(option, click.Option) and option.envvar:
                name = next(one for one in option.opts if one.startswith("--"))
                yield command_name, name.removeprefix("--"), option


def _setting_row(name: str, option: click.Option, commands: list[str]) -> str:
    everywhere = len(commands) > 8
    where = "most" if everywhere else ", ".join(f"`{one}`" for one in commands)
    return f"| `{name}` | `{option.envvar}` | {where} |"


def _write(path: Path, content: Any) -> None:
    if not path.exists() or path.read_text() != content:
        path.write_text(content)
