"""Forecasts of Canada's HRDPS, 2.5 km, every 6 hours, to 48 hours.

A file holds one variable at one lead. Fields stay on the model's grid, latitudes and longitudes
about another pole: dims rlat and rlon, with true latitudes and longitudes and the grid mapping
beside them. Wind components are along that grid; the direction of the wind is from true north.

The sources are Environment and Climate Change Canada's Datamart and its twin at the same paths,
which keep about 30 days, and for what is older dynamical.org's public copy, which has the same
names since 2026-07-09; the archive begins there. Addresses, names, and what is empty at the start
of a forecast are those that github.com/dynamical-org/reformatters found; Environment and Climate
Change Canada asks for at most about eight downloads at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill import Completeness, DownloadSettings, DynamicalDataset, Encoding
from gridmill.authoring.cf import ALONG_X, ALONG_Y, WELL_KNOWN, attributes
from gridmill.authoring.forecasts.fields import FieldFile, GribFieldJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import Code, GribVar, Level, Window
from gridmill.authoring.grids import RotatedGrid
from gridmill.datasets.source_coop import DYNAMICAL
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "EcccHrdpsForecast",
    "EcccHrdpsForecastFile",
    "EcccHrdpsForecastJob",
    "EcccHrdpsForecastTemplate",
]

GRID = RotatedGrid(
    southern_pole=(-36.08852, 245.305142),
    first_latitude=-12.302501,
    first_longitude=-14.82122,
    step_degrees=0.0225,
    shape=(1290, 2540),
)
DIMS = ("init_time", "lead_time", "rlat", "rlon")
# All leads of a place in one chunk of 3 MB before compression; 20 shards a forecast.
ENCODING = Encoding(chunks=(1, 49, 129, 127), shards=(1, 49, 258, 635))

SURFACE, SEA_LEVEL = Level("Sfc", Surface(1, None)), Level("MSL", Surface(101, None))
AT_2_M, AT_10_M = (Level(f"AGL-{z}m", Surface(103, float(z))) for z in (2, 10))
# Totals run from the forecast's start, and cannot decrease but for the steps of their packing.
TOTAL = Window(kind="accumulation", non_negative_within=0.0)
# Beside totals: the files of the first lead have no value.
EMPTY_AT_START = ("TCDC",)
X_WIND, Y_WIND = (
    {**along, "long_name": f"{along['long_name']} at 10 m"} for along in (ALONG_X, ALONG_Y)
)


def _variable(name: str, parameter: str, level: Level, *codes: Code, **more: Any) -> GribVar:
    window = more.pop("window", None)
    method = "point" if window is None else "mean"
    return GribVar(
        name=name,
        dims=DIMS,
        encoding=ENCODING,
        attrs=attributes(name, f"lead_time: {method}", **more),
        keep_mantissa_bits=WELL_KNOWN[name].mantissa_bits,
        parameter=parameter,
        levels=(level,),
        # A file has one message: where codes are not known for certain they are not checked.
        codes=codes,
        statistic=Statistic.INSTANT if window is None else Statistic.ACCUMULATION,
        window=window,
    )


# fmt: off
DATA_VARS = (
    _variable("temperature_2m", "TMP", AT_2_M, (0, 0, 0)),
    _variable("dew_point_temperature_2m", "DPT", AT_2_M, (0, 0, 6)),
    _variable("relative_humidity_2m", "RH", AT_2_M, (0, 1, 1)),
    _variable("specific_humidity_2m", "SPFH", AT_2_M, (0, 1, 0)),
    _variable("wind_u_10m", "UGRD", AT_10_M, (0, 2, 2), **X_WIND),
    _variable("wind_v_10m", "VGRD", AT_10_M, (0, 2, 3), **Y_WIND),
    _variable("wind_speed_10m", "WIND", AT_10_M, (0, 2, 1)),
    _variable("wind_direction_10m", "WDIR", AT_10_M, (0, 2, 0)),
    _variable("wind_gust_10m", "GUST", AT_10_M, (0, 2, 22)),
    _variable("pressure_surface", "PRES", SURFACE, (0, 3, 0)),
    _variable("pressure_reduced_to_mean_sea_level", "PRMSL", SEA_LEVEL, (0, 3, 1)),
    _variable("total_cloud_cover_atmosphere", "TCDC", Level("Sfc"), (0, 6, 1)),
    _variable("convective_available_potential_energy_surface", "CAPE", SURFACE, (0, 7, 6)),
    _variable("precipitation_surface", "APCP", SURFACE, (0, 1, 8), window=TOTAL),
    _variable("downward_short_wave_radiation_flux_surface", "DSWRF", SURFACE, window=TOTAL),
    _variable("downward_long_wave_radiation_flux_surface", "DLWRF", SURFACE, window=TOTAL),
)
# fmt: on


class EcccHrdpsForecastTemplate(ForecastTemplate):
    """Forecasts of 48 h; a forecast is a region."""

    dims = DIMS
    append_dim_start = "2026-07-10"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "eccc-hrdps-forecast",
        "title": "ECCC HRDPS forecast, 2.5 km",
        "institution": "Environment and Climate Change Canada",
        "source": "High Resolution Deterministic Prediction System, https://dd.weather.gc.ca",
        "license": "ECCC Data Servers End-use Licence 2.1",
        "summary": "Forecasts of Canada's High Resolution Deterministic Prediction System from "
        "00, 06, 12 and 18 UTC to 48 hours: the surface, wind, clouds, precipitation and "
        "radiation, by start and lead on the model's own rotated grid of latitudes and longitudes.",
        "keywords": "weather forecast, numerical weather prediction, Canada, HRDPS, ECCC, GRIB2, "
        "convection-allowing",
        "creator_name": "Environment and Climate Change Canada",
        "creator_type": "institution",
        "creator_url": "https://eccc-msc.github.io/open-data",
        "attribution": "Data source: Environment and Climate Change Canada",
        "coverage_content_type": "modelResult",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    data_vars = DATA_VARS
    grid = GRID
    lead_hours = tuple(range(49))
    more_coords = (Completeness(dims=("init_time", "lead_time")),)


@dataclass(frozen=True, kw_only=True)
class EcccHrdpsForecastFile(FieldFile):
    """The file of one variable at one lead."""

    def get_url(self) -> Sequence[str]:
        """Return the path in the Datamart, and the address of dynamical.org's copy."""
        init, hours = self.init_time, f"{self.lead_time // timedelta(hours=1):03d}"
        name = f"{init:%Y%m%dT%HZ}_MSC_HRDPS_{self.field}_RLatLon0.0225_PT{hours}H.grib2"
        folder = f"{init:%Y%m%d}/WXO-DD/model_hrdps/continental/2.5km/{init:%H}/{hours}"
        copy = f"{DYNAMICAL}/eccc-hrdps-grib/{init:%Y%m%d/%H}/{hours}/{name}"
        return (f"{folder}/{name}", copy)


