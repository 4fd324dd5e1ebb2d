"""What is said of a validation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gridmill.display.facts.forms import Tone, Verdict
from gridmill.model.wording import count_of

__all__ = ["by_repair", "describe_findings"]


def describe_findings(severities: Sequence[str]) -> Verdict:
    """Count what a validation found.

    Parameters
    ----------
    severities
        ``error`` or ``warning`` of each finding.

    Examples
    --------
    >>> describe_findings(["warning", "error", "error"]).text, describe_findings([]).text
    ('2 errors, 1 warning', 'nothing found')
    """
    counts = {kind: list(severities).count(kind) for kind in ("error", "warning")}
    said = ", ".join(count_of(n, kind) for kind, n in counts.items() if n)
    tone: Tone = "bad" if counts["error"] else "warning" if counts["warning"] else "good"
    return Verdict(said or "nothing found", tone)


def by_repair(
    findings: Iterable[Mapping[str, Any]],
) -> list[tuple[str, list[Mapping[str, Any]]]]:
    """Group findings by the command that repairs them, in the order of each first one.

    Parameters
    ----------
    findings
        As plain values.

    Examples
    --------
    >>> found = [{"repair": "a", "n": 1}, {"repair": "b", "n": 2}, {"repair": "a", "n": 3}]
    >>> [(repair, [one["n"] for one in group]) for repair, group in by_repair(found)]
    [('a', [1, 3]), ('b', [2])]
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for finding in findings:
        groups.setdefault(finding["repair"] or "", []).append(finding)
    return list(groups.items())
