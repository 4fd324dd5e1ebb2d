"""What an archive holds."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from gridmill.display.facts import describe_archive, unsettled_regions
from gridmill.display.terminal.layout import ends_table, facts_grid, heading, section
from gridmill.display.terminal.report import show_runs
from gridmill.display.terminal.values import Content, masked, plain

if TYPE_CHECKING:
    from gridmill.operations.status import ArchiveStatus

__all__ = ["show_status", "status_content"]


def status_content(status: ArchiveStatus) -> Content:
    """Say what an archive holds."""
    return {**plain(asdict(status)), "store": masked(status.store)}


def show_status(content: Content) -> RenderableType:
    """Show what an archive holds, what may still change and should be there, and its last runs."""
    unsettled = unsettled_regions(content)
    parts: list[RenderableType] = [
        heading(content["dataset_id"], content["store"]),
        facts_grid(describe_archive(content)),
    ]
    if unsettled.rows:
        parts.append(section("not settled", ends_table(unsettled)))
    if len(content["last_runs"]) > 1:
        parts.append(section("last runs", show_runs(content["last_runs"])))
    return Group(*parts)
