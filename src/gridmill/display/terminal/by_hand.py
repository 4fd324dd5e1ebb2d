"""What maintenance an operator did."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.facts.runs import describe_publication, describe_replicas
from gridmill.display.terminal.layout import facts_grid, facts_of, heading, section, table_of
from gridmill.display.terminal.report import replica_lines
from gridmill.display.terminal.values import Content, masked, plain

if TYPE_CHECKING:
    from gridmill.model.reports.run_report import RunReport
    from gridmill.operations.accept import Acceptance
    from gridmill.operations.decisions.withdraw import Withdrawal
    from gridmill.operations.migrate import Migration
    from gridmill.stores.structure import Difference

__all__ = [
    "acceptance_content",
    "migration_content",
    "restoration_content",
    "show_acceptance",
    "show_migration",
    "show_restoration",
    "show_splitting",
    "show_truncation",
    "show_withdrawal",
    "splitting_content",
    "truncation_content",
    "withdrawal_content",
]


def acceptance_content(acceptance: Acceptance, word: str = "accepted") -> Content:
    """Say what was decided on source files, and what readers see of it."""
    files = [{"url": url, "was": was} for url, was in acceptance.files]
    return {word: files, "note": acceptance.note, **_report_content(acceptance.report)}


def show_acceptance(content: Content, word: str = "accepted") -> RenderableType:
    """Show what was decided on source files, and what readers see of it."""
    table = table_of("source file", "was")
    for file in content[word]:
        table.add_row(file["url"], file["was"])
    facts = {
        "published": describe_publication(content),
        "stopped at": content["stops_because"] or "the present",
        "kept in the records": content["note"],
    }
    return _shown(content, word, facts, table)


def withdrawal_content(withdrawal: Withdrawal) -> Content:
    """Say what was taken from readers."""
    names = ("variables", "first", "last", "positions", "files", "note")
    said: Content = plain({name: getattr(withdrawal, name) for name in names})
    return {"withdrawn": said, **_report_content(withdrawal.report)}


def show_withdrawal(content: Content) -> RenderableType:
    """Show what was taken from readers."""
    withdrawn = content["withdrawn"]
    table = table_of("source files not read again")
    for url in withdrawn["files"]:
        table.add_row(url)
    facts = {
        "withdrawn": f"{', '.join(withdrawn['variables'])}, {withdrawn['positions']:,} positions "
        f"from {withdrawn['first']} to {withdrawn['last']}",
        "kept in the records": withdrawn["note"],
    }
    return _shown(content, "withdrawn", facts, table)


def truncation_content(report: RunReport, store: str) -> Content:
    """Say what was cut off."""
    return {"store": masked(store), **_report_content(report)}


def show_truncation(content: Content) -> RenderableType:
    """Show what was cut off."""
    before, after = content["positions_before"], content["positions_after"]
    facts = {
        "published": describe_publication(content),
        "removed": f"{before - after:,} of {before:,} positions",
        "done": "; ".join(content["notes"]),
    }
    return _shown(content, content["store"], facts)


def splitting_content(report: RunReport, store: str) -> Content:
    """Say what was split."""
    return {"store": masked(store), **_report_content(report)}


def show_splitting(content: Content) -> RenderableType:
    """Show what was split."""
    return _shown(content, content["store"], {"done": "; ".join(content["notes"])})


def restoration_content(report: RunReport, store: str) -> Content:
    """Say what was put back."""
    return {"store": masked(store), **_report_content(report)}


def show_restoration(content: Content) -> RenderableType:
    """Show what was put back."""
    facts = {
        "published": describe_publication(content),
        "done": "; ".join(content["notes"]),
    }
    return _shown(content, content["store"], facts)


def migration_content(migration: Migration, report: RunReport | None = None) -> Content:
    """Say where template and store differ, and by a report what of it was applied."""
    return {
        "applied": report is not None,
        "permitted": [_difference(difference) for difference in migration.permitted],
        "refused": [
            {**_difference(difference), "takes": takes}
            for difference, takes in zip(migration.refused, migration.takes, strict=True)
        ],
        "replicas": [] if report is None else [asdict(replica) for replica in report.replicas],
    }


def show_migration(content: Content) -> RenderableType:
    """Show where template and store differ."""
    parts: list[RenderableType] = []
    if content["permitted"]:
        what = "applied" if content["applied"] else "to apply: descriptions only"
        parts.append(section(what, _differences_table(content["permitted"])))
    if content["refused"]:
        title = "not applied: stored bytes or values depend on it"
        parts.append(section(title, _differences_table(content["refused"])))
    parts = parts or [Text("template and store agree")]
    return Group(*parts, *replica_lines(content))


def _shown(
    content: Content, what: str, facts: dict[str, str], *parts: RenderableType
) -> RenderableType:
    if content["replicas"]:
        facts["replicas"] = describe_replicas(content)
    title = heading(content["dataset_id"], what)
    return Group(title, *parts, facts_grid(facts_of(facts)), *replica_lines(content))


def _differences_table(differences: list[Content]) -> RenderableType:
    has_remedies = any("takes" in item for item in differences)
    table = table_of("where", "in the store", "in the template", *["remedy"] * has_remedies)
    for item in differences:
        row = [
            _brief(item["stored"]),
            _brief(item["declared"]),
            *[item.get("takes")] * has_remedies,
        ]
        table.add_row(Text(item["where"], "bold"), *row)
    return table


def _difference(difference: Difference) -> Content:
    where = " ".join(filter(None, [difference.array, difference.key])) or "group"
    is_whole = not difference.key
    return {
        "where": where,
        "stored": _presence(difference.stored) if is_whole else plain(difference.stored),
        "declared": _presence(difference.declared) if is_whole else plain(difference.declared),
    }


def _presence(array: object) -> str | None:
    return None if array is None else "present"


def _brief(value: object) -> str:
    return "–" if value is None else str(value)


def _report_content(report: RunReport) -> Content:
    names = ("run", "dataset_id", "published_before", "published_after")
    more = ("positions_before", "positions_after", "stops_because", "notes")
    replicas = [asdict(replica) for replica in report.replicas]
    return {**{name: getattr(report, name) for name in (*names, *more)}, "replicas": replicas}
