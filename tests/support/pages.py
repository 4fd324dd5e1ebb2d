"""The commands that README and docs show, and those in the READMEs that `gridmill new` writes."""

from __future__ import annotations

import re
from pathlib import Path

from gridmill.cli import cli
from repository import README, ROOT


def _is_written(page: Path) -> bool:
    """Whether a page is written by hand: git ignores those that are made when the site is built."""
    made = page.parent.name == "catalogue" and page.name != "index.md"
    return not made and not page.name.endswith("_table.md") and "_build" not in page.parts


PAGES = [README, *filter(_is_written, sorted((ROOT / "docs").rglob("*.md")))]
# What `gridmill new` writes for authors, with places for names.
WRITTEN = sorted((ROOT / "src/gridmill/authoring/scaffold/files").glob("README*.md.txt"))


def example_of(page: Path) -> str:
    """Give the dataset that a page shows as a whole, as Python."""
    marked = r"<!-- example: tests run this block -->\n```python\n(.*?)```"
    found = re.search(marked, page.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def shown(page: Path) -> list[str]:
    """Give the commands that a page shows, on lines of their own and in the text."""
    text = re.sub(r"\\\n\s*", " ", page.read_text()).replace("$until", "2025-07-01")
    lines = re.findall(
        r"^\s*(?:\$ )?(?:GRIDMILL_\w+=\S+ )?(gridmill [a-z][^#\n]*)", text, re.MULTILINE
    )
    inline = re.findall(r"`(gridmill [a-z][^`\n]*)`", text)
    return sorted({one.strip() for one in [*lines, *inline] if one.split()[1] in cli.commands})


COMMANDS = [(page.stem, command) for page in PAGES for command in shown(page)]
WRITTEN_COMMANDS = [(page.stem, command) for page in WRITTEN for command in shown(page)]
