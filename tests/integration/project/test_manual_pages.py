"""Manual pages, as a packager makes them and `man` shows them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gridmill.cli.group import cli
from repository import ROOT

pytest.importorskip("click_man", reason="click-man is not installed: make man")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of all pages."""
    folder = tmp_path_factory.mktemp("man")
    made = [sys.executable, str(ROOT / ".ci" / "man.py"), str(folder)]
    subprocess.run(made, check=True, capture_output=True)
    return folder


def test_every_command_has_a_page_with_its_examples(pages: Path) -> None:
    """And no option is left out."""
    assert len(list(pages.iterdir())) == 1 + len(cli.commands)
    for name, command in cli.commands.items():
        page = (pages / f"gridmill-{name}.1").read_text().replace("\\-", "-")
        assert ("\n.SH EXAMPLES\n" in page) == ("Examples:" in (command.epilog or ""))
        shown = {p.opts[0] for p in command.params if not getattr(p, "hidden", False)}
        named = {option for option in shown if option.startswith("--")}
        assert named <= set(re.findall(r"--[a-z][a-z0-9-]*", page))


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_pages_are_shown_without_a_warning(pages: Path) -> None:
    """Lines of examples stay lines."""
    for page in sorted(pages.iterdir()):
        shown = subprocess.run(
            ["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-rLL=80n", str(page)],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert shown.stderr == ""
    command = ["groff", "-Kutf8", "-man", "-Tascii", "-P-cbou", str(pages / "gridmill.1")]
    whole = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "gridmill update ostia-sst-monthly --store sst.zarr\n" in whole
    assert "EXIT CODES" in whole
