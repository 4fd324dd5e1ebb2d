"""A provider that makes each file on request.

The queue is asked once for each day, polled while the job waits, and what it made is fetched. Which
job a request became is kept beside the records: a run that is killed, or does not want to wait any
longer, is followed by one that continues with the same jobs.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from gridmill import (
    Coordinate,
    DataVar,
    DynamicalDataset,
    Encoding,
    TemplateConfig,
    read_netcdf,
)
from gridmill.authoring.sources.queued import OgcQueue, Patience, QueuedFile, QueuedRegionJob
from gridmill.testing.queues.queue_server import QueueServer


class Template(TemplateConfig):
    """Daily temperature of 4 × 4 points."""

    dims = ("time", "y", "x")
    append_dim = "time"
    append_dim_start = "2025-01-01"
    append_dim_frequency = "D"
    dataset_attributes = {"dataset_id": "queued", "title": "Temperature on request"}
    coords = (
        Coordinate(name="time", dtype="int64", units="days since 1970-01-01", calendar="standard"),
        Coordinate(name="y"),
        Coordinate(name="x"),
    )
    data_vars = (
        DataVar(
            name="temperature",
            encoding=Encoding(chunks=(5, 4, 4)),
            attrs={"long_name": "Air temperature", "units": "K"},
        ),
    )

    def dimension_coordinates(self):
        """Return point numbers."""
        return {"y": np.arange(4.0), "x": np.arange(4.0)}


@dataclass(frozen=True, kw_only=True)
class Day(QueuedFile):
    """A day."""

    day: pd.Timestamp

    def request(self):
        """Return what to ask for."""
        return {"variable": ["2m_temperature"], "date": f"{self.day:%Y-%m-%d}"}

    def out_loc(self):
        """Return the label that it fills."""
        return {"time": self.day}


class Job(QueuedRegionJob):
    """Asks for each day."""

    patience = Patience(most_queued=3, poll_initial_s=0.05, wait_s=60)
    # Only because the queue of this example has a new address each time.
    address = ""

    def queue(self):
        """Return the queue; for Copernicus, https://cds.climate.copernicus.eu/api/retrieve/v1."""
        return OgcQueue(url=self.address, process="weather")

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Return a file a day."""
        return [Day(day=day) for day in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Return y × x."""
        return read_netcdf(coord.downloaded_path, "t2m")


def make(request) -> bytes:
    """Make what was asked for, as the provider does."""
    value = 250 + pd.Timestamp(request["date"]).day
    day = xr.Dataset({"t2m": (("y", "x"), np.full((4, 4), value, "float32"), {"units": "K"})})
    with tempfile.TemporaryDirectory() as folder:
        day.to_netcdf(Path(folder) / "day.nc")
        return (Path(folder) / "day.nc").read_bytes()


def main(folder: Path) -> xr.Dataset:
    """Build ten days, and ask for nothing when that is done again."""
    with QueueServer(make, takes_s=0.2) as server:
        job = type("ExampleJob", (Job,), {"address": server.url})
        queued = type(
            "Queued", (DynamicalDataset,), {"template_config": Template, "region_job": job}
        )
        queued(folder / "queued.zarr").backfill("2025-01-11")
        queued(folder / "queued.zarr").backfill("2025-01-11", redo=True)
        assert len(server.jobs) == 10
        assert server.most_waiting <= 3
    stored = xr.open_zarr(folder / "queued.zarr")
    assert stored.temperature[:, 0, 0].values.tolist() == [251 + n for n in range(10)]
    return stored
