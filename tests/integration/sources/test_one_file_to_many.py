"""A file that fills many positions, each a source file of its own, is fetched once a region."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import RegionJob, SourceFileCoord, read_netcdf
from gridmill.sources.fetch.download import Download
from gridmill.testing import ArchiveServer, Status
from tiny import TinyTemplate, dataset_of, time_coordinate, tiny_var

DAYS = pd.date_range("2020-01-01", periods=12, freq="D")
VALUES = np.random.default_rng(0).normal(280, 9, (12, 2, 3)).astype("float32")


class Template(TinyTemplate):
    """Days; four are a region."""

    append_dim_frequency = "D"
    coords = (time_coordinate(units="days since 2020-01-01"), *TinyTemplate.coords[1:])
    data_vars = (tiny_var("a"),)


@dataclass(frozen=True, kw_only=True)
class Day(SourceFileCoord):
    """A day in the only file."""

    day: pd.Timestamp

    def get_url(self) -> str:
        """Return its address, the same for all."""
        return "all.nc"

    def out_loc(self) -> dict[str, Any]:
        """Return the label."""
        return {"time": self.day}


@dataclass(frozen=True, kw_only=True)
class NamedDay(Day):
    """The same, by a text."""

    def out_loc(self) -> dict[str, Any]:
        """Return the label as a text."""
        return {"time": f"{self.day:%Y-%m-%d}"}


class Job(RegionJob):
    """Reads days of one file."""

    publication_delay = timedelta(days=2)
    file_type: type[Day] = Day

    def generate_source_file_coords(self, ds: xr.Dataset, group: Any) -> list[Day]:
        """Return a source file for each day."""
        return [self.file_type(day=day) for day in ds.get_index("time")]

    def read_data(self, coord: Day, data_var: Any) -> np.ndarray:
        """Read a day."""
        at = (coord.day - DAYS[0]).days
        return read_netcdf(coord.downloaded_path, "t", index={"time": at})


class Named(Job):
    """The same, whose labels are texts."""

    file_type = NamedDay


class Own(Job):
    """The same with a hook that fetches."""

    def download_file(self, coord: Day) -> Path | Download:
        """Fetch as always."""
        return super().download_file(coord)


@pytest.fixture
def server(tmp_path: Path):
    """The provider."""
    (tmp_path / "source").mkdir()
    with ArchiveServer(tmp_path / "source") as server:
        server.release_all()
        yield server


def write(server: ArchiveServer, days: int) -> None:
    """Write the file with the first days."""
    data = {"t": (("time", "y", "x"), VALUES[:days])}
    xr.Dataset(data, {"time": DAYS[:days]}).to_netcdf(server.root / "all.nc")


def dataset(tmp_path: Path, server: ArchiveServer, job: type[Job] = Job) -> Any:
    """Return the dataset."""
    return dataset_of(template=Template, job=job)(tmp_path / "a", source_base=server.url)


def fetched(server: ArchiveServer) -> int:
    """Return how often the file was fetched."""
    return Counter(request.method for request in server.requests)["GET"]


def stored(dataset: Any) -> np.ndarray:
    """Return what readers get."""
    with dataset.store.open_dataset() as ds:
        return ds["a"].values


@pytest.mark.parametrize(("job", "fetches"), [(Job, 3), (Named, 3), (Own, 12)])
def test_it_is_fetched_once_a_region(tmp_path, server, job, fetches):
    """An author's own hook may fetch something else for each; bytes are counted once."""
    write(server, 12)
    archive = dataset(tmp_path, server, job)
    report = archive.backfill("2020-01-13", client="none", now="2020-02-01")
    np.testing.assert_array_equal(stored(archive), VALUES)
    assert fetched(server) == fetches
    nbytes = (server.root / "all.nc").stat().st_size
    assert report.nbytes_downloaded == fetches * nbytes


@pytest.mark.parametrize("job", [Job, Named])
def test_what_it_does_not_have_yet_is_waited_for(tmp_path, server, job):
    """Its other days are published, and the rest once it has them."""
    write(server, 6)
    archive = dataset(tmp_path, server, job)
    report = archive.backfill("2020-01-09", client="none", now="2020-01-08")
    np.testing.assert_array_equal(stored(archive), VALUES[:6])
    assert report.new_gaps == 0
    write(server, 12)
    archive.reformat_operational_update(client="none", now="2020-01-13")
    np.testing.assert_array_equal(stored(archive), VALUES)


def test_what_fails_fails_for_all_and_is_tried_once(tmp_path, server):
    """Retries are those of one file; the next run fetches it."""
    write(server, 4)
    server.inject("*", Status(status=404))
    archive = dataset(tmp_path, server)
    report = archive.backfill("2020-01-05", client="none", now="2020-01-05")
    assert (fetched(server), report.positions_after) == (1, 0)
    archive.backfill("2020-01-05", client="none", now="2020-01-05")
    np.testing.assert_array_equal(stored(archive), VALUES[:4])
