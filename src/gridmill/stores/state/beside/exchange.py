"""What lies beside a store moves to another version's place, and says so as long as it does.

While records and what readers see may belong to different versions, the declaration says what is
under way (`UNDER_WAY`), and no run opens the archive: see `gridmill.archive.declaration`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from gridmill.model.state_files import SCHEMA
from gridmill.stores.lookahead import each
from gridmill.stores.objects.protocol import Objects

__all__ = [
    "EARLIER",
    "OF",
    "PROMOTED",
    "RETAINED",
    "UNDER_WAY",
    "Promotion",
    "clear",
    "lineage_of",
    "mark",
    "mark_of",
    "promoted",
    "promotion_of",
    "promotions_of",
    "settle",
    "take_over",
]

# In a declaration: what was started on the archive, until it is done.
UNDER_WAY = "promoting"
# Which version took the place of which, and when, with what was said of the one before (`EARLIER`).
# A replica that was made of another version is told from this one by it.
PROMOTED = "promoted"
EARLIER = "earlier"
# In what a replica's declaration says of it: when its archive's version took its place, by which it
# is told. The rest are the replica's own names and moment.
OF = "of"
# Which retention gave the archive the start that is declared.
RETAINED = "retained"
DECLARATION = "declaration.json"
# They belong to a place and its readers, whatever version is there.
STAY = ("leases", "feed", "staging")
# What happened to a version goes along with it, and what happened at the place stays.
JOIN = ("runs",)
OWN = ("copied-from.json", "probe")


class Promotion(NamedTuple):
    """A version that took the place of another one.

    Parameters
    ----------
    at
        When.
    before, after
        The store's own names of the versions that readers saw before, and see since.
    """

    at: datetime
    before: str
    after: str


def promoted(
    declaration: Mapping[str, Any] | None, order: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return what the present version's declaration is to say of a promotion that was ordered."""
    said = {name: order[name] for name in ("from", "to", "at", OF) if name in order}
    earlier = (declaration or {}).get(PROMOTED)
    return {PROMOTED: {**said, **({EARLIER: earlier} if earlier else {})}}


def promotion_of(declaration: Mapping[str, Any] | None) -> str | None:
    """Return what tells the last promotion of an archive; its replicas have the same.

    Examples
    --------
    >>> archive = {"promoted": {"from": "A", "to": "B", "at": "2025-07-01"}}
    >>> replica = {"promoted": {"from": "C", "to": "D", "at": "2025-07-02", "of": "2025-07-01"}}
    >>> promotion_of(archive), promotion_of(replica), promotion_of({})
    ('2025-07-01', '2025-07-01', None)
    """
    return next(iter(lineage_of(declaration)), None)


def lineage_of(declaration: Mapping[str, Any] | None) -> list[str]:
    """Return what tells each promotion of an archive, or of a replica, the latest first."""
    found, said = list[str](), (declaration or {}).get(PROMOTED)
    while said:
        found.append(said.get(OF, said["at"]))
        said = said.get(EARLIER)
    return found


def promotions_of(declaration: Mapping[str, Any] | None) -> list[Promotion]:
    """Return the promotions of an archive, the latest first."""
    found, said = list[Promotion](), (declaration or {}).get(PROMOTED)
    while said:
        found.append(Promotion(datetime.fromisoformat(said["at"]), said["from"], said["to"]))
        said = said.get(EARLIER)
    return found


def mark_of(declaration: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return what a declaration says is under way; None if nothing is."""
    found = (declaration or {}).get(UNDER_WAY)
    return dict(found) if found else None


def mark(objects: Objects, declaration: Mapping[str, Any], what: Mapping[str, Any]) -> None:
    """Say in a declaration what is under way: from now on no run opens the archive."""
    _declare(objects, {**declaration, UNDER_WAY: dict(what)})


def settle(objects: Objects, declaration: Mapping[str, Any]) -> None:
    """Say in a declaration that nothing is under way any more."""
    _declare(objects, {k: v for k, v in declaration.items() if k != UNDER_WAY})


def take_over(source: Objects, target: Objects) -> None:
    """Let a place have what another one has, but for the declaration; the same again completes it.

    `mark` it before, and `settle` it after.
    """
    ours = _moving(target)
    theirs = _moving(source)

    def copy(key: str) -> None:
        content = source.get(key)
        if content is not None and content != (target.get(key) if key in ours else None):
            target.put(key, content)

    each(copy, sorted(theirs), target.at_once)
    gone = [key for key in ours - theirs if _folder(key) not in JOIN]
    each(target.delete, sorted(gone), target.at_once)


def clear(objects: Objects, before_last: Callable[[], None]) -> None:
    """Delete all that is at a place, its declaration last; `mark` it before.

    `before_last` is called when nothing else is left.
    """
    kept = ("leases", "staging")
    there = objects.keys("")
    keys = [key for key in there if _folder(key) not in kept and key != DECLARATION]
    each(objects.delete, keys, objects.at_once)
    before_last()
    objects.delete(DECLARATION)


def _moving(objects: Objects) -> set[str]:
    keys = objects.keys("")
    return {k for k in keys if _folder(k) not in STAY and k not in (DECLARATION, *OWN)}


def _folder(key: str) -> str:
    return key.partition("/")[0]


def _declare(objects: Objects, declaration: Mapping[str, Any]) -> None:
    objects.put(DECLARATION, json.dumps({"schema": SCHEMA, **declaration}, indent=1).encode())
