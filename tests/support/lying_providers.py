"""Providers of every kind that lie: behind tokens, in listings, Zarr, queues, on mirrors, in parts.

Each tells a day's truth or a lie in its own form, and knows the dataset that is made of it. What is
told is that of `daily_netcdf`; some lies are of one kind of provider alone.
"""

from __future__ import annotations

import gzip
import os
import random
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import h5py
import icechunk
import netCDF4
import numpy as np
import pandas as pd
import rasterio
import xarray as xr

import daily_netcdf as daily
from daily_netcdf import LONS, Held, write
from gridmill import (
    BearerToken,
    Coordinate,
    DataVar,
    DownloadSettings,
    Encoding,
    ListedFileCoord,
    RegionJob,
    read_geotiff,
    read_h5py,
    read_netcdf,
)
from gridmill.authoring.derived import Aggregation
from gridmill.authoring.sources.arrays import ArrayRegion, ArrayRegionJob
from gridmill.authoring.sources.queued import OgcQueue, Patience, QueuedFile, QueuedRegionJob
from gridmill.sources.fetch.credentials import keeper
from gridmill.sources.queues import fetching
from gridmill.testing import ArchiveServer
from gridmill.testing.faults import HtmlBody
from gridmill.testing.queues.queue_server import QueueServer
from guarded import Guarded
from tiny import TinyTemplate, dataset_of, time_coordinate

__all__ = ["BYTES", "DUE", "HELD", "PROVIDERS", "Provider", "labels_of"]

LATS = np.array([60.0, 20.0, -20.0])
DUE = pd.Timedelta(hours=2)
REGION = 8
TOKEN = "LIES_TOKEN"
SETTINGS = DownloadSettings(attempts=1)
# By label: how often a file of it was fetched, by tasks of this process.
FETCHED: Counter[pd.Timestamp] = Counter()


def labels_of(days: int) -> pd.DatetimeIndex:
    """Return the labels of an archive."""
    return pd.date_range("2020-01-01", periods=days, freq="D")


def truth(label: pd.Timestamp) -> Held:
    """Return what the provider measured."""
    day = (label.normalize() - pd.Timestamp("2020-01-01")).days
    values = 250 + day % 100 + np.arange(3.0)[:, None] + np.cos(np.deg2rad(LONS))
    return Held(values=values.astype("float32"), lats=LATS, lons=LONS, time=label)


def cut(content: bytes, draw: random.Random) -> bytes:
    """Without its end."""
    return content[: draw.randrange(1, len(content) - 4)]


def page(content: bytes, draw: random.Random) -> bytes:
    """A page that says sorry."""
    return b"<!DOCTYPE html><html><body>Service unavailable</body></html>"


def empty(content: bytes, draw: random.Random) -> bytes:
    """Nothing."""
    return b""


def noise(content: bytes, draw: random.Random) -> bytes:
    """Bytes of no format."""
    return draw.randbytes(len(content))


HELD: dict[str, Callable[[Held], None]] = {
    function.__name__: function
    for function in (
        daily.flipped,
        daily.rolled,
        daily.celsius,
        daily.the_day_before,
        daily.another_grid,
        daily.another_length,
        daily.another_quantity,
        daily.another_calendar,
        daily.packed_by_text,
        daily.renamed,
    )
}
BYTES = {function.__name__: function for function in (cut, page, empty, noise)}


