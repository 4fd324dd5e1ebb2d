"""Archives of a projected field: by area, onto another projection, and by its places alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from gridmill import DynamicalDataset, Encoding
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import CurvilinearGrid, ProjectedGrid, RegionalGrid
from gridmill.authoring.regridding import Regrid
from gridmill.datasets.noaa.hrrr_forecast import GRID as HRRR
from gridmill.sources.grib.framing import iter_messages
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.messages import open_message
from gridmill.testing import ArchiveServer
from hourly import START, HourlyTemplate, dataset, var
from regridded import places
from regridded_on_sphere import by_newton, by_samples, to_plane, unit

REAL = "hrrr.t06z.wrfsfcf01-TMP.grib2"
LAMBERT = "+proj=lcc +lat_1=38.5 +lat_2=38.5 +lat_0=38.5 +lon_0=262.5 +R=6371229"
POLAR = "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=249 +R=6371229"
PLACES = RegionalGrid(
    first_latitude=46.0, first_longitude=-110.0, step_degrees=(-2.0, 2.0), shape=(9, 16)
)
PLANE = ProjectedGrid(
    mapping={
        "grid_mapping_name": "polar_stereographic",
        "latitude_of_projection_origin": 90.0,
        "straight_vertical_longitude_from_pole": 249.0,
        "standard_parallel": 60.0,
        "earth_radius": 6371229.0,
    },
    first_latitude=33.0,
    first_longitude=-110.0,
    step_m=100000,
    shape=(9, 16),
)


def real_dataset(grid: Any, method: Any) -> type[DynamicalDataset]:
    """Return a forecast of HRRR's surface temperature on another grid."""
    variable = GribVar(
        name="t",
        encoding=Encoding(chunks=(1, 1, 9, 16)),
        attrs={"long_name": "Surface temperature", "units": "K"},
        parameter="TMP",
        levels=(Level("surface", Surface(1, None)),),
        codes=((0, 0, 0),),
        regridded=Regrid(grid=HRRR, method=method),
    )

    class Template(ForecastTemplate):
        dims = ("init_time", "lead_time", *grid.labels())
        append_dim_start = "2023-07-22T06"
        dataset_attributes = {"dataset_id": "hrrr-elsewhere", "title": "HRRR, elsewhere"}
        data_vars = (variable,)
        lead_hours = (1,)

    Template.grid = grid

    class File(ForecastFile):
        def get_url(self) -> str:
            return REAL

    class Job(GribForecastJob[File]):
        file_type = File

        def inventory_url(self, url: str) -> None:
            """There is none."""

    return type("Real", (DynamicalDataset,), {"template_config": Template, "region_job": Job})


def real_field(shared_data: Path) -> np.ndarray:
    (message,) = iter_messages(next(shared_data.rglob(REAL)).read_bytes())
    with open_message(message.data) as opened:
        values = np.empty(opened.shape, "float32")
        opened.decode_into(values)
    return values


