"""Registered datasets, and the package of a new one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.layout import heading, section, table_of
from gridmill.display.terminal.values import Content
from gridmill.model.wording import count_of

if TYPE_CHECKING:
    from gridmill.authoring.scaffold import Names
    from gridmill.registry import DatasetEntry

__all__ = ["entry_content", "scaffold_content", "show_entries", "show_scaffold"]


def entry_content(entry: DatasetEntry, *, details: bool) -> Content:
    """Say where a dataset is, and with `details` what it is, or why it cannot be imported."""
    content: Content = {"name": entry.name, "target": entry.target, "package": entry.package}
    if not details:
        return content
    try:
        config = entry.load().template_config()
    # One that cannot be imported, or contradicts itself, shows as what it is.
    except Exception as error:
        return {**content, "error": " ".join(str(error).split())}
    return {
        **content,
        "title": str(config.dataset_attributes["title"]),
        "append_dim": config.append_dim,
        "append_dim_start": config.append_dim_start,
        "append_dim_frequency": config.append_dim_frequency,
        "data_vars": [var.name for var in config.data_vars],
    }


def show_entries(entries: Sequence[Content]) -> RenderableType:
    """Show the registered datasets, a row each."""
    if not entries:
        return Text("No package registers a dataset (entry-point group gridmill.datasets).")
    table = table_of("dataset", "defined in" if _are_brief(entries) else "what it is", "package")
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
    step = f" every {entry['append_dim_frequency']}" if entry["append_dim_frequency"] else ""
    since = f"{entry['append_dim']}{step} from {entry['append_dim_start']}"
    text.append(f"\n{since} · {count_of(len(entry['data_vars']), 'variable')}", "dim")
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
        Text("\nThen make it your own: README.md says how, step by step."),
    )
