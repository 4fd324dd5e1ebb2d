"""The structures of built-in datasets, checked in so that a reviewer reads what a change does.

After a change that is meant, write them anew with ``make structures``; the diff is what it does.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from click.testing import CliRunner

from gridmill.cli import cli
from repository import ROOT

STRUCTURES = ROOT / "tests" / "unit" / "datasets" / "structures"
# Set by ``make structures``: what is there now is written instead of compared.
ACCEPT = "GRIDMILL_ACCEPT_STRUCTURES"
# What variables differ in; what else is said of one is its layout, which most share.
OWN = ("name", "keep_mantissa_bits", "valid_from", "valid_until", "attrs")


def check_structure(name: str, *, until: str) -> None:
    """Compare a dataset's structure with its file in `unit/datasets/structures`."""
    shown = CliRunner().invoke(cli, ["template", name, "--until", until, "--json"])
    text = as_text(json.loads(shown.stdout))
    path = STRUCTURES / f"{name}.txt"
    if os.environ.get(ACCEPT):
        path.write_text(text)
    assert text.splitlines() == path.read_text().splitlines(), "if it is meant: make structures"


def as_text(structure: dict[str, Any]) -> str:
    """Write down all of a structure: a line for each fact and variable, a block for each layout.

    Parameters
    ----------
    structure
        As ``gridmill template --json`` gives it.
    """
    arrays = {kind: structure[kind] for kind in ("coords", "data_vars")}
    facts = {key: value for key, value in structure.items() if key not in arrays}
    layouts: dict[str, str] = {}
    sections = [list(_facts(facts))]
    sections += [[kind, *_variables(members, layouts)] for kind, members in arrays.items()]
    sections += [[name, *text.splitlines()] for text, name in layouts.items()]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _variables(variables: Iterable[dict[str, Any]], layouts: dict[str, str]) -> Iterator[str]:
    """Give a line for each variable; layouts that are new get a name."""
    for variable in variables:
        layout = {key: value for key, value in variable.items() if key not in OWN}
        name = layouts.setdefault("\n".join(_facts(layout)), f"layout-{len(layouts) + 1}")
        own = {key: value for key, value in variable.items() if key in OWN[1:-1]}
        words = [*_words(own), name, *_words(variable["attrs"])]
        yield f"  {variable['name']}: {' '.join(words)}"


def _words(values: dict[str, Any]) -> list[str]:
    return [f"{key}={_plain(value)}" for key, value in values.items()]


def _facts(values: dict[str, Any], indent: str = "") -> Iterator[str]:
    """Give a line for each value that is not a mapping, below the names of those around it."""
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield f"{indent}{key}:"
            yield from _facts(value, indent + "  ")
        else:
            yield f"{indent}{key}: {_plain(value)}"


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
