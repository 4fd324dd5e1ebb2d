"""Proofs of regions, one a region, beside its record: `proofs/<region>-<verdict>-<time>-<state>`.

Its name says what counts, so that a listing alone tells what is proven, and what is overdue. What
a record says is not touched: an update may write it at any moment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gridmill.model.reports.proof import RegionProof, Verdict
from gridmill.stores.objects.protocol import Objects

__all__ = ["ProofMark", "Proofs"]

FOLDER = "proofs"
KEY = re.compile(rf"{FOLDER}/(\w+)-(proven|unprovable|failed)-(\d{{8}}T\d{{6}})-([0-9a-f]+)\.json")


@dataclass(frozen=True)
class ProofMark:
    """What the name of a proof says, see `RegionProof`; `at` as 20261129T200000."""

    key: str
    region: str
    verdict: Verdict
    at: str
    of: str


class Proofs:
    """The proofs of one archive.

    Parameters
    ----------
    objects
        Where they are kept: beside the records.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def marks(self) -> dict[str, ProofMark]:
        """Return by the region's key the latest proof of each; other files are none."""
        found: dict[str, ProofMark] = {}
        for key in self.objects.keys(FOLDER):
            matched = KEY.fullmatch(key)
            if matched is None:
                continue
            region, verdict, at, of = matched.groups()
            if region not in found or found[region].at <= at:
                found[region] = ProofMark(key, region, verdict, at, of)  # type: ignore[arg-type]
        return found

    def write(self, proof: RegionProof, before: ProofMark | None = None) -> None:
        """Keep a proof; the one from before goes once it is there."""
        at = re.sub(r"[-:]", "", proof.at)
        key = f"{FOLDER}/{proof.region}-{proof.verdict}-{at}-{proof.of}.json"
        self.objects.put(key, proof.to_json())
        if before is not None and before.key != key:
            self.objects.delete(before.key)

    def read(self, mark: ProofMark) -> RegionProof | None:
        """Read a proof; None if it went meanwhile.

        Raises
        ------
        UnreadableState
            It is damaged, or a later gridmill's.
        """
        content = self.objects.get(mark.key)
        if content is None:
            return None
        return RegionProof.from_json(content, f"{self.objects.url}/{mark.key}")
