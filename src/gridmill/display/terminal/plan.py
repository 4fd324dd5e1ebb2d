"""What a run would do, and what one chain of it made."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.facts.plans import describe_plan, regions_skipped, regions_to_do
from gridmill.display.terminal.layout import (
    ends_of,
    ends_table,
    facts_grid,
    facts_of,
    heading,
    section,
    table_of,
)
from gridmill.display.terminal.values import Content, plain
from gridmill.model.wording import count_of, format_duration, format_nbytes, shorten_label

if TYPE_CHECKING:
    from gridmill.operations.run_one import ChainOutcome

__all__ = ["chain_content", "show_chain", "show_plan"]


def show_plan(content: Content) -> RenderableType:
    """Show what a run would do and need, and what it would skip; see `Plan.describe`."""
    parts: list[RenderableType] = [
        heading(content["dataset_id"], content["store"]),
        facts_grid(describe_plan(content)),
        *(Text.assemble(("! ", "yellow"), warning) for warning in content["warnings"]),
    ]
    tables = {"regions to process": regions_to_do(content), "skipped": regions_skipped(content)}
    parts += [section(name, ends_table(rows)) for name, rows in tables.items() if rows.rows]
    return Group(*parts)


def chain_content(outcome: ChainOutcome, folder: Path | None) -> Content:
    """Say what one chain made, and where it was left."""
    content: Content = plain(asdict(outcome))
    seconds: Counter[str] = Counter()
    for span in outcome.spans:
        seconds[span.stage] += span.seconds  # type: ignore[assignment]
    return {**content, "seconds": dict(seconds), "into": None if folder is None else str(folder)}


def show_chain(content: Content) -> RenderableType:
    """Show what one chain made, and each source file that did not succeed."""
    statuses = Counter(file["status"] for file in content["files"])
    facts = {
        "values": _values(content),
        "files": " · ".join(f"{n:,} {status}" for status, n in statuses.most_common()) or "none",
        "objects": f"{count_of(content['objects'], 'object')}, {format_nbytes(content['nbytes'])}",
        "stages": " · ".join(f"{s} {format_duration(t)}" for s, t in content["seconds"].items()),
        "result": content["into"] or "not kept (--into DIR keeps it)",
    }
    title = heading(content["variable"], f"region {shorten_label(content['region'])}")
    parts: list[RenderableType] = [title, facts_grid(facts_of(facts))]
    unusable = [file for file in content["files"] if file["status"] != "succeeded"]
    if unusable:
        table = table_of("file", "status", "why")
        for file in ends_of(unusable):
            row = (file, "", "") if isinstance(file, str) else tuple(_file_row(file))
            table.add_row(*(Text(cell) for cell in row))
        parts.append(section("source files that did not succeed", table))
    return Group(*parts)


def _file_row(file: Content) -> tuple[str, str, str]:
    return file["url"], file["status"], " ".join((file["detail"] or "").split())


def _values(content: Content) -> str:
    shape = " × ".join(f"{n:,}" for n in content["shape"])
    if content["missing"] is None:
        return f"{shape}: none, no source file has it"
    if content["minimum"] is None:
        return f"{shape}: all are missing"
    return (
        f"{shape}: {content['minimum']:g} … {content['maximum']:g}, "
        f"{content['missing']:.1%} missing"
    )
