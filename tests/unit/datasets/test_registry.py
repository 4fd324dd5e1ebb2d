"""Datasets by name."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from generated import Generated
from gridmill.registry import dataset_entries, dataset_names, find_dataset

PROVIDER = """
from generated import Generated
class Second(Generated):
    pass
NUMBER = 7
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Give a function that puts a package with dataset entry points on the path."""

    def put(package: str, entry_points: dict[str, str], modules: dict[str, str]) -> None:
        folder = tmp_path / package
        info = folder / f"{package}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {target}" for name, target in entry_points.items()]
        (info / "entry_points.txt").write_text("\n".join(["[gridmill.datasets]", *lines]))
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(source)
        monkeypatch.syspath_prepend(folder)

    return put


def test_an_installed_package_registers_a_dataset_by_name(install):
    """A dataset of another package is listed and found like a built-in one."""
    install("provider_a", {"second": "provider_a_sets:Second"}, {"provider_a_sets": PROVIDER})
    assert "second" in dataset_names()
    assert issubclass(find_dataset("second"), Generated)
    assert next(e for e in dataset_entries() if e.name == "second").package == "provider_a 1.2"


def test_built_in_datasets_are_registered():
    """The package's own entry points are found."""
    assert "ostia-sst-monthly" in dataset_names()


def test_listing_imports_no_dataset(install):
    """Names come from metadata: a dataset whose import raises is listed like the others."""
    install("provider_b", {"broken": "provider_b_sets:X"}, {"provider_b_sets": "raise SystemError"})
    assert "broken" in dataset_names()
    assert "provider_b_sets" not in sys.modules


def test_a_dataset_is_found_by_its_address():
    """A class that nobody registered is found as package.module:Class."""
    assert find_dataset("generated:Generated") is Generated


@pytest.mark.parametrize(
    ("spec", "fragments"),
    [
        ("ostia-sst-montly", ["did you mean ostia-sst-monthly?", "known are"]),
        ("entirely-else", ["no dataset 'entirely-else'", "ostia-sst-monthly", "package.module"]),
        ("generated:Nothing", ["module generated has no class Nothing"]),
        ("no_such_module:X", ["cannot be imported", "No module named 'no_such_module'"]),
        ("generated:GeneratedTemplate", ["no subclass of gridmill.DynamicalDataset"]),
        ("generated:", ["not written like package.module:Class"]),
    ],
)
def test_what_cannot_be_found_says_why(spec, fragments):
    """Every wrong spec gives a ValueError with its cause, and the nearest name if it is one."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the fragments say which
        find_dataset(spec)
    assert [f for f in fragments if f not in str(caught.value)] == []


def test_a_dataset_whose_import_fails_says_whose_it_is(install):
    """Whatever a third-party module raises becomes a ValueError that names package and cause."""
    install("provider_c", {"bad": "provider_c_sets:X"}, {"provider_c_sets": "1 / 0"})
    with pytest.raises(ValueError, match=r"bad of provider_c 1\.2.*ZeroDivisionError"):
        find_dataset("bad")


def test_a_name_that_two_packages_register_is_ambiguous(install):
    """Neither of two packages wins silently."""
    install("provider_d", {"twice": "provider_d_sets:Second"}, {"provider_d_sets": PROVIDER})
    install("provider_e", {"twice": "provider_e_sets:Second"}, {"provider_e_sets": PROVIDER})
    with pytest.raises(ValueError, match=r"provider_d 1\.2.*and provider_e 1\.2"):
        find_dataset("twice")


def test_an_unknown_public_name_is_an_attribute_error():
    """A misspelt import fails as for any module."""
    import gridmill

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = gridmill.Nothing
    assert Path(gridmill.__file__).name == "__init__.py"
