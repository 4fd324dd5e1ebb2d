"""Writes the package of a proposed dataset, with its contract test and the samples it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.authoring.scaffold import Names, filled, write_files
from gridmill.operations.samples.proposal import ArrayProposal, GribProposal, Proposal
from gridmill.operations.samples.proposing.asking import bounded
from gridmill.operations.samples.writing.array_code import array_module, array_numbers
from gridmill.operations.samples.writing.fixtures import Fixture, fixture_of
from gridmill.operations.samples.writing.grib_code import grib_arrays, grib_module

__all__ = ["module_text", "write_proposal"]

TEMPLATES = {
    "pyproject.toml": "pyproject.toml.txt",
    "gridmill.toml": "gridmill_samples.toml.txt",
    "$package/__init__.py": "init.py.txt",
}


def write_proposal(proposal: Proposal, names: Names, folder: Path) -> list[Path]:
    """Write the package into a new folder.

    Returns
    -------
    list of Path
        The files that it wrote.

    Raises
    ------
    ValueError
        The folder exists, or the samples' grid has no declaration.
    """
    fixture = fixture_of(proposal)
    values = {
        **vars(names),
        "extra": _extra(proposal),
        "start": fixture.start,
        "until": fixture.until,
        "variables": _variables(fixture),
        "questions": _numbered(proposal),
    }
    module = module_text(proposal, names)
    texts = {path: filled(template, values) for path, template in TEMPLATES.items()}
    texts["README.md"] = filled("README_samples.md.txt", values)
    texts["tests/test_dataset.py"] = filled("test_samples.py.txt", values)
    texts[f"{names.package}/dataset.py"] = module
    written = write_files({_path(path, names): text for path, text in texts.items()}, folder)
    samples = folder / "tests" / "samples"
    samples.mkdir()
    written += fixture.write(samples)
    return written + _arrays(proposal, folder / names.package)


def module_text(proposal: Proposal, names: Names) -> str:
    """Return the text of the dataset's module."""
    if isinstance(proposal, GribProposal):
        return grib_module(proposal, names)
    assert isinstance(proposal, ArrayProposal)
    return array_module(proposal, names)


def _extra(proposal: Proposal) -> str:
    """Return the extra of gridmill that reads the files, and the samples beside the test."""
    if isinstance(proposal, GribProposal):
        return "grib"
    assert isinstance(proposal, ArrayProposal)
    return "geotiff" if proposal.samples[0].sample.kind == "geotiff" else "netcdf"


def _arrays(proposal: Proposal, folder: Path) -> list[Path]:
    arrays: Mapping[str, Any]
    arrays = grib_arrays(proposal) if isinstance(proposal, GribProposal) else _numbers_of(proposal)
    if not arrays:
        return []
    path = folder / "cells.npz"
    np.savez_compressed(path, **arrays)
    return [path]


def _numbers_of(proposal: Proposal) -> Mapping[str, Any]:
    assert isinstance(proposal, ArrayProposal)
    return array_numbers(proposal)


def _path(path: str, names: Names) -> str:
    return path.replace("$package", names.package)


def _variables(fixture: Fixture) -> str:
    if not fixture.variables:
        return ""
    listed = "".join(f'        "{name}",\n' for name in fixture.variables)
    why = "    # Those whose samples are small enough to be kept with the test.\n"
    return f"{why}    variables = (\n{listed}    )\n"


def _numbered(proposal: Proposal) -> str:
    return "\n".join(
        f"{number}. {one.text} Why: {one.why}. Look at: {one.look_at}."
        for number, one in enumerate(bounded(proposal.questions), start=1)
    )
