"""What an archive holds and lacks, and what upkeep of an Icechunk archive deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.facts.archives import describe_archive, unsettled_regions
from gridmill.display.terminal.layout import (
    ends_of,
    ends_table,
    facts_grid,
    facts_of,
    heading,
    section,
    table_of,
)
from gridmill.display.terminal.report import replica_lines, show_runs
from gridmill.display.terminal.values import Content, masked, plain
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.model.wording import count_of, format_nbytes

if TYPE_CHECKING:
    from gridmill.operations.objects.headers import Relabelling
    from gridmill.operations.status import ArchiveStatus
    from gridmill.validation.checks.gaps import GapGroup

__all__ = [
    "gaps_content",
    "headers_content",
    "show_catalogued",
    "show_gaps",
    "show_headers",
    "show_status",
    "show_upkeep",
    "status_content",
    "upkeep_content",
]


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


def gaps_content(
    dataset_id: str,
    store: str,
    groups: Sequence[GapGroup],
    *,
    provisional: Sequence[GapGroup] = (),
    late: Sequence[str] = (),
    reindex: str = "",
) -> Content:
    """Say what is missing, provisional or late: group by group, with every source file."""
    content: Content = plain(
        {
            "dataset_id": dataset_id,
            "store": masked(store),
            "groups": [asdict(group) for group in groups],
            "provisional": [asdict(group) for group in provisional],
            "late": {"labels": list(late), "repair": reindex},
        }
    )
    return content


def show_gaps(content: Content) -> RenderableType:
    """Show a row a group; what is provisional apart."""
    title = heading(content["dataset_id"], content["store"])
    groups, provisional, late = content["groups"], content["provisional"], content["late"]
    parts: list[RenderableType] = [title]
    if groups:
        files = sum(len(group["gaps"]) for group in groups)
        verdict = f"{count_of(files, 'source file')} missing in {count_of(len(groups), 'group')}"
        parts += [_gap_table(groups, "outcome"), Text(verdict, "bold yellow")]
    elif not late["labels"]:
        parts.append(Text("✓ nothing is missing", "bold green"))
    if provisional:
        files = sum(len(group["gaps"]) for group in provisional)
        told = f"{count_of(files, 'source file')} provisional: updates fetch the final ones"
        parts += [_gap_table(provisional, "why"), Text(told, "dim")]
    return Group(*parts, *_late_lines(late))


def _gap_table(groups: Sequence[Content], why: str) -> RenderableType:
    table = table_of("positions", "variables", "source files", why, "retry with")
    for group in ends_of(groups):
        if isinstance(group, str):
            table.add_row(Text(group, "dim"), "", "", "", "")
        else:
            table.add_row(*_gap_row(group))
    return table


def _late_lines(late: Content) -> list[Text]:
    """Say which labels arrived after the settling window, and what takes them in."""
    labels = late["labels"]
    if not labels:
        return []
    span = labels[0] if len(labels) == 1 else f"{labels[0]} … {labels[-1]}"
    came = f"{count_of(len(labels), 'label')} arrived after the settling window: {span}"
    return [Text(came, "bold yellow"), Text(late["repair"], "cyan")]


def _gap_row(group: Content) -> tuple[Text, ...]:
    gaps = group["gaps"]
    gap = gaps[0]
    span = group["first"] if group["first"] == group["last"] else f"{group['first']} … "
    if group["first"] != group["last"]:
        span += group["last"]
    more = f" and {len(gaps) - 1:,} more" if len(gaps) > 1 else ""
    place = f" ({gap['place']})" if gap["place"] else ""
    detail = f": {gap['detail']}" if gap["detail"] else ""
    return (
        Text(span or Region.STATIC.name, "bold"),
        Text(", ".join(gap["variables"])),
        Text(f"{gap['url']}{place}{more}"),
        Text(f"{gap['status']}, {_prospect(gaps)}{detail}", _urgency(gap)),
        Text(group["repair"], "cyan"),
    )


def _prospect(gaps: Sequence[Content]) -> str:
    """Say since when readers lack something, and when it is tried again."""
    if gaps[0]["accepted"]:
        return "accepted"
    if gaps[0]["status"] == SourceFileStatus.HELD:
        return "until gridmill release or gridmill reject"
    since = min(gap["since"] for gap in gaps)
    due = min(gap["due"] for gap in gaps)
    if gaps[0]["is_provisional"]:
        return f"{f'since {since}, ' if since else ''}next poll {due or 'at the next update'}"
    if not gaps[0]["settled"]:
        return "still expected"
    return f"missing{f' since {since}' if since else ''}, next retry {due or 'at the next update'}"


def _urgency(gap: Content) -> str:
    if gap["is_provisional"]:
        return ""
    return "dim" if gap["accepted"] else "red" if gap["settled"] else "yellow"


def upkeep_content(store: str, before: datetime, went: Mapping[str, int], dry_run: bool) -> Content:
    """Say what went, or would go."""
    return {
        "store": masked(store),
        "older_than": before.isoformat(timespec="seconds"),
        "dry_run": dry_run,
        **went,
    }


def show_upkeep(content: Content) -> RenderableType:
    """Show what went, or would go."""
    chunks, manifests = content["chunks_deleted"], content["manifests_deleted"]
    facts = {
        "older than": content["older_than"],
        "snapshots expired": f"{content['snapshots_expired']:,}",
        "deleted": f"{format_nbytes(content['bytes_deleted'])}: {chunks:,} chunks, "
        f"{manifests:,} manifests, {content['snapshots_deleted']:,} snapshots",
    }
    what = "dry run: nothing was changed" if content["dry_run"] else "upkeep"
    return Group(heading(content["store"], what), facts_grid(facts_of(facts)))


def headers_content(store: str, done: Relabelling) -> Content:
    """Say of how many objects the headers were set, or would be."""
    replicas = [] if done.report is None else [asdict(r) for r in done.report.replicas]
    return {
        "store": masked(store),
        "dry_run": done.report is None,
        **done.counts,
        "replicas": replicas,
    }


def show_headers(content: Content) -> RenderableType:
    """Show of how many objects the headers were set, or would be."""
    kinds = {kind: f"{content[kind]:,}" for kind in ("metadata", "coordinates", "data")}
    facts = {**kinds, "right before": f"{content['right']:,}"}
    what = (
        "dry run: nothing was changed" if content["dry_run"] else "headers set, by kind of object"
    )
    grid = facts_grid(facts_of(facts))
    return Group(heading(content["store"], what), grid, *replica_lines(content))


def show_catalogued(content: Content) -> RenderableType:
    """Show where an archive is catalogued, and whether anything changed."""
    n = content["changed"]
    what = f"{count_of(n, 'object')} written" if n else "the catalogue was up to date"
    facts = {"catalogue": content["catalog"], "entry": content["dataset_id"]}
    return Group(heading(content["store"], what), facts_grid(facts_of(facts)))
