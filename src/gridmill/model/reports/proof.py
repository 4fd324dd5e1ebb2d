"""Whether a region was found to be what its source files give. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Literal

from gridmill.model.records import ProgressRecord
from gridmill.model.state_files import SCHEMA, known_fields, parse_state

__all__ = ["RegionProof", "VariableProof", "Verdict", "made_of", "worst"]

Verdict = Literal["proven", "unprovable", "failed"]
VERDICTS: tuple[Verdict, ...] = ("proven", "unprovable", "failed")
RESTORE_PROOF = "delete it: the region is proven again in its turn"
NEEDS = {"region": (str,), "verdict": (str,), "at": (str,), "of": (str,)}


@dataclass(frozen=True)
class VariableProof:
    """The result of recomputing a variable of a region.

    Parameters
    ----------
    variable
        Its name.
    verdict
        ``"proven"``: every place of a source file that is still as it was holds the same;
        ``"unprovable"``: that too, but source files are gone or revised, or nothing was compared;
        ``"failed"``: something differs, see `causes`.
    by
        ``"bytes"`` or ``"values"``: what was compared, at the least.
    files, gone
        How many source files were read again, and how many are gone or of another version.
    causes
        Why it is not proven, each with its place.
    """

    variable: str
    verdict: Verdict
    by: str = ""
    files: int = 0
    gone: int = 0
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegionProof:
    """The result of recomputing a region.

    Parameters
    ----------
    region
        Its key.
    label
        Of its first position.
    verdict
        The worst of its variables.
    at
        When (ISO 8601, UTC).
    of
        What was proven, see `made_of`: of a region that was made since, it says nothing.
    gridmill
        The version that proved it.
    variables
        Each.
    """

    region: str
    label: str
    verdict: Verdict
    at: str
    of: str
    gridmill: str = ""
    variables: tuple[VariableProof, ...] = field(default=())

    def to_json(self) -> bytes:
        """Serialise, with the schema's version."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}).encode()

    @classmethod
    def from_json(cls, content: bytes, address: str) -> RegionProof:
        """Read what `to_json` wrote.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        raw = parse_state(content, address, RESTORE_PROOF, needs=NEEDS)
        variables = tuple(_variable(one) for one in raw.pop("variables", ()))
        return cls(**{**known_fields(cls, raw), "variables": variables})


def _variable(raw: Mapping[str, Any]) -> VariableProof:
    known = known_fields(VariableProof, raw)
    return VariableProof(**{**known, "causes": tuple(known.get("causes", ()))})


def made_of(record: ProgressRecord) -> str:
    """Name a state of a region: who made its variables, and when.

    Examples
    --------
    >>> made_of(ProgressRecord(dataset_id="a", start=0, stop=4))
    '3833238a'
    """
    made = sorted((name, v.run, v.finished) for name, v in record.variables.items())
    return blake2b(json.dumps(made).encode(), digest_size=4).hexdigest()


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of several verdicts; of none, that nothing can be proven.

    Examples
    --------
    >>> worst(["proven", "failed", "unprovable"]), worst([])
    ('failed', 'unprovable')
    """
    return max(verdicts, key=VERDICTS.index, default="unprovable")
