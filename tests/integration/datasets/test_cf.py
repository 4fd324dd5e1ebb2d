"""Every built-in dataset's metadata against the CF conventions, by IOOS' compliance checker.

Of each archive the first few positions along every dim are made as Zarr, without values, and the
attributes that are stored there are what is checked.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import xarray as xr

from gridmill.registry import dataset_names, find_dataset
from listed_axis import with_labels

# Findings that stay: by a part of the dataset's name, a part of their text.
EXCEPTIONS = (
    # Recommended. The names are those of the Zarr conventions geo-proj and spatial.
    ("", "should begin with a letter and be composed of letters, digits, and underscores"),
    # Recommended. Dims of a forecast are its start, then member and lead, then the field's: the
    # start is appended along, and a lead is no T of its own.
    ("forecast", "spatio-temporal dimensions are not in the recommended order T, Z, Y, X"),
    # CF 1.11 (appendix F) has the angular coordinates for it; the checker knows the older names.
    ("goes", "grid mapping geostationary requires exactly one variable with standard_name"),
)
# The checker takes time with the square of the variables.
PARTS = 6
# Without the products that differ from another in the steps of their grid or leads, or their run.
LIKE_OTHERS = {
    "nasa-imerg-early",
    "nasa-imerg-final",
    "noaa-gfs-forecast-1deg",
    "noaa-hrrr-forecast-hourly",
}
NAMES = [name for name in dataset_names() if name not in LIKE_OTHERS]


def stored(name: str, folder: Path) -> xr.Dataset:
    """Give the beginning of a dataset's archive as Zarr has it, undecoded."""
    config = with_labels(find_dataset(name).template_config())
    year = int(config.append_dim_start[:4]) + 1
    template = config.get_template(f"{year}{config.append_dim_start[4:]}")
    template = template.isel({dim: slice(0, 3) for dim in template.dims})
    for variable in template.variables.values():
        for key in ("chunks", "shards"):
            variable.encoding.pop(key, None)
    template.to_zarr(folder, compute=False, consolidated=True)
    return xr.open_zarr(folder, decode_cf=False, chunks=None).load()


def in_parts(ds: xr.Dataset) -> Iterable[xr.Dataset]:
    """Divide a dataset's data variables, each part with all that describes them."""
    # Where cells of a mesh lie is a variable, too.
    places = ("latitude", "longitude")
    own = [name for name in ds.variables if name not in places]
    names = [name for name in own if "cell_methods" in ds[name].attrs]
    parts = [names[part::PARTS] for part in range(PARTS)]
    return [ds.drop_vars(set(names) - set(part)) for part in parts if part]


def save(ds: xr.Dataset, path: Path) -> None:
    """Write netCDF with the attributes that there are, and no others."""
    without = [name for name, var in ds.variables.items() if "_FillValue" not in var.attrs]
    ds.to_netcdf(path, engine="netcdf4", encoding={n: {"_FillValue": None} for n in without})


def findings(paths: Sequence[Path]) -> dict[str, set[str]]:
    """Run the checker on netCDF files and give by file name what it says against each."""
    report = paths[0].with_name("report.json")
    # In a process of its own: its C libraries and those of this suite do not get along.
    checker = str(Path(sys.executable).with_name("compliance-checker"))
    options = ["--test=cf:1.11", "--format=json_new", f"--output={report}"]
    # Its exit code says whether it found anything.
    subprocess.run([checker, *options, *map(str, paths)], check=False, capture_output=True)
    priorities = ("high_priorities", "medium_priorities", "low_priorities")
    return {
        Path(path).stem: {
            message
            for priority in priorities
            for group in checks["cf:1.11"][priority]
            for message in group["msgs"]
        }
        for path, checks in json.loads(report.read_text()).items()
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Give by dataset what the checker says against it."""
    folder = tmp_path_factory.mktemp("cf")
    paths = []
    for name in NAMES:
        for number, part in enumerate(in_parts(stored(name, folder / f"{name}.zarr"))):
            paths.append(folder / f"{name}.{number}.nc")
            save(part, paths[-1])
    by_dataset: dict[str, set[str]] = {}
    for stem, messages in findings(paths).items():
        by_dataset.setdefault(Path(stem).stem, set()).update(messages)
    return by_dataset


@pytest.mark.parametrize("name", NAMES)
def test_metadata_follow_the_conventions_but_for_what_is_listed(found, name):
    """The checker finds nothing but the listed exceptions, and these where they are listed."""
    expected = {text for kind, text in EXCEPTIONS if kind in name}

    assert {m for m in found[name] if not any(text in m for text in expected)} == set()
    assert {text for text in expected if any(text in m for m in found[name])} == expected


def test_what_breaks_a_rule_is_found(tmp_path):
    """A unit that is none, a name that is none and a missing grid mapping do not pass."""
    ds = stored("ostia-sst-monthly", tmp_path / "a.zarr").drop_vars("latitude_longitude")
    ds.surface_temperature.attrs |= {"units": "warmth", "standard_name": "heat_of_the_sea"}
    save(ds, tmp_path / "a.nc")

    (said,) = findings([tmp_path / "a.nc"]).values()

    for broken in ("warmth", "heat_of_the_sea", "latitude_longitude"):
        assert any(broken in message for message in said)