def in_hrrr(latitudes: Any, longitudes: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return in which cell of HRRR places lie, by PROJ."""
    x, y = to_plane(LAMBERT)[0](latitudes, longitudes)
    rows, columns = places(HRRR)
    found = [np.rint((at - of[0]) / 3000).astype(int) for at, of in ((y, rows), (x, columns))]
    return found[0], found[1]


def samples_of(grid: Any, many: int = 200) -> tuple[tuple[Any, Any], Any]:
    """Return places all over each cell of a grid, and the area that each stands for."""
    rows, columns = places(grid)
    share = (np.arange(many) + 0.5) / many - 0.5
    steps = rows[1] - rows[0], columns[1] - columns[0]
    up = rows[:, None, None, None] + steps[0] * share[:, None]
    across = columns[:, None, None] + steps[1] * share
    up, across = (of.reshape(rows.size * columns.size, -1) for of in _whole(up, across, many))
    if grid is PLACES:
        return (up, across), np.cos(np.radians(up))
    latitudes, longitudes = to_plane(POLAR)[1](across, up)
    # The scale of the projection is in proportion to this.
    return (latitudes, longitudes), (1 + np.sin(np.radians(latitudes))) ** 2


def _whole(up: Any, across: Any, many: int) -> tuple[Any, Any]:
    return tuple(np.broadcast_arrays(up, across[np.newaxis, :, np.newaxis, 0]))


@pytest.mark.parametrize("grid", [PLACES, PLANE], ids=["latitudes", "polar"])
def test_a_real_projected_field_becomes_an_archive_of_means_over_cells(shared_data, tmp_path, grid):
    """Fetched, decoded, compared with its grid and brought to another: as 40,000 places a cell."""
    path = next(shared_data.rglob(REAL))
    with ArchiveServer(path.parent) as server:
        server.release_all()
        archive = real_dataset(grid, "conservative")(tmp_path / "a.zarr", source_base=server.url)
        report = archive.backfill("2023-07-22T12", client="none", now="2023-07-23")
        again = archive.backfill("2023-07-22T12", client="none", now="2023-07-23")
    assert (report.positions_after, report.new_gaps) == (1, 0), list(report.problems)
    assert again.variables_done == 0
    cells, weights = samples_of(grid)
    wanted, covered = by_samples(cells, weights, in_hrrr, real_field(shared_data))
    assert covered.min() == 1
    with archive.store.open_dataset() as ds:
        found = ds.t[0, 0].values
        assert ds.t.attrs["cell_methods"] == "area: mean"
        assert "lambert_conformal_conic" in ds.t.attrs["regridding"]
    np.testing.assert_allclose(found, wanted.reshape(9, 16), atol=0.02)


def test_a_real_field_of_which_only_the_places_are_known(shared_data, tmp_path):
    """As WRF writes them, with rows from the north and a coast that is masked."""
    part = (slice(400, 520), slice(800, 960))
    values = real_field(shared_data)[part].copy()
    values[:30, :40] = np.nan
    latitudes, longitudes = (
        np.asarray(HRRR.auxiliary()[name][1][part], "float64") for name in ("latitude", "longitude")
    )
    write(tmp_path / "source", values[::-1], latitudes[::-1], longitudes[::-1])
    grid = CurvilinearGrid(places=(latitudes, longitudes), dims=("south_north", "west_east"))
    ours = RegionalGrid(
        first_latitude=39.0, first_longitude=-98.5, step_degrees=(-0.5, 0.5), shape=(8, 11)
    )
    how = Regrid(grid=grid, method="bilinear")
    one = replace(var("t", "K", regridded=how), encoding=Encoding(chunks=(4, 8, 11)))

    class Template(HourlyTemplate):
        coords = (HourlyTemplate.coords[0], *ours.coords)
        data_vars = (one,)

        def dimension_coordinates(self) -> dict[str, Any]:
            return ours.labels()

        def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
            return ours.auxiliary()

    made = dataset(tmp_path / "a.zarr", tmp_path / "source", Template)
    report = made.backfill(START.replace(hour=1), client="none")
    assert report.succeeded, (report.failures, list(report.problems))
    found = xr.open_zarr(tmp_path / "a.zarr").t[0].values
    vectors = unit(*np.meshgrid(*places(ours), indexing="ij")).reshape(-1, 3)
    near = [np.argmax(unit(latitudes, longitudes) @ one) for one in vectors]
    wanted = np.full(len(vectors), np.nan)
    for number, at in enumerate(near):
        row, column = np.unravel_index(at, values.shape)
        box = tuple(slice(max(0, of - 2), of + 3) for of in (row, column))
        window = (of[box] for of in (values, latitudes, longitudes))
        wanted[number] = by_newton(*window, vectors[number : number + 1])[0]
    assert 10 < np.isnan(wanted).sum() < 60
    np.testing.assert_allclose(found, wanted.reshape(8, 11), rtol=1e-6)


def write(folder: Path, values: Any, latitudes: Any, longitudes: Any) -> None:
    folder.mkdir()
    dims = ("south_north", "west_east")
    ds = xr.Dataset({"t": (dims, values, {"units": "K", "coordinates": "XLONG XLAT"})})
    ds["XLAT"] = (dims, latitudes.astype("float32"), {"units": "degree_north"})
    ds["XLONG"] = (dims, longitudes.astype("float32"), {"units": "degree_east"})
    ds.assign_coords(time=START).to_netcdf(folder / f"u_v_{START:%Y%m%d%H}.nc")
