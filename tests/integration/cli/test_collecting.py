"""What the command line looks through for garbage, and what it does not."""

from __future__ import annotations

import subprocess
import sys

import pytest

# What is registered first is called last.
CODE = """
import atexit, gc, sys
from math import prod
default = gc.get_threshold()
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 1000, gc.isenabled()))
from gridmill.cli import importing
from gridmill.cli.group import main
print("rarer", importing.IMPORTING[0] > importing.WORKING[0] > default[0])
print("as often", prod(importing.WORKING) <= 2 * 700 * 10 * 10)
importing.collect_from_now()  # nobody asked for less
print("left alone", gc.get_threshold() == default)
sys.argv = ["gridmill", *{arguments!r}]
try:
    main()
finally:
    print("goes on", gc.get_threshold()[0] == importing.WORKING[0])
"""


def told(*arguments: str) -> list[str]:
    code = CODE.format(arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()


def test_a_command_does_not_look_through_what_it_imported_as_it_ends():
    """Modules are taken apart without a search for garbage among them."""
    lines = told("--version")
    assert lines[:3] == ["rarer True", "as often True", "left alone True"]
    assert lines[-1] == "frozen True True"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "ostia-sst-monthly", "--store", "{there}"),
        ("template", "ostia-sst-monthly"),
        ("compare", "{there}", "{there}"),
    ],
)
def test_what_a_command_makes_itself_is_looked_through_as_usual(tmp_path, arguments):
    """Once it has imported what it needs, whether or not it opens a dataset."""
    lines = told(*(argument.format(there=tmp_path / "no.zarr") for argument in arguments))
    assert "goes on True" in lines