class Template(TinyTemplate):
    """Daily temperature."""

    dims = ("time", "latitude", "longitude")
    append_dim_frequency = "D"
    coords = (
        time_coordinate(attrs={"standard_name": "time"}),
        Coordinate(name="latitude", attrs={"units": "degrees_north"}),
        Coordinate(name="longitude", attrs={"units": "degrees_east"}),
    )
    data_vars = (
        DataVar(
            name="t2m",
            encoding=Encoding(chunks=(REGION, 3, LONS.size)),
            attrs={"long_name": "t", "units": "K"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


class Job(RegionJob[DataVar, Any]):
    """Counts what it fetches."""

    publication_delay = timedelta(hours=2)
    download_settings = SETTINGS
    file_type: ClassVar[Any] = daily.Day

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a file a label."""
        return [self.file_type(label=label) for label in processing_region_ds.get_index("time")]

    def download_file(self, coord: Any) -> Any:
        """Count, and fetch."""
        FETCHED[coord.label] += 1
        return super().download_file(coord)

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read the file's variable whole."""
        return read_netcdf(coord.downloaded_path, "t2m")


class Provider:
    """Daily files in a folder that a server serves.

    Parameters
    ----------
    folder
        Where it keeps what it tells.
    days
        How many days it tells of.
    draw
        What is left to chance.
    """

    lies: ClassVar[tuple[str, ...]] = (*HELD, *BYTES)
    # Lies that are told otherwise, and no gaps.
    converted: ClassVar[frozenset[str]] = frozenset({"flipped", "rolled", "celsius"})
    template: ClassVar[Any] = Template
    job: ClassVar[Any] = Job
    suffix = "nc"

    def __init__(self, folder: Path, days: int, draw: random.Random) -> None:
        self.root, self.labels, self.draw = folder / "provider", labels_of(days), draw
        self.root.mkdir(parents=True)
        self.options: dict[str, Any] = {}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there."""
        with ArchiveServer(self.root) as self.server:
            self.server.release_all()
            self.options = {"source_base": self.server.url}
            yield

    def dataset(self, path: Path, store: str) -> Any:
        """Return the dataset that is made of it."""
        job = type("Liar", (self.job,), {"__module__": __name__, **self.declared()})
        return dataset_of(template=self.template, job=job)(path, format=store, **self.options)

    def declared(self) -> dict[str, Any]:
        """Return what the job needs to know of this server."""
        return {}

    def measured(self, day: int) -> np.ndarray:
        """Return the archive's values of a day."""
        return truth(self.labels[day]).values

    def fetched(self, days: Sequence[int]) -> int:
        """Return how often files of days were fetched until now."""
        wanted = {self.labels[day] for day in days}
        return sum(many for label, many in FETCHED.items() if label.normalize() in wanted)

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Put the files of days: the truth, or a lie."""
        for day in days:
            self.put(self.labels[day], lie)

    def put(self, label: pd.Timestamp, lie: str) -> None:
        """Put a file."""
        held = truth(label)
        if lie in HELD:
            HELD[lie](held)
        path = self.path(label)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self.write(path, held)
        if lie in BYTES:
            path.write_bytes(BYTES[lie](path.read_bytes(), self.draw))

    def path(self, label: pd.Timestamp) -> Path:
        """Return where a file is."""
        return self.root / f"{label:%Y%m%d}.{self.suffix}"

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        write(path, held, self.draw.choice(daily.FORMATS))


class Token(Provider):
    """Serves who has a token."""

    lies = (*Provider.lies, "refused")

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there."""
        # Ten days pass in a second here, and a token that was refused is left alone for minutes.
        left_alone = mock.patch.object(keeper, "LEFT_ALONE_S", 0.0)
        token = mock.patch.dict(os.environ, {TOKEN: "right"})
        with left_alone, token, Guarded(self.root, "bearer", ["right"]) as self.guard:
            rule = BearerToken(self.guard.url, env=TOKEN)
            self.options = {"source_base": self.guard.url, "credentials": [rule]}
            yield

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Know nobody, if that is the lie."""
        super().tell(days, lie)
        self.guard.valid = set() if lie == "refused" else {"right"}


PATTERN = "t2m_{label:%Y%m%d}_c{created:d}.nc"


@dataclass(frozen=True, kw_only=True)
class ListedDay(ListedFileCoord):
    """The newest file of a day."""

    label: Any

    def out_loc(self) -> dict[str, Any]:
        """Give its day."""
        return {"time": self.label}


class ListedJob(Job):
    """Finds names in a folder."""

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give the newest file of each day."""
        return [
            ListedDay(
                label=label,
                listed=self.listings.of(f"{label:%Y%m%d}/", PATTERN).newest(label=label),
            )
            for label in processing_region_ds.get_index("time")
        ]


class Listing(Provider):
    """Puts the time at which a file was made into its name; shows folders."""

    lies = (*Provider.lies, "page_as_listing", "stale_listing")
    job = ListedJob
    created = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Show folders, too."""
        with ArchiveServer(self.root, lists=True) as self.server:
            self.server.release_all()
            self.options = {"source_base": self.server.url}
            yield

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Put files, of which a listing may say something else."""
        self.created += self.draw.randrange(2)  # a file may be made anew under a new name
        super().tell(days, lie)
        self.server.clear_faults()
        self.server.release_all()
        for label in self.labels[list(days)]:
            if lie == "page_as_listing":
                self.server.inject(f"{label:%Y%m%d}/", HtmlBody(), times=None)
            elif lie == "stale_listing":
                self.server.hold(f"{label:%Y%m%d}/*")

    def path(self, label: pd.Timestamp) -> Path:
        """Return where a file is."""
        return self.root / f"{label:%Y%m%d}/t2m_{label:%Y%m%d}_c{self.created}.nc"

    def fetched(self, days: Sequence[int]) -> int:
        """Count files; and folders where those are never reached."""
        folders = {f"{self.labels[day]:%Y%m%d}/" for day in days}
        asked = sum(one.path in folders for one in self.server.requests)
        return max(super().fetched(days), asked)


@dataclass(frozen=True, kw_only=True)
class ZarrDay(ArrayRegion):
    """A day of a Zarr archive."""

    label: Any

    def out_loc(self) -> dict[str, Any]:
        """Give the day."""
        return {"time": self.label}


@dataclass(frozen=True, kw_only=True)
class IcechunkDay(ZarrDay):
    """A day of a repository."""

    branch = "main"


class ZarrJob(ArrayRegionJob[DataVar, Any]):
    """Takes a day after the other."""

    publication_delay = timedelta(hours=2)
    download_settings = SETTINGS
    file_type: ClassVar[Any] = ZarrDay

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a region a label."""
        labels = processing_region_ds.get_index("time")
        return [self.file_type(store="s.zarr", arrays=("t2m",), label=label) for label in labels]

    def download_file(self, coord: Any) -> Any:
        """Count, and fetch."""
        FETCHED[coord.label] += 1
        return super().download_file(coord)


class ZarrSource(Provider):
    """A Zarr archive: what it says of grid, units and times it says of all days."""

    # Days are found by its own labels: a shift of these is no lie that a reader could see.
    lies = tuple(lie for lie in Provider.lies if lie != "the_day_before")
    job = ZarrJob
    told = 0

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Write the archive as far as it goes."""
        self.told = max(self.told, max(days) + 1)
        self.store(self.archive(lie))
        if lie in BYTES:
            for day in days:
                (path,) = self.root.glob(f"s.zarr/t2m/c/{day}/0/0")
                path.write_bytes(BYTES[lie](path.read_bytes(), self.draw))

    def archive(self, lie: str) -> xr.Dataset:
        """Return all days, told in a way."""
        helds = [truth(label) for label in self.labels[: self.told]]
        for held in helds:
            if lie in HELD:
                HELD[lie](held)
        held = helds[0]
        attrs = {"units": held.units}
        ds = xr.Dataset(
            {held.name: (("time", "lat", "lon"), np.stack([one.values for one in helds]), attrs)},
            {
                "time": ("time", self.labels[: self.told], {"standard_name": "time"}),
                "lat": ("lat", held.lats, {"units": "degrees_north"}),
                "lon": ("lon", held.lons, {"units": "degrees_east"}),
            },
        )
        if held.scale is not None:
            ds[held.name].attrs["scale_factor"] = held.scale
        days = (self.labels[: self.told] - self.labels[0]).days.to_numpy()
        since = {"units": "days since 2020-01-01", "calendar": held.calendar}
        ds["time"] = ("time", days, {"standard_name": "time", **since})
        return ds

    def store(self, ds: xr.Dataset, where: Any = None) -> None:
        """Write it: a chunk a day."""
        (name,) = ds.data_vars
        encoding = {name: {"chunks": (1, *ds[name].shape[1:])}}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds.to_zarr(
                self.root / "s.zarr" if where is None else where,
                mode="w",
                encoding=encoding,
                zarr_format=3,
                consolidated=where is None,
            )


class IcechunkJob(ZarrJob):
    """The same from a repository."""

    file_type = IcechunkDay


class IcechunkSource(ZarrSource):
    """A repository that gets a commit whenever something is told."""

    lies = tuple(lie for lie in ZarrSource.lies if lie not in BYTES)
    job = IcechunkJob

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there."""
        icechunk.set_logs_filter("error")  # of commits to a local path it warns each time
        storage = icechunk.local_filesystem_storage(str(self.root / "s.zarr"))
        self.repository = icechunk.Repository.create(storage)
        self.options = {"source_base": str(self.root)}
        yield

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Commit the archive as far as it goes."""
        self.told = max(self.told, max(days) + 1)
        session = self.repository.writable_session("main")
        self.store(self.archive(lie), session.store)
        session.commit("told")


class TiffJob(Job):
    """Reads gzipped GeoTIFF."""

    file_type = type("TiffDay", (daily.Day,), {"get_url": lambda s: f"{s.label:%Y%m%d}.tif.gz"})

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read the band."""
        return read_geotiff(coord.downloaded_path, crs="EPSG:4326")


class GeoTiff(Provider):
    """Gzipped GeoTIFF: says neither its time nor its variable."""

    lies = (
        *("flipped", "rolled", "celsius", "another_grid", "another_length", "another_quantity"),
        *BYTES,
    )
    job = TiffJob
    suffix = "tif.gz"

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        lats, lons = np.asarray(held.lats), np.asarray(held.lons)
        if (order := np.argsort(lons)).size and (np.diff(lons) < 0).any():
            lons, held.values = lons[order], held.values[:, order]
        step = lats[1] - lats[0], lons[1] - lons[0]
        grid = rasterio.Affine(step[1], 0, lons[0] - step[1] / 2, 0, step[0], lats[0] - step[0] / 2)
        plain = path.with_suffix("")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with rasterio.open(
                plain,
                "w",
                driver="GTiff",
                dtype="float32",
                count=1,
                height=lats.size,
                width=lons.size,
                crs="EPSG:4326",
                transform=grid,
            ) as out:
                out.write(held.values.astype("float32"), 1)
                out.units = (held.units,)
        path.write_bytes(gzip.compress(plain.read_bytes(), 1))
        plain.unlink()


class Hdf5Job(Job):
    """Reads a dataset in a group."""

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read the dataset's only time."""
        with h5py.File(coord.downloaded_path) as file:
            return read_h5py(file["Grid/t2m"], np.s_[0])


class Hdf5(Provider):
    """HDF5 with groups, without netCDF's conventions."""

    # Stored values come as they are: what is packed is the author's to unpack.
    lies = tuple(lie for lie in Provider.lies if lie != "packed_by_text")
    job = Hdf5Job

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        since = netCDF4.date2num(held.time.to_pydatetime(), held.since)
        with h5py.File(path, "w") as file:
            group = file.create_group("Grid")
            axes = {"time": [since], "lat": held.lats, "lon": held.lons}
            for (name, labels), unit in zip(
                axes.items(), (held.since, "degrees_north", "degrees_east"), strict=True
            ):
                scale = group.create_dataset(name, data=np.asarray(labels, "float64"))
                scale.attrs["units"] = unit
                scale.make_scale(name)
            group["time"].attrs["calendar"] = held.calendar
            stored = group.create_dataset(held.name, data=held.values[np.newaxis])
            stored.attrs["units"] = held.units
            for at, name in enumerate(axes):
                stored.dims[at].attach_scale(group[name])


class GroupJob(Job):
    """Reads a variable in a group."""

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read it whole."""
        return read_netcdf(coord.downloaded_path, "product/t2m")


class Groups(Provider):
    """NetCDF with groups."""

    job = GroupJob

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        write(path, held, "NETCDF4", group="product")


@dataclass(frozen=True, kw_only=True)
class QueuedDay(QueuedFile):
    """A day that is asked for."""

    label: Any

    def request(self) -> dict[str, Any]:
        """Give the day."""
        return {"day": f"{self.label:%Y%m%d}"}

    def out_loc(self) -> dict[str, Any]:
        """Give the day."""
        return {"time": self.label}


class QueuedJob(QueuedRegionJob):
    """Asks, waits and fetches."""

    publication_delay = timedelta(hours=2)
    download_settings = SETTINGS
    patience = Patience(most_queued=8, poll_initial_s=0.01, poll_max_s=0.02, wait_s=60, claim_s=2)
    address = ""

    def queue(self) -> OgcQueue:
        """Give the queue."""
        return OgcQueue(url=self.address, process="weather", knows_keys=True)

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a file a label."""
        return [QueuedDay(label=label) for label in processing_region_ds.get_index("time")]

    def download_file(self, coord: Any) -> Any:
        """Count, and ask."""
        FETCHED[coord.label] += 1
        return super().download_file(coord)

    def read_data(self, coord: Any, data_var: DataVar) -> Any:
        """Read the file's variable whole."""
        return read_netcdf(coord.downloaded_path, "t2m")


class Queue(Provider):
    """Makes a file when it is asked for one; what is not told yet it cannot make."""

    job = QueuedJob

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there."""
        now = mock.patch.multiple(fetching, UNREAD_S=0.0, UNFETCHED_S=0.0)
        with now, QueueServer(self._make, knows_keys=True) as self.queue:
            yield

    def declared(self) -> dict[str, Any]:
        """Return the queue's address."""
        return {"address": self.queue.url}

    def _make(self, request: Any) -> bytes:
        path = self.path(pd.Timestamp(request["day"]))
        return path.read_bytes() if path.exists() else b""


class Raced(Provider):
    """Two mirrors that are raced: both lie, or one does."""

    lies = Provider.lies

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there twice."""
        self.roots = (self.root, self.root.with_name("mirror"))
        self.roots[1].mkdir()
        with ExitStack() as stack:
            servers = [stack.enter_context(ArchiveServer(root)) for root in self.roots]
            for server in servers:
                server.release_all()
            self.urls = tuple(server.url for server in servers)
            yield

    def declared(self) -> dict[str, Any]:
        """Return the file type with both addresses."""
        urls = self.urls

        def get_url(coord: Any) -> tuple[str, ...]:
            return tuple(f"{url}/{coord.label:%Y%m%d}.nc" for url in urls)

        given = {"get_url": get_url, "races_mirrors": True, "__module__": __name__}
        return {"file_type": type("RacedDay", (daily.Day,), given)}

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Tell the truth at the one, and at the other, or not."""
        one = self.draw.choice([None, 0, 1])
        for number, root in enumerate(self.roots):
            self.root = root
            super().tell(days, lie if one in (None, number) else "")


PARTS = 4
STEP = pd.Timedelta(hours=24 // PARTS)


class Parts(Provider):
    """Four files to a day, of which one lies."""

    @staticmethod
    def _template() -> Any:
        (var,) = Template.data_vars
        attrs = {**var.attrs, "cell_methods": "time: mean"}
        mean = Aggregation(method="mean", every="6h")
        given = {"data_vars": (replace(var, attrs=attrs, aggregated=mean),), "__module__": __name__}
        return type("OfParts", (Template,), given)

    job = type(
        "PartsJob",
        (Job,),
        {
            "__module__": __name__,
            "file_type": type(
                "Part", (daily.Day,), {"get_url": lambda s: f"{s.label:%Y%m%d%H}.nc"}
            ),
        },
    )

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Put the parts of days."""
        for day in days:
            at = self.draw.randrange(PARTS)
            for part in range(PARTS):
                self.put(self.labels[day] + part * STEP, lie if part == at else "")

    def path(self, label: pd.Timestamp) -> Path:
        """Return where a part is."""
        return self.root / f"{label:%Y%m%d%H}.nc"

    def fetched(self, days: Sequence[int]) -> int:
        """Count days: one part of each lies."""
        return super().fetched(days) // PARTS


Parts.template = Parts._template()

PROVIDERS: dict[str, type[Provider]] = {
    "token": Token,
    "listing": Listing,
    "zarr": ZarrSource,
    "icechunk": IcechunkSource,
    "geotiff": GeoTiff,
    "hdf5 groups": Hdf5,
    "netcdf groups": Groups,
    "queue": Queue,
    "raced mirrors": Raced,
    "parts of a day": Parts,
}
