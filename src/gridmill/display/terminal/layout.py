"""The layout that everything shown has in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from gridmill.display.facts.forms import Fact, Rows, Tone

__all__ = ["ends_of", "ends_table", "facts_grid", "facts_of", "heading", "section", "table_of"]

LOOKS: Mapping[Tone | None, str] = {
    "good": "green",
    "warning": "yellow",
    "bad": "bold red",
    "quiet": "dim",
}

# What a row is about is on one line, if it is not longer; an address always.
LONGEST_NAME = 36
# Of both sides of a cell.
PADDING = 4
# Longer words, addresses and such, may be broken.
LONGEST_WHOLE_WORD = 28
# What fits on a screen beside a summary; ``--json`` has all of them.
MOST_REGIONS_SHOWN = 20


def heading(name: str, about: str) -> Text:
    """Return a name, and what it is about."""
    return _to_copy(Text.assemble((name, "bold"), "  ", (about, "dim")), about)


def facts_grid(facts: Iterable[Fact]) -> RenderableType:
    """Return facts below each other, their labels at the left."""
    return _Facts(list(facts))


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
    table = _FittingTable(box=None, padding=(0, PADDING // 2), header_style="dim", pad_edge=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def ends_of(items: Sequence[Any]) -> list[Any]:
    """Return the first and the last of many items, with a remark between them."""
    half = MOST_REGIONS_SHOWN // 2
    if len(items) <= MOST_REGIONS_SHOWN:
        return list(items)
    return [*items[:half], f"… {len(items) - 2 * half:,} more", *items[-half:]]


def _to_copy(text: Text, what: str) -> Text:
    """Leave an address to the terminal, which copies it as one though it wraps it."""
    if " " not in what:
        text.no_wrap, text.overflow = True, "ignore"
    return text


class _Facts:
    """Labels and texts in two columns; an address that has no room is not broken."""

    def __init__(self, facts: Sequence[Fact]) -> None:
        self._facts = facts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max((len(fact.label) for fact in self._facts), default=0)
        for fact in self._facts:
            label, text = f"  {fact.label:{width}}  ", Text(fact.text, LOOKS.get(fact.tone, ""))
            if " " in fact.text or len(label) + len(fact.text) <= options.max_width:
                grid = Table.grid()
                grid.add_column(style="dim", no_wrap=True)
                grid.add_column(overflow="fold")
                grid.add_row(label, text)
                yield grid
            else:
                yield _to_copy(Text.assemble((label, "dim"), text), "")


class _FittingTable(Table):
    """A table; where words would have to be broken to fit, each row as a list of its cells."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wanted = [self._wanted(console, options, column) for column in self.columns]
        if wanted[0][1] <= LONGEST_NAME or " " not in self._longest_name():
            wanted[0] = (wanted[0][1], wanted[0][1])
        spare = options.max_width - sum(least + PADDING for least, _ in wanted)
        if spare < 0:
            yield from self._as_lists()
            return
        # rich takes from the widest columns first, also what their words need.
        for column, (least, most) in sorted(
            zip(self.columns, wanted, strict=True), key=lambda pair: pair[1][1] - pair[1][0]
        ):
            column.width = min(most, least + spare)
            spare -= column.width - least
        yield from super().__rich_console__(console, options)

    def _wanted(self, console: Console, options: ConsoleOptions, column: Column) -> tuple[int, int]:
        """Return the width in which a column's words are whole, and that of its longest line."""
        measured = [
            Measurement.get(console, options, cell) for cell in (column.header, *column.cells)
        ]
        least = min(max(one.minimum for one in measured), LONGEST_WHOLE_WORD)
        return least, max(least, max(one.maximum for one in measured))

    def _longest_name(self) -> str:
        return max(map(str, self.columns[0].cells), key=len, default="")

    def _as_lists(self) -> Iterable[RenderableType]:
        labels = [str(column.header) for column in self.columns]
        width = max(map(len, labels[1:]), default=0)
        for first, *others in zip(*(column.cells for column in self.columns), strict=True):
            yield _to_copy(Text.assemble("  ", first), str(first))
            told = [(k, v) for k, v in zip(labels[1:], others, strict=True) if str(v)]
            grid = Table.grid(padding=(0, 2))
            grid.add_column(style="dim", no_wrap=True, min_width=width + 4)
            grid.add_column(overflow="fold")
            for label, cell in told:
                grid.add_row(f"    {label}", cell)
            if told:
                yield grid
