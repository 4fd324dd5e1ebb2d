"""Importing gridmill loads next to nothing."""

from __future__ import annotations

import subprocess
import sys


def test_the_public_names_are_lazy():
    """Importing gridmill and its command line loads neither Dask nor xarray nor zarr."""
    code = """
import sys, gridmill, gridmill.cli, gridmill.registry
gridmill.registry.dataset_names()
heavy = {"dask", "distributed", "xarray", "zarr", "numpy", "pandas", "rich"} & set(sys.modules)
assert not heavy, heavy
assert set(gridmill.__all__) <= set(dir(gridmill))
missing = [name for name in gridmill.__all__ if getattr(gridmill, name) is None]
assert not missing, missing
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == ""
