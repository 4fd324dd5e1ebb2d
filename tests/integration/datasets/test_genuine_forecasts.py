"""Datasets declared for the real forecasts at hand: nothing in their files was changed or made.

NCEP's RAP (Lambert, one file a lead) and CMC's GDPS (polar stereographic, one file a variable and
lead), both without inventories.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import DynamicalDataset, Encoding
from gridmill.authoring.cf import attributes
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level, Window
from gridmill.authoring.grids import EARTH_RADIUS, ProjectedGrid
from gridmill.sources.grib.framing import iter_messages
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.messages import decode_message_into, read_grid
from gridmill.testing import ArchiveServer

DIMS = ("init_time", "lead_time", "y", "x")
SURFACE = Level("surface", Surface(1, None))
AT_2M, AT_10M = (Level(f"{z} m above ground", Surface(103, float(z))) for z in (2, 10))
AT_700HPA = Level("700 mb", Surface(100, 70000.0))


def variable(name: str, code: tuple[int, int, int], level: Level, **more) -> GribVar:
    """Declare a variable whose values stay as they are decoded."""
    method = "mean" if "window" in more else "point"
    return GribVar(
        name=name,
        dims=DIMS,
        encoding=Encoding(chunks=(1, 4, 241, 435)),
        attrs=attributes(name, f"lead_time: {method}", units="1", long_name=name),
        parameter=name,
        codes=(code,),
        levels=(level,),
        **more,
    )


class RapTemplate(ForecastTemplate):
    """Four hours."""

    dims = DIMS
    append_dim_start = "2020-05-13"
    dataset_attributes = {"dataset_id": "rap", "title": "RAP"}
    data_vars = (
        variable("temperature_2m", (0, 0, 0), AT_2M),
        variable("temperature_surface", (0, 0, 0), SURFACE),
        variable("wind_u_10m", (0, 2, 2), AT_10M),
        variable("wind_v_10m", (0, 2, 3), AT_10M),
    )
    lead_hours = (0, 1, 2, 3)
    grid = ProjectedGrid(
        mapping={
            "grid_mapping_name": "lambert_conformal_conic",
            "standard_parallel": 25.0,
            "longitude_of_central_meridian": -95.0,
            "latitude_of_projection_origin": 25.0,
            "false_easting": 0.0,
            "false_northing": 0.0,
            "earth_radius": EARTH_RADIUS,
        },
        first_latitude=20.96153,
        first_longitude=234.822819,
        step_m=13545.0,
        shape=(241, 435),
    )


@dataclass(frozen=True, kw_only=True)
class RapFile(ForecastFile):
    """The file of one lead."""

    def get_url(self):
        return f"rap.t00z.awp130pgrbf{self.lead_time // timedelta(hours=1):02d}.grib2"


class RapJob(GribForecastJob[RapFile]):
    """Reads whole files."""

    file_type = RapFile
    grid = RapTemplate.grid


class Rap(DynamicalDataset):
    """NCEP's RAP."""

    template_config = RapTemplate
    region_job = RapJob


class GdpsTemplate(ForecastTemplate):
    """Two forecasts of three leads."""

    dims = DIMS
    append_dim_start = "2020-01-25"
    append_dim_frequency = "12h"
    dataset_attributes = {"dataset_id": "gdps", "title": "GDPS"}
    data_vars = (
        variable("temperature_700hpa", (0, 0, 0), AT_700HPA),
        variable("wind_u_10m", (0, 2, 2), AT_10M),
        variable(
            "precipitation_surface",
            (0, 1, 8),
            SURFACE,
            statistic=Statistic.ACCUMULATION,
            window=Window(kind="accumulation"),
        ),
    )
    lead_hours = (0, 3, 6)
    grid = ProjectedGrid(
        mapping={
            "grid_mapping_name": "polar_stereographic",
            "latitude_of_projection_origin": 90.0,
            "standard_parallel": 60.0,
            "straight_vertical_longitude_from_pole": -111.0,
            "false_easting": 0.0,
            "false_northing": 0.0,
            "earth_radius": EARTH_RADIUS,
        },
        first_latitude=32.549114,
        first_longitude=225.385728,
        step_m=30000.0,
        shape=(200, 247),
    )


@dataclass(frozen=True, kw_only=True)
class GdpsFile(ForecastFile):
    """The file of one variable and lead."""

    field: str = ""

    def get_url(self):
        hours = self.lead_time // timedelta(hours=1)
        return f"CMC_glb_{self.field}_ps30km_{self.init_time:%Y%m%d%H}_P{hours:03d}.grib2"


