"""A static STAC catalogue in a store: an entry per archive, and the root that lists them.

Each object is replaced whole and only if it changes; an entry's collection comes after what it
names, and the root after the entry. Several archives may share a catalogue.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gridmill.operations.catalogue.collection import PAGE, STAC_VERSION
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Objects

__all__ = ["COLLECTION", "ROOT", "Entry", "as_json", "write_entry"]

ROOT, COLLECTION = "catalog.json", "collection.json"
# Each attempt means that another archive was written at the same moment.
PATIENCE = Patience(attempts=20)


@dataclass(frozen=True)
class Entry:
    """One archive in a catalogue.

    Parameters
    ----------
    collection
        Its STAC collection.
    files
        What lies beside it, by name.
    """

    collection: Mapping[str, Any]
    files: Mapping[str, bytes]


class _OvertakenError(OSError):
    """Somebody wrote the root since it was read."""


def write_entry(objects: Objects, entry: Entry, page_of: Callable[[Mapping[str, Any]], str]) -> int:
    """Write an archive's entry, and list it in the root; how many objects changed.

    Parameters
    ----------
    objects
        Where the catalogue is.
    entry
        The archive.
    page_of
        Makes the page for people of the root.

    Raises
    ------
    OSError
        The store cannot be written.
    ValueError
        ``catalog.json`` is there and is no STAC catalogue.

    Notes
    -----
    Idempotent. Where the store has conditional puts, nothing is lost that others write to the root
    at the same moment; elsewhere, as on a disk, their next publication lists them.
    """
    folder = str(entry.collection["id"])
    contents = {**entry.files, COLLECTION: as_json(entry.collection)}
    changed = sum(_put(objects, f"{folder}/{name}", file) for name, file in contents.items())
    for attempt in PATIENCE.attempts_at(_OvertakenError):
        with attempt:
            before = objects.get(ROOT)
            root = _with_child(_read(objects.url, before), entry.collection)
            changed += _put(objects, ROOT, as_json(root), _unchanged(objects, before))
            return changed + _put(objects, PAGE, page_of(root).encode())
    raise AssertionError("stamina raises what the last attempt raised")


def as_json(content: Mapping[str, Any]) -> bytes:
    """Return strict JSON, readable."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False).encode()


def _put(
    objects: Objects, key: str, content: bytes, check: Callable[[], None] = lambda: None
) -> bool:
    change = objects.change(key, content)
    if change is not None:
        change(check)
    return change is not None


def _unchanged(objects: Objects, before: bytes | None) -> Callable[[], None]:
    def check() -> None:
        if objects.get(ROOT) != before:
            raise _OvertakenError(
                f"{objects.url}/{ROOT} was overwritten by others {PATIENCE.attempts} times, each "
                "time since it was read: run again"
            )

    return check


def _read(url: str, content: bytes | None) -> dict[str, Any]:
    if content is None:
        return {
            "type": "Catalog",
            "stac_version": STAC_VERSION,
            "id": "gridmill",
            "title": "Archives",
            "description": "Archives of gridded weather and climate data.",
            "links": [{"rel": "root", "href": f"./{ROOT}", "type": "application/json"}],
        }
    try:
        root = json.loads(content)
    except ValueError:
        root = None
    if not isinstance(root, dict) or root.get("type") != "Catalog":
        raise ValueError(f"{url}/{ROOT} is no STAC catalogue: give another place, or delete it")
    return root


def _with_child(root: dict[str, Any], collection: Mapping[str, Any]) -> dict[str, Any]:
    """Return the root with a link to a collection; links of others stay."""
    href = f"./{collection['id']}/{COLLECTION}"
    child = {"rel": "child", "href": href, "type": "application/json", "title": collection["title"]}
    others = [link for link in root["links"] if link.get("href") != href]
    children = [link for link in others if link["rel"] == "child"]
    rest = [link for link in others if link["rel"] != "child"]
    in_order = sorted([*children, child], key=lambda link: str(link["href"]))
    return {**root, "links": [*rest, *in_order]}
