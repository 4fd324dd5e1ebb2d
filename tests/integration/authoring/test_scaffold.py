"""A new dataset's package runs at once, without being installed, and satisfies its own test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

import gridmill
from gridmill.authoring.scaffold import names_of, write_package
from gridmill.cli import ExitCode, cli


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    """The package of a new dataset."""
    folder = tmp_path_factory.mktemp("new") / "noaa-hrrr"
    done = CliRunner().invoke(cli, ["new", "NOAA", "HRRR", "--into", str(folder), "--json"])
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert json.loads(done.stdout)["dataset"] == "noaa_hrrr.dataset:NoaaHrrr"
    return folder


def run(folder: Path, *command: str) -> str:
    """Run a module of Python in the package's folder, as a user would; what it says."""
    source = str(Path(gridmill.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": source},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_runs_at_once_on_generated_data(package):
    """As its README says: source files, a backfill and an update, on worker processes."""
    run(package, "noaa_hrrr.generated", "source", "--days", "10")
    dataset = ["noaa_hrrr.dataset:NoaaHrrr", "--workers", "1"]
    run(package, "gridmill.cli", "backfill", *dataset, "--until", "2024-01-08")
    run(package, "gridmill.cli", "update", *dataset, "--now", "2024-01-11")
    with (
        xr.open_zarr(package / "noaa-hrrr.zarr") as ds,
        xr.open_dataset(package / "source/2024/01/20240110.nc") as day,
    ):
        assert ds.sizes == {"time": 10, "latitude": 20, "longitude": 40}
        np.testing.assert_allclose(ds.temperature_2m[9], day.t2m, rtol=2.0**-11)
        assert 0 < float(ds.land_mask.mean()) < 1


def test_its_own_test_passes(package):
    """The contract for datasets, in a process of its own."""
    said = run(package, "pytest", "-q", "-p", "no:cacheprovider")
    assert "10 passed" in said


def test_every_file_is_python_or_says_what_to_do(package):
    """No placeholder is left, and the folder has what its README names."""
    names = (path for path in package.rglob("*.*") if path.is_file())
    files = {path.relative_to(package).as_posix() for path in names}
    assert {"README.md", "pyproject.toml", "gridmill.toml", "tests/test_dataset.py"} <= files
    for path in package.rglob("*.py"):
        text = path.read_text()
        compile(text, str(path), "exec")
        assert "$" not in text


def test_a_folder_that_exists_is_left_alone(package):
    """It may hold somebody's work."""
    done = CliRunner().invoke(cli, ["new", "noaa", "hrrr", "--into", str(package)])
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "exists already" in done.stderr


@pytest.mark.parametrize(("provider", "model"), [("4d", "model"), ("", "!"), ("import", "")])
def test_names_that_python_does_not_take_are_refused(provider, model, tmp_path):
    """With an example of what it takes."""
    with pytest.raises(ValueError, match="begin with a letter"):
        write_package(names_of(provider, model), tmp_path / "x")
