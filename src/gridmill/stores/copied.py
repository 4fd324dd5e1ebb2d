"""Objects that are copied: between a store and a local folder, and within a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from gridmill.model.records import ObjectReceipt
from gridmill.stores.lookahead import each
from gridmill.stores.metadata import publication_step
from gridmill.stores.objects.protocol import Change, Objects

__all__ = ["ObjectReplaced", "fetch_object", "keep_object", "put_changed", "renamed"]


class ObjectReplaced(RuntimeError):  # noqa: N818
    """An object is gone, or is not any more what its receipt says."""


def keep_object(folder: Path, receipt: ObjectReceipt, content: bytes | None) -> None:
    """Write an object into a local folder, if it is what its receipt says.

    Raises
    ------
    ObjectReplaced
        It is not.
    """
    if content is None or not receipt.is_of(content):
        became = "is gone" if content is None else "was replaced since it was recorded"
        raise ObjectReplaced(f"{receipt.key} {became}")
    path = folder / receipt.key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def renamed(key: str, name: str) -> str:
    """Return the key of an object in another array.

    Examples
    --------
    >>> renamed("t2m/c/0/0", "temperature_2m")
    'temperature_2m/c/0/0'
    """
    return f"{name}/{key.partition('/')[2]}"


def fetch_object(objects: Objects, key: str, folder: Path) -> None:
    """Copy an object into a local store, if there is one."""
    content = objects.get(key)
    if content is not None:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)


def put_changed(
    objects: Objects, keys: Sequence[str], folder: Path, check: Callable[[], None] = lambda: None
) -> bool:
    """Put those of a local store's objects that differ, a step at a time; whether any did."""

    def look(key: str) -> Change | None:
        return objects.change(key, (folder / key).read_bytes())

    looked = dict(zip(keys, each(look, keys, objects.at_once), strict=True))
    changes = {key: change for key, change in looked.items() if change is not None}
    for _, step in groupby(changes, publication_step):
        each(lambda key: changes[key](check), list(step), objects.at_once)
    return bool(changes)
