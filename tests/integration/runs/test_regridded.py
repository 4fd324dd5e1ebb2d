"""Archives on another grid than their source files: read, compared, brought to it, published."""

from __future__ import annotations

import gzip
import multiprocessing
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from pyproj import CRS, Transformer

from gridmill import DataVar, DynamicalDataset, Encoding, connect, read_netcdf
from gridmill.authoring.derived import Aggregation, wind_speed
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import LatitudeLongitudeGrid, RegionalGrid
from gridmill.authoring.regridding import Regrid
from gridmill.authoring.regridding.applying import regrid_into
from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.weights import NeedsScipy, make_weights
from gridmill.authoring.sources.opened import XarrayRegionJob
from gridmill.datasets.eccc.hrdps_forecast import GRID as HRDPS
from gridmill.datasets.noaa.gefs_extended_forecast import (
    NoaaGefsExtendedForecast,
    NoaaGefsExtendedForecastFile,
)
from gridmill.datasets.noaa.hrrr_forecast import GRID as HRRR
from gridmill.model.epochs import BILINEAR, CONSERVATIVE
from gridmill.pipeline.faults import is_of_the_file
from gridmill.sources.grib.framing import iter_messages
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.messages import open_message
from gridmill.testing import ArchiveServer, DatasetContract
from hourly import START, HourlyTemplate, Together, dataset, var
from made_providers import idx_line, made, twin, write_provider
from regridded import by_interp, cell_by_cell, places

SOURCE = RegionalGrid(
    first_latitude=85.0, first_longitude=5.0, step_degrees=(-10, 10), shape=(18, 36)
)
OURS = LatitudeLongitudeGrid(step_degrees=30.0)
TARGET = Target(*places(OURS))
HOURS = pd.date_range(START, periods=48, freq="h")
UNITS = {"u": "m s-1", "v": "m s-1", "p": "mm"}


def field(name: str, time: pd.Timestamp) -> np.ndarray:
    """Return what the provider has: a different field for each time and variable."""
    seed = [int((time - START) / pd.Timedelta("1h")), "uvp".index(name)]
    return np.random.default_rng(seed).uniform(1, 30, (18, 36)).astype("float32")