class EcccHrdpsForecastJob(GribFieldJob[EcccHrdpsForecastFile]):
    """Reads a file a variable and lead."""

    # A forecast is complete four hours after its start; twice that, and there is a gap.
    publication_delay = timedelta(hours=8)
    # What the provider asks of its users.
    download_settings = DownloadSettings(most_at_host=8)
    file_type = EcccHrdpsForecastFile
    grid = GRID

    def field_of(self, data_var: GribVar) -> str:
        """Return what files call a variable and its level."""
        return f"{data_var.parameter}_{data_var.levels[0].name}"

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[EcccHrdpsForecastFile]:
        """Return a file a forecast and lead; the first lead of some has no value."""
        files = super().generate_source_file_coords(processing_region_ds, data_var_group)
        is_late = data_var_group[0].parameter in EMPTY_AT_START
        return [file for file in files if file.lead_time or not is_late]

    def transform_values_inplace(self, values: np.ndarray[Any, Any], data_var: GribVar) -> None:
        """Take the marks that stand in CAPE where there is none, -1 and others, for missing."""
        if data_var.parameter == "CAPE":
            values[values < -0.1] = np.nan
        super().transform_values_inplace(values, data_var)


class EcccHrdpsForecast(DynamicalDataset):
    """Forecasts of Canada's HRDPS, 2.5 km."""

    template_config = EcccHrdpsForecastTemplate
    region_job = EcccHrdpsForecastJob
    source_base = ("https://dd.weather.gc.ca", "https://hpfx.collab.science.gc.ca")
    verified = (
        "the values of one file of the provider's, CAPE at the start of 2026-02-19 00 UTC; of the "
        "other variables none"
    )
