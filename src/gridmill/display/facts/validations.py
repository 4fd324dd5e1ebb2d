"""What is said of a validation."""

from __future__ import annotations

from collections.abc import Sequence

from gridmill.display.facts.forms import Tone, Verdict
from gridmill.model.wording import (
    count_of,
)

__all__ = ["describe_findings"]


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
