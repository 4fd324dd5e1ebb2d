"""Python code as text, laid out as ruff does it. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LINE", "Call", "Raw", "asked_lines", "assigned", "returned", "written"]

LINE = 100
INDENT = "    "


@dataclass(frozen=True)
class Raw:
    """Code as it stands."""

    text: str


@dataclass(frozen=True)
class Call:
    """A call, by the name of what is called.

    Examples
    --------
    >>> written(Call("Level", ("surface",), {"surface": Raw("GROUND")}))
    'Level("surface", surface=GROUND)'
    """

    name: str
    args: tuple[Any, ...] = ()
    named: Mapping[str, Any] | None = None


def assigned(name: str, value: Any, indent: str = "") -> str:
    """Return an assignment."""
    before = f"{indent}{name} = "
    shown = written(value, indent, used=len(before))
    inside = f"{indent}{INDENT}{shown}"
    if "\n" not in shown and len(before + shown) > LINE >= len(inside):
        return f"{before}(\n{inside}\n{indent})"
    return before + shown


def returned(code: str, indent: str) -> str:
    """Return a return statement, in parentheses where it fits no line."""
    line, inside = f"{indent}return {code}", f"{indent}{INDENT}{code}"
    if len(line) <= LINE or len(inside) > LINE:
        return line
    return f"{indent}return (\n{inside}\n{indent})"


def written(value: Any, indent: str = "", used: int = 0) -> str:
    """Return a value's code: in one line where it fits, else an item a line.

    Parameters
    ----------
    value
        Plain values, containers of them, `Raw` and `Call`.
    indent
        Of the line on which it begins.
    used
        Characters of that line before it, and after it.
    """
    flat = _flat(value)
    items = _items(value)
    if used + len(flat) <= LINE or items is None:
        return flat if items is not None or used + len(flat) <= LINE else _long(value, indent, flat)
    opening, entries, closing = items
    inner = indent + INDENT
    lines = [f"{inner}{key}{written(one, inner, len(inner + key) + 1)}," for key, one in entries]
    return "\n".join([opening, *lines, f"{indent}{closing}"])


def asked_lines(texts: Sequence[str], indent: str = "") -> str:
    """Return comments that ask, each in lines that fit; nothing for none."""
    lines = []
    for text in texts:
        lines += textwrap.wrap(
            f"QUESTION: {text}",
            LINE,
            initial_indent=f"{indent}# ",
            subsequent_indent=f"{indent}# ",
            break_long_words=False,
        )
    return "".join(f"{line}\n" for line in lines)


def _items(value: Any) -> tuple[str, list[tuple[str, Any]], str] | None:
    """Return how a container opens, its items with what stands before each, and how it closes."""
    if isinstance(value, Call):
        named = [(f"{key}=", one) for key, one in (value.named or {}).items()]
        return f"{value.name}(", [("", one) for one in value.args] + named, ")"
    if isinstance(value, Mapping):
        return "{", [(f"{_flat(key)}: ", one) for key, one in value.items()], "}"
    if isinstance(value, tuple):
        return "(", [("", one) for one in value], ")"
    if isinstance(value, list):
        return "[", [("", one) for one in value], "]"
    return None


def _flat(value: Any) -> str:
    found = _items(value)
    if found is None:
        return _plain(value)
    opening, entries, closing = found
    inside = ", ".join(f"{key}{_flat(one)}" for key, one in entries)
    comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
    return f"{opening}{inside}{comma}{closing}"


def _plain(value: Any) -> str:
    if isinstance(value, Raw):
        return value.text
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return _text(value)
    return repr(value)


def _text(value: str) -> str:
    shown = repr(value)
    if shown[0] == "'" and '"' not in value:
        return f'"{shown[1:-1]}"'.replace("\\'", "'")
    return shown


def _long(value: Any, indent: str, flat: str) -> str:
    """Divide a long text into several; anything else stays."""
    if not isinstance(value, str) or " " not in value:
        return flat
    inner = indent + INDENT
    width = LINE - len(inner) - 4
    parts = textwrap.wrap(value, width, break_long_words=False, break_on_hyphens=False)
    texts = [f"{part} " for part in parts[:-1]] + parts[-1:]
    return "\n".join(["(", *(f"{inner}{_text(part)}" for part in texts), f"{indent})"])
