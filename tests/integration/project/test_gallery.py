"""Every example of the gallery runs, as it is shown."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from repository import ROOT

GALLERY = ROOT / "docs" / "gallery"
EXAMPLES = sorted(path.stem for path in GALLERY.glob("*.py"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    """In a process of its own, as a reader of the page runs it, its own assertions hold."""
    code = f"import pathlib, {name}; {name}.main(pathlib.Path({str(tmp_path)!r})).load()"
    path = os.pathsep.join([str(GALLERY), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_gallery_shows_each() -> None:
    """None lies there unseen, and there are ten at least."""
    page = (GALLERY / "index.md").read_text()
    assert len(EXAMPLES) >= 10
    shown = dict(re.findall(r"literalinclude} (\w+)\.py\n:language: python\n:lines: (\d+)-", page))
    assert sorted(shown) == EXAMPLES
    for name, line in shown.items():
        module = ast.parse((GALLERY / f"{name}.py").read_text())
        imports = [n.lineno for n in module.body if isinstance(n, ast.Import | ast.ImportFrom)]
        assert int(line) == imports[0], f"{name}: the text above says what stands here"


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_dataset_takes_at_most_100_lines(name: str) -> None:
    """From the first import to the end of its classes; what makes the provider's files is apart."""
    module = ast.parse((GALLERY / f"{name}.py").read_text())
    imports = [n.lineno for n in module.body if isinstance(n, ast.Import | ast.ImportFrom)]
    ends = [n.end_lineno or 0 for n in module.body if isinstance(n, ast.ClassDef)]
    assert max(ends, default=0) - imports[0] < 100


def test_nine_kinds_of_provider_are_compared_with_numpy() -> None:
    """Those that the page names first: a table of examples, each of which checks its values."""
    page = (GALLERY / "index.md").read_text()
    named = re.findall(r"^\| .* \| \[`(\w+)`\]\(#([\w-]+)\) \|$", page, re.MULTILINE)
    titles = re.findall(r"^## (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert len(named) == 9
    for name, anchor in named:
        assert anchor in anchors, name
        assert variables_of(name) <= compared_in(name), name


def variables_of(name: str) -> set[str]:
    """Return the variables that the datasets of an example store."""
    code = f"""
import json, {name} as example
from gridmill import DynamicalDataset
found = [of for of in vars(example).values() if isinstance(of, type)]
own = [of for of in found if issubclass(of, DynamicalDataset) and of is not DynamicalDataset]
print(json.dumps([var.name for of in own for var in of.template_config.data_vars]))
"""
    path = os.pathsep.join([str(GALLERY), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    names = set(json.loads(done.stdout))
    assert names, name
    return names


def compared_in(name: str) -> set[str]:
    """Return the variables whose stored values an example compares with an array."""
    module = ast.parse((GALLERY / f"{name}.py").read_text())
    calls = [node for node in ast.walk(module) if isinstance(node, ast.Call)]
    asserting = [call for call in calls if ast.unparse(call.func).startswith("np.testing.assert_")]
    given = [part for call in asserting for part in ast.walk(call.args[0])]
    return {
        part.attr
        for part in given
        if isinstance(part, ast.Attribute) and ast.unparse(part.value) == "stored"
    }
