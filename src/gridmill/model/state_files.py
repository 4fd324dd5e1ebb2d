"""How every JSON file beside a store is read, and how one that cannot be is told. Pure.

Declaration, progress records, redo orders, run reports and claims have this in common:

- a file without a ``schema`` has schema 1; optional fields that are added do not raise it;
- a field that this gridmill does not know is ignored, and kept where the file is rewritten;
- a higher schema than this gridmill reads is refused with both numbers;
- a file that is there and cannot be read is an error with its address: taken for absent, it would
  have work redone, or let two runs write at once.

What the fields mean is up to who reads them: `gridmill.model.records`,
`gridmill.stores.state.records`, `gridmill.stores.state.claims`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from importlib.metadata import version
from typing import Any

from gridmill.model.urls import mask_url

__all__ = [
    "SCHEMA",
    "MissingState",
    "NewerSchema",
    "UnreadableState",
    "check_fields",
    "known_fields",
    "parse_state",
]

# Of every kind of file, so far.
SCHEMA = 1

JSON_NAMES = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}

# The types that a field may have, by its name.
Needs = Mapping[str, tuple[type, ...]]


class UnreadableState(ValueError):  # noqa: N818  the state of a file rather than an error's name
    """What is kept beside a store is there and cannot be read; pickles.

    Parameters
    ----------
    address
        The file's; credentials are masked.
    cause
        What is wrong with it, as a predicate: ``"is empty"``.
    remedy
        What an operator can do.
    """

    def __init__(self, address: str, cause: str, remedy: str) -> None:
        super().__init__(mask_url(address), " ".join(cause.split()), remedy)
        self.address, self.cause, self.remedy = self.args

    def __str__(self) -> str:
        return f"{self.address} {self.cause}: {self.remedy}"


class NewerSchema(UnreadableState):
    """A later gridmill wrote it, and means something by it that this one does not know.

    Parameters
    ----------
    address
        The file's; credentials are masked.
    schema, readable
        The file's schema, and the highest that this gridmill reads.
    remedy
        What an operator can do who does not upgrade.
    """

    def __init__(self, address: str, schema: int, readable: int, remedy: str) -> None:
        cause = f"has schema {schema}, this gridmill {version('gridmill')} reads up to {readable}"
        super().__init__(address, cause, f"upgrade gridmill, or {remedy}")
        self.schema, self.readable = schema, readable
        # What it is made of again when it is unpickled.
        self.args = (self.address, schema, readable, remedy)


class MissingState(UnreadableState):
    """What belongs beside a store is not there, though the store shows that it was."""


def parse_state(
    content: bytes,
    address: str,
    remedy: str,
    *,
    needs: Needs | None = None,
    readable: int = SCHEMA,
) -> dict[str, Any]:
    """Parse a file: a JSON object of a schema that is read; without its schema number.

    Parameters
    ----------
    content
        The file.
    address, remedy
        For the error.
    needs
        See `check_fields`.
    readable
        The highest schema that is read.

    Raises
    ------
    NewerSchema
        A later gridmill wrote it.
    UnreadableState
        It is damaged.

    Examples
    --------
    >>> parse_state(b'{"schema": 1, "runs": []}', "redo/a.json", "delete it")
    {'runs': []}
    >>> parse_state(b'["a run"]', "redo/a.json", "delete it")
    Traceback (most recent call last):
    gridmill.model.state_files.UnreadableState: redo/a.json holds a list, not an object: delete it
    """
    try:
        raw = _parse(content)
        schema = raw.pop("schema", SCHEMA)
        if type(schema) is not int or schema < 1:
            raise ValueError(f"has schema {json.dumps(schema)}, which is no schema number")
        if schema > readable:
            raise NewerSchema(address, schema, readable, remedy)
        check_fields(raw, needs or {})
    except UnreadableState:
        raise
    except ValueError as error:
        raise UnreadableState(address, str(error), remedy) from error
    return raw


def _parse(content: bytes) -> dict[str, Any]:
    if not content.strip():
        raise ValueError("is empty")
    try:
        raw = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise ValueError(f"holds {JSON_NAMES[type(raw)]}, not an object")
    return raw


def check_fields(raw: Mapping[str, Any], needs: Needs) -> None:
    """Raise unless fields are there and have a type that they may have; others are ignored.

    Raises
    ------
    ValueError
        A field is missing, or of another type.

    Examples
    --------
    >>> check_fields({"pid": "12"}, {"pid": (int,)})
    Traceback (most recent call last):
    ValueError: has a string as 'pid', not a number
    """
    for name, types in needs.items():
        if name not in raw:
            raise ValueError(f"lacks {name!r}")
        if type(raw[name]) not in types:
            wanted = " or ".join(dict.fromkeys(JSON_NAMES[kind] for kind in types))
            found = JSON_NAMES[type(raw[name])]
            raise ValueError(f"has {found} as {name!r}, not {wanted}")


def known_fields(kind: type[Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a dataclass has: what a later gridmill added is left out.

    Raises
    ------
    TypeError
        `raw` is no mapping.
    """
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in dict(raw).items() if name in names}
