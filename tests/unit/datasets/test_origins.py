"""What the datasets of providers say of where their files come from."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import gridmill

PROVED = [
    "chc.chirps_daily",
    "dwd.icon_eu_forecast",
    "eccc.hrdps_forecast",
    "ecmwf.era5_wind_daily",
    "ecmwf.ifs_ens_forecast",
    "nasa.imerg",
    "noaa.gefs_extended_forecast",
    "noaa.gefs_forecast",
    "noaa.goes_infrared",
    "noaa.mrms_qpe",
    "noaa.nbm_forecast",
]


@pytest.mark.parametrize("module", PROVED)
def test_a_module_says_the_history_and_the_mirrors_of_its_product(module: str) -> None:
    """Since when its files are there, where else, and by which source."""
    path = Path(gridmill.__file__).parent / "datasets" / f"{module.replace('.', '/')}.py"
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    assert re.search(r"\b(19|20)\d\d\b|history of the product", said)
    assert re.search(r"mirror|copy|twin|Google", said)
    assert re.search(r"github\.com/|https://", said)
