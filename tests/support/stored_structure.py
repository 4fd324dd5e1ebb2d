"""The consolidated metadata that the tiny template gives."""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path

from tiny import TinyTemplate, until


def root_metadata(end: str = until(8)) -> dict:
    """Give the consolidated metadata that a real template gives."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ds = TinyTemplate().get_template(end)
        ds.to_zarr(folder, mode="w", compute=False, consolidated=True, zarr_format=3)
        return json.loads((Path(folder) / "zarr.json").read_text())


ROOT = root_metadata()
