"""Forecasts of DWD's ICON-EU on its own mesh, every 6 hours, to 5 days.

A file holds one variable at one lead. Fields stay on the model's triangles, one dim, `cell`; where
each of them lies say the variables `latitude` and `longitude`, which come from the provider's files
of the first forecast.

The files are those of DWD's new tree, `v1/m`. Its old one, with files packed by bzip2 and ICON-EU
on regular latitudes and longitudes, ends after 2026-11-30 (github.com/dynamical-org/reformatters,
issues 1007 and 1063). On 2026-10-06 the mesh became DWD's number 62; the archive begins on the day
after. DWD keeps a forecast for about 21 hours; what is older comes from dynamical.org's public
copy, which has them since 2026-09-16. In the new tree no regular grid of ICON-EU is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gridmill import Completeness, DynamicalDataset, Encoding
from gridmill.authoring.cf import WELL_KNOWN, attributes
from gridmill.authoring.forecasts.fields import FieldFile, GribFieldJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import Code, GribVar, Level, Window
from gridmill.authoring.grids import MeshGrid
from gridmill.datasets.source_coop import DYNAMICAL
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.inventory.selection import Selector

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = [
    "DwdIconEuForecast",
    "DwdIconEuForecastFile",
    "DwdIconEuForecastJob",
    "DwdIconEuForecastTemplate",
]

GRID = MeshGrid(cells=768_608, mesh="grid 62,")
DIMS = ("init_time", "lead_time", "cell")
# All leads of some places in one chunk of 5 MB before compression; four shards a forecast.
ENCODING = Encoding(chunks=(1, 93, 12_288), shards=(1, 93, 196_608))
PLACES = Encoding(chunks=(768_608,))

SURFACE, SEA_LEVEL = Level("surface", Surface(1, None)), Level("sea level", Surface(101, None))
AT_2_M, AT_10_M = (Level(f"{z} m", Surface(103, float(z))) for z in (2, 10))
# It runs from the forecast's start, and cannot decrease but for the steps of its packing.
TOTAL = Window(kind="accumulation", non_negative_within=0.0)
EXTREME = Window(kind="extreme")
GUST = {"long_name": "Highest wind gust at 10 m since the previous step"}
METHODS = {
    Statistic.INSTANT: "point",
    Statistic.ACCUMULATION: "mean",
    Statistic.MAXIMUM: "maximum",
}


def _variable(
    name: str,
    parameter: str,
    level: Level,
    *codes: Code,
    statistic: Statistic = Statistic.INSTANT,
    window: Window | None = None,
    **more: str,
) -> GribVar:
    return GribVar(
        name=name,
        dims=DIMS,
        encoding=ENCODING,
        attrs=attributes(name, f"lead_time: {METHODS[statistic]}", **more),
        keep_mantissa_bits=WELL_KNOWN[name].mantissa_bits,
        parameter=parameter,
        levels=(level,),
        codes=codes,
        statistic=statistic,
        window=window,
    )


def _place(name: str, parameter: str, units: str) -> GribVar:
    return GribVar(
        name=name,
        dims=("cell",),
        encoding=PLACES,
        attrs={
            "standard_name": name,
            "long_name": f"{name.capitalize()} of the cell's centre",
            "units": units,
            "cell_methods": "cell: point",
        },
        parameter=parameter,
        levels=(Level("surface"),),
    )


# fmt: off
DATA_VARS = (
    _place("latitude", "CLAT", "degrees_north"),
    _place("longitude", "CLON", "degrees_east"),
    _variable("temperature_2m", "T_2M", AT_2_M, (0, 0, 0)),
    _variable("dew_point_temperature_2m", "TD_2M", AT_2_M, (0, 0, 6)),
    _variable("relative_humidity_2m", "RELHUM_2M", AT_2_M, (0, 1, 1)),
    _variable("wind_u_10m", "U_10M", AT_10_M, (0, 2, 2)),
    _variable("wind_v_10m", "V_10M", AT_10_M, (0, 2, 3)),
    _variable("wind_gust_10m", "VMAX_10M", AT_10_M, (0, 2, 22),
              statistic=Statistic.MAXIMUM, window=EXTREME, **GUST),
    _variable("pressure_surface", "PS", SURFACE, (0, 3, 0)),
    _variable("pressure_reduced_to_mean_sea_level", "PMSL", SEA_LEVEL, (0, 3, 1)),
    _variable("total_cloud_cover_atmosphere", "CLCT", Level("surface")),
    _variable("precipitation_surface", "TOT_PREC", SURFACE, (0, 1, 52),
              statistic=Statistic.ACCUMULATION, window=TOTAL),
)
# fmt: on


class DwdIconEuForecastTemplate(ForecastTemplate):
    """Forecasts of 120 h; a forecast is a region."""

    dims = DIMS
    append_dim_start = "2026-10-07"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "dwd-icon-eu-forecast",
        "title": "DWD ICON-EU forecast, 6.5 km, on its own mesh",
        "institution": "Deutscher Wetterdienst",
        "source": "ICON-EU, https://opendata.dwd.de",
        "license": "CC-BY-4.0",
        "summary": "Forecasts of ICON-EU, the model of Deutscher Wetterdienst for Europe, from 00, "
        "06, 12 and 18 UTC to 5 days: the surface, wind, clouds and precipitation, by start, lead "
        "and cell of the model's own triangular mesh.",
        "keywords": "weather forecast, numerical weather prediction, Europe, ICON-EU, DWD, GRIB2, "
        "unstructured mesh",
        "creator_name": "Deutscher Wetterdienst",
        "creator_type": "institution",
        "creator_url": "https://www.dwd.de",
        "attribution": "Source: Deutscher Wetterdienst, https://www.dwd.de, CC-BY-4.0",
        "coverage_content_type": "modelResult",
        # No coordinate says it. Rounded to what all of the mesh is known to be in.
        "geospatial_lat_min": 29.5,
        "geospatial_lat_max": 70.5,
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_min": -23.5,
        "geospatial_lon_max": 62.5,
        "geospatial_lon_units": "degrees_east",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    data_vars = DATA_VARS
    grid = GRID
    lead_hours = (*range(79), *range(81, 121, 3))
    more_coords = (Completeness(dims=("init_time", "lead_time")),)


@dataclass(frozen=True, kw_only=True)
class DwdIconEuForecastFile(FieldFile):
    """The file of one variable at one lead, or of where the cells lie."""

    is_place: bool = False

    def get_url(self) -> Sequence[str]:
        """Return the path in DWD's new tree, and the address of dynamical.org's copy."""
        name = f"PT{self.lead_time // timedelta(hours=1):03d}H00M.grib2"
        start = f"{self.init_time:%Y-%m-%dT%H}"
        copy = f"{DYNAMICAL}/dwd-icon-grib/icon-eu/icosahedral/{start}/{self.field}/{name}"
        return (f"icon-eu/p/{self.field}/r/{start}%3A00/s/{name}", copy)

    def out_loc(self) -> dict[str, Any]:
        """Return the forecast and lead; where cells lie depends on neither."""
        return {} if self.is_place else dict(super().out_loc())


class DwdIconEuForecastJob(GribFieldJob[DwdIconEuForecastFile]):
    """Reads a file a variable and lead."""

    # A forecast is complete four hours after its start; twice that, and DWD has a gap.
    publication_delay = timedelta(hours=8)
    file_type = DwdIconEuForecastFile
    grid = GRID

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[DwdIconEuForecastFile]:
        """Return a file a forecast and lead; where cells lie, that of the first forecast."""
        if not self.is_static:
            return super().generate_source_file_coords(processing_region_ds, data_var_group)
        first: pd.Timestamp = processing_region_ds.get_index("init_time")[0]
        file = self.source_file(first, processing_region_ds.get_index("lead_time")[0])
        return [replace(file, field=self.field_of(data_var_group[0]), is_place=True)]

    def message_selectors(self, coord: DwdIconEuForecastFile, data_var: GribVar) -> list[Selector]:
        """Ask for highest values of any period: it begins with the step before."""
        asked = super().message_selectors(coord, data_var)
        if data_var.window != EXTREME:
            return asked
        return [replace(one, start_step=None) for one in asked]


class DwdIconEuForecast(DynamicalDataset):
    """Forecasts of DWD's ICON-EU on its own mesh."""

    template_config = DwdIconEuForecastTemplate
    region_job = DwdIconEuForecastJob
    source_base = "https://opendata.dwd.de/weather/nwp/v1/m"
    verified = None
