"""An archive whose static variables wait for their file says so: nothing of it is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from gridmill import Encoding
from gridmill.cli import cli
from gridmill.cli.exit_codes import ExitCode
from gridmill.operations.accept import accept_files
from tiny import (
    SHAPE,
    Provider,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    tiny_var,
    until,
)

MASK = tiny_var("mask", dims=("y", "x"), encoding=Encoding(chunks=SHAPE))


class WithMask(TinyTemplate):
    """Two variables of time and one without."""

    data_vars = (*TinyTemplate.data_vars, MASK)


class MaskCoord(TinyCoord):
    """The file of a label, or of what has none."""

    def get_url(self) -> str:
        """Give its path."""
        return "mask.npy" if self.label is None else super().get_url()

    def out_loc(self) -> dict[str, Any]:
        """Give its label."""
        return {} if self.label is None else super().out_loc()


class MaskJob(TinyJob):
    """Reads the static variable from a file of its own."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give that, or a file a label."""
        if self.is_static:
            return [MaskCoord(label=None)]
        return super().generate_source_file_coords(processing_region_ds, data_var_group)


Masked = dataset_of(template=WithMask, job=MaskJob)


@pytest.fixture(params=["zarr", "icechunk"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A dataset whose provider lacks the static file."""
    Provider(tmp_path / "source").publish(hours(4))
    base = str(tmp_path / "source")
    return Masked(tmp_path / "a", source_base=base, format=request.param)


def gaps(dataset: Any) -> str:
    """Return what the command says."""
    name = f"{__name__}:Masked"
    options = ["--store", dataset.store.url, "--format", dataset.store.format, "--json"]
    done = CliRunner().invoke(cli, ["gaps", name, *options])
    assert done.exit_code == ExitCode.SUCCESS, done.output
    return done.output


def test_what_static_variables_wait_for_is_said_and_listed(dataset, tmp_path):
    """It is not the other variables' files, which are there; the file comes, and all is seen."""
    report = dataset.backfill(until(4), client="none")
    assert report.positions_after == 0
    assert report.stops_because.startswith("static variables: mask.npy not yet available (")
    assert '"mask.npy"' in gaps(dataset)
    np.save(tmp_path / "source" / "mask.npy", np.ones((1, *SHAPE), "float32"))
    report = dataset.backfill(until(4), client="none")
    assert report.stops_because is None
    with dataset.store.open_dataset() as ds:
        assert ds.sizes["time"] == 4
        assert (ds["mask"] == 1).all()


def test_a_static_file_that_nobody_has_is_accepted(dataset):
    """Which publishes what it held back."""
    dataset.backfill(until(4), client="none")
    accepted = accept_files(dataset, ["mask.npy"], who="me", why="lost", now=until(4))
    assert accepted.report.stops_because is None
    with dataset.store.open_dataset() as ds:
        assert ds.sizes["time"] == 4
        assert ds["mask"].isnull().all()
