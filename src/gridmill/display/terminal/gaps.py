"""What an archive lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.layout import ends_of, heading, table_of
from gridmill.display.terminal.values import Content, masked, plain
from gridmill.model.wording import count_of

if TYPE_CHECKING:
    from gridmill.validation.checks.gaps import GapGroup

__all__ = ["gaps_content", "show_gaps"]


def gaps_content(dataset_id: str, store: str, groups: Sequence[GapGroup]) -> Content:
    """Say what is missing, group by group, with every source file."""
    content: Content = plain(
        {
            "dataset_id": dataset_id,
            "store": masked(store),
            "groups": [asdict(group) for group in groups],
        }
    )
    return content


def show_gaps(content: Content) -> RenderableType:
    """Show a row a group."""
    title = heading(content["dataset_id"], content["store"])
    groups = content["groups"]
    if not groups:
        return Group(title, Text("✓ nothing is missing", "bold green"))
    table = table_of("positions", "variables", "source files", "what became of them", "try again")
    for group in ends_of(groups):
        if isinstance(group, str):
            table.add_row(Text(group, "dim"), "", "", "", "")
        else:
            table.add_row(*_row(group))
    files = sum(len(group["gaps"]) for group in groups)
    verdict = f"{count_of(files, 'source file')} missing in {count_of(len(groups), 'group')}"
    return Group(title, table, Text(verdict, "bold yellow"))


def _row(group: Content) -> tuple[Text, ...]:
    gaps = group["gaps"]
    gap = gaps[0]
    span = group["first"] if group["first"] == group["last"] else f"{group['first']} … "
    if group["first"] != group["last"]:
        span += group["last"]
    more = f" and {len(gaps) - 1:,} more" if len(gaps) > 1 else ""
    place = f" ({gap['place']})" if gap["place"] else ""
    settled = "settled" if gap["settled"] else "may still come"
    detail = f": {gap['detail']}" if gap["detail"] else ""
    return (
        Text(span or "static", "bold"),
        Text(", ".join(gap["variables"])),
        Text(f"{gap['url']}{place}{more}"),
        Text(f"{gap['status']}, {settled}{detail}", "yellow" if gap["settled"] else "red"),
        Text(group["repair"], "cyan"),
    )
