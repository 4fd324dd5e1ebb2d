"""Tutorials are executed when the site is built, and show what their cells display."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from repository import ROOT

# What is behind each output in the dark, as a browser computes it.
SEEN = """<script>
document.documentElement.dataset.theme = "dark";
document.body.dataset.seen = JSON.stringify(
  [...document.querySelectorAll("div.cell_output div.output.text_html:not(:has(table.dataframe))")]
    .map(output => getComputedStyle(output).backgroundColor));
</script></body>"""


def _build(notebook: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    source = folder / "source"
    source.mkdir()
    shutil.copy(notebook, source / "page.ipynb")
    (source / "index.md").write_text("# Site\n\n```{toctree}\npage\n```\n")
    options = ["-q", "-c", str(ROOT / "docs")]
    command = [sys.executable, "-m", "sphinx", *options, str(source), str(folder / "out")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the page of the first tutorial as the site does, with its cells executed."""
    folder = tmp_path_factory.mktemp("tutorial")
    done = _build(ROOT / "notebooks" / "1-quickstart.ipynb", folder)
    assert done.returncode == 0, done.stderr
    return folder / "out" / "page.html"


def test_the_page_of_a_tutorial_shows_cards_and_pictures(quickstart: Path) -> None:
    """Cards, their charts and what xarray displays are on it; no cell ended in an error."""
    page = quickstart.read_text()
    outputs = page.split('<div class="cell_output')[1:]
    assert sum('class="gridmill' in output for output in outputs) >= 5
    assert any('role="img"' in output for output in outputs)
    assert any("xr-wrap" in output for output in outputs)
    assert "Traceback" not in page


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
def test_outputs_lie_on_the_page_s_own_ground_in_the_dark(quickstart: Path, tmp_path: Path) -> None:
    """A pale ground below light text leaves nothing to read."""
    page = quickstart.with_name("seen.html")
    page.write_text(quickstart.read_text().replace("</body>", SEEN))
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    command = ["chromium", *options, "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    found = re.search(r'data-seen="([^"]*)"', shown)
    assert found is not None
    grounds = json.loads(found[1].replace("&quot;", '"'))
    assert len(grounds) >= 6
    assert set(grounds) == {"rgba(0, 0, 0, 0)"}


def test_an_error_in_a_cell_fails_the_build(tmp_path: Path) -> None:
    """Nobody publishes a tutorial that does not work."""
    notebook = tmp_path / "broken.ipynb"
    cells = [nbformat.v4.new_markdown_cell("# Broken"), nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), notebook)
    done = _build(notebook, tmp_path)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stderr
