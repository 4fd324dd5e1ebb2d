"""Zarr archives of others: plain, and in Icechunk."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import icechunk
import numpy as np
import xarray as xr

import daily_netcdf as daily
from gridmill import DataVar
from gridmill.authoring.sources.arrays import ArrayRegion, ArrayRegionJob
from liars.files import Provider, truth

__all__ = ["IcechunkSource", "ZarrSource"]


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

    file_type: ClassVar[Any] = ZarrDay

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a region a label."""
        labels = processing_region_ds.get_index("time")
        return [self.file_type(store="s.zarr", arrays=("t2m",), label=label) for label in labels]


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
        if lie in daily.BYTES:
            for day in days:
                (path,) = self.root.glob(f"s.zarr/t2m/c/{day}/0/0")
                path.write_bytes(daily.BYTES[lie](path.read_bytes(), self.draw))

    def archive(self, lie: str) -> xr.Dataset:
        """Return all days, told in a way."""
        helds = [truth(label) for label in self.labels[: self.told]]
        for held in helds:
            if lie in daily.HELD:
                daily.HELD[lie](held)
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

    lies = tuple(lie for lie in ZarrSource.lies if lie not in daily.BYTES)
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
