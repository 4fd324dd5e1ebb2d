"""Built-in archives are found: they say of themselves what catalogues and tools look for."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.archive.metadata import with_current
from gridmill.operations.catalogue.catalogue import as_json
from gridmill.operations.catalogue.collection import build_collection
from gridmill.operations.catalogue.opening import Way
from gridmill.registry import dataset_names, find_dataset
from gridmill.validation.checks.cf_conventions import find_checker
from listed_axis import with_labels
from stac_rules import broken_rules

# What is to be said is that of two positions.
POSITIONS = 2
# CF's table has no name for what falls, how much of it is frozen, and how sure an estimate is.
WITHOUT_NAME = ("categorical", "percent_frozen", "quality_index")


def template_of(name: str, tmp_path: Path) -> tuple[object, xr.Dataset]:
    """Return a dataset's declaration and template, with the attributes that readers see."""
    config = with_labels(find_dataset(name).template_config())
    dates = config.append_dim_coordinates(config.label("2027-01-01"))
    dates = config.append_dim_coordinates(dates[POSITIONS])
    ds = config.structure(dates[-1].replace(year=dates[-1].year + 1))
    ds = ds.isel({config.append_dim: slice(0, POSITIONS)})
    index = {config.append_dim: {"shape": [POSITIONS]}}
    root = {"attributes": ds.attrs, "consolidated_metadata": {"metadata": index}}
    seen = with_current(root, ds, config.append_dim, config.dataset_attributes)
    return config, ds.assign_attrs(seen["attributes"])


def said_by_checker(ds: xr.Dataset, folder: Path) -> dict:
    """Return what the checker's ACDD suite says of a dataset with a few cells of it as values."""
    few = ds.isel({dim: slice(0, 2) for dim in ds.dims if dim not in ("y", "x")})
    few = few.assign({n: (v.dims, np.zeros(v.shape, v.dtype), v.attrs) for n, v in few.items()})
    for variable in few.variables.values():
        kept = {"units", "calendar", "dtype"} & set(variable.encoding)
        variable.encoding = {key: variable.encoding[key] for key in kept}
    # NetCDF has no attributes of attributes.
    few.to_netcdf(folder / "few.nc", engine="netcdf4")
    report = folder / "report.json"
    options = ["--test=acdd:1.3", "--format=json_new", f"--output={report}", str(folder / "few.nc")]
    done = subprocess.run([find_checker(), *options], capture_output=True, text=True, check=False)
    assert report.exists(), done.stderr
    (checks,) = json.loads(report.read_text()).values()
    return checks["acdd:1.3"]


@pytest.mark.parametrize("name", dataset_names())
def test_nothing_that_acdd_highly_recommends_is_lacking(name, tmp_path):
    """Title, summary, keywords, conventions; names and units of every variable."""
    config, ds = template_of(name, tmp_path)
    ds = ds.isel({d: slice(0, 4) for d in ("y", "x") if d in ds.dims})
    without_name = {v.name for v in config.data_vars if "standard_name" not in v.attrs}
    assert {n for n in without_name if not any(part in n for part in WITHOUT_NAME)} == set()
    for group in said_by_checker(ds.drop_vars(without_name), tmp_path)["high_priorities"]:
        assert group["msgs"] == [], group


@pytest.mark.parametrize("name", dataset_names())
def test_its_collection_keeps_the_rules_of_the_extensions(name, tmp_path):
    """Dimensions, variables and assets are as the STAC extensions describe them."""
    config, ds = template_of(name, tmp_path)
    way = Way("zarr", "s3://bucket/a.zarr", "zarr", {"anon": True})
    collection = build_collection(
        ds, dataset_id=name, append_dim=config.append_dim, version="1", ways=[way]
    )
    assert json.loads(as_json(collection)) == collection
    assert broken_rules(collection) == []


@pytest.mark.parametrize("name", dataset_names())
def test_every_archive_says_where_and_when_it_is(name, tmp_path):
    """Bounds are those of the coordinates, and the coverage is that of the positions."""
    _, ds = template_of(name, tmp_path)
    about = ds.attrs
    # Of a mesh the provider's files say where the cells lie, and the declaration says about where.
    seen = [about[f"geospatial_{key}"] for key in ("lat_min", "lat_max", "lon_min", "lon_max")]
    if "latitude" in ds.coords:
        latitude, longitude = ds["latitude"].values, ds["longitude"].values
        ends = [end(of) for of in (latitude, longitude) for end in (np.nanmin, np.nanmax)]
        np.testing.assert_allclose(seen, ends, atol=1e-5)
    times = ds["valid_time"] if "valid_time" in ds else ds["time"]
    first, last = times.values.min(), times.values.max()
    if isinstance(first, np.datetime64):
        assert pd.Timestamp(about["time_coverage_start"]).tz_localize(None) == pd.Timestamp(first)
        assert pd.Timestamp(about["time_coverage_end"]).tz_localize(None) == pd.Timestamp(last)
        length = pd.Timedelta(about["time_coverage_duration"])
        assert length == pd.Timestamp(last) - pd.Timestamp(first)
    mapping = next(c for c in ds.coords.values() if "grid_mapping_name" in c.attrs)
    assert about["proj:wkt2"] == mapping.attrs["crs_wkt"]
    json.dumps(about, allow_nan=False)


@pytest.mark.parametrize("name", dataset_names())
def test_a_variable_says_what_it_is_over_a_step(name):
    """`step_type` is GRIB's word for the method of the cells."""
    config = find_dataset(name).template_config()
    methods = {v.attrs["cell_methods"].split(": ")[1].split(" ")[0] for v in config.data_vars}
    words = {v.attrs["step_type"] for v in config.data_vars}
    assert len(words) == len(methods)
    assert words <= {"instant", "avg", "accum", "max", "min"}
