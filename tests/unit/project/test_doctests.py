"""Every example in a docstring of the package is true."""

from __future__ import annotations

import pytest

from examples import MODULES, SERVING, run_examples


@pytest.mark.parametrize("name", [name for name in MODULES if name not in SERVING])
def test_the_examples_of_a_module_run(name: str) -> None:
    """The examples give what they say; modules whose extra is not installed are left out."""
    run_examples(name)
