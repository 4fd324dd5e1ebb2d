"""What samples say of themselves, whatever their format: values without I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.wrapped.wrapping import Compression

__all__ = ["ArrayAxis", "ArraySample", "ArrayVariable", "GribField", "GribSample", "Sample"]

Kind = Literal["grib", "inventory", "netcdf", "zarr", "geotiff"]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A file that was given, as it lies on this disk.

    Attributes
    ----------
    name
        Its address, as given, credentials masked.
    path
        The file, unwrapped.
    kind
        What it is.
    compression, member
        How it was wrapped, as `SourceFileCoord` declares it.
    original
        The file as the provider has it.
    """

    name: str
    path: Path
    kind: Kind
    compression: Compression = "by name"
    member: str | None = None
    original: Path


@dataclass(frozen=True, kw_only=True)
class GribField:
    """A message, or a line of an inventory.

    `codes`, surfaces, `grid` and `units` are None, or empty, where only an inventory is known.
    `step` is that of the packing, 0 where there is none.
    """

    parameter: str
    level: str
    start: timedelta
    end: timedelta
    time: datetime
    statistic: Statistic | None
    member: int | None = None
    codes: tuple[int, int, int] | None = None
    surface: Surface | None = None
    below: Surface | None = None
    short_name: str = ""
    units: str = ""
    standard_name: str = ""
    title: str = ""
    grid: Grid | None = None
    step: float = 0.0
    nbytes: int = 0
    offset: int = 0
    submessage: int | None = None
    is_plain: bool = True


@dataclass(frozen=True, kw_only=True)
class GribSample:
    """The fields of a GRIB file, or of an inventory.

    `left_out` says which were not taken, and why; `inventory` is the suffix of its inventory.
    """

    sample: Sample
    fields: tuple[GribField, ...]
    left_out: tuple[str, ...] = ()
    inventory: str | None = None


@dataclass(frozen=True, kw_only=True)
class ArrayAxis:
    """A coordinate: labels, or an auxiliary one of several dims."""

    name: str
    dims: tuple[str, ...]
    values: np.ndarray[Any, Any]
    attrs: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ArrayVariable:
    """A variable of a netCDF, HDF5, Zarr or GeoTIFF file. `dtype` is that of the stored values."""

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    attrs: Mapping[str, Any]
    encoding: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ArraySample:
    """What a file of arrays holds.

    `times` are its times, one for a file without a dim of time, none where it says none; `time_dim`
    is that dim. `mappings` are the attributes of its grid mappings, by their variable.
    """

    sample: Sample
    variables: tuple[ArrayVariable, ...]
    axes: Mapping[str, ArrayAxis]
    times: Sequence[Any]
    time_dim: str | None
    calendar: str
    mappings: Mapping[str, Mapping[str, Any]]
    is_forecast: bool = False
    group: str = ""
    left_out: tuple[str, ...] = ()
