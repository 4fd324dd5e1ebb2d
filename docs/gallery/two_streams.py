"""An ensemble in two streams, on two sets of levels.

The control forecast lies in files of its own, the other members share theirs; near the ground and
on levels of pressure there are different files again. Inventories tell where messages lie, and only
their bytes are fetched.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from radar_rain import message

from gridmill import Coordinate, DynamicalDataset, Encoding
from gridmill.authoring.cf import ENSEMBLE_MEMBER
from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.template import ForecastTemplate
from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.sources.grib.identity import Surface

LEVELS = (850, 500)
START = ("init_time", "ensemble_member", "lead_time")
AT_2_M = (Level("2 m above ground", Surface(103, 2.0)),)
ALOFT = tuple(Level(f"{level} mb", Surface(100, level * 100.0)) for level in LEVELS)


def temperature(name: str, levels: tuple[Level, ...]) -> GribVar:
    """Return temperature at 2 m, or on levels."""
    dims = (*START, "latitude", "longitude") if len(levels) == 1 else Template.dims
    sizes = (1, 3, 2, 7, 12) if len(levels) == 1 else (1, 3, 2, 2, 7, 12)
    return GribVar(
        name=name,
        dims=dims,
        encoding=Encoding(chunks=sizes),
        attrs={"standard_name": "air_temperature", "long_name": "Temperature", "units": "K"},
        parameter="TMP",
        levels=levels,
        codes=((0, 0, 0),),
    )


class Template(ForecastTemplate):
    """Daily forecasts of three members."""

    dims = (*START, "level", "latitude", "longitude")
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "two-streams", "title": "An ensemble in two streams"}
    grid = LatitudeLongitudeGrid(step_degrees=30)
    lead_hours = (0, 6)
    more_coords = (
        ENSEMBLE_MEMBER,
        Coordinate(name="level", attrs={"units": "hPa", "positive": "down"}),
    )
    more_labels = {
        "ensemble_member": np.arange(3, dtype="int32"),
        "level": np.array(LEVELS, "float64"),
    }


Template.data_vars = (temperature("temperature_2m", AT_2_M), temperature("temperature", ALOFT))


@dataclass(frozen=True, kw_only=True)
class StreamFile(ForecastFile):
    """The file of a lead: of the control or of the others, near the ground or aloft."""

    levels: str = "sfc"

    def get_url(self):
        """Return its path."""
        stream = "control" if self.ensemble_member == 0 else "perturbed"
        lead = self.lead_time // timedelta(hours=1)
        return f"{self.init_time:%Y%m%d}/{stream}_{self.levels}_{lead:03d}.grib2"


class Job(GribForecastJob):
    """Reads messages by the inventories of files."""

    file_type = StreamFile
    grid = Template.grid
    publication_delay = timedelta(hours=12)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return files of the group's levels: variables on levels are groups of their own."""
        levels = "sfc" if len(data_var_group[0].levels) == 1 else "pl"
        files = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [replace(file, levels=levels) for file in files]


class TwoStreams(DynamicalDataset):
    """Ties structure and job together."""

    template_config = Template
    region_job = Job


def write(path: Path, init: pd.Timestamp, lead: int, fields: dict) -> None:
    """Write a file and its inventory; fields by member and level."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines, content = [], b""
    for (member, level), field in fields.items():
        surface, value = (103, 2) if level == 2 else (100, level * 100)
        keys = {
            "productDefinitionTemplateNumber": 1,
            "typeOfEnsembleForecast": 3 if member else 1,
            "perturbationNumber": member,
            "forecastTime": lead,
            "typeOfFirstFixedSurface": surface,
            "scaleFactorOfFirstFixedSurface": 0,
            "scaledValueOfFirstFixedSurface": value,
        }
        where = "2 m above ground" if level == 2 else f"{level} mb"
        when = f"{lead} hour fcst" if lead else "anl"
        who = f"ENS=+{member}" if member else "ENS=low-res ctl"
        begin = f"{len(lines) + 1}:{len(content)}:d={init:%Y%m%d%H}"
        lines.append(f"{begin}:TMP:{where}:{when}:{who}\n")
        content += message(field, init, **keys)
    path.write_bytes(content)
    path.with_name(f"{path.name}.idx").write_text("".join(lines))


def main(folder: Path) -> xr.Dataset:
    """Build two forecasts."""
    inits = pd.date_range("2025-01-01", periods=2)
    expected = np.random.default_rng(0).normal(270, 9, (2, 3, 2, 3, 7, 12)).astype("float32")
    for at, lead in np.ndindex(2, 2):
        for stream, members in {"control": (0,), "perturbed": (1, 2)}.items():
            for name, levels in {"sfc": (2,), "pl": LEVELS}.items():
                fields = {
                    (member, level): expected[at, member, lead, (2, *LEVELS).index(level)]
                    for level in levels
                    for member in members
                }
                path = folder / "source" / f"{inits[at]:%Y%m%d}"
                path /= f"{stream}_{name}_{6 * lead:03d}.grib2"
                write(path, inits[at], 6 * lead, fields)
    dataset = TwoStreams(folder / "a.zarr", source_base=str(folder / "source"))
    report = dataset.backfill("2025-01-03", now="2025-01-04")
    assert (report.positions_after, report.new_gaps) == (2, 0)
    stored = xr.open_zarr(folder / "a.zarr")
    np.testing.assert_array_equal(stored.temperature_2m, expected[:, :, :, 0])
    np.testing.assert_array_equal(stored.temperature, expected[:, :, :, 1:])
    return stored
