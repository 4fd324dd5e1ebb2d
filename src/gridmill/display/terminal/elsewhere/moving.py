"""What was taken over from another program, or from another store."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType

from gridmill.display.facts.runs import describe_publication
from gridmill.display.terminal.layout import facts_grid, facts_of, heading
from gridmill.display.terminal.report import replica_lines
from gridmill.display.terminal.values import Content, masked, plain
from gridmill.model.wording import count_of, format_nbytes, shorten_label

if TYPE_CHECKING:
    from gridmill.operations.elsewhere.adopt import Adoption
    from gridmill.operations.elsewhere.copying import Copied

__all__ = ["adoption_content", "copied_content", "show_adoption", "show_copied"]


def adoption_content(adoption: Adoption, dataset_id: str, store: str) -> Content:
    """Say what was taken over, or would be."""
    report = adoption.report
    said: Content = plain(asdict(adoption))
    run = None if report is None else report.run
    own = {"dataset_id": dataset_id, "store": masked(store), "dry_run": report is None, "run": run}
    return {**own, **{k: v for k, v in said.items() if k != "report"}}


def show_adoption(content: Content) -> RenderableType:
    """Show what was taken over, or would be."""
    ends = f"{shorten_label(content['first'])} … {shorten_label(content['last'])}"
    gaps = [f"{name}: {count_of(n, 'source file')}" for name, n in content["gaps"].items()]
    facts = {
        "published": f"{ends} ({count_of(content['positions'], 'position')})",
        "region": count_of(content["region_length"], "position"),
        "metadata": "\n".join(content["changes"]),
        "readers lack": "\n".join(gaps),
        "remarks": "\n".join(content["remarks"]),
    }
    what = "dry run: it fits; nothing was changed" if content["dry_run"] else "adopted"
    shown = {name: said for name, said in facts.items() if said}
    title = heading(content["dataset_id"], f"{content['store']} {what}")
    return Group(title, facts_grid(facts_of(shown)))


def copied_content(copied: Copied) -> Content:
    """Say what was copied."""
    report = copied.report
    names = ("run", "dataset_id", "published_before", "published_after", "notes")
    more = ("positions_before", "positions_after")
    said = {name: getattr(report, name) for name in (*names, *more)}
    return {
        **said,
        "source": masked(copied.source),
        "target": masked(copied.target),
        "is_recoded": copied.is_recoded,
        "objects": copied.objects,
        "nbytes": copied.nbytes,
        "without_checksum": copied.without_checksum,
        "replicas": [asdict(replica) for replica in report.replicas],
    }


def show_copied(content: Content) -> RenderableType:
    """Show what was copied."""
    how = "decoded and rewritten" if content["is_recoded"] else "unchanged"
    unchecked = content["without_checksum"]
    facts = {
        "published": describe_publication(content),
        "from": content["source"],
        "data": f"{count_of(content['objects'], 'object')}, {format_nbytes(content['nbytes'])}, "
        f"{how}",
        "compared by size": f"{count_of(unchecked, 'object')} without a recorded checksum: "
        "gridmill compare checks their values"
        if unchecked
        else "",
        "done": "; ".join(content["notes"]),
    }
    shown = {name: said for name, said in facts.items() if said}
    title = heading(content["dataset_id"], f"copied to {content['target']}")
    return Group(title, facts_grid(facts_of(shown)), *replica_lines(content))
