"""Named versions of an archive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.layout import heading, table_of
from gridmill.display.terminal.values import Content, masked

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.stores.versions import Tag

__all__ = ["show_tags", "tags_content"]


def tags_content(dataset: DynamicalDataset, tags: Sequence[Tag], what: str) -> Content:
    """Say which versions have a name, or what became of one."""
    found = [{**tag._asdict(), "at": f"{tag.at:%Y-%m-%dT%H:%M:%S}"} for tag in tags]
    return {"store": masked(dataset.store.url), "what": what, "tags": found}


def show_tags(content: Content) -> RenderableType:
    """Show a row a tag."""
    title = heading(content["store"], content["what"])
    if not content["tags"]:
        return Group(title, Text("no version has a name"))
    table = table_of("tag", "published at", "snapshot", "message")
    for tag in content["tags"]:
        table.add_row(Text(tag["name"], "bold"), tag["at"], tag["snapshot"], tag["message"])
    return Group(title, table)
