"""The layout that everything shown has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

__all__ = ["ends_of", "facts_grid", "heading", "section", "table_of"]

# What fits on a screen beside a summary; ``--json`` has all of them.
MOST_REGIONS_SHOWN = 20


def heading(name: str, about: str) -> Text:
    """Give a name, and what it is about."""
    return Text.assemble((name, "bold"), "  ", (about, "dim"))


def facts_grid(facts: Mapping[str, Any]) -> Table:
    """Give facts below each other, their names at the left."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in facts.items():
        grid.add_row(f"  {name}", fact if isinstance(fact, Text) else Text(str(fact)))
    return grid


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
