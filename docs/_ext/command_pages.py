"""Help texts of the command line as a page shows them."""

from __future__ import annotations

from typing import Any

import click
from sphinx.application import Sphinx

__all__ = ["setup"]

# Said better on pages of their own.
_ELSEWHERE = ("Exit codes:", "Options can be set")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("sphinx-click-process-epilog", _process_epilog)
    app.connect("sphinx-click-process-options", _process_options)
    return {"parallel_read_safe": True}


def _process_epilog(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Show examples as code instead of a block of lines."""
    text = (context.command.epilog or "").replace("\b\n", "").strip()
    paragraphs = [one for one in text.split("\n\n") if one and not one.startswith(_ELSEWHERE)]
    shown = [_paragraph(one.splitlines()) for one in paragraphs]
    lines[:] = [line for paragraph in shown for line in [*paragraph, ""]]


def _process_options(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    """Keep a star of a pattern from beginning an emphasis."""
    lines[:] = [line.replace("*.", r"\*.") for line in lines]


def _paragraph(lines: list[str]) -> list[str]:
    """Return what is indented at its end as code."""
    words = [line for line in lines if not line.startswith("  ")]
    if len(words) in (0, len(lines)) or lines[: len(words)] != words:
        return lines
    code: list[Any] = [f"   {line}" for line in lines[len(words) :]]
    return [*words, "", ".. code-block:: console", "", *code]
