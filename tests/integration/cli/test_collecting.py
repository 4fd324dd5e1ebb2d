"""What the command line looks through for garbage, and what it does not."""

from __future__ import annotations

import subprocess
import sys

# What is registered first is called last.
CODE = """
import atexit, gc, sys
default = gc.get_threshold()
atexit.register(lambda: print("frozen", gc.get_freeze_count() > 1000, gc.isenabled()))
from gridmill.cli.group import COLLECT_AFTER, main
from math import prod
print("rarer", COLLECT_AFTER[0] > default[0], prod(COLLECT_AFTER) <= 2 * 700 * 10 * 10)
sys.argv = ["gridmill", "--version"]
main()
"""


def test_a_command_does_not_look_through_what_it_imported_as_it_ends():
    """Modules are taken apart without a search for garbage among them; before, it goes on."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "rarer True True"
    assert lines[-1] == "frozen True True"
