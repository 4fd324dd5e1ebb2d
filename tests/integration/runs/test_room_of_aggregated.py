"""A plan says what a worker's disk and memory hold of many inputs that become few values."""

from __future__ import annotations

import tempfile
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import Encoding
from gridmill.authoring.derived import Aggregation, wind_speed
from gridmill.authoring.sources.opened import XarrayRegionJob
from gridmill.pipeline.slabs import dividing
from gridmill.pipeline.slabs.transform import TransformedSlabs
from gridmill.runs.plan import WORKER_NBYTES
from hourly import START, DailyTemplate, Hour, HourlyTemplate, Together, dataset, var

LATS, LONS = np.linspace(60.0, 20.0, 60), np.linspace(0.0, 79.0, 80)
HOURS = pd.date_range(START, periods=96, freq="h")
MEAN = Aggregation(method="mean", every="h")
ENCODING = Encoding(chunks=(8, 20, 20))


def large(name: str, **more: Any) -> Any:
    return replace(var(name, method="mean" if "aggregated" in more else None), **more)


def component(name: str) -> Any:
    return large(name, encoding=ENCODING)


def grid(self: Any) -> dict[str, Any]:
    return {"latitude": LATS, "longitude": LONS}


def template(base: Any, **more: Any) -> Any:
    one = large(more.pop("name", "speed"), **{"encoding": ENCODING, **more})
    return type("Large", (base,), {"data_vars": (one,), "dimension_coordinates": grid})


SPEED = wind_speed(component("u"), component("v"))
PACKED = replace(ENCODING, dtype="int16", fill_value=-9999, scale_factor=0.01)
TEMPLATES = {
    "days of two components": template(DailyTemplate, derived=SPEED, aggregated=MEAN),
    "days of one": template(DailyTemplate, name="u", aggregated=MEAN),
    "hours of two": template(HourlyTemplate, derived=SPEED),
    "packed to half its bytes": template(HourlyTemplate, name="u", encoding=PACKED),
}
every_template = pytest.mark.parametrize("made", TEMPLATES.values(), ids=TEMPLATES)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A provider of four days of hours."""
    folder: Path = tmp_path_factory.mktemp("source")
    for number, time in enumerate(HOURS):
        draw = np.random.default_rng(number)
        values = {
            name: (("latitude", "longitude"), draw.random((60, 80), "float32"), {"units": "m s-1"})
            for name in "uv"
        }
        coords = {"latitude": LATS, "longitude": LONS, "time": time}
        xr.Dataset(values, coords).to_netcdf(folder / f"u_v_{time:%Y%m%d%H}.nc")
    return folder


class Seen:
    """What lies on disk as slabs are taken, the first of them before any is released."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.scattered = self.whole = 0

    def look(self) -> None:
        """Look at the whole folder, and at what values are scattered to."""
        files = [path for path in self.root.rglob("*") if path.is_file()]
        told = {path: path.stat() for path in files}
        taken = {path: min(of.st_size, 512 * of.st_blocks) for path, of in told.items()}
        scattered = sum(n for path, n in taken.items() if path.name.startswith("slab-"))
        self.scattered = max(self.scattered, scattered)
        self.whole = max(self.whole, sum(taken.values()))


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Let little be too much for memory, and look at the folder of this process's tasks."""
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "disk"))
    monkeypatch.setattr(dividing, "SLAB_NBYTES", 100_000)
    looked, take = Seen(tmp_path / "disk"), TransformedSlabs._take

    def look(self: TransformedSlabs, number: int) -> Any:
        looked.look()
        return take(self, number)

    monkeypatch.setattr(TransformedSlabs, "_take", look)
    return looked


def end_of(made: Any) -> pd.Timestamp:
    return HOURS[0] + pd.Timedelta(hours=96 if made.append_dim_frequency == "D" else 8)


@every_template
def test_a_plan_counts_what_is_scattered_to_disk(tmp_path, source, seen, made):
    """All steps of all inputs, and not the days that are made of them."""
    archive = dataset(tmp_path / "a.zarr", source, made)
    planned = archive.plan(end_of(made)).describe()
    archive.backfill(end_of(made), client="none")
    scattered = max(region["scratch_nbytes"] for region in planned["regions"])
    assert 0.9 * seen.scattered < scattered < 1.1 * seen.scattered
    assert planned["tmp_disk_nbytes_per_worker"] > scattered


@every_template
def test_what_lies_on_disk_is_within_the_plan(tmp_path, source, seen, made):
    """Source files, what is scattered and shards, once a run has shown how large they are."""
    archive = dataset(tmp_path / "a.zarr", source, made)
    archive.backfill(end_of(made), client="none")
    planned = archive.plan(end_of(made), redo=True).describe()["tmp_disk_nbytes_per_worker"]
    seen.whole = 0
    archive.backfill(end_of(made), client="none", redo=True)
    assert seen.whole < planned < 3 * seen.whole


class Failing(Together):
    """Has a transformation that fails with what one file holds."""

    whole_dims = ()

    def transform_values_inplace(self, values, data_var):
        """Raise where it is."""
        if (values > 90).any():
            raise ValueError("above 90")


def test_what_failed_leaves_its_room_to_what_is_tried_next(tmp_path, source, seen, monkeypatch):
    """The files to blame are found by making the region again and again."""
    read = Failing.read_data
    monkeypatch.setattr(
        Failing,
        "read_data",
        lambda self, coord, var: read(self, coord, var) + 99 * (coord.time == HOURS[5]),
    )
    made = TEMPLATES["days of one"]
    archive = dataset(tmp_path / "a.zarr", source, made, Failing)
    planned = archive.plan(end_of(made)).describe()["regions"]
    report = archive.backfill(end_of(made), client="none")
    assert report.problems
    assert seen.scattered < 1.1 * max(region["scratch_nbytes"] for region in planned)


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.startswith("days")])
def test_memory_is_that_of_all_inputs(tmp_path, source, name):
    """And of what they are made into, as Python counts it; a run's own is some 2 MB."""
    made = TEMPLATES[name]
    archive = dataset(tmp_path / "a.zarr", source, made)
    archive.backfill(end_of(made), client="none")  # imports, and fills what is kept
    planned = archive.plan(end_of(made), redo=True).describe()["memory_nbytes_per_worker"]
    tracemalloc.start()
    try:
        archive.backfill(end_of(made), client="none", redo=True)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - 2e6 < planned - WORKER_NBYTES < 2 * peak


class Opened(XarrayRegionJob):
    """Opens the same files with xarray."""

    publication_delay = timedelta(hours=2)
    reads_again = False
    opened: list[Path] = []
    generate_source_file_coords = Together.generate_source_file_coords

    def open_file(self, coord: Hour) -> xr.Dataset:
        """Note which."""
        self.opened.append(coord.downloaded_path)
        return super().open_file(coord)


@every_template
def test_a_plan_counts_each_opening_by_xarray(tmp_path, source, made):
    """Of a file, one for each input that is read from it."""
    Opened.opened.clear()
    archive = dataset(tmp_path / "a.zarr", source, made, Opened)
    (said,) = [w for w in archive.plan(end_of(made)).describe()["warnings"] if "xarray opens" in w]
    archive.backfill(end_of(made), client="none")
    assert f"xarray opens source files {len(Opened.opened):,} times" in said
