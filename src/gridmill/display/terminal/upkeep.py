"""What upkeep of an Icechunk archive forgot and deleted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from rich.console import Group, RenderableType

from gridmill.display.terminal.layout import facts_grid, facts_of, heading
from gridmill.display.terminal.values import Content, masked
from gridmill.model.wording import format_nbytes

__all__ = ["show_upkeep", "upkeep_content"]


def upkeep_content(
    store: str, before: datetime, forgotten: int, collected: Mapping[str, int], dry_run: bool
) -> Content:
    """Say what went, or would go."""
    return {
        "store": masked(store),
        "older_than": before.isoformat(timespec="seconds"),
        "dry_run": dry_run,
        "snapshots_expired": forgotten,
        **collected,
    }


def show_upkeep(content: Content) -> RenderableType:
    """Show what went, or would go."""
    chunks, manifests = content["chunks_deleted"], content["manifests_deleted"]
    facts = {
        "older than": content["older_than"],
        "snapshots forgotten": f"{content['snapshots_expired']:,}",
        "deleted": f"{format_nbytes(content['bytes_deleted'])}: {chunks:,} chunks, "
        f"{manifests:,} manifests, {content['snapshots_deleted']:,} snapshots",
    }
    what = "dry run: nothing was changed" if content["dry_run"] else "upkeep"
    return Group(heading(content["store"], what), facts_grid(facts_of(facts)))
