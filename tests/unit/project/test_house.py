"""The numbers of the house: what somebody has to take in at once stays small.

An exception is named with its reason, and fails once it is not needed any more.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import gridmill
from repository import ROOT as REPOSITORY

ROOT = Path(gridmill.__file__).parent
Sizes = Mapping[str, int]

MOST_ENTRIES = 20
MOST_MODULES = 9
MOST_LINES = 450
MOST_METHODS = 20
MOST_FUNCTION_LINES = 40
MOST_IMPORTERS = 10

FOLDERS = {
    "cli/commands": "a module for each command, found by its name",
    "datasets/noaa": "a module for each of a provider's datasets, found by its name",
}
MODULES = {
    "model/variables.py": "what authors declare: more than half of it is what they read of it",
    "stores/final_store.py": "a protocol: most of it says what each promise means",
    "authoring/region_job.py": "more than half of it is what authors read: docstrings of hooks",
}
CLASSES = {
    "CloudObjects": "those of Objects, and Python's",
    "FsspecObjects": "those of Objects, and Python's",
    "RegionJob": "twenty-one methods that authors declare, override or call, and three of Python's",
    "S3Objects": "those of Objects, and Python's",
    "FinalStore": "a protocol: what is asked of a store, whatever its format",
    "IcechunkStore": "those of FinalStore, and two of Python's",
    "ZarrStore": "those of FinalStore, and two of Python's",
    "StoreContract": "a suite of tests: a method for each promise of a store",
}
FUNCTIONS = {
    "archive_options": "a declaration: the options of an archive, one after the other",
    "cluster_options": "a declaration: the options of a cluster, one after the other",
}

# A class that many modules know cannot change: those of `model` and the public names are meant to
# be so. Of the others the reason is one of these.
WORD = "one of the words that everything is told in: an archive, where it lies, who writes it"
VALUE = "a value on its way through the pipeline: fields, and nothing that it does"
GRIB = "what a message of GRIB says of itself, or why it is not read"
EVIDENCE = "what a source file says, and what it should: each comparison reads both"
COMMANDS = "what every command has: there is a module for each"
IMPORTERS = {
    "Archive": WORD,
    "FinalStore": WORD,
    "Lease": WORD,
    "LeaseProof": WORD,
    "Objects": WORD,
    "ReaderView": WORD,
    "CoordinateValues": VALUE,
    "RunContext": VALUE,
    "SourceFile": VALUE,
    "StagedRegion": VALUE,
    "Uploaded": VALUE,
    "VariableWork": VALUE,
    "GribCorrupt": GRIB,
    "GribRefused": GRIB,
    "Grid": GRIB,
    "GridMapping": GRIB,
    "Message": GRIB,
    "Selector": GRIB,
    "Statistic": GRIB,
    "Evidence": EVIDENCE,
    "Promise": EVIDENCE,
    "ArchiveOptions": COMMANDS,
    "Content": "what the terminal shows: each view of it builds some",
    "ExitCode": COMMANDS,
    "Output": COMMANDS,
}


@cache
def trees() -> dict[str, ast.Module]:
    """Return every module's syntax tree, by its path below the package."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for path in sorted(ROOT.rglob("*.py"))
    }


def entries() -> Sizes:
    """Return how many entries the package itself has."""
    return {"gridmill": sum(path.name != "__pycache__" for path in ROOT.iterdir())}


def folders() -> Sizes:
    """Return by folder how many modules it has."""
    paths = [Path(path) for path in trees() if not path.endswith("__init__.py")]
    return {
        folder.as_posix(): sum(path.parent == folder for path in paths)
        for folder in {path.parent for path in paths}
    }


def modules() -> Sizes:
    """Return by module how many lines it has."""
    return {path: len((ROOT / path).read_text().splitlines()) for path in trees()}


def classes() -> Sizes:
    """Return by class how many methods it has, properties and Python's own among them."""
    sizes: dict[str, int] = {}
    for node in nodes():
        if isinstance(node, ast.ClassDef):
            methods = sum(is_function(one) for one in node.body)
            sizes[node.name] = max(methods, sizes.get(node.name, 0))
    return sizes


def functions() -> Sizes:
    """Return by function how many lines its body has, without its docstring."""
    sizes: dict[str, int] = {}
    for node in nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            has_docstring = ast.get_docstring(node) is not None and len(node.body) > 1
            first = node.body[1 if has_docstring else 0]
            lines = (node.body[-1].end_lineno or 0) - first.lineno + 1
            sizes[node.name] = max(lines, sizes.get(node.name, 0))
    return sizes


def importers() -> Sizes:
    """Return by class how many modules import it, but those of `model` and the public names."""
    page = (REPOSITORY / "docs" / "reference" / "api.md").read_text()
    public = {name.rpartition(".")[2] for name in re.findall(r"^   ~(\S+)$", page, re.MULTILINE)}
    found = {
        (path, name.name)
        for path, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").startswith("gridmill.")
        and not (node.module or "").startswith("gridmill.model.")
        for name in node.names
        if name.name[0].isupper() and not name.name.isupper()
    }
    return Counter(name for _, name in found if name not in public)


def nodes() -> Iterator[ast.AST]:
    """Yield every node of every module."""
    for tree in trees().values():
        yield from ast.walk(tree)


def is_function(node: ast.AST) -> bool:
    """Whether a node defines a function."""
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def differences(sizes: Sizes, most: int, exceptions: Mapping[str, str]) -> list[str]:
    """Say what is too large and no exception, and which exception is none."""
    too_large = {name for name, size in sizes.items() if size > most}
    unnamed = (f"{n} has {sizes[n]}, more than {most}" for n in too_large - exceptions.keys())
    idle = (f"{name} needs no exception any more" for name in exceptions.keys() - too_large)
    return sorted([*unnamed, *idle])


@pytest.mark.parametrize(
    ("measured", "most", "exceptions"),
    [
        (entries, MOST_ENTRIES, {}),
        (folders, MOST_MODULES, FOLDERS),
        (modules, MOST_LINES, MODULES),
        (classes, MOST_METHODS, CLASSES),
        (functions, MOST_FUNCTION_LINES, FUNCTIONS),
        (importers, MOST_IMPORTERS, IMPORTERS),
    ],
    ids=["entries", "folders", "modules", "classes", "functions", "importers"],
)
def test_the_house_stays_within_its_numbers(measured, most, exceptions):
    """Nothing is larger than its limit but for what is named here, and all of that is."""
    assert differences(measured(), most, exceptions) == []


def test_what_is_too_large_and_what_is_not_any_more_are_both_told():
    """An unnamed excess fails, and so does an exception that is within the limit or gone."""
    found = differences({"a": 4, "b": 3, "c": 5}, 3, {"b": "why", "c": "why", "gone": "why"})
    assert found == [
        "a has 4, more than 3",
        "b needs no exception any more",
        "gone needs no exception any more",
    ]
