"""Registered datasets, the package of a new one, and what is proposed for one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.layout import heading, section, table_of
from gridmill.display.terminal.values import Content
from gridmill.model.wording import count_of, every

if TYPE_CHECKING:
    from gridmill.authoring.scaffold import Names
    from gridmill.operations.samples.proposal import Proposal
    from gridmill.registry import DatasetEntry

__all__ = [
    "entry_content",
    "proposal_content",
    "scaffold_content",
    "show_entries",
    "show_proposal",
    "show_scaffold",
]

# Of what no archive gets of samples, lines that are shown.
MOST_LEFT_OUT = 8


def entry_content(entry: DatasetEntry, *, details: bool) -> Content:
    """Say where a dataset is, and with `details` what it is, or why it cannot be imported."""
    content: Content = {"name": entry.name, "target": entry.target, "package": entry.package}
    if not details:
        return content
    try:
        dataset = entry.load()
        config = dataset.template_config()
    # One that cannot be imported, or contradicts itself, shows as what it is.
    except Exception as error:
        return {**content, "error": " ".join(str(error).split())}
    return {
        **content,
        "title": str(config.dataset_attributes["title"]),
        "verified": dataset.verified,
        "append_dim": config.append_dim,
        "append_dim_start": config.append_dim_start,
        "append_dim_frequency": config.append_dim_frequency,
        "data_vars": [var.name for var in config.data_vars],
    }


def show_entries(entries: Sequence[Content]) -> RenderableType:
    """Show the registered datasets, a row each."""
    if not entries:
        return Text("No package registers a dataset (entry-point group gridmill.datasets).")
    table = table_of("dataset", "defined in" if _are_brief(entries) else "description", "package")
    for entry in entries:
        table.add_row(Text(entry["name"], "bold"), _describe_entry(entry), entry["package"])
    return table


def _are_brief(entries: Sequence[Content]) -> bool:
    return not any("title" in entry or "error" in entry for entry in entries)


def _describe_entry(entry: Content) -> Text:
    if "error" in entry:
        return Text(f"error: {entry['error']}", "red")
    if "title" not in entry:
        return Text(entry["target"])
    text = Text(entry["title"])
    step = f" {every(entry['append_dim_frequency'])}" if entry["append_dim_frequency"] else ""
    since = f"{entry['append_dim']}{step} from {entry['append_dim_start']}"
    text.append(f"\n{since} · {count_of(len(entry['data_vars']), 'variable')}", "dim")
    if entry["verified"] is None:
        text.append("\nunverified: never compared with files of the provider", "yellow")
    return text


def scaffold_content(names: Names, folder: Path, written: Sequence[Path]) -> Content:
    """Say what was written, and what to do with it."""
    target = f"{names.package}.dataset:{names.class_name}"
    return {
        "dataset_id": names.dataset_id,
        "folder": str(folder),
        "files": [str(path.relative_to(folder)) for path in written],
        "dataset": target,
        "next": [
            f"cd {folder}",
            f"python -m {names.package}.generated source --days 10",
            f"gridmill backfill {target} --until 2024-01-08",
            "python -m pytest",
        ],
    }


def show_scaffold(content: Content) -> RenderableType:
    """Show what was written, and what to do with it."""
    return Group(
        heading(content["dataset_id"], content["folder"]),
        *(Text(f"  {name}") for name in content["files"]),
        section("try it", Text("\n".join(f"  {command}" for command in content["next"]))),
        Text("\nNext, make it your own: README.md has the steps."),
    )


def proposal_content(
    proposal: Proposal, names: Names, folder: Path, written: Sequence[Path]
) -> Content:
    """Say what is proposed, what is asked, and what was written."""
    from gridmill.operations.samples.proposing.asking import bounded

    timing, pattern = proposal.timing, proposal.pattern
    target = f"{names.package}.dataset:{names.class_name}"
    shown: Any = proposal
    commands = [f"cd {folder}", "pip install --editable '.[test]'", "python -m pytest"]
    return {
        "dataset_id": names.dataset_id,
        "dataset": target,
        "dims": list(proposal.dims),
        "start": str(timing.labels[0]),
        "frequency": timing.frequency,
        "path": str(pattern),
        "base": pattern.base,
        "grid": _grid(shown),
        "chunks": list(proposal.chunks),
        "shards": list(proposal.shards),
        "variables": [_variable(var) for var in shown.variables],
        "other_variables": list(proposal.others),
        "questions": [
            {"question": one.text, "why": one.why, "look_at": one.look_at}
            for one in bounded(proposal.questions)
        ],
        "left_out": list(proposal.left_out),
        "inventory": getattr(proposal, "inventory", None),
        "folder": str(folder),
        "files": [str(path.relative_to(folder)) for path in written],
        "next": commands if written else [],
    }


def _grid(proposal: Any) -> str:
    if hasattr(proposal, "axes"):
        return " × ".join(f"{name} {axis.values.size}" for name, axis in proposal.axes.items())
    grid = proposal.grid
    return "unknown" if grid is None else f"{grid.grid_type} {' × '.join(map(str, grid.shape))}"


def _variable(var: Any) -> Content:
    if hasattr(var, "source_name"):
        return {"name": var.name, "source": var.source_name, "units": var.attrs["units"]}
    first = var.first
    levels = f"{len(var.fields)} levels" if len(var.fields) > 1 else first.level
    step = {"packed_in_steps_of": first.step} if first.step else {}
    units = var.more.get("units") or first.units
    return {"name": var.name, "source": f"{first.parameter}, {levels}", "units": units, **step}


def show_proposal(content: Content) -> RenderableType:
    """Show a proposal."""
    about = table_of("what", "proposed")
    for key in ("dims", "start", "frequency", "path", "base", "grid", "chunks", "shards"):
        value = content[key]
        about.add_row(
            key, Text(", ".join(map(str, value)) if isinstance(value, list) else str(value))
        )
    variables = table_of("variable", "in the samples", "units", "packed in steps of")
    for var in content["variables"]:
        step = var.get("packed_in_steps_of")
        variables.add_row(
            Text(var["name"], "bold"),
            Text(var["source"]),
            Text(var["units"]),
            f"{step:g}" if step else "",
        )
    parts: list[RenderableType] = [heading(content["dataset_id"], content["folder"]), about]
    parts += [section("variables", variables), section("questions", _questions(content))]
    if content["left_out"]:
        parts.append(section("left out", _left_out(content["left_out"])))
    if not content["files"]:
        return Group(*parts, Text("\nNothing was written."))
    parts += [Text(f"  {name}") for name in content["files"]]
    return Group(*parts, section("next", Text("\n".join(f"  {c}" for c in content["next"]))))


def _questions(content: Content) -> Text:
    lines = []
    for number, one in enumerate(content["questions"], start=1):
        lines.append(f"  {number}. {one['question']}")
        lines.append(f"     {one['why']}; look at {one['look_at']}")
    return Text("\n".join(lines))


def _left_out(lines: Sequence[str]) -> Text:
    more = len(lines) - MOST_LEFT_OUT
    shown = [f"  {line}" for line in lines[:MOST_LEFT_OUT]]
    return Text("\n".join([*shown, *([f"  and {count_of(more, 'other')}"] if more > 0 else [])]))
