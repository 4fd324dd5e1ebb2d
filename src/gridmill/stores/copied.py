"""Objects that are copied: whether one is what its receipt says, and its key elsewhere."""

from __future__ import annotations

from pathlib import Path

from gridmill.model.records import ObjectReceipt

__all__ = ["ObjectReplaced", "keep_object", "renamed"]


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
