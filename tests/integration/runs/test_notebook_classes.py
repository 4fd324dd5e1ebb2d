"""A dataset from notebook cells works on every kind of cluster, or is refused with the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import gridmill
from repository import SUPPORT

CELLS = """
import numpy as np, pathlib, sys, threading
from dataclasses import dataclass
from gridmill import DownloadSettings, DynamicalDataset, RegionJob, SourceFileCoord, connect
from tiny import Provider, TinyTemplate, hours, until, url_of

guard = {guard}

@dataclass(frozen=True, kw_only=True)
class File(SourceFileCoord):
    label: object

    def get_url(self):
        return url_of(self.label)

    def out_loc(self):
        return {{"time": self.label}}

class Job(RegionJob):
    download_settings = DownloadSettings(attempts=1)

    def generate_source_file_coords(self, ds, group):
        return [File(label=label) for label in ds.get_index("time")]

    def read_data(self, coord, data_var):
        assert isinstance(coord, File) and guard
        return np.load(coord.downloaded_path)[data_var.number]

class Template(TinyTemplate):
    pass

class InCells(DynamicalDataset):
    template_config = Template
    region_job = Job

def go():
    Provider(pathlib.Path("s")).publish(hours(8))
    dataset = InCells("a.zarr", source_base="s")
    assert dataset.backfill(until(4), client="none").succeeded
    for processes in (True, False):
        with connect("local", workers=1, processes=processes) as client:
            report = dataset.backfill(until(8), client=client)
            assert report.succeeded, report.failures
            print("DONE", report.variables_done, "SKIPPED", report.variables_skipped)
    assert dataset.validate().succeeded
"""
RUN = """
import sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
shell.colors = "NoColor"
for cell in (open("cells.py").read(), "go()"):
    done = shell.run_cell(cell, store_history=True)
    if not done.success:
        print("FAILED", done.error_in_exec or done.error_before_exec)
        break
"""


def run_cells(folder: Path, guard: str) -> str:
    """Run the cells in a shell as a notebook's kernel does; what it prints."""
    (folder / "cells.py").write_text(CELLS.format(guard=guard))
    (folder / "run.py").write_text(RUN)
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**_environment(), "IPYTHONDIR": str(folder / "ipython")},
    )
    return done.stdout


def _environment() -> dict[str, str]:
    paths = [str(Path(gridmill.__file__).parents[1]), str(SUPPORT)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def test_a_class_from_a_cell_works_on_clusters(tmp_path):
    """Worker processes get it by value; what they did is known as done by what runs later."""
    pytest.importorskip("IPython")
    said = run_cells(tmp_path, "True")
    assert "FAILED" not in said
    assert "DONE 2 SKIPPED 2" in said
    assert "DONE 0 SKIPPED 4" in said


def test_what_cannot_be_sent_is_named(tmp_path):
    """Not Dask's own words, which name its graph."""
    pytest.importorskip("IPython")
    said = run_cells(tmp_path, "threading.Lock()")
    assert "FAILED Job cannot be sent to workers: guard does not pickle" in said
