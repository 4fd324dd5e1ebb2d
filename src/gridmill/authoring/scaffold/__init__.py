"""Writes the package of a new dataset, which runs at once on generated data."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

__all__ = ["Names", "filled", "names_of", "write_files", "write_package"]

# Where each file goes: the package's own folder has the package's name.
FILES = {
    "README.md.txt": "README.md",
    "pyproject.toml.txt": "pyproject.toml",
    "gridmill.toml.txt": "gridmill.toml",
    "init.py.txt": "$package/__init__.py",
    "dataset.py.txt": "$package/dataset.py",
    "generated.py.txt": "$package/generated.py",
    "test_dataset.py.txt": "tests/test_dataset.py",
}


@dataclass(frozen=True)
class Names:
    """What a new dataset is called.

    Parameters
    ----------
    provider, model
        As given.
    dataset_id
        Its name on the command line, and its folder's.
    package
        The Python package.
    class_name
        The dataset's class; its parts begin with it.
    """

    provider: str
    model: str
    dataset_id: str
    package: str
    class_name: str


def names_of(provider: str, model: str) -> Names:
    """Derive the names of a dataset.

    Raises
    ------
    ValueError
        They give no Python name.

    Examples
    --------
    >>> names_of("NOAA", "HRRR 48h").dataset_id
    'noaa-hrrr-48h'
    """
    words = [word.lower() for word in re.findall(r"[A-Za-z0-9]+", f"{provider} {model}")]
    package = "_".join(words)
    if not package.isidentifier() or keyword.iskeyword(package):
        raise ValueError(
            f"{provider!r} and {model!r} give no Python name: begin with a letter, for instance "
            "noaa hrrr"
        )
    class_name = "".join(word.capitalize() for word in words)
    return Names(provider, model, "-".join(words), package, class_name)


def write_package(names: Names, folder: Path) -> list[Path]:
    """Write the package of a new dataset into a new folder; the files that it wrote.

    Raises
    ------
    ValueError
        The folder exists.
    """
    values = {**vars(names), "extra": "netcdf"}
    texts = {
        Template(target).substitute(values): filled(template, values)
        for template, target in FILES.items()
    }
    return write_files(texts, folder)


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return the text of a template of this package, with its names replaced."""
    source = files("gridmill.authoring.scaffold") / "files" / template
    return Template(source.read_text()).substitute(values)


def write_files(texts: Mapping[str, str], folder: Path) -> list[Path]:
    """Write texts by their path into a new folder; the files that it wrote.

    Raises
    ------
    ValueError
        The folder exists.
    """
    if folder.exists():
        raise ValueError(f"{folder} exists already: give another place with --into")
    written = []
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        written.append(path)
    return written
