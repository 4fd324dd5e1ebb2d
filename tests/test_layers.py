"""Who may import whom: the table of the design, checked on the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import gridmill

SOURCE = Path(gridmill.__file__).parent

# Modules and packages by layer; a module may import from its own layer and from those below.
LAYERS = (
    {"variables", "regions", "transforms", "progress", "timeline", "structure", "run_report"}
    | {"epochs", "lookahead", "state_files", "urls"}
    | {"cards", "charts", "chunking", "facts", "html", "plan_page", "run_page", "wording"},
    {"sources", "stores", "clusters", "workspace", "canvas", "shards", "metrics"},
    {"template", "region_job", "grib_region_job", "grib_analysis_job"}
    | {"as_made", "cf", "forecast_template", "horizontal_grids"},
    {
        "stages",
        "chain",
        "completeness",
        "completion",
        "plan",
        "recording",
        "publication",
        "replication",
        "driver",
        "dataset",
        "one_chain",
    }
    | {"acceptance", "by_hand", "archive_status", "migration", "truncation", "waiting"}
    | {"batches", "redo", "run_plan", "validation", "restoration", "rebuilding"},
    {
        "datasets",
        "testing",
        "report",
        "registry",
        "scaffold",
        "cli",
        "presentation",
        "progress_display",
        "demo",
        "__main__",
    },
)
LAYER = {name: number for number, names in enumerate(LAYERS) for name in names}
# Siblings of this layer do not know each other.
EDGES = 1
# Where what lies outside may be imported; everywhere else it may not.
ONLY_IN = {
    "distributed": {"chain", "driver", "clusters", "dataset", "progress_display"},
    "coiled": {"clusters"},
    "icechunk": {"stores.icechunk_store", "stores.icechunk_tokens"},
    "click": {"cli"},
    "jinja2": {"html"},
    "markupsafe": {"charts"},
    "rich": {"cli", "presentation", "progress_display", "demo"},
}
# Layer 0 is pure: no Dask, no I/O.
NOT_IN_PURE_MODULES = {"dask", "distributed", "xarray", "zarr", "fsspec", "s3fs", "urllib3"}
# What an author outside of the package uses.
PUBLIC_TO_AUTHORS = {"dataset", "sources", "transforms", "variables", "template", "region_job"} | {
    "cf",
    "forecast_template",
    "grib_analysis_job",
    "grib_region_job",
    "horizontal_grids",
    "progress",
    "validation",
    "regions",
}

MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def name_of(path: Path) -> str:
    """Give a module's dotted name below gridmill."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Yield every dotted name that a module imports, at its top, lazily or for types."""
    package = ["gridmill", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base == "gridmill":
                yield from (f"gridmill.{alias.name}" for alias in node.names)
            else:
                yield base


def inside(path: Path) -> set[str]:
    """Give the modules and packages right below gridmill that a module imports."""
    found = {name.split(".")[1] for name in imports_of(path) if name.startswith("gridmill.")}
    return found - {name_of(path).split(".")[0]}


def outside(path: Path) -> set[str]:
    """Give the top-level packages that a module imports."""
    return {name.split(".")[0] for name in imports_of(path)} - {"gridmill"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_down_only(path):
    """A module imports from its own layer and below, not even lazily from above."""
    own = name_of(path).split(".")[0]
    assert own in LAYER, f"{own} has no layer: give it one in the table of design.md and here"
    # What is no module is a public name of the package: authors' modules may use those.
    above = {name for name in inside(path) if LAYER.get(name, 3) > LAYER[own]}
    assert above == set()


@pytest.mark.parametrize("path", [p for p in MODULES if LAYER.get(name_of(p).split(".")[0]) == 1])
def test_edges_do_not_know_each_other(path):
    """Sources, stores, clusters and workspace can each be replaced by itself."""
    assert {name for name in inside(path) if LAYER.get(name) == EDGES} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_lies_outside_has_its_place(path):
    """Dask's cluster, Coiled, Icechunk and the terminal are known where they must be only."""
    name = name_of(path)
    places = {what: ONLY_IN[what] for what in outside(path) & ONLY_IN.keys()}
    wrong = {w for w, allowed in places.items() if not {name, name.split(".")[0]} & allowed}
    assert wrong == set()


@pytest.mark.parametrize("path", [p for p in MODULES if LAYER.get(name_of(p)) == 0], ids=name_of)
def test_pure_modules_do_no_io(path):
    """Layer 0 computes: it knows neither Dask nor any store."""
    assert outside(path) & NOT_IN_PURE_MODULES == set()


@pytest.mark.parametrize("path", [p for p in MODULES if name_of(p).startswith("datasets.")])
def test_built_in_datasets_use_what_an_outsider_may(path):
    """A built-in dataset has no access that a third-party one lacks."""
    modules = {name for name in inside(path) if name in LAYER}
    assert modules - PUBLIC_TO_AUTHORS == set()
    assert not [name for name in imports_of(path) if "._" in name]
