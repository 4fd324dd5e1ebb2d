"""Pages, notebooks and help texts use the field's words, in plain English."""

from __future__ import annotations

import json
import re

import click
import pytest

from gridmill.cli import cli
from pages import PAGES
from repository import ROOT

# What was said before, or sounds odd, and what is said instead.
INSTEAD = {
    r"\bgoes? on where it\b|\bgo on where it\b": "resumes where it",
    r"\bmade again\b|\bmake (it |them )?again\b|\bdone again\b": "reprocessed, repeated, redone",
    r"\basked for once more\b|\bbegun once more\b": "retried",
    r"\bgiven up for\b": "accepted as missing",
    r"\bmend(s|ed|ing)?\b": "fix, repair, correct",
    r"\blame\b": "failing",
    r"\btaken for dead\b": "presumed dead",
    r"\bin the mean\b": "on average",
    r"\bwhoever\b": "readers, authors, operators",
    r"\bbe content\b": "no action needed",
    r"\bstands alone\b": "self-contained",
    r"\blooks? whether\b": "check",
    r"\bwhence\b": "from where",
    r"\blet(s)? readers see less\b": "shorten",
    r"\bto be had\b": "available",
    r"\bas they are now\b": "current",
    r"\bsays? beforehand\b": "shows",
    r"\btell somebody\b": "alert",
}


def _texts() -> dict[str, str]:
    """Give what people read, by where it is; code is left out."""
    found = {f"{page.relative_to(ROOT)}": _prose(page.read_text()) for page in PAGES}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        shown = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        found[path.name] = "\n".join(shown)
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=f"gridmill {name}")
        found[f"gridmill {name} --help"] = command.get_help(context)
    return found


def _prose(page: str) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", page, flags=re.DOTALL)


TEXTS = _texts()


@pytest.mark.parametrize("where", TEXTS)
def test_words_are_plain(where: str) -> None:
    """A phrase of the list is replaced by what stands beside it."""
    assert odd_words(TEXTS[where]) == {}


def test_odd_words_are_found() -> None:
    """Also where a line ends between them."""
    text = "It goes on where\nit stopped, what is done is not made again, whoever reads."
    assert set(odd_words(text)) == {"goes on where it", "made again", "whoever"}


def odd_words(text: str) -> dict[str, str]:
    """Give the phrases of a text that are on the list, and what to say instead."""
    line = re.sub(r"\s+", " ", text)
    return {
        match[0]: instead
        for phrase, instead in INSTEAD.items()
        for match in re.finditer(phrase, line, re.IGNORECASE)
    }
