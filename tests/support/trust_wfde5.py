"""The real hourly dataset of `wfde5`, under faults, and its truth."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from trust_dataset import FaultyStore
from trust_faults import hit
from wfde5 import TABLE, Wfde5Hourly, Wfde5RegionJob


class TrustWfde5RegionJob(Wfde5RegionJob):
    """Meets the faults that the switchboard holds."""

    def download_file(self, coord):
        """Download, unless a fault waits for it."""
        hit("download", coord.get_url())
        return super().download_file(coord)

    def read_data(self, coord, data_var):
        """Read a day of a variable, unless a fault waits for it."""
        hit("compress", f"{data_var.name}/{coord.get_url()}")
        return super().read_data(coord, data_var)


class TrustWfde5(FaultyStore, Wfde5Hourly):
    """WFDE5 near-surface meteorological variables."""

    region_job = TrustWfde5RegionJob


class Wfde5Truth:
    """The source files, read by xarray, as the reader asks for them."""

    steps_per_day = 24
    variables = tuple(TABLE)
    versions = 1

    def __init__(self, archive: Path) -> None:
        self.archive = archive

    def index(self, positions):
        """Give hourly labels."""
        return pd.date_range("2017-01-01", periods=positions, freq="h")

    def values(self, name: str, day: int, version: int) -> np.ndarray:
        """Read a day of a variable."""
        return _read_day(self.archive, day)[name]

    def static(self):
        """There is none."""
        return {}


@lru_cache(maxsize=40)
def _read_day(archive: Path, day: int) -> dict[str, np.ndarray]:
    label = pd.Timestamp("2017-01-01") + pd.Timedelta(days=day)
    ds = xr.load_dataset(archive / f"{label:wfde5/%Y/%m/WFDE5_v2.0_%Y%m%d.nc}")
    return {name: ds[source_name].values for name, (source_name, *_) in TABLE.items()}