FIELDS = {
    "temperature_700hpa": "TMP_ISBL_700",
    "wind_u_10m": "WIND_TGL_10",
    "precipitation_surface": "APCP_SFC_0",
}


class GdpsJob(GribForecastJob[GdpsFile]):
    """Reads whole files, each of one variable."""

    file_type = GdpsFile
    grid = GdpsTemplate.grid

    def source_groups(self, data_vars):
        return [[var] for var in data_vars]

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        files = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [replace(file, field=FIELDS[data_var_group[0].name]) for file in files]


class Gdps(DynamicalDataset):
    """CMC's GDPS."""

    template_config = GdpsTemplate
    region_job = GdpsJob


@contextmanager
def served(shared_data: Path, sample: str) -> Iterator[tuple[Path, ArchiveServer]]:
    """Serve the folder in which a real file lies."""
    folder = next((shared_data / "S3_real_leads").rglob(sample)).parent
    with ArchiveServer(folder) as server:
        server.release_all()
        yield folder, server


def decoded(path: Path, number: int) -> np.ndarray:
    """Give a file's message, counted from 0."""
    message = list(iter_messages(path))[number].data
    values = np.empty(read_grid(message).shape, np.float32)
    decode_message_into(values, message)
    return values


def read(store: Path) -> xr.Dataset:
    """Give what readers see."""
    with xr.open_zarr(store, chunks=None, decode_timedelta=True) as ds:
        return ds.load()


def test_four_leads_of_ncep_s_rap(tmp_path, shared_data, client):
    """Without inventories each file is fetched whole, once, and every message finds its place."""
    with served(shared_data, "rap.*f00.grib2") as (folder, server):
        dataset = Rap(tmp_path / "a.zarr", source_base=server.url)
        report = dataset.backfill("2020-05-13T06", client=client, now="2020-05-14")
        assert (report.positions_after, report.stops_because, report.failures) == (1, None, [])
        whole = [r.path for r in server.requests if r.status == 200]
        assert len(whole) == len(set(whole)) == 4
    (note,) = report.notes
    assert note.startswith("4 source files were fetched whole: there is no inventory; the first is")

    ds = read(tmp_path / "a.zarr")
    order = ("temperature_surface", "temperature_2m", "wind_u_10m", "wind_v_10m")
    for lead in range(4):
        for number, name in enumerate(order):
            expected = decoded(folder / f"rap.t00z.awp130pgrbf{lead:02d}.grib2", number)
            np.testing.assert_array_equal(ds[name].values[0, lead], expected)


def test_two_forecasts_of_cmc_s_gdps(tmp_path, shared_data, client):
    """A backfill and an update hold the fields, and the mean rate of rain of each step."""
    with served(shared_data, "CMC_glb_APCP*") as (folder, server):
        dataset = Gdps(tmp_path / "a.zarr", source_base=server.url)
        dataset.backfill("2020-01-25T12", client=client, now="2020-01-25T12")
        report = dataset.reformat_operational_update(client=client, now="2020-01-25T20")
        assert (report.positions_after, report.stops_because, report.failures) == (2, None, [])

    ds = read(tmp_path / "a.zarr")
    for number, init in enumerate(pd.to_datetime(["2020-01-25T00", "2020-01-25T12"])):

        def field(name, lead, init=init):
            file = GdpsFile(init_time=init, lead_time=pd.Timedelta(lead, "h"), field=FIELDS[name])
            return decoded(folder / file.get_url(), 0)

        for index, lead in enumerate((0, 3, 6)):
            for name in ("temperature_700hpa", "wind_u_10m"):
                np.testing.assert_array_equal(ds[name].values[number, index], field(name, lead))
        rain = ds.precipitation_surface.values[number]
        first, total = (field("precipitation_surface", lead) for lead in (3, 6))
        assert np.isnan(rain[0]).all()
        np.testing.assert_allclose(rain[1] * 10800, first, rtol=1e-6)
        np.testing.assert_allclose((rain[1] + rain[2]) * 10800, total, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("dataset", [Rap, Gdps])
def test_places_are_those_of_the_provider_s_grid(dataset):
    """Latitudes and longitudes stand beside y and x."""
    config = dataset.template_config()
    ds = config.get_template("2021-01-01")
    corner = (float(ds.latitude[0, 0]), float(ds.longitude[0, 0]) % 360)
    grid = config.grid
    np.testing.assert_allclose(corner, (grid.first_latitude, grid.first_longitude), atol=1e-4)
