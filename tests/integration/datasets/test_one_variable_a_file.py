"""Forecasts of which a file holds one variable, on all levels or on one: DWD and others."""

from __future__ import annotations

import bz2
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from clusters import local_client
from grib_messages import encode
from gridmill import Coordinate, Encoding
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.sources.grib.identity import Surface
from gridmill.testing import ArchiveServer
from tiny import TinyTemplate, dataset_of, snapshot

LATS, LONS = np.arange(31.0), np.arange(16.0)
LEVELS = (850.0, 500.0)
LEADS = (0, 1, 2)
INITS = pd.date_range("2020-01-01", periods=2, freq="D")
END, LATE = "2020-01-03", pd.Timestamp("2020-01-04")


def declared(name: str, code: tuple[int, int, int], heights: Sequence[float]) -> GribVar:
    """Declare a variable at 2 m, or on several levels of pressure."""
    dims = ("pressure_level",) if len(heights) > 1 else ()
    kind, unit = (100, 100.0) if dims else (103, 1.0)
    return GribVar(
        name=name,
        dims=("init_time", "lead_time", *dims, "latitude", "longitude"),
        encoding=Encoding(chunks=(1, 3, *(len(heights) for _ in dims), 31, 16)),
        attrs={"units": "K", "long_name": name},
        parameter=name,
        levels=tuple(Level(f"{z:g}", Surface(kind, z * unit)) for z in heights),
        codes=(code,),
    )


T_2M = declared("t_2m", (0, 0, 0), [2.0])
T = declared("t", (0, 0, 0), LEVELS)
U = declared("u", (0, 2, 2), LEVELS)
VARIABLES = (T_2M, T, U)


class Template(TinyTemplate):
    """Daily forecasts of three leads."""

    append_dim = "init_time"
    append_dim_frequency = "D"
    dims = ("init_time", "lead_time", "pressure_level", "latitude", "longitude")
    coords = (
        Coordinate(name="init_time", dtype="int64", units="seconds since 1970-01-01"),
        Coordinate(name="lead_time", dtype="int64", units="seconds"),
        Coordinate(name="pressure_level"),
        Coordinate(name="latitude"),
        Coordinate(name="longitude"),
    )
    data_vars = VARIABLES

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give leads, levels and the grid."""
        leads = pd.to_timedelta(LEADS, unit="h")
        labels = {"lead_time": leads, "pressure_level": np.array(LEVELS)}
        return {**labels, "latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class VariableFile(ForecastFile):
    """All levels of one variable at one lead."""

    parameter: str

    def get_url(self) -> str:
        """Return its path."""
        return (
            f"{self.init_time:%Y%m%d}_{self.lead_time // timedelta(hours=1):03d}_{self.parameter}"
        )


@dataclass(frozen=True, kw_only=True)
class LevelFile(VariableFile):
    """One level of one variable at one lead, compressed."""

    level: float | None

    def get_url(self) -> str:
        """Return its path."""
        return f"{super().get_url()}_{self.level or 2:g}.grib2.bz2"

    def out_loc(self) -> dict[str, Any]:
        """Give the level, too, if the variable has several."""
        place = dict(super().out_loc())
        return place if self.level is None else {**place, "pressure_level": self.level}


class Job(GribForecastJob[VariableFile]):
    """A file a variable and lead, without an inventory."""

    publication_delay = timedelta(hours=2)

    def inventory_url(self, url: str) -> None:
        """There is none."""

    def source_groups(self, data_vars: Sequence[GribVar]) -> Sequence[Sequence[GribVar]]:
        """Each variable has its own files."""
        return [[var] for var in data_vars]

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[VariableFile]:
        """Give a file a forecast and lead."""
        (var,) = data_var_group
        inits, leads = (processing_region_ds.get_index(d) for d in ("init_time", "lead_time"))
        return [
            VariableFile(init_time=init, lead_time=lead, parameter=var.name)
            for init in inits
            for lead in leads
        ]


class LevelJob(Job):
    """A file a variable, level and lead."""

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[VariableFile]:
        """Give a file a forecast, lead and level."""
        (var,) = data_var_group
        levels = LEVELS if "pressure_level" in var.dims else (None,)
        return [
            LevelFile(
                init_time=file.init_time,
                lead_time=file.lead_time,
                parameter=file.parameter,
                level=level,
            )
            for file in super().generate_source_file_coords(processing_region_ds, data_var_group)
            for level in levels
        ]

    def levels_in(self, coord: Any, data_var: GribVar) -> Sequence[Level]:
        """Only the file's own."""
        if coord.level is None:
            return data_var.levels
        return [data_var.levels[LEVELS.index(coord.level)]]


