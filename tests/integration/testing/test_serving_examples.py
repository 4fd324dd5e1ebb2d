"""Examples that start a server are true, too."""

from __future__ import annotations

import pytest

from examples import MODULES, SERVING, run_examples


@pytest.mark.parametrize("name", SERVING)
def test_the_examples_of_a_module_run(name: str) -> None:
    """The examples of a module that other doctests leave out give what they say."""
    assert name in MODULES
    run_examples(name)
