"""How far a run believes what earlier ones recorded, and which objects it asks the store for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol
from zlib import crc32

from gridmill.authoring.region_job import RegionJob
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.region import Region

__all__ = [
    "AS_RECORDED",
    "Belief",
    "Looks",
    "Missing",
    "asked_together",
    "nothing_missing",
    "objects_looked_at",
]

log = logging.getLogger(__name__)

# Enough to notice a store that was deleted or rebuilt; `validate` looks at every object.
OBJECTS_SAMPLED = 3
# Of all regions that an update looks back on: each is a request, and new data wait for them.
OBJECTS_LOOKED_AT = 120


class Missing(Protocol):
    """Returns the keys of those objects that the final store does not hold."""

    def __call__(self, receipts: Sequence[ObjectReceipt], token: str | None = None, /) -> list[str]:
        """Look for objects, in what the token made durable if there is one."""


def nothing_missing(receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
    """Believe that the store holds every object, for who only wants what is recorded."""
    return []


def asked_together(
    missing: Missing, job: RegionJob[Any, Any], record: ProgressRecord | None, belief: Belief
) -> Missing:
    """Return what looks for a region's objects: at the first asking for those of all variables.

    A distant store makes each asking wait. What needs a token is asked for by itself.

    Parameters
    ----------
    missing
        Asks the store.
    job, record
        The region's; its variables are those that may be asked for.
    belief
        Says which of their objects are looked at.
    """

    @cache
    def looked() -> Mapping[str, bool]:
        recorded = {} if record is None else record.variables
        known = [recorded[var.name] for var in job.data_vars if var.name in recorded]
        plain = [one for one in known if one.token is None]
        objects = [found for one in plain for found in objects_looked_at(one, belief)]
        gone = set(missing(objects))
        return {found.key: found.key in gone for found in objects}

    def look(receipts: Sequence[ObjectReceipt], token: str | None = None) -> list[str]:
        if token is not None:
            return missing(receipts, token)
        unseen = [receipt for receipt in receipts if receipt.key not in looked()]
        gone = set(missing(unseen)) if unseen else set()
        return [one.key for one in receipts if looked().get(one.key, one.key in gone)]

    return look


def objects_looked_at(known: VariableRecord, belief: Belief) -> Sequence[ObjectReceipt]:
    # A hole is filled when its source files come, which is asked for elsewhere.
    held = [found for found in known.objects if found.key not in known.holes]
    return held if belief.revalidate else _sample(held)


@dataclass
class Looks:
    """Which regions' objects a run looks for in the store.

    Parameters
    ----------
    one_in
        Of so many regions it takes about one; all from one on that lacks an object.
    turn
        Another one takes other regions.
    seen
        Says how many positions readers see when it is asked. What they do not see yet is always
        looked at: nothing is shown to them that the store does not hold.
    """

    one_in: int = 1
    turn: str = ""
    seen: Callable[[], int] = field(default=int, compare=False)

    @classmethod
    def of_update(
        cls, regions: int, variables: int, turn: object, seen: Callable[[], int]
    ) -> Looks:
        """Return those of an update that looks back on so many regions."""
        many = regions * variables * OBJECTS_SAMPLED
        return cls(max(1, -(-many // OBJECTS_LOOKED_AT)), str(turn), seen)

    def take(self, region: Region) -> bool:
        """Whether this region is looked at."""
        if region.is_static or region.stop > self.seen():
            return True
        return crc32(f"{self.turn} {region.key}".encode()) % self.one_in == 0

    def take_all(self, lacking: str) -> None:
        """Take every region from here on, since the store lacks an object."""
        if self.one_in > 1:
            log.warning(
                "the store does not hold %s, which an earlier run uploaded: all regions from here "
                "on are looked at; gridmill update --revalidate looks at every object of all",
                lacking,
            )
        self.one_in = 1


@dataclass(frozen=True)
class Belief:
    """How far a run believes what earlier ones recorded: the same for all of its region jobs.

    Parameters
    ----------
    revalidate
        Believe nothing unseen: ask the provider whether files were revised since, and the store
        for every object.
    runs
        Take for done only what these runs did, and reprocess the rest; None takes all.
    looks
        The regions whose objects are looked for, if not all are.
    """

    revalidate: bool = False
    runs: tuple[str, ...] | None = None
    looks: Looks = field(default_factory=Looks)

    def takes(self, known: VariableRecord) -> bool:
        """Whether a variable is done if its record says so."""
        return self.runs is None or known.run in self.runs


AS_RECORDED = Belief()


def _sample(objects: Sequence[ObjectReceipt]) -> Sequence[ObjectReceipt]:
    step = max(1, len(objects) // OBJECTS_SAMPLED)
    return objects[::step][:OBJECTS_SAMPLED]
