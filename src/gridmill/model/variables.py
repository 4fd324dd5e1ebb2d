"""What a dataset declares about its arrays: data variables, coordinates and how they are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["BLOSC_ZSTD", "CRC32C", "ZSTD", "Completeness", "Coordinate", "DataVar", "Encoding"]

# zstd level 3 with bitshuffle encodes bit-rounded float32 1.3 to 2.8 times as fast as byte shuffle.
BLOSC_ZSTD: Mapping[str, Any] = {
    "name": "blosc",
    "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "blocksize": 0},
}
ZSTD: Mapping[str, Any] = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
# Inside every inner chunk: a reader of a shard that is replaced under it gets an error,
# not garbage.
CRC32C: Mapping[str, Any] = {"name": "crc32c"}
# Values in one object of a completeness coordinate: 4 MB, rewritten by every publication.
COMPLETENESS_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """How one array is stored in Zarr v3.

    Parameters
    ----------
    chunks
        Length of the inner chunk, the unit of compression and of reading, along each dim.
    shards
        Length of the stored object along each dim, a multiple of `chunks`; None stores every
        chunk as an object of its own.
    dtype
        NumPy dtype name of the stored values.
    fill_value
        What a reader sees where nothing was written; None means NaN for floating point and
        0 for other dtypes.
    compressors
        Zarr v3 codec metadata, applied in order to each inner chunk.
    checksum
        Append a crc32c to each inner chunk.
    units, calendar
        CF time units and calendar, for time coordinates only.

    Raises
    ------
    ValueError
        A length is not positive, `shards` is no multiple of `chunks`, their ranks differ, or a
        codec does not give the same bytes for the same values.

    Examples
    --------
    >>> Encoding(chunks=(24, 10, 10), shards=(96, 20, 20)).object_shape
    (96, 20, 20)
    >>> Encoding(chunks=(24,), shards=(50,))
    Traceback (most recent call last):
    ...
    ValueError: shards (50,) must be whole multiples of chunks (24,) along every dim
    """

    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    dtype: str = "float32"
    fill_value: float | int | bool | None = None
    compressors: tuple[Mapping[str, Any], ...] = (BLOSC_ZSTD,)
    checksum: bool = True
    units: str | None = None
    calendar: str | None = None

    def __post_init__(self) -> None:
        for name in ("chunks", "shards"):
            lengths = getattr(self, name)
            if lengths is not None and any(length < 1 for length in lengths):
                raise ValueError(f"{name} {lengths} must be at least 1 along every dim")
        if any(codec["name"] == "gzip" for codec in self.compressors):
            raise ValueError(
                "gzip writes the time into what it compresses, so that the same values would not "
                "give the same bytes; take blosc or zstd"
            )
        if self.shards is None:
            return
        if len(self.shards) != len(self.chunks):
            raise ValueError(f"shards {self.shards} and chunks {self.chunks} differ in rank")
        if any(shard % chunk for shard, chunk in zip(self.shards, self.chunks, strict=True)):
            raise ValueError(
                f"shards {self.shards} must be whole multiples of chunks {self.chunks} "
                "along every dim"
            )

    @property
    def object_shape(self) -> tuple[int, ...]:
        """Lengths covered by one stored object: the shard, or the chunk where there is none."""
        return self.chunks if self.shards is None else self.shards

    @property
    def is_floating(self) -> bool:
        """Whether the stored dtype has NaN."""
        return self.dtype.startswith("float")

    @property
    def fill(self) -> float | int | bool:
        """The fill value, with the default resolved."""
        if self.fill_value is not None:
            return self.fill_value
        return math.nan if self.is_floating else 0

    def to_xarray(self) -> dict[str, Any]:
        """Give the `encoding` that `xarray.Dataset.to_zarr(zarr_format=3)` takes."""
        codecs = [dict(codec) for codec in (*self.compressors, *((CRC32C,) * self.checksum))]
        encoding: dict[str, Any] = {
            "dtype": self.dtype,
            "chunks": self.chunks,
            "compressors": codecs,
            "units": self.units,
            "calendar": self.calendar,
            "shards": self.shards,
        }
        if self.units is None:
            encoding["fill_value"] = self.fill
            encoding["_FillValue"] = self.fill if self.is_floating else None
        optional = {"units", "calendar", "shards"}
        return {k: v for k, v in encoding.items() if v is not None or k not in optional}


@dataclass(frozen=True, kw_only=True)
class DataVar:
    """A data variable of a dataset.

    Authors subclass it to add what their `RegionJob` needs to find the variable in the source
    files, for instance its name there.

    Parameters
    ----------
    name
        Name in the archive.
    encoding
        How it is stored; its rank is that of `dims`.
    attrs
        CF attributes; `units` and `long_name` are required.
    dims
        Dimension names, append dim first, or without the append dim for a static variable;
        None takes `TemplateConfig.dims`.
    keep_mantissa_bits
        Bits of mantissa that `RegionJob.apply_data_transformations` keeps; None does not round.
    valid_until
        First label along the append dim at which the provider no longer has the variable:
        from there on it does not hold the published extent back.
    valid_range
        Lowest and highest value that it can have, in its units, for validation; None means what
        its CF standard name and units say.

    Raises
    ------
    ValueError
        `attrs` lacks `units` or `long_name`.
    """

    name: str
    encoding: Encoding
    attrs: Mapping[str, Any]
    dims: tuple[str, ...] = ()
    keep_mantissa_bits: int | None = None
    valid_until: str | None = None
    valid_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        missing = [key for key in ("long_name", "units") if key not in self.attrs]
        if missing:
            raise ValueError(f"attrs of variable {self.name!r} lack {missing}: CF needs them")

    def with_dims(self, dims: Sequence[str]) -> DataVar:
        """Give this variable with `dims` where it declares none, its rank checked."""
        var = self if self.dims else replace(self, dims=tuple(dims))
        if len(var.dims) != len(var.encoding.chunks):
            raise ValueError(
                f"variable {var.name!r} has dims {var.dims} but chunks {var.encoding.chunks}: "
                "give one chunk length a dim"
            )
        return var

    def object_length(self, dim: str) -> int:
        """Give the length along `dim` that one stored object covers."""
        return self.encoding.object_shape[self.dims.index(dim)]


@dataclass(frozen=True, kw_only=True)
class Coordinate:
    """A coordinate variable: a dimension's index, or an auxiliary coordinate.

    Parameters
    ----------
    name
        Name in the archive; a dimension's name for its index.
    dims
        Dimension names; None means the dimension of the same name.
    attrs
        CF attributes.
    dtype
        Stored dtype; int64 is usual for time.
    units, calendar
        CF time units and calendar, for time coordinates only.
    chunks
        Chunk lengths; None stores the coordinate in one chunk, which along the append dim is
        as long as the archive may ever get (`TemplateConfig.append_dim_capacity`), so that
        a reader with an older extent still decodes it.
    as_stored
        How an archive that was made with other defaults stores it; what it says goes before the
        other parameters. Not an author's to give.
    """

    name: str
    dims: tuple[str, ...] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)
    dtype: str = "float64"
    units: str | None = None
    calendar: str | None = None
    chunks: tuple[int, ...] | None = None
    as_stored: Encoding | None = None

    @property
    def own_dims(self) -> tuple[str, ...]:
        """The dimension names, with the default resolved."""
        return (self.name,) if self.dims is None else self.dims

    def encoding(self, lengths: Mapping[str, int]) -> Encoding:
        """Give the encoding for dims of these lengths, the append dim's being its capacity."""
        if self.as_stored is not None:
            return self.as_stored
        chunks = self.chunks or tuple(max(1, lengths[dim]) for dim in self.own_dims)
        return Encoding(
            chunks=chunks,
            dtype=self.dtype,
            compressors=(ZSTD,),
            checksum=bool(self.own_dims),
            units=self.units,
            calendar=self.calendar,
        )


