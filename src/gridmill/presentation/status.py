"""What an archive holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.presentation.layout import ends_of, facts_grid, heading, section, table_of
from gridmill.presentation.report import show_runs
from gridmill.presentation.values import Content, masked, plain
from gridmill.wording import count_of, format_duration, made_under, moment, shorten_label

if TYPE_CHECKING:
    from gridmill.archive_status import ArchiveStatus

__all__ = ["show_status", "status_content"]

# Of one region; ``--json`` has more.
MOST_FILES_SHOWN = 3


def status_content(status: ArchiveStatus) -> Content:
    """Say what an archive holds."""
    return {**plain(asdict(status)), "store": masked(status.store)}


def show_status(content: Content) -> RenderableType:
    """Show what an archive holds, what may still change and should be there, and its last run."""
    incomplete = content["incomplete"]
    settled = content["regions"] - len(incomplete)
    gaps = f", {count_of(content['gaps'], 'source file')} given up for" if content["gaps"] else ""
    facts: dict[str, Any] = {
        "published": _extent(content),
        "expected": _expectation(content),
        "regions": f"{count_of(content['regions'], 'region')} recorded, {settled:,} settled{gaps}",
        "last run": _describe_run(content["last_run"]),
    }
    held = [
        f"{claim['kind']} {claim['run']} (host {claim['host']}, pid {claim['pid']}) since "
        f"{moment(claim['since'])}"
        for claim in content["running"]
    ]
    if held:
        facts["held by"] = "\n".join(held)
    if content["made_earlier"]:
        earlier = content["made_earlier"].items()
        facts["made earlier"] = "\n".join(made_under(*item) for item in earlier)
    title = heading(content["dataset_id"], content["store"])
    remarks = [Text.assemble(("! ", "yellow"), remark) for remark in content["remarks"]]
    parts: list[RenderableType] = [title, facts_grid(facts), *remarks]
    if incomplete:
        parts.append(section("not settled", _incomplete_table(incomplete)))
    if len(content["last_runs"]) > 1:
        parts.append(section("last runs", show_runs(content["last_runs"])))
    return Group(*parts)


def _incomplete_table(incomplete: Sequence[Content]) -> RenderableType:
    table = table_of("region", "may still change because", "waits for")
    for item in ends_of(incomplete):
        if isinstance(item, str):
            table.add_row(Text(item, "dim"), "", "")
        else:
            table.add_row(shorten_label(item["region"]), Text(item["why"]), _files(item))
    return table


def _files(item: Content) -> Text:
    named = item["files"][:MOST_FILES_SHOWN]
    lines = [f"{file['url']} ({file['why']})" for file in named]
    hidden = item["missing"] - len(named)
    return Text("\n".join([*lines, *([f"… {hidden:,} more"] if hidden else [])]))


def _expectation(content: Content) -> Text:
    age = "" if content["age_s"] is None else f"  {format_duration(content['age_s'])} old"
    if content["late"] is None:
        return Text(f"the dataset does not say when it is due{age}", "dim")
    if not content["late"]:
        return Text("all that is due", "green").append(age, "dim")
    late = f"{count_of(content['late'], 'position')} late"
    until = shorten_label(content["expected_last"])
    return Text(f"{late}, up to {until} is due", "bold red").append(age, "dim")


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
