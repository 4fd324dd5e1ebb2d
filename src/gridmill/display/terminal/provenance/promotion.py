"""A version that takes the place of the one that readers see."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.display.terminal.elsewhere.comparison import comparison_content, show_comparison
from gridmill.display.terminal.layout import heading, section
from gridmill.display.terminal.report import replica_lines
from gridmill.display.terminal.validation import show_validation, validation_content
from gridmill.display.terminal.values import Content, masked

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.model.reports.run_report import RunReport
    from gridmill.operations.versions.candidate import Candidate
    from gridmill.validation import Validation

__all__ = ["promotion_content", "show_promotion"]


def promotion_content(
    dataset: DynamicalDataset,
    candidate: Candidate | None,
    validation: Validation | None,
    report: RunReport | None,
) -> Content:
    """Say how a version differs from the one that readers see, and what became of it."""
    content: Content = {
        "dataset_id": dataset.dataset_id,
        "store": masked(dataset.store.url),
        "promoted": report is not None,
        "notes": [] if report is None else list(report.notes),
        "replicas": [] if report is None else [asdict(replica) for replica in report.replicas],
    }
    if candidate is not None:
        content["comparison"] = comparison_content(candidate.comparison)
        content["losses"] = list(candidate.comparison.only_in_a)
    if validation is not None:
        content["validation"] = validation_content(validation)
    return content


def show_promotion(content: Content) -> RenderableType:
    """Show what differs, what was found, and what readers see since."""
    parts: list[RenderableType] = []
    if "validation" in content:
        parts += [show_validation(content["validation"]), ""]
    if "comparison" in content:
        about = f"{content['store']}: A is what readers see, B the other version"
        parts += [heading(content["dataset_id"], about), show_comparison(content["comparison"])]
    if content.get("losses"):
        lines = Group(*(Text(line, "red") for line in content["losses"]))
        parts.append(section("what readers lose", lines))
    if content["promoted"]:
        parts += [Text(f"✓ {note}", "green") for note in content["notes"]]
    followed = [r["url"] for r in content["replicas"] if not r["failure"]]
    parts += [Text(f"✓ replica {url} shows it, too", "green") for url in followed]
    parts += replica_lines(content)
    return Group(*parts)