@dataclass(frozen=True, kw_only=True)
class Completeness(Coordinate):
    """An auxiliary coordinate that says how much of each position arrived; gridmill fills it.

    1 where every source file that `RegionJob.generate_source_file_coords` gives was read for every
    variable, else the share of those places, (variable, source file), that have values; 0 where
    nothing arrived, nothing is known yet, or no source file is given. It is published after the
    values that it speaks of.

    Parameters
    ----------
    dims
        The append dim, and what of the data variables' other dims it tells apart: those on which
        source files have places of their own, like a lead or a member.

    Raises
    ------
    ValueError
        `dims` is not given, or `chunks`, `units` or `calendar` are: they are not an author's to
        choose.

    Examples
    --------
    >>> Completeness(dims=("init_time", "lead_time")).name
    'completeness'
    """

    name: str = "completeness"
    attrs: Mapping[str, Any] = field(
        default_factory=lambda: {
            "long_name": "Share of the expected source data that arrived",
            "units": "1",
            "comment": "1 where all variables have the values of every source file that is "
            "expected, 0 where none arrived. It is published after the values that it speaks of.",
        }
    )
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not self.dims:
            raise ValueError(f"{self.name!r} needs dims: the append dim, and others if you like")
        if self.chunks is not None or self.units is not None or self.calendar is not None:
            raise ValueError(f"{self.name!r} takes neither chunks, units nor calendar")

    def encoding(self, lengths: Mapping[str, int]) -> Encoding:
        """Give the encoding; an object reaches as far along the append dim as it stays small."""
        if self.as_stored is not None:
            return self.as_stored
        first, *others = (max(1, lengths[dim]) for dim in self.own_dims)
        along = max(1, min(first, COMPLETENESS_CHUNK // math.prod(others)))
        encoding = super().encoding(lengths)
        return replace(encoding, chunks=(along, *others), fill_value=0.0)
