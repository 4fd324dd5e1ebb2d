"""What a validation found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from gridmill.display.facts.validations import by_repair, describe_findings
from gridmill.display.terminal.layout import heading, section, table_of
from gridmill.display.terminal.values import Content, plain
from gridmill.model.wording import format_duration

if TYPE_CHECKING:
    from gridmill.validation import Validation

__all__ = ["show_validation", "validation_content"]


def validation_content(validation: Validation) -> Content:
    """Say what was looked at, and what was found."""
    content: Content = plain(validation.to_dict())
    return content


def show_validation(content: Content) -> RenderableType:
    """Show a line a check, and a line a finding with the command that repairs it."""
    about = content["store"] + (f" ({content['selection']})" if content["selection"] else "")
    table = table_of("check", "result", "details", "time")
    for result in content["results"]:
        table.add_row(
            Text(result["validator"], "bold"),
            _outcome(result),
            Text(result["examined"], "dim"),
            Text(format_duration(result["seconds"]), "dim"),
        )
    parts: list[RenderableType] = [heading(content["dataset_id"], about), table]
    findings = [f for result in content["results"] for f in result["findings"]]
    if findings:
        lines = [line for group in by_repair(findings) for line in _lines(*group)]
        parts.append(section("findings", Group(*(Padding(line, (0, 0, 0, 2)) for line in lines))))
    return Group(*parts, _verdict(content))


def _outcome(result: Mapping[str, Any]) -> Text:
    severities = [finding["severity"] for finding in result["findings"]]
    if not severities:
        return Text("✓", "green")
    n = len(severities)
    return Text(f"✗ {n}", "red") if "error" in severities else Text(f"! {n}", "yellow")


def _lines(repair: str, findings: Sequence[Mapping[str, Any]]) -> list[Text]:
    """Return the findings that one command repairs; it is said once, after them."""
    lines = [_line(finding) for finding in findings]
    if repair and len(lines) > 1:
        lines.append(Text(f"all {len(lines)}"))
    if repair:
        lines[-1].append(" → ", "dim").append(repair, "cyan")
    return lines


def _line(finding: Mapping[str, Any]) -> Text:
    look = "red" if finding["severity"] == "error" else "yellow"
    text = Text(f"{finding['severity']}: ", look)
    if finding["place"]:
        text.append(f"{finding['place']}: ", "bold")
    return text.append(finding["message"])


def _verdict(content: Content) -> RenderableType:
    severities = [f["severity"] for result in content["results"] for f in result["findings"]]
    verdict = describe_findings(severities).text
    look = "bold green" if content["succeeded"] else "bold red"
    mark = "✓" if content["succeeded"] else "✗"
    return Padding(Text(f"{mark} {content['dataset_id']}: {verdict}", look), (1, 0, 0, 0))
