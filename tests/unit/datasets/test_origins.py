"""What the datasets of providers say of where their files come from."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

import gridmill
from gridmill.authoring.source_file import addresses, url_of
from gridmill.datasets.noaa.gfs_forecast import MIRRORS as GFS_MIRRORS
from gridmill.registry import find_dataset

PROVED = [
    "chc.chirps_daily",
    "dwd.icon_eu_forecast",
    "eccc.hrdps_forecast",
    "ecmwf.era5_wind_daily",
    "ecmwf.ifs_ens_forecast",
    "nasa.imerg",
    "noaa.gefs_extended_forecast",
    "noaa.gefs_forecast",
    "noaa.gfs_forecast",
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


@pytest.mark.parametrize(
    "name",
    [
        "noaa-gfs-forecast",
        "noaa-gfs-forecast-1deg",
        "noaa-gfs-analysis",
        "noaa-gefs-forecast",
        "noaa-gefs-extended-forecast",
        "noaa-hrrr-forecast",
        "noaa-hrrr-forecast-hourly",
    ],
)
def test_mirrors_have_the_same_paths_and_are_asked_only_if_they_are_named(name: str) -> None:
    """The first of them is what is asked by default, and a file's address is relative to each."""
    dataset = find_dataset(name)
    modules = [importlib.import_module(of.__module__) for of in dataset.__mro__[:2]]
    mirrors = next((m.MIRRORS for m in modules if hasattr(m, "MIRRORS")), GFS_MIRRORS)
    assert dataset.source_base == mirrors[0]
    assert len({urlsplit(url).netloc for url in mirrors}) == len(mirrors) > 1
    assert all(url.startswith("https://") and not url.endswith("/") for url in mirrors)
    job = dataset.region_job
    file = job.file_type(init_time=pd.Timestamp("2026-08-01"), lead_time=pd.Timedelta("3h"))
    found = addresses(file, mirrors)
    assert found == [f"{url}/{file.get_url()}" for url in mirrors]
    assert url_of(file) == file.get_url()
