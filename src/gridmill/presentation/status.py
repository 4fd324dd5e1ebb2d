"""What an archive holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.presentation.layout import ends_of, facts_grid, heading, section, table_of
from gridmill.presentation.values import Content, masked, plain
from gridmill.wording import count_of, moment, shorten_label

if TYPE_CHECKING:
    from gridmill.dataset import ArchiveStatus

__all__ = ["show_status", "status_content"]


def status_content(status: ArchiveStatus) -> Content:
    """Say what an archive holds."""
    return {**plain(asdict(status)), "store": masked(status.store)}


def show_status(content: Content) -> RenderableType:
    """Show what an archive holds, what may still change, and its last run."""
    unsettled = content["unsettled"]
    settled = content["regions"] - len(unsettled)
    facts: dict[str, Any] = {
        "published": _extent(content),
        "regions": f"{count_of(content['regions'], 'region')} recorded, {settled:,} settled",
        "last run": _describe_run(content["last_run"]),
    }
    for claim in content["running"]:
        facts["held by"] = (
            f"{claim['kind']} {claim['run']} (host {claim['host']}, pid {claim['pid']}) since "
            f"{moment(claim['since'])}"
        )
    parts: list[RenderableType] = [
        heading(content["dataset_id"], content["store"]),
        facts_grid(facts),
    ]
    if unsettled:
        table = table_of("region", "may still change because")
        for item in ends_of(list(unsettled.items())):
            region, why = (item, "") if isinstance(item, str) else item
            table.add_row(shorten_label(region), why)
        parts.append(section("not settled", table))
    return Group(*parts)


def _extent(content: Content) -> Text:
    if not content["positions"]:
        return Text("nothing yet", "yellow")
    ends = f"{shorten_label(content['first'])} … {shorten_label(content['last'])}"
    return Text(ends, "green").append(f"  {count_of(content['positions'], 'position')}", "dim")


def _describe_run(run: Mapping[str, Any] | None) -> Text:
    if run is None:
        return Text("none is recorded", "dim")
    outcome = ("succeeded", "green") if run.get("succeeded") else ("failed", "red")
    text = Text.assemble(f"{run['kind']} ", outcome, f", ended {moment(run['ended'])}")
    return text.append(f"  {run['run']}", "dim")
