"""Every example in a docstring of the package is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import gridmill

MODULES = sorted(m.name for m in pkgutil.walk_packages(gridmill.__path__, "gridmill."))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    """The examples give what they say; modules whose extra is not installed are left out."""
    if name.endswith("__main__"):
        pytest.skip("importing it runs the command line")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gridmill"):
            raise
        pytest.skip(f"{error.name} is not installed")
    assert doctest.testmod(module).failed == 0
