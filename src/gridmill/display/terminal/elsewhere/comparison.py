"""Two archives as a reader sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridmill.display.terminal.layout import section, table_of
from gridmill.display.terminal.values import Content, masked, plain
from gridmill.model.wording import count_of, format_nbytes

if TYPE_CHECKING:
    from gridmill.operations.elsewhere.comparing import Comparison

__all__ = ["comparison_content", "show_comparison"]


def comparison_content(comparison: Comparison) -> Content:
    """Say where two archives differ, and what each costs its readers."""
    content: Content = plain(asdict(comparison))
    for which, side in (("a", comparison.a), ("b", comparison.b)):
        content[which]["url"] = masked(side.url)
        content[which]["costs"] = {
            name: [
                {"read": cost.what, "requests": cost.requests, "nbytes": cost.nbytes}
                for cost in costs
            ]
            for name, costs in side.costs.items()
        }
    return {"is_same": comparison.is_same, **content}


def show_comparison(content: Content) -> RenderableType:
    """Show where two archives differ, and what each costs its readers."""
    parts: list[RenderableType] = [_sides(content)]
    for what in ("structure", "attributes", "extent"):
        if content[what]:
            parts.append(section(what, Group(*map(Text, content[what]))))
    parts.append(section("values", _values(content["variables"])))
    costs = _costs(content["a"]["costs"], content["b"]["costs"])
    if costs.row_count:
        parts.append(section("what reads cost", costs))
    if content["is_same"]:
        return Group(*parts, Text("✓ readers see the same in both", "bold green"))
    return Group(*parts, Text("✗ readers see differences", "bold red"))


def _sides(content: Content) -> Table:
    table = table_of("", "address", "format", "lengths", "objects", "size")
    for which in ("a", "b"):
        side = content[which]
        lengths = ", ".join(f"{dim} {n:,}" for dim, n in side["sizes"].items())
        about = "about " if side["is_estimate"] else ""
        size = f"{about}{format_nbytes(side['nbytes'])}"
        table.add_row(
            which.upper(), side["url"], side["format"], lengths, f"{side['objects']:,}", size
        )
    return table


def _values(variables: Sequence[Content]) -> Table:
    table = table_of("variable", "compared", "differing", "missing in one", "by up to", "first at")
    for one in variables:
        most = one["max_abs_difference"]
        first = ", ".join(f"{dim} {label}" for dim, label in (one["first"] or {}).items())
        table.add_row(
            Text(one["name"], "bold"),
            f"{one['values']:,}{' (sampled)' if one['is_sampled'] else ''}",
            Text(f"{one['differing']:,}", "red" if one["differing"] else ""),
            f"{one['missing_in_one']:,}",
            "–" if most is None else f"{most:g}" if isinstance(most, float) else str(most),
            first or "–",
        )
    return table


def _costs(a: Mapping[str, Sequence[Content]], b: Mapping[str, Sequence[Content]]) -> Table:
    """Show a row a read, variables that cost the same together."""
    alike: dict[str, list[str]] = {}
    costs: dict[str, tuple[Sequence[Content], Sequence[Content]]] = {}
    for name in sorted({*a, *b}):
        pair = (a.get(name, ()), b.get(name, ()))
        alike.setdefault(repr(pair), []).append(name)
        costs[repr(pair)] = pair
    table = table_of("variables", "read", "A", "B")
    for key, names in alike.items():
        of = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        reads = [cost["read"] for cost in (costs[key][0] or costs[key][1])]
        for number, read in enumerate(reads):
            cells = [_cost(side[number]) if number < len(side) else "–" for side in costs[key]]
            table.add_row("" if number else of, read, *cells)
    return table


def _cost(cost: Content) -> str:
    return f"{count_of(cost['requests'], 'request')}, {format_nbytes(cost['nbytes'])}"
