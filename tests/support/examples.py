"""Examples in docstrings of the package."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import gridmill

MODULES = sorted(m.name for m in pkgutil.walk_packages(gridmill.__path__, "gridmill."))
# Their examples start a server.
SERVING = ("gridmill.testing.archive_server",)


def run_examples(name: str) -> None:
    """Run a module's examples; skip it where its extra is not installed."""
    if name.endswith("__main__"):
        pytest.skip("importing it runs the command line")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gridmill"):
            raise
        pytest.skip(f"{error.name} is not installed")
    assert doctest.testmod(module).failed == 0
