"""Pages that list what the code has list all of it."""

from __future__ import annotations

import inspect
import re
from fnmatch import fnmatchcase

import gridmill
from gridmill.authoring import grids
from gridmill.operations.samples.writing.parts import OURS
from gridmill.registry import dataset_entries, find_dataset
from repository import ROOT

API = (ROOT / "docs" / "reference" / "api.md").read_text()
READERS = (ROOT / "docs" / "guides" / "readers.md").read_text()


def test_the_reference_has_every_public_name_once():
    """Those of the package, and the grids."""
    listed = re.findall(r"^   ~(\S+)$", API, re.MULTILINE)
    of_grids = [name for name in grids.__all__ if inspect.isclass(getattr(grids, name))]
    wanted = {f"gridmill.{name}" for name in gridmill.__all__ if name != "__version__"}
    wanted |= {f"gridmill.authoring.grids.{name}" for name in of_grids}
    assert wanted - set(listed) == set()
    assert len(listed) == len(set(listed))


def test_readers_are_told_which_built_in_datasets_do_not_say_how_complete_they_are():
    """Of the others they may ask for `ds.completeness`."""
    names = [one.name for one in dataset_entries() if one.target.startswith("gridmill.")]
    coords = {name: find_dataset(name).template_config().coords for name in names}
    without = {n for n, cs in coords.items() if "completeness" not in {c.name for c in cs}}
    said = re.search(r"All built-in datasets declare\s+it but (.*?)\.\n", READERS, re.DOTALL)
    assert said is not None
    assert set(re.findall(r"`(\S+?)`", said[1])) == without


def test_what_a_proposed_package_imports_may_not_move():
    """It is an author's: it imports the modules that stay where they are."""
    page = (ROOT / "docs" / "architecture.md").read_text()
    listed = re.search(r"What a dataset's author imports is (.*?)\. Everything", page, re.DOTALL)
    assert listed is not None
    stay = re.findall(r"`(\S+?)`", listed[1])
    modules = {*OURS.values()} - {"gridmill"}
    assert modules
    assert not [m for m in sorted(modules) if not any(fnmatchcase(m, one) for one in stay)]
