"""The commands that README and docs show."""

from __future__ import annotations

import re
from pathlib import Path

from gridmill.cli import cli
from repository import README, ROOT

PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]


def shown(page: Path) -> list[str]:
    """Give the commands that a page shows, on lines of their own and in the text."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = re.findall(r"^\s*(?:GRIDMILL_\w+=\S+ )?(gridmill [a-z][^#\n]*)", text, re.MULTILINE)
    inline = re.findall(r"`(gridmill [a-z][^`\n]*)`", text)
    return sorted({one.strip() for one in [*lines, *inline] if one.split()[1] in cli.commands})


COMMANDS = [(page.name, command) for page in PAGES for command in shown(page)]
