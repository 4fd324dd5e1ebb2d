"""What came of proving regions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.facts.archives import describe_proofs
from gridmill.display.terminal.layout import ends_of, facts_grid, heading, table_of
from gridmill.display.terminal.values import Content, plain

if TYPE_CHECKING:
    from gridmill.operations.proving.prove import Proving

__all__ = ["proving_content", "show_proving"]

LOOKS = {"proven": "green", "unprovable": "yellow", "failed": "bold red"}


def proving_content(proving: Proving) -> Content:
    """Say what came of proving regions."""
    content: Content = plain({**asdict(proving), "has_failed": proving.failed})
    return content


def show_proving(content: Content) -> RenderableType:
    """Show a row a region and, of what is not proven, variable."""
    title = heading(content["dataset_id"], content["store"])
    counts = facts_grid([describe_proofs(content["counts"])])
    if not content["proofs"] and not content["changed"]:
        return Group(title, Text("no region is published whole yet", "yellow"), counts)
    table = table_of("region", "verdict", "compared", "why")
    for row in ends_of([*content["proofs"], *content["changed"]]):
        if isinstance(row, str):
            table.add_row(row, "" if row.startswith("…") else "changed meanwhile", "", "")
            continue
        for cells in _rows(row):
            table.add_row(*cells)
    return Group(title, table, counts)


def _rows(proof: Content) -> list[list[Text]]:
    """Return a line for the region, and one for each variable that is not proven."""
    variables = proof["variables"]
    files = sum(one["files"] for one in variables)
    by_values = sum(one["by"] == "values" for one in variables)
    compared = f"{len(variables)} variables, {files:,} source files read"
    if by_values:
        compared += f", {by_values} by their values"
    verdict = Text(proof["verdict"], LOOKS[proof["verdict"]])
    rows = [[Text(proof["label"], "bold"), verdict, Text(compared), Text()]]
    for one in variables:
        if one["verdict"] != "proven":
            why = Text("; ".join(one["causes"]))
            verdict = Text(one["verdict"], LOOKS[one["verdict"]])
            rows.append([Text(f"  {one['variable']}"), verdict, Text(), why])
    return rows
