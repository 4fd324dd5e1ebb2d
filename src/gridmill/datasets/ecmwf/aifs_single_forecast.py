"""Global forecasts of ECMWF's AIFS, single, 0.25°, every 6 hours, to 15 days.

The source is ECMWF's open data; any mirror with its layout will do as `source_base`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from gridmill import Completeness, DynamicalDataset, Encoding
from gridmill.authoring.cf import WELL_KNOWN, attributes
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level, Window
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.inventory.selection import Selector

__all__ = [
    "EcmwfAifsSingleForecast",
    "EcmwfAifsSingleForecastFile",
    "EcmwfAifsSingleForecastJob",
    "EcmwfAifsSingleForecastTemplate",
]

GRID = LatitudeLongitudeGrid(step_degrees=0.25, first_longitude=-180.0)
DIMS = ("init_time", "lead_time", "latitude", "longitude")
# All leads of a place in one chunk of 3.6 MB before compression; four shards a forecast.
ENCODING = Encoding(chunks=(1, 61, 121, 121), shards=(1, 61, 363, 726))
SURFACE = Level("sfc")
# Totals run from the forecast's start; amounts of water come in metres or in kg m-2.
WATER = {"m": 1000.0, "m of water equivalent": 1000.0, "kg m**-2": 1.0}
COVER = {"(0 - 1)": 100.0, "%": 1.0}
# None of them can decrease, but for the steps in which they are packed.
TOTAL = Window(kind="accumulation", non_negative_within=0.0)


def _variable(name: str, short_name: str, **more: Any) -> GribVar:
    is_total = "window" in more
    return GribVar(
        name=name,
        dims=DIMS,
        encoding=ENCODING,
        attrs=attributes(name, f"lead_time: {'mean' if is_total else 'point'}"),
        keep_mantissa_bits=WELL_KNOWN[name].mantissa_bits,
        parameter=short_name,
        short_name=short_name,
        levels=(SURFACE,),
        statistic=Statistic.ACCUMULATION if is_total else Statistic.INSTANT,
        **more,
    )


DATA_VARS = (
    _variable("temperature_2m", "2t"),
    _variable("dew_point_temperature_2m", "2d"),
    _variable("temperature_surface", "skt"),
    _variable("wind_u_10m", "10u"),
    _variable("wind_v_10m", "10v"),
    _variable("wind_u_100m", "100u"),
    _variable("wind_v_100m", "100v"),
    _variable("pressure_surface", "sp"),
    _variable("pressure_reduced_to_mean_sea_level", "msl"),
    _variable("total_column_water_atmosphere", "tcw"),
    _variable("total_cloud_cover_atmosphere", "tcc", factors=COVER),
    _variable("low_cloud_cover", "lcc", factors=COVER),
    _variable("middle_cloud_cover", "mcc", factors=COVER),
    _variable("high_cloud_cover", "hcc", factors=COVER),
    _variable("precipitation_surface", "tp", factors=WATER, window=TOTAL),
    _variable("convective_precipitation_surface", "cp", factors=WATER, window=TOTAL),
    _variable("snowfall_surface", "sf", factors=WATER, window=TOTAL),
    _variable("runoff_surface", "rowe", factors=WATER, window=TOTAL),
    _variable("downward_short_wave_radiation_flux_surface", "ssrd", window=TOTAL),
    _variable("downward_long_wave_radiation_flux_surface", "strd", window=TOTAL),
)


class EcmwfAifsSingleForecastTemplate(ForecastTemplate):
    """Forecasts of 15 days; a forecast is a region."""

    dims = DIMS
    # The first whole month of the operational model, which has had all variables since it began on
    # 2025-02-25 (github.com/dynamical-org/reformatters; ECMWF's announcement of AIFS Single v1).
    append_dim_start = "2025-03-01"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "ecmwf-aifs-single-forecast",
        "title": "ECMWF AIFS single forecast, 0.25°",
        "institution": "European Centre for Medium-Range Weather Forecasts",
        "source": "Artificial Intelligence Forecasting System, https://www.ecmwf.int",
        "license": "CC-BY-4.0",
        "summary": "Forecasts of ECMWF's Artificial Intelligence Forecasting System, single, from "
        "00, 06, 12 and 18 UTC to 15 days in steps of 6 hours: the surface, wind, clouds, "
        "precipitation and radiation, by start and lead on a global grid of latitudes and "
        "longitudes.",
        "keywords": "weather forecast, machine learning, global, AIFS, ECMWF, GRIB2",
        "creator_name": "European Centre for Medium-Range Weather Forecasts",
        "creator_type": "institution",
        "creator_url": "https://www.ecmwf.int",
        "attribution": "Contains modified ECMWF open data, https://www.ecmwf.int, CC-BY-4.0",
        "coverage_content_type": "modelResult",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    data_vars = DATA_VARS
    grid = GRID
    lead_hours = tuple(range(0, 361, 6))
    more_coords = (Completeness(dims=("init_time", "lead_time")),)


@dataclass(frozen=True, kw_only=True)
class EcmwfAifsSingleForecastFile(ForecastFile):
    """The file of one lead."""

    def get_url(self) -> str:
        """Return ``20260801/06z/aifs-single/0p25/oper/20260801060000-6h-oper-fc.grib2``."""
        init, hours = self.init_time, self.lead_time // timedelta(hours=1)
        folder = f"{init:%Y%m%d/%H}z/aifs-single/0p25/oper"
        return f"{folder}/{init:%Y%m%d%H}0000-{hours}h-oper-fc.grib2"


class EcmwfAifsSingleForecastJob(GribForecastJob[EcmwfAifsSingleForecastFile]):
    """Reads the files of all leads."""

    # A forecast is complete seven hours after its start; twice that, and ECMWF has a gap.
    publication_delay = timedelta(hours=14)
    file_type = EcmwfAifsSingleForecastFile
    grid = GRID

    def inventory_url(self, url: str) -> str:
        """Return the file's address with ``.index`` in place of ``.grib2``."""
        return f"{url.removesuffix('.grib2')}.index"

    def inventory_selectors(
        self, coord: EcmwfAifsSingleForecastFile, data_var: GribVar
    ) -> list[Selector]:
        """Leave out what the inventory does not say: statistics, and where periods begin."""
        return [
            replace(asked, start_step=None, statistic=None)
            for asked in self.message_selectors(coord, data_var)
        ]


class EcmwfAifsSingleForecast(DynamicalDataset):
    """Global forecasts of ECMWF's AIFS, single, 0.25°."""

    template_config = EcmwfAifsSingleForecastTemplate
    region_job = EcmwfAifsSingleForecastJob
    source_base = "https://ecmwf-forecasts.s3.eu-central-1.amazonaws.com"
    verified = (
        "ECMWF's inventories of 2025-03-01 at 0 h and 6 h for every variable; for three variables "
        "values of ECMWF's and NOAA's fields under other dates"
    )
