"""Every example of the gallery runs, as it is shown."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import xarray as xr

from repository import ROOT

GALLERY = ROOT / "docs" / "gallery"
EXAMPLES = sorted(path.stem for path in GALLERY.glob("*.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own assertions hold, and what it returns can be read."""
    monkeypatch.syspath_prepend(str(GALLERY))
    stored = importlib.import_module(name).main(tmp_path)
    assert isinstance(stored, xr.Dataset)
    stored.load()


def test_the_gallery_shows_each() -> None:
    """None lies there unseen, and there are ten at least."""
    page = (GALLERY / "index.md").read_text()
    assert len(EXAMPLES) >= 10
    shown = dict(re.findall(r"literalinclude} (\w+)\.py\n:language: python\n:lines: (\d+)-", page))
    assert sorted(shown) == EXAMPLES
    for name, line in shown.items():
        first = (GALLERY / f"{name}.py").read_text().splitlines()[int(line) - 1]
        assert first.startswith(("import ", "from ")), (
            f"{name}: the text above says what stands here"
        )
