"""Tables in terminals of any width."""

from __future__ import annotations

from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, Group, RenderableType
from rich.text import Text

from gridmill.display.facts.forms import Fact
from gridmill.display.terminal.layout import (
    LONGEST_WHOLE_WORD,
    facts_grid,
    heading,
    table_of,
)

words = st.text("abcdefgh", min_size=1, max_size=LONGEST_WHOLE_WORD)
cells = st.lists(words, max_size=5).map(" ".join)


def shown(columns: list[str], rows: list[list[str]], width: int) -> str:
    """Give what a terminal of a width shows of a table."""
    table = table_of(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    return printed(table, width)


def printed(what: RenderableType, width: int) -> str:
    """Give what a terminal of a width shows."""
    out = StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    console.print(what, crop=False)
    return out.getvalue()


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.tuples(
            st.lists(words, min_size=n, max_size=n),
            st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4),
        )
    ),
    st.integers(2 * LONGEST_WHOLE_WORD + 12, 160),
)
def test_no_word_is_broken_and_no_line_is_too_long(table, width):
    """Down to where a label and a word have room beside each other."""
    columns, rows = table
    text = shown(columns, rows, width)
    assert all(len(line) <= width for line in text.splitlines())
    assert {word for row in rows for cell in row for word in cell.split()} <= set(text.split())


def test_what_has_room_is_a_table():
    """Its labels stand above, once."""
    text = shown(["name", "what"], [["a", "x"], ["b", "y"]], 40)
    assert [line.split() for line in text.splitlines()] == [
        ["name", "what"],
        ["a", "x"],
        ["b", "y"],
    ]


def test_a_row_without_room_is_a_list_of_its_cells():
    """Its first cell alone, the others below with their labels; empty ones are left out."""
    text = shown(["name", "what", "why"], [["noaa-gfs-forecast", "wind", ""]], 24)
    assert [line.strip() for line in text.splitlines()] == ["noaa-gfs-forecast", "what  wind"]


def test_an_address_can_be_copied():
    """It is longer than a line: the terminal wraps it, and joins it when it is copied."""
    url = "s3://bucket/" + "folder/" * 20
    for text in (
        shown(["source file", "was"], [[url, "absent"]], 60),
        printed(facts_grid([Fact("report", url), Fact("took", "1 s")]), 60),
        printed(Group(heading("my-forecast", url)), 60),
    ):
        assert url in text


def test_another_address_in_a_row_is_folded():
    """Nothing of it is lost."""
    url = "s3://bucket/" + "folder/" * 20
    text = shown(["what", "where"], [["absent", url]], 60)
    assert url in "".join(text.split())
