"""What validators say: findings, each in one line with the command that repairs it. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from gridmill.model.display_hook import card_of

__all__ = ["CheckResult", "Finding", "Severity", "Validation"]

Severity = Literal["error", "warning"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something in an archive that is not as it should be.

    Parameters
    ----------
    message
        What, in one line, with the values and the rule.
    severity
        ``"error"``: the archive is wrong. ``"warning"``: it is as good as it can be now, and
        that is not all of it.
    variables
        Which variables; empty if it is about the archive.
    first, last
        Labels of the first and the last position, both included; empty if it is about all.
    repair
        The command that repairs it; empty if no command can.
    """

    message: str
    severity: Severity = "error"
    variables: tuple[str, ...] = ()
    first: str = ""
    last: str = ""
    repair: str = ""

    @property
    def place(self) -> str:
        """Variables and positions in a few words.

        Examples
        --------
        >>> Finding(message="", variables=("t", "q"), first="2020-01-01", last="2020-01-02").place
        't, q, 2020-01-01 … 2020-01-02'
        """
        span = self.first if self.first == self.last else f"{self.first} … {self.last}"
        return ", ".join([*self.variables, *([span] if span else [])])

    def __str__(self) -> str:
        return ": ".join([self.severity, *([self.place] if self.place else []), self.message])


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one validator found.

    Parameters
    ----------
    validator
        Its name.
    findings
        Empty if all is well.
    examined
        What it looked at, in a few words: no finding in nothing says nothing.
    seconds
        How long it took.
    """

    validator: str
    findings: tuple[Finding, ...] = ()
    examined: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Validation:
    """What the validation of an archive found.

    Parameters
    ----------
    dataset_id, store
        What was validated, and where it is.
    at
        When, ISO 8601, UTC.
    selection
        Which positions and variables, in words; empty if all that is published.
    results
        What each validator found, in their order.
    """

    dataset_id: str
    store: str
    at: str
    selection: str = ""
    results: tuple[CheckResult, ...] = ()

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in the validators' order."""
        return tuple(finding for result in self.results for finding in result.findings)

    @property
    def succeeded(self) -> bool:
        """Whether no finding is an error."""
        return not any(finding.severity == "error" for finding in self.findings)

    @property
    def found_by(self) -> dict[str, tuple[Finding, ...]]:
        """Findings by validator, of those that found any."""
        return {r.validator: r.findings for r in self.results if r.findings}

    def _repr_html_(self) -> str:
        return card_of(self)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values."""
        content = {**asdict(self), "succeeded": self.succeeded}
        for result, was in zip(content["results"], self.results, strict=True):
            for plain, finding in zip(result["findings"], was.findings, strict=True):
                plain["place"] = finding.place
        return content
