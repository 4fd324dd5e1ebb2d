"""What is kept beside the records of variables that go: until when, and which are about to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from gridmill.model.state_files import SCHEMA, parse_state
from gridmill.stores.objects.protocol import Objects

__all__ = ["GoingVariables", "read_going", "write_going"]

KEY = "variables.json"
RESTORE = (
    "it says until when former names of variables are kept, and which are being removed; restore "
    "it from a backup, or delete it and call the command that was at work again"
)
NEEDS = {"kept_until": (dict,), "removing": (list,)}


@dataclass(frozen=True)
class GoingVariables:
    """Variables that go.

    Parameters
    ----------
    kept_until
        By name, the date until which it is kept for readers (ISO 8601).
    removing
        Those of which objects may be left.
    """

    kept_until: Mapping[str, str] = field(default_factory=dict)
    removing: tuple[str, ...] = ()


def read_going(state: Objects) -> GoingVariables:
    """Read which variables go.

    Raises
    ------
    UnreadableState
        It is damaged, or a later gridmill's.
    """
    content = state.get(KEY)
    if content is None:
        return GoingVariables()
    raw = parse_state(content, f"{state.url}/{KEY}", RESTORE, needs=NEEDS)
    return GoingVariables(raw["kept_until"], tuple(raw["removing"]))


def write_going(state: Objects, going: GoingVariables) -> None:
    """Keep which variables go."""
    if not going.kept_until and not going.removing:
        state.delete(KEY)
        return
    content = {"kept_until": dict(going.kept_until), "removing": list(going.removing)}
    state.put(KEY, json.dumps({"schema": SCHEMA, **content}, indent=1).encode())
