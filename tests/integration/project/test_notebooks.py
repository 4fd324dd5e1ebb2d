"""The notebooks run from top to bottom, and are kept without outputs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from repository import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    """Every cell runs in a fresh kernel."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=240, resources=resources).execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    """Outputs would make every diff unreadable and grow old."""
    cells = nbformat.read(path, as_version=4).cells
    assert not [c for c in cells if c.cell_type == "code" and (c.outputs or c.execution_count)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_that_are_not_executed_say_so_and_are_python(path: Path) -> None:
    """They need an account or a batch system: the text before them tells, and they compile."""
    cells = nbformat.read(path, as_version=4).cells
    for before, cell in pairwise(cells):
        if "skip-execution" in cell.metadata.get("tags", ()):
            assert "(not executed)" in before.source
            compile(cell.source, path.name, "exec")