def field(var: GribVar, init: int, lead: int, level: int) -> np.ndarray:
    """Return a field of its own for each place."""
    seed = [VARIABLES.index(var), init, lead, level]
    return np.random.default_rng(seed).normal(280, 9, (31, 16)).astype("float32")


def message(var: GribVar, init: int, lead: int, level: int) -> bytes:
    """Encode it."""
    surface = var.levels[level].surface
    assert surface is not None
    keys = {
        "discipline": 0,
        "parameterCategory": var.codes[0][1],
        "parameterNumber": var.codes[0][2],
        "typeOfFirstFixedSurface": surface.type,
        "scaleFactorOfFirstFixedSurface": 0,
        "scaledValueOfFirstFixedSurface": int(surface.value or 0),
        "dataDate": int(f"{INITS[init]:%Y%m%d}"),
        "dataTime": 0,
        "forecastTime": lead,
    }
    return encode(field(var, init, lead, level), packing="grid_ieee", keys=keys)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One worker with all stages, in this process."""
    with local_client(n_workers=1, processes=False) as client:
        yield client


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """A provider that has both kinds of files; levels in a file are in the reverse order."""
    root = tmp_path / "provider"
    root.mkdir()
    for init, date in enumerate(INITS):
        for lead in LEADS:
            for var in VARIABLES:
                name = f"{date:%Y%m%d}_{lead:03d}_{var.name}"
                whole = [message(var, init, lead, n) for n in range(len(var.levels))]
                (root / name).write_bytes(b"".join(reversed(whole)))
                for n, one in enumerate(whole):
                    height = LEVELS[n] if len(whole) > 1 else 2
                    (root / f"{name}_{height:g}.grib2.bz2").write_bytes(bz2.compress(one))
    with ArchiveServer(root) as server:
        server.release_all()
        yield server


@pytest.mark.parametrize("job", [Job, LevelJob], ids=["a variable", "a level"])
def test_a_file_may_hold_one_variable_or_one_level_of_it(tmp_path, client, server, job):
    """Each is fetched once, whole, without asking for an inventory; each level is in its place."""
    dataset = dataset_of(template=Template, job=job)(tmp_path / "a.zarr", source_base=server.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.positions_after, report.new_gaps, list(report.notes)) == (2, 0, [])
    files = len(INITS) * len(LEADS) * (5 if job is LevelJob else 3)
    assert len(server.requests) == len({one.path for one in server.requests}) == files
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        for var in VARIABLES:
            found = ds[var.name].values
            for place in np.ndindex(found.shape[:-2]):
                init, lead, level = (*place, 0)[:3]
                np.testing.assert_array_equal(found[place], field(var, init, lead, level))


def test_both_kinds_of_files_make_the_same_archive(tmp_path, client, server):
    """Object for object; and a level that is missing is a gap of that level alone."""
    for name, job in (("a", Job), ("b", LevelJob)):
        dataset = dataset_of(template=Template, job=job)(tmp_path / name, source_base=server.url)
        dataset.backfill(END, client=client, now=LATE)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")
    server.hold("20200101_001_t_500*")
    dataset = dataset_of(template=Template, job=LevelJob)(tmp_path / "c", source_base=server.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.new_gaps == 1
    with xr.open_zarr(tmp_path / "c") as ds:
        is_missing = np.isnan(ds["t"].values).all(axis=(-2, -1))
    assert np.argwhere(is_missing).tolist() == [[0, 1, 1]]
