"""Pages, notebooks, help texts, messages and docstrings use the field's words, in plain English."""

from __future__ import annotations

import ast
import inspect
import json
import re

import click
import pytest

import gridmill
from gridmill.cli import cli
from pages import PAGES, WRITTEN
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
    r"\bin the mean\b(?! of)": "on average",
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
    r"\banew\b": "again; or a verb with re-: rewrite, rebuild, reprocess",
    r"\bgoe?s? on with(out)?\b|\bgo on\b|\bruns? again to\b": "continue; rerun to",
    r"\bby hand\b": "maintenance; with a command",
    r"\ball the same(?=[.,;:)]|$)": "nevertheless, still",
    r"\bcame? behind\b": "arrived after",
    r"\b(was|were|is|are|been) begun\b": "started",
    r"\b(asked for|read|written|judged) once more\b": "retried; again",
    r"\bnobody is there\b": "there is no terminal",
}


def _texts() -> dict[str, str]:
    """Return what people read, by where it is; code is left out."""
    pages = [*PAGES, *WRITTEN, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]
    found = {f"{page.relative_to(ROOT)}": _prose(page.read_text()) for page in pages}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        shown = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        found[path.name] = "\n".join(shown)
    # With its settings: a command keeps the names of its help option from the first context.
    group = click.Context(cli, info_name="gridmill", **cli.context_settings)
    for name, command in cli.commands.items():
        context = click.Context(command, info_name=name, parent=group)
        found[f"gridmill {name} --help"] = command.get_help(context)
    return found


def _modules() -> dict[str, ast.Module]:
    sources = sorted((ROOT / "src").rglob("*.py"))
    return {f"{path.relative_to(ROOT)}": ast.parse(path.read_text()) for path in sources}


def _docstrings(module: ast.Module) -> dict[int, str]:
    """Return the docstrings of a module, and of all in it, by their lines."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    owners = [node for node in ast.walk(module) if isinstance(node, kinds) and node.body]
    return {one.body[0].lineno: text for one in owners if (text := ast.get_docstring(one))}


def _messages(module: ast.Module) -> list[str]:
    """Return the texts of a module that are no docstrings: errors, reports, tables."""
    documented = _docstrings(module)
    constants = [node for node in ast.walk(module) if isinstance(node, ast.Constant)]
    texts = [one for one in constants if isinstance(one.value, str)]
    return [one.value for one in texts if one.lineno not in documented and " " in one.value]


def _reference() -> dict[str, str]:
    """Return the docstrings of the public names, and of what is public of the classes."""
    public = {name: getattr(gridmill, name) for name in gridmill.__all__}
    for name, value in list(public.items()):
        members = vars(value) if isinstance(value, type) else {}
        public |= {
            f"{name}.{one}": getattr(value, one) for one in members if not one.startswith("_")
        }
    return {name: inspect.getdoc(value) or "" for name, value in public.items()}


def _prose(page: str) -> str:
    return re.sub(r"```.*?```|`[^`]*`", "", page, flags=re.DOTALL)


TEXTS = _texts()
MODULES = _modules()


@pytest.mark.parametrize("where", TEXTS)
def test_words_are_plain(where: str) -> None:
    """A phrase of the list is replaced by what stands beside it."""
    assert odd_words(TEXTS[where]) == {}


def test_messages_are_plain() -> None:
    """Errors, reports and tables use the same words as pages and help texts."""
    found = {
        where: odd
        for where, module in MODULES.items()
        if (odd := odd_words(_prose(" | ".join(_messages(module)))))
    }
    assert found == {}


def test_the_reference_is_plain() -> None:
    """What the site shows of the Python interface uses the same words."""
    found = {name: odd for name, text in _reference().items() if (odd := odd_words(_prose(text)))}
    assert found == {}


def test_docstrings_are_plain() -> None:
    """Those who work on the code read the same words."""
    found = {
        where: odd
        for where, module in MODULES.items()
        if (odd := odd_words(_prose(" | ".join(_docstrings(module).values()))))
    }
    assert found == {}


def test_what_returns_something_says_return() -> None:
    """A docstring begins with what its function does: none gives."""
    found = [
        f"{where}:{line}"
        for where, module in MODULES.items()
        for line, text in _docstrings(module).items()
        if re.match(r"Gives? ", text)
    ]
    assert found == []


def test_odd_words_are_found() -> None:
    """Also where a line ends between them."""
    text = "It goes on where\nit stopped, what is done is not made again, whoever reads."
    assert set(odd_words(text)) == {"goes on where it", "made again", "whoever"}


def odd_words(text: str) -> dict[str, str]:
    """Return the phrases of a text that are on the list, and what to say instead."""
    line = re.sub(r"\s+", " ", text)
    return {
        match[0]: instead
        for phrase, instead in INSTEAD.items()
        for match in re.finditer(phrase, line, re.IGNORECASE)
    }
