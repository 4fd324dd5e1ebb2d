"""The structures of built-in datasets, checked in so that a reviewer reads what a change does."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from gridmill import DynamicalDataset
from gridmill.cli import cli

TEMPLATES = Path(__file__).parent / "datasets" / "templates"


def check_structure(dataset: type[DynamicalDataset], *, until: str) -> None:
    """Compare a dataset's structure with its file in `datasets/templates`.

    To accept a change: gridmill template MODULE:CLASS --until DATE --json > that file.
    """
    spec = f"{dataset.__module__}:{dataset.__name__}"
    shown = CliRunner().invoke(cli, ["template", spec, "--until", until, "--json"])
    dataset_id = dataset.template_config.dataset_attributes["dataset_id"]
    expected = (TEMPLATES / f"{dataset_id}.json").read_text()
    assert json.loads(shown.stdout) == json.loads(expected)
