"""Ensemble forecasts of ECMWF's IFS, 0.25°, every 12 hours, to 15 days, 51 members.

Member 0 is the control forecast. Up to cycle 49r1 of the model it lies in the files of the other
members; since cycle 50r1, from 2026-05-12 06 UTC on, it is the deterministic forecast, in a stream
and files of its own (github.com/ecmwf/ecmwf-opendata, issue 101; reformatters, issue 598).

The archive begins with the first whole month of cycle 49r1, since which the control and the
deterministic forecast are the same; total cloud cover is there from 2025-11-21 on
(github.com/dynamical-org/reformatters). The source is ECMWF's open data on Amazon's servers, and on
Google's, which hold the same bytes some minutes later (reformatters, pull requests 600 and 602);
any mirror with its layout will do as `source_base`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from gridmill import Completeness, DynamicalDataset, Encoding
from gridmill.authoring.cf import ENSEMBLE_MEMBER, WELL_KNOWN, attributes
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level, Window
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.inventory.selection import Selector

__all__ = [
    "EcmwfIfsEnsForecast",
    "EcmwfIfsEnsForecastFile",
    "EcmwfIfsEnsForecastJob",
    "EcmwfIfsEnsForecastTemplate",
]

GRID = LatitudeLongitudeGrid(step_degrees=0.25, first_longitude=-180.0)
DIMS = ("init_time", "ensemble_member", "lead_time", "latitude", "longitude")
# All members and leads of a place in one chunk of 5 MB before compression; a shard has 340 MB.
ENCODING = Encoding(chunks=(1, 51, 85, 17, 16), shards=(1, 51, 85, 136, 144))
CONTROL_APART_SINCE = pd.Timestamp("2026-05-12T06")
# Totals run from the forecast's start; amounts of water come in metres.
WATER = {"m": 1000.0, "kg m**-2": 1.0}
COVER = {"(0 - 1)": 100.0, "%": 1.0}
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
        levels=(Level("sfc"),),
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
    _variable("total_cloud_cover_atmosphere", "tcc", factors=COVER, valid_from="2025-11-21"),
    _variable("precipitation_surface", "tp", factors=WATER, window=TOTAL),
    _variable("downward_short_wave_radiation_flux_surface", "ssrd", window=TOTAL),
    _variable("downward_long_wave_radiation_flux_surface", "strd", window=TOTAL),
)


class EcmwfIfsEnsForecastTemplate(ForecastTemplate):
    """Forecasts of all members; a forecast is a region."""

    dims = DIMS
    append_dim_start = "2024-12-01"
    append_dim_frequency = "12h"
    dataset_attributes = {  # noqa: RUF012
        "dataset_id": "ecmwf-ifs-ens-forecast",
        "title": "ECMWF IFS ensemble forecast, 0.25°",
        "institution": "European Centre for Medium-Range Weather Forecasts",
        "source": "Integrated Forecasting System, https://www.ecmwf.int",
        "license": "CC-BY-4.0",
        "summary": "Forecasts of all 51 members of the ensemble of ECMWF's Integrated Forecasting "
        "System, from 00 and 12 UTC to 15 days: the surface, wind, clouds, precipitation and "
        "radiation, by start, member and lead on a global grid of latitudes and longitudes.",
        "keywords": "weather forecast, ensemble, numerical weather prediction, global, IFS, ECMWF, "
        "GRIB2",
        "creator_name": "European Centre for Medium-Range Weather Forecasts",
        "creator_type": "institution",
        "creator_url": "https://www.ecmwf.int",
        "attribution": "Contains modified ECMWF open data, https://www.ecmwf.int, CC-BY-4.0",
        "coverage_content_type": "modelResult",
        "Conventions": "CF-1.11, ACDD-1.3",
    }
    data_vars = DATA_VARS
    grid = GRID
    lead_hours = (*range(0, 145, 3), *range(150, 361, 6))
    more_coords = (
        ENSEMBLE_MEMBER,
        Completeness(dims=("init_time", "ensemble_member", "lead_time")),
    )
    more_labels: ClassVar = {"ensemble_member": np.arange(51, dtype="int32")}


@dataclass(frozen=True, kw_only=True)
class EcmwfIfsEnsForecastFile(ForecastFile):
    """The file of one lead of one member: that of all of them, or the control's own."""

    @property
    def is_apart(self) -> bool:
        """Whether it is the control's own."""
        return self.ensemble_member == 0 and self.init_time >= CONTROL_APART_SINCE

    def get_url(self) -> str:
        """Return the path: ``20260801/12z/ifs/0p25/enfo/20260801120000-6h-enfo-ef.grib2``."""
        init, hours = self.init_time, self.lead_time // timedelta(hours=1)
        stream, kind = ("oper", "fc") if self.is_apart else ("enfo", "ef")
        folder = f"{init:%Y%m%d/%H}z/ifs/0p25/{stream}"
        return f"{folder}/{init:%Y%m%d%H}0000-{hours}h-{stream}-{kind}.grib2"


class EcmwfIfsEnsForecastJob(GribForecastJob[EcmwfIfsEnsForecastFile]):
    """Reads the files of all members, and the control's own."""

    # A forecast is complete eight and a half hours after its start; twice that, and there is a gap.
    publication_delay = timedelta(hours=17)
    file_type = EcmwfIfsEnsForecastFile
    grid = GRID

    def inventory_url(self, url: str) -> str:
        """Return the file's address with ``.index`` in place of ``.grib2``."""
        return f"{url.removesuffix('.grib2')}.index"

    def message_selectors(
        self, coord: EcmwfIfsEnsForecastFile, data_var: GribVar
    ) -> list[Selector]:
        """Ask no member of a deterministic forecast's messages."""
        asked = super().message_selectors(coord, data_var)
        return [replace(one, member=None) for one in asked] if coord.is_apart else asked

    def inventory_selectors(
        self, coord: EcmwfIfsEnsForecastFile, data_var: GribVar
    ) -> list[Selector]:
        """Leave out what the inventory does not say: statistics, and where periods begin."""
        return [
            replace(asked, start_step=None, statistic=None)
            for asked in self.message_selectors(coord, data_var)
        ]


class EcmwfIfsEnsForecast(DynamicalDataset):
    """Ensemble forecasts of ECMWF's IFS, 0.25°."""

    template_config = EcmwfIfsEnsForecastTemplate
    region_job = EcmwfIfsEnsForecastJob
    source_base = (
        "https://ecmwf-forecasts.s3.eu-central-1.amazonaws.com",
        "https://storage.googleapis.com/ecmwf-open-data",
    )
    verified = None