def write(folder: Path, time: pd.Timestamp, *, rising: bool = False, step: float = 10.0) -> None:
    """Publish an hour, its rows from the south if they are to rise."""
    rows, columns = places(SOURCE)
    order = slice(None, None, -1) if rising else slice(None)
    coords = {"lat": rows[order], "lon": columns * (step / 10), "time": time}
    values = {n: (("lat", "lon"), field(n, time)[order], {"units": u}) for n, u in UNITS.items()}
    ds = xr.Dataset(values, coords)
    ds["lat"].attrs, ds["lon"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    ds.to_netcdf(folder / f"u_v_{time:%Y%m%d%H}.nc")


def made_var(name: str, method: Any = None, *, units: str = "m s-1", **more: Any) -> DataVar:
    how = None if method is None else Regrid(grid=SOURCE, method=method)
    one = var(name, units, regridded=how, **more)
    return replace(one, encoding=Encoding(chunks=(4, 7, 12)))


class Template(HourlyTemplate):
    """Fields of another grid, by either method, and what is made of them."""

    coords = (HourlyTemplate.coords[0], *OURS.coords)
    data_vars = (
        made_var("u", "bilinear"),
        made_var("p", "conservative", units="mm"),
        made_var("speed", derived=wind_speed(made_var("u", "bilinear"), made_var("v", "bilinear"))),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the archive's own grid."""
        return OURS.labels()

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Give the grid mapping."""
        return OURS.auxiliary()


class TestContract(DatasetContract):
    """All of the contract, where source files have another grid."""

    dataset = type(dataset(Path("nowhere"), Path("nowhere"), Template))
    until = str(HOURS[8])

    def make_source(self, folder: Path) -> str:
        """Write eight hours."""
        folder.mkdir(exist_ok=True)
        for time in HOURS[:8]:
            write(folder, time)
        return str(folder)


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    for number, time in enumerate(HOURS):
        write(folder, time, rising=number % 2 == 1)
    return folder


def interpolated(name: str, times: pd.DatetimeIndex) -> np.ndarray:
    """Interpolate by NumPy, the poles being the mean of the row around them."""
    rows, columns = places(SOURCE)
    with_poles = np.concatenate([[90.0], rows, [-90.0]])

    def of(time: pd.Timestamp) -> np.ndarray:
        values = field(name, time).astype("float64")
        ends = [np.full((1, 36), values[at].mean()) for at in (0, -1)]
        whole = np.concatenate([ends[0], values, ends[1]])
        return by_interp(whole, with_poles, columns, TARGET)

    return np.stack([of(time) for time in times])


def by_cells(times: pd.DatetimeIndex) -> np.ndarray:
    return np.stack([cell_by_cell(field("p", time), SOURCE, TARGET) for time in times])


def test_a_cluster_builds_an_archive_on_another_grid(tmp_path, source):
    """Both methods and a formula of what they give, from files with rows in either order."""
    with connect("local", n_workers=2) as client:
        made_of = dataset(tmp_path / "a.zarr", source, Template)
        report = made_of.backfill(HOURS[10], client=client)
    assert report.succeeded, (report.failures, list(report.problems))
    ds = xr.open_zarr(tmp_path / "a.zarr")
    times = HOURS[:10]
    np.testing.assert_allclose(ds.u, interpolated("u", times), rtol=1e-6)
    np.testing.assert_allclose(ds.p, by_cells(times), rtol=1e-6)
    speed = np.hypot(interpolated("u", times), interpolated("v", times))
    np.testing.assert_allclose(ds.speed, speed, rtol=1e-6)
    assert ds.p.attrs["cell_methods"] == "area: mean"
    assert "cell_methods" not in ds.u.attrs
    assert ds.u.attrs["regridding"].startswith("bilinear interpolation, from 18 latitudes from 85")
    (record, *_) = made_of.store.tracker.all_records()
    known = {name: record.variables[name] for name in ("u", "p")}
    assert (BILINEAR in known["u"].epochs, CONSERVATIVE in known["u"].epochs) == (True, False)
    assert CONSERVATIVE in known["p"].epochs
    assert "scipy" in known["p"].libraries


def test_days_are_made_of_regridded_hours(tmp_path, source):
    """Each hour is brought to the grid, and then the day is made; cell_methods says so in order."""

    class Daily(Template):
        append_dim_frequency = "D"
        data_vars = (
            replace(
                made_var("p", "conservative", units="mm"),
                attrs={"long_name": "p", "units": "mm", "cell_methods": "time: maximum"},
                aggregated=Aggregation(method="maximum", every="h"),
            ),
        )

    report = dataset(tmp_path / "a.zarr", source, Daily).backfill("2020-01-03", client="none")
    assert report.succeeded, (report.failures, list(report.problems))
    ds = xr.open_zarr(tmp_path / "a.zarr")
    wanted = by_cells(HOURS).reshape(2, 24, *TARGET.shape).max(axis=1)
    np.testing.assert_allclose(ds.p, wanted, rtol=1e-6)
    assert ds.p.attrs["cell_methods"] == "area: mean time: maximum"


def test_a_file_on_another_grid_than_the_declared_one_is_not_read(tmp_path, source):
    """Its labels are compared with the source's grid: both are named, and the others stand."""
    write(source, HOURS[3], step=5.0)
    made_of = dataset(tmp_path / "a.zarr", source, Template)
    made_of.backfill(HOURS[8], now=HOURS[40], client="none")
    ds = xr.open_zarr(tmp_path / "a.zarr")
    assert np.isnan(ds.u[3]).all()
    assert not np.isnan(ds.u[4]).any()
    records = made_of.store.tracker.all_records()
    told = str([known.unread for record in records for known in record.variables.values()])
    wanted = "its lon goes from 2.5 to 177.5, and the declared source's longitude from 5 to 355"
    assert wanted in told


def test_another_method_makes_another_archive(tmp_path, source):
    """What was made by the former one is not believed, and is made by this one."""
    made_of = dataset(tmp_path / "a.zarr", source, Template)
    made_of.backfill(HOURS[4], client="none")

    class Other(Template):
        data_vars = (made_var("u", "conservative"), *Template.data_vars[1:])

    report = dataset(tmp_path / "a.zarr", source, Other).backfill(HOURS[4], client="none")
    assert report.succeeded, (report.failures, list(report.problems))
    wanted = np.stack([cell_by_cell(field("u", t), SOURCE, TARGET) for t in HOURS[:4]])
    np.testing.assert_allclose(xr.open_zarr(tmp_path / "a.zarr").u, wanted, rtol=1e-6)
    assert (report.variables_done, report.variables_skipped) == (1, 2)
    again = dataset(tmp_path / "a.zarr", source, Other).backfill(HOURS[4], client="none")
    assert again.variables_done == 0


def gefs_by_declaration() -> Any:
    """Return the forecast of two resolutions, regridded by what its variables declare."""
    coarse = LatitudeLongitudeGrid(step_degrees=60.0)
    small = twin(
        NoaaGefsExtendedForecast,
        LatitudeLongitudeGrid(step_degrees=30.0),
        lead_hours=(0, 237, 240, 246, 252),
        more_labels={"ensemble_member": np.arange(2, dtype="int32")},
    )
    how = Regrid(grid=coarse, method="bilinear")
    names = ("temperature_2m", "precipitation_surface")
    config = small.template_config
    config.data_vars = tuple(
        replace(one, regridded=how) for one in config.data_vars if one.name in names
    )
    small.region_job.coarse_grid = coarse
    small.region_job.read_data = GribForecastJob.read_data
    return small


def test_grib_files_of_two_resolutions_come_to_one_grid(tmp_path):
    """Those on the archive's own grid are as made; means of steps come after the regridding."""
    small = gefs_by_declaration()
    end = "2020-10-01T12"
    root = write_provider(small, tmp_path / "source", end, inventory=idx_line, suffix=".idx")
    with ArchiveServer(root) as server, connect("local", n_workers=2) as client:
        server.release_all()
        archive = small(tmp_path / "a.zarr", source_base=server.url)
        report = archive.backfill(end, client=client, now=end)
    assert (report.positions_after, report.new_gaps) == (2, 0)
    init = pd.Timestamp("2020-10-01T06")
    fine = Target(*places(LatitudeLongitudeGrid(step_degrees=30.0)))
    rows, columns = places(LatitudeLongitudeGrid(step_degrees=60.0))
    with archive.store.open_dataset() as ds:
        for hours, shape in ((240, (7, 12)), (246, (4, 6)), (252, (4, 6))):
            lead = pd.Timedelta(hours=hours)
            coord = NoaaGefsExtendedForecastFile(init_time=init, lead_time=lead, ensemble_member=1)
            at = ds.sel(init_time=init, lead_time=lead, ensemble_member=1)
            own = made("temperature_2m", coord, 0.0, shape)
            wanted = own if hours == 240 else by_interp(own, rows, columns, fine)
            np.testing.assert_allclose(at.temperature_2m.values, wanted, rtol=1e-6)
            if hours > 240:
                rain = made("precipitation_surface", coord, 1.0, shape)
                rate = by_interp(rain, rows, columns, fine) / 3600
                np.testing.assert_allclose(at.precipitation_surface.values, rate, rtol=1e-5)


# -- levels -----------------------------------------------------------------------------------

LEVELS = np.array([100000.0, 92500, 85000, 70000, 50000, 30000, 10000, 1000])
OF_THEM = np.array([850.0, 500, 10])  # in hPa


class OnLevels(Template):
    """Three of eight levels, from another grid, in other units."""

    dims = ("time", "level", "latitude", "longitude")
    data_vars = (replace(made_var("u", "conservative"), encoding=Encoding(chunks=(4, 3, 7, 12))),)

    def __init__(self) -> None:
        level = replace(
            HourlyTemplate.coords[1],
            name="level",
            attrs={"units": "hPa", "long_name": "Pressure"},
        )
        self.coords = (*Template.coords, level)
        super().__init__()

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give levels and grid."""
        return {"level": OF_THEM, **OURS.labels()}


class Picks(Together):
    """Names the levels that it reads."""

    def read_data(self, coord, data_var):
        """Read some levels of many."""
        select = {"plev": OF_THEM * 100}
        return read_netcdf(coord.downloaded_path, data_var.name, select=select)


class PicksByXarray(XarrayRegionJob, Together):
    """Declares the levels that are taken."""

    selected = {"plev": OF_THEM * 100}
    read_data = XarrayRegionJob.read_data


def write_levels(folder: Path, levels: np.ndarray) -> None:
    rows, columns = places(SOURCE)
    for number, time in enumerate(HOURS[:4]):
        values = np.stack([field("u", time) + level / 1000 for level in levels])
        attrs = {"units": "m s-1"}
        ds = xr.Dataset({"u": (("plev", "lat", "lon"), values, attrs)})
        ds = ds.assign_coords(plev=levels, lat=rows, lon=columns, time=time)
        ds["plev"].attrs = {"units": "Pa"}
        zlib = {"zlib": True, "chunksizes": (1, 18, 36)} if number % 2 else {}
        ds.to_netcdf(folder / f"u_v_{time:%Y%m%d%H}.nc", encoding={"u": zlib})


@pytest.mark.parametrize("job", [Picks, PicksByXarray])
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_levels_are_taken_by_their_labels(tmp_path, job, order):
    """Wherever they lie in the file, which says them in other units."""
    source = tmp_path / "source"
    source.mkdir()
    write_levels(source, LEVELS[order])
    report = dataset(tmp_path / "a.zarr", source, OnLevels, job).backfill(HOURS[4], client="none")
    assert report.succeeded, (report.failures, list(report.problems))
    found = xr.open_zarr(tmp_path / "a.zarr").u
    for at, level in enumerate(OF_THEM):
        wanted = [
            cell_by_cell(field("u", t) + np.float32(level / 10), SOURCE, TARGET) for t in HOURS[:4]
        ]
        np.testing.assert_allclose(found[:, at], wanted, rtol=1e-6)


@pytest.mark.parametrize("job", [Picks, PicksByXarray])
def test_a_level_that_is_not_there_is_named(tmp_path, job):
    """And what the file has; nothing is taken for it."""
    source = tmp_path / "source"
    source.mkdir()
    write_levels(source, LEVELS[LEVELS != 50000])
    made_of = dataset(tmp_path / "a.zarr", source, OnLevels, job)
    report = made_of.backfill(HOURS[4], now=HOURS[40], client="none")
    assert "no plev 50000; it has 100000, 92500, 85000, 70000" in str(list(report.problems))


# -- real files -------------------------------------------------------------------------------

LAMBERT = "+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=262.5 +R=6371229"
ROTATED = "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=36.08852 +lon_0=245.305142 +R=6371229"


def by_proj(values: np.ndarray, grid: Any, target: Target, proj: str) -> np.ndarray:
    """Interpolate point by point in the plane that PROJ gives."""
    sphere = CRS.from_proj4("+proj=longlat +R=6371229")
    turned = Transformer.from_crs(sphere, CRS.from_proj4(proj), always_xy=True)
    longitudes, latitudes = np.meshgrid(target.columns, target.rows)
    x, y = turned.transform(longitudes, latitudes)
    rows, columns = places(grid)
    i, j = (
        (np.asarray(at) - labels[0]) / (labels[1] - labels[0])
        for at, labels in ((y, rows), (x, columns))
    )
    found = np.full(target.shape, np.nan)
    for at in np.ndindex(target.shape):
        k, m = int(np.floor(i[at])), int(np.floor(j[at]))
        a, b = i[at] - k, j[at] - m
        v = values.astype("float64")
        found[at] = (1 - a) * ((1 - b) * v[k, m] + b * v[k, m + 1]) + a * (
            (1 - b) * v[k + 1, m] + b * v[k + 1, m + 1]
        )
    return found


@pytest.mark.parametrize(
    ("name", "grid", "target", "proj"),
    [
        (
            "hrrr.t06z.wrfsfcf01-TMP.grib2",
            HRRR,
            Target(np.arange(30.0, 46, 1.7), np.arange(-110.0, -80, 2.3)),
            LAMBERT,
        ),
        (
            "20260219T00Z_MSC_HRDPS_CAPE_Sfc_RLatLon0.0225_PT000H.grib2",
            HRDPS,
            Target(np.arange(46.0, 57, 1.3), np.arange(250.0, 280, 2.9)),
            ROTATED,
        ),
    ],
    ids=["HRRR", "HRDPS"],
)
def test_real_fields_are_what_plain_numpy_gives(shared_data, name, grid, target, proj):
    """A message of a curvilinear grid, at places that PROJ finds in its plane."""
    content = next(shared_data.rglob(name)).read_bytes()
    content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    message = next(iter(iter_messages(content)))
    with open_message(message.data) as opened:
        assert grid.differences(opened.grid) == []
        values = np.empty(opened.shape, "float32")
        opened.decode_into(values)
    out = np.empty(target.shape, "float32")
    how = Regrid(grid=grid, method="bilinear")
    one = var("t", "K")
    regrid_into(values, make_weights(grid, target, "bilinear"), how, one, out)
    # What PROJ and gridmill find apart is far less than a millimetre.
    np.testing.assert_allclose(out, by_proj(values, grid, target, proj), rtol=1e-5, atol=1e-3)


REAL = "hrrr.t06z.wrfsfcf01-TMP.grib2"
PLACES = RegionalGrid(
    first_latitude=46.0, first_longitude=-110.0, step_degrees=(-2.0, 2.0), shape=(9, 16)
)


class RealTemplate(ForecastTemplate):
    """A lead of HRRR on latitudes and longitudes."""

    dims = ("init_time", "lead_time", "latitude", "longitude")
    append_dim_start = "2023-07-22T06"
    dataset_attributes = {"dataset_id": "hrrr-2deg", "title": "HRRR, 2°"}
    data_vars = (
        GribVar(
            name="t",
            encoding=Encoding(chunks=(1, 1, 9, 16)),
            attrs={"long_name": "Surface temperature", "units": "K"},
            parameter="TMP",
            levels=(Level("surface", Surface(1, None)),),
            codes=((0, 0, 0),),
            regridded=Regrid(grid=HRRR, method="bilinear"),
        ),
    )
    grid = PLACES
    lead_hours = (1,)


class RealFile(ForecastFile):
    """The one that there is."""

    def get_url(self) -> str:
        """Return its name."""
        return REAL


class RealJob(GribForecastJob[RealFile]):
    """Reads whole files; that messages are on the source's grid is known by the variable."""

    file_type = RealFile

    def inventory_url(self, url: str) -> None:
        """There is none."""


class Real(DynamicalDataset):
    """Ties them together."""

    template_config = RealTemplate
    region_job = RealJob


def test_a_real_file_becomes_an_archive_on_another_grid(shared_data, tmp_path):
    """Fetched, decoded, checked against its grid and regridded on a cluster."""
    path = next(shared_data.rglob(REAL))
    with ArchiveServer(path.parent) as server, connect("local", n_workers=1) as client:
        server.release_all()
        archive = Real(tmp_path / "a.zarr", source_base=server.url)
        report = archive.backfill("2023-07-22T12", client=client, now="2023-07-23")
    assert (report.positions_after, report.new_gaps) == (1, 0), list(report.problems)
    (message,) = iter_messages(path.read_bytes())
    with open_message(message.data) as opened:
        values = np.empty(opened.shape, "float32")
        opened.decode_into(values)
    with archive.store.open_dataset() as ds:
        wanted = by_proj(values, HRRR, Target(*places(PLACES)), LAMBERT)
        np.testing.assert_allclose(ds.t[0, 0], wanted, rtol=1e-6)


# -- weights ----------------------------------------------------------------------------------


def ask_for_weights(folder: str, told: str, gate: Any) -> None:
    """Ask for the same weights as others do at the same time, in a process of its own."""
    from gridmill.authoring.regridding import kept
    from gridmill.sources.kept import keep_files

    make = kept.make_weights

    def making(*args: Any) -> Any:
        with Path(told).open("a") as file:
            file.write("made\n")
        return make(*args)

    kept.make_weights = making
    keep_files(Path(folder))
    gate.wait()
    weights = kept.weights_for(SOURCE, TARGET, "conservative")
    assert kept.weights_for(SOURCE, TARGET, "conservative") is weights
    wanted = make(SOURCE, TARGET, "conservative")
    assert all((a != b).nnz == 0 for a, b in zip(weights.matrices, wanted.matrices, strict=True))


def asked_by(folder: Path, told: Path, many: int) -> None:
    spawning = multiprocessing.get_context("spawn")
    gate = spawning.Barrier(many)
    some = [
        spawning.Process(target=ask_for_weights, args=(str(folder), str(told), gate))
        for _ in range(many)
    ]
    for one in some:
        one.start()
    for one in some:
        one.join()
    assert [one.exitcode for one in some] == [0] * many


def test_processes_of_a_machine_compute_weights_once(tmp_path):
    """Whoever asks first computes them; damaged ones are computed by each who reads them."""
    folder, told = tmp_path / "shared", tmp_path / "told.txt"
    asked_by(folder, told, 3)
    assert told.read_text() == "made\n"
    (kept,) = folder.glob("weights-*[!k]")
    kept.write_bytes(kept.read_bytes()[:-100])
    asked_by(folder, told, 2)
    assert told.read_text() == "made\n" * 3


def test_a_worker_without_scipy_is_no_fault_of_a_file():
    """The region fails and says what to install; no place becomes a gap."""
    error = pickle.loads(pickle.dumps(NeedsScipy("install it")))
    assert str(error) == "install it"
    assert not is_of_the_file(error)
