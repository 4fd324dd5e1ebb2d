"""What reads source files is known by its code."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from gridmill.authoring.region_job import RegionJob
from gridmill.planning import reading_code as module
from gridmill.planning.reading_code import reading_code
from tiny import TinyJob


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of an author's, and a function that imports its class anew."""
    folder = tmp_path / "authors_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "decoding.py").write_text("SCALE = 1\n")
    (folder / "job.py").write_text(
        "from gridmill.authoring.region_job import RegionJob\nclass Job(RegionJob): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    def load():
        for name in [name for name in sys.modules if name.startswith("authors_package")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        return importlib.import_module("authors_package.job").Job

    yield folder, load
    for name in [name for name in sys.modules if name.startswith("authors_package")]:
        del sys.modules[name]


def test_the_same_code_is_told_alike(package):
    """In whatever process it is loaded."""
    _, load = package
    assert reading_code(load()) == reading_code(load())


@pytest.mark.parametrize("file", ["job.py", "decoding.py", "new.py"])
def test_a_change_anywhere_in_the_authors_package_is_noticed(package, file):
    """A reader calls what lies in other modules."""
    folder, load = package
    before = reading_code(load())
    path = folder / file
    path.write_text((path.read_text() if path.exists() else "") + "# mended\n")
    assert reading_code(load()) != before


def test_another_decoder_is_noticed(package, monkeypatch):
    """What a library could not read its next release may."""
    _, load = package
    before = reading_code(load())
    monkeypatch.setattr(module, "version", lambda name: "99")
    assert reading_code(load()) != before


def test_a_class_of_a_notebook_has_its_name_at_least():
    """There may be no file that holds its source."""
    one = type("InNotebook", (TinyJob,), {"__module__": "__main__"})
    other = type("Another", (TinyJob,), {"__module__": "__main__"})
    assert reading_code(one) != reading_code(other)
    assert reading_code(one) != reading_code(RegionJob)


def test_a_cell_that_was_changed_is_noticed():
    """Its source is in no file: what its methods were compiled to is compared."""

    def with_method(code: str) -> type:
        names: dict[str, Any] = {"TinyJob": TinyJob}
        exec(f"class InNotebook(TinyJob):\n    def read_data(self, coord, var):\n{code}", names)
        names["InNotebook"].__module__ = "__main__"
        found: type = names["InNotebook"]
        return found

    one = with_method("        return coord in {'a', 'b'} and (lambda: 1)()")
    same = with_method("        return coord in {'a', 'b'} and (lambda: 1)()")
    other = with_method("        return coord in {'a', 'b'} and (lambda: 2)()")
    assert reading_code(one) == reading_code(same)
    assert reading_code(one) != reading_code(other)
