"""Statistics of an archive's variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.layout import ends_of, heading, table_of
from gridmill.display.terminal.values import Content
from gridmill.model.wording import count_of

if TYPE_CHECKING:
    from gridmill.operations.statistics.gathering import ArchiveStatistics, VariableStatistics

__all__ = ["show_statistics", "statistics_content"]


def statistics_content(found: ArchiveStatistics) -> Content:
    """Say what the values of an archive are like."""
    return {
        "dataset_id": found.dataset_id,
        "store": found.store,
        "positions": found.positions,
        "end": found.end,
        "variables": [_row(of) for of in found.variables],
    }


def _row(of: VariableStatistics) -> Content:
    known = of.statistics
    some = known if known is not None and known.count else None
    return {
        "variable": of.name,
        "count": None if known is None else known.count,
        "mean": some and some.mean,
        "standard_deviation": some and some.deviation,
        "minimum": some and some.low,
        "maximum": some and some.high,
        "lacking": list(of.lacking),
    }


def show_statistics(content: Content) -> RenderableType:
    """Show a row a variable."""
    about = f"{content['store']}, {count_of(content['positions'], 'position')}"
    title = heading(f"statistics of {content['dataset_id']}", f"{about} up to {content['end']}")
    table = table_of("variable", "count", "mean", "standard deviation", "minimum", "maximum")
    for row in ends_of(content["variables"]):
        table.add_row(*([row] if isinstance(row, str) else _cells(row)))
    lacking = [row for row in content["variables"] if row["lacking"]]
    if not lacking:
        return Group(title, table)
    regions = max(len(row["lacking"]) for row in lacking)
    said = (
        f"{count_of(len(lacking), 'variable')}: not recorded for up to "
        f"{count_of(regions, 'region')}, the first at {lacking[0]['lacking'][0]}; --read reads them"
    )
    return Group(title, table, Text(said, "yellow"))


def _cells(row: Content) -> list[Text]:
    names = ("mean", "standard_deviation", "minimum", "maximum")
    count = "" if row["count"] is None else f"{row['count']:,}"
    numbers = ["" if row[name] is None else f"{row[name]:.6g}" for name in names]
    return [Text(row["variable"], "bold"), Text(count), *map(Text, numbers)]
