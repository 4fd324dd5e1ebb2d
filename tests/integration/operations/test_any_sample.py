"""Files of random structure: what `gridmill new --from` writes reads them as plain libraries do."""

from __future__ import annotations

import importlib
import sys
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from gridmill.authoring.scaffold import names_of
from gridmill.operations.samples.propose import proposal_from
from gridmill.operations.samples.writing.package import write_proposal

# Parts of a contract that read a file; whole ones take ten times as long, see test_samples.py.
QUICK = (
    "test_the_structure_does_not_depend_on_where_it_ends",
    "test_the_metadata_says_what_readers_need",
    "test_every_dim_has_its_coordinate",
    "test_source_files_cover_every_position",
    "test_source_files_have_stable_addresses",
    "test_what_goes_to_workers_pickles",
)

STRUCTURES = st.fixed_dictionaries(
    {
        "dims": st.permutations(["lat", "lon", "level"]),
        "frequency": st.sampled_from(["D", "6h", "h", "MS"]),
        "in_file": st.sampled_from([1, 1, 3]),
        "calendar": st.sampled_from(["standard", "noleap", "360_day"]),
        "dtype": st.sampled_from(["float32", "float64", "int16"]),
        "time_last": st.booleans(),
        "scalar_time": st.booleans(),
        "uneven": st.booleans(),
        "n_variables": st.integers(1, 3),
    }
)


def samples_of(folder: Path, structure: dict[str, Any]) -> tuple[list[Path], xr.Dataset]:
    """Write files of a structure; all that is in them."""
    in_file, n_files = structure["in_file"], 2
    start = "2001-03-01"
    times = xr.date_range(
        start,
        periods=in_file * n_files,
        freq=structure["frequency"],
        calendar=structure["calendar"],
        use_cftime=structure["calendar"] != "standard",
    )
    lengths = {"lat": 4, "lon": 5, "level": 3}
    levels = [1.0, 2.0, 10.0] if structure["uneven"] else [1.0, 2.0, 3.0]
    coords = {
        "time": times,
        "lat": ("lat", np.linspace(45.0, 48.0, 4), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(5.0, 9.0, 5), {"units": "degrees_east"}),
        "level": ("level", levels, {"units": "1", "long_name": "Level"}),
    }
    dims = ("time", *structure["dims"])
    draw = np.random.default_rng(1)
    fields = {}
    for number in range(structure["n_variables"]):
        values = draw.integers(0, 900, [len(times), *(lengths[d] for d in dims[1:])])
        fields[f"Var.{number}"] = (dims, values.astype("float64"), {"units": "K"})
    whole = xr.Dataset(fields, coords)
    if structure["time_last"]:
        whole = whole.transpose(..., "time")
    return list(_files(folder, whole, structure)), whole


def _files(folder: Path, whole: xr.Dataset, structure: dict[str, Any]) -> Any:
    stored: dict[str, Any] = {"dtype": structure["dtype"]}
    if structure["dtype"] == "int16":
        stored |= {"scale_factor": 0.5, "add_offset": 10.0, "_FillValue": -1}
    encoding = dict.fromkeys(whole.data_vars, stored)
    for at in range(0, whole.sizes["time"], structure["in_file"]):
        part = whole.isel(time=slice(at, at + structure["in_file"]))
        if structure["scalar_time"] and structure["in_file"] == 1:
            part = part.isel(time=0)
        path = folder / f"data_{at}.nc"
        part.to_netcdf(path, encoding=encoding)
        yield path


def _dated(files: list[Path], whole: xr.Dataset, in_file: int) -> list[Path]:
    """Give files the names of their first times, so far as these tell the files apart."""
    named = []
    for number, path in enumerate(files):
        time = whole.get_index("time")[number * in_file]
        target = path.with_name(time.strftime("data_%Y%m%d%H.nc"))
        named.append(path.rename(target))
    return named


@contextmanager
def imported(folder: Path) -> Any:
    """Import a package and its test from a folder."""
    sys.path.insert(0, str(folder))
    before = set(sys.modules)
    try:
        yield importlib.import_module("any_sample").AnySample, _contract(folder)
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if name.startswith("any_sample"):
                del sys.modules[name]


def _contract(folder: Path) -> Any:
    text = (folder / "tests/test_dataset.py").read_text()
    scope: dict[str, Any] = {"__file__": str(folder / "tests/test_dataset.py"), "__name__": "t"}
    exec(compile(text, scope["__file__"], "exec"), scope)
    return scope["TestAnySample"]()


PLAIN = {
    "dims": ["lat", "lon", "level"],
    "frequency": "D",
    "in_file": 1,
    "calendar": "standard",
    "dtype": "float32",
    "time_last": True,
    "scalar_time": False,
    "uneven": True,
    "n_variables": 1,
}


@given(structure=STRUCTURES)
@example(structure=PLAIN)
@example(structure={**PLAIN, "in_file": 3, "calendar": "360_day", "frequency": "MS"})
@settings(
    max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
def test_any_netcdf_becomes_a_dataset(structure):
    """Whatever its dims, calendar, packing and step: values are those that xarray reads."""
    # A template counts 60 years of labels: of hours in cftime's calendars that takes a minute.
    assume(structure["calendar"] == "standard" or structure["frequency"] in ("D", "MS"))
    with TemporaryDirectory() as name:
        folder = Path(name)
        files, whole = samples_of(folder, structure)
        is_single = structure["in_file"] == 1
        files = _dated(files, whole, 1) if is_single else [_joined(folder, files)]
        package = folder / "package"
        with proposal_from([str(path) for path in files]) as proposal:
            write_proposal(proposal, names_of("any", "sample"), package)
        with imported(package) as (dataset, contract):
            for quick in QUICK:
                getattr(contract, quick)()
            (folder / "contract").mkdir()
            contract.test_one_source_file_can_be_read(folder / "contract")
            _check_values(dataset, folder, whole)


def _joined(folder: Path, files: list[Path]) -> Path:
    """Put all times into one file, whose name has no date."""
    path = folder / "all.nc"
    with xr.open_mfdataset(files, combine="nested", concat_dim="time") as opened:
        loaded = opened.load()
    for file in files:
        file.unlink()
    loaded.to_netcdf(path)
    return path


def _check_values(dataset: Any, folder: Path, whole: xr.Dataset) -> None:
    index = whole.get_index("time")
    until = (index[-1] + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%S")
    report = dataset(folder / "a.zarr").backfill(until, client="none")
    assert not report.failures, report.failures
    with xr.open_zarr(folder / "a.zarr") as stored:
        for number, name in enumerate(whole.data_vars):
            plain = whole[name].transpose("time", ...).values
            ours = stored[f"var_{number}"].values[: len(index)]
            np.testing.assert_array_equal(ours, plain)
