"""The layout that everything shown has in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gridmill.display.facts.forms import Fact, Rows, Tone

__all__ = ["ends_of", "ends_table", "facts_grid", "facts_of", "heading", "section", "table_of"]

LOOKS: Mapping[Tone | None, str] = {
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
    "quiet": "dim",
}

# What fits on a screen beside a summary; ``--json`` has all of them.
MOST_REGIONS_SHOWN = 20


def heading(name: str, about: str) -> Text:
    """Give a name, and what it is about."""
    return Text.assemble((name, "bold"), "  ", (about, "dim"))


def facts_grid(facts: Iterable[Fact]) -> Table:
    """Return facts below each other, their labels at the left."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for fact in facts:
        grid.add_row(f"  {fact.label}", Text(fact.text, LOOKS.get(fact.tone, "")))
    return grid


def facts_of(texts: Mapping[str, Any]) -> list[Fact]:
    """Return facts of labels and what is said under each."""
    return [Fact(label, str(text)) for label, text in texts.items()]


def ends_table(content: Rows) -> Table:
    """Return a table of the first and last rows, with a remark between them."""
    table = table_of(*content.columns)
    for row in ends_of(content.rows):
        if isinstance(row, str):
            table.add_row(Text(row, "dim"))
        else:
            table.add_row(*(Text(str(cell)) for cell in row))
    return table


def section(name: str, body: RenderableType) -> RenderableType:
    """Set a body off below its name."""
    return Padding(Group(Text(name, "bold"), body), (1, 0, 0, 0))


def table_of(*columns: str) -> Table:
    """Make an empty table with these columns."""
    table = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def ends_of(items: Sequence[Any]) -> list[Any]:
    """Give the first and the last of many items, with a remark between them."""
    half = MOST_REGIONS_SHOWN // 2
    if len(items) <= MOST_REGIONS_SHOWN:
        return list(items)
    return [*items[:half], f"… {len(items) - 2 * half:,} more", *items[-half:]]
