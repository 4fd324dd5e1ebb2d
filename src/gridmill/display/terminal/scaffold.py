"""The package of a new dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.layout import heading, section
from gridmill.display.terminal.values import Content

if TYPE_CHECKING:
    from gridmill.authoring.scaffold import Names

__all__ = ["scaffold_content", "show_scaffold"]


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
