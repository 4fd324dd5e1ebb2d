"""What a dataset declares about its arrays: data variables, coordinates and how they are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import numpy as np

from gridmill.model.fields.derived import Aggregation, Derived
from gridmill.model.fields.gates import Gate, check_gates
from gridmill.model.fields.names import check_name
from gridmill.model.fields.packing import PACKED, check_fill, whole_range
from gridmill.model.fields.regrid import Regrid
from gridmill.model.fields.superseded import Superseded

__all__ = [
    "BLOSC_ZSTD",
    "CRC32C",
    "PACKED",
    "ZSTD",
    "Completeness",
    "Coordinate",
    "DataVar",
    "Encoding",
    "Superseded",
    "whole_range",
]

# zstd level 3 with bitshuffle encodes bit-rounded float32 1.3 to 2.8 times as fast as byte shuffle.
BLOSC_ZSTD: Mapping[str, Any] = {
    "name": "blosc",
    "configuration": {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle", "blocksize": 0},
}
ZSTD: Mapping[str, Any] = {"name": "zstd", "configuration": {"level": 3, "checksum": False}}
# Inside every inner chunk: a reader of a shard that is replaced under it sees that, not garbage.
CRC32C: Mapping[str, Any] = {"name": "crc32c"}
# Values in one object of a completeness coordinate: 4 MB, rewritten by every publication.
COMPLETENESS_CHUNK = 2**20
# xarray decodes it as NaT, with no attribute: who misses a chunk of times does not see 1970.
NOT_A_TIME = -(2**63)


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
    index_location
        Of a shard: ``"end"``, or ``"start"`` for readers that read no range from an end (adlfs).
    dtype
        NumPy dtype name of the stored values.
    fill_value
        What is stored where there is no value. Of integers it is what readers take for missing
        (`_FillValue`), and must not occur as a value: not 0, and outside `DataVar.valid_range`.
        None means NaN for floating point. Integers without one, and booleans, have nothing that
        says missing: readers wait for a missing source file, for they would see 0.
    scale_factor, add_offset
        Values are packed into an integer `dtype`, as CF has it: readers see what is stored times
        `scale_factor` plus `add_offset`, and NaN where that is `fill_value`, which must be given.
        Authors read and transform unpacked values.
    compressors
        Zarr v3 codec metadata, applied in order to each inner chunk.
    checksum
        Append a crc32c to each inner chunk.
    units, calendar
        CF time units and calendar, for time coordinates only.
    fill_is_missing
        Whether readers take an integer `fill_value` for missing; False in archives that were made
        before it did so. Not an author's to give.

    Raises
    ------
    ValueError
        Lengths are not positive, no multiples or of other ranks, `dtype` is none of numbers or
        booleans or does not hold `fill_value`, a codec gives other bytes each time, or `dtype`,
        `scale_factor` and `fill_value` cannot pack.

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
    scale_factor: float | None = None
    add_offset: float | None = None
    fill_is_missing: bool = True
    index_location: str = "end"

    def __post_init__(self) -> None:
        kind = np.dtype(self.dtype)
        if kind.kind not in "biufc" and not self.is_text:
            raise ValueError(
                f"dtype {self.dtype!r} is none of numbers or booleans: store numbers, and say what "
                "they mean by flag_values and flag_meanings; times are int64 with units"
            )
        if kind.kind in "biuf":  # "f4" and ">f4" are float32 in a Zarr array, too
            object.__setattr__(self, "dtype", kind.name)
        packing = (self.scale_factor, self.add_offset)
        check_fill(self.dtype, self.fill_value, packing, fill_is_missing=self.fill_is_missing)
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
        if self.index_location not in ("end", "start"):
            raise ValueError(f"index_location {self.index_location!r} is neither 'end' nor 'start'")

    @property
    def object_shape(self) -> tuple[int, ...]:
        """Lengths covered by one stored object: the shard, or the chunk where there is none."""
        return self.chunks if self.shards is None else self.shards

    @property
    def is_text(self) -> bool:
        """Whether the values are strings of any length, as some coordinates' are."""
        return self.dtype == "str"

    @property
    def has_order(self) -> bool:
        """Whether one value is less than another: neither text has it nor complex numbers."""
        return np.dtype(self.dtype).kind in "fiub"

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

    @property
    def missing(self) -> float | int | None:
        """What readers take for missing; None if nothing is."""
        is_whole = self.dtype.startswith(("int", "uint"))
        says_so = is_whole and self.fill_is_missing and self.fill_value is not None
        return self.fill if self.is_floating or says_so else None

    @property
    def is_packed(self) -> bool:
        """Whether what is stored is not the values themselves, see `scale_factor`."""
        return self.scale_factor is not None or self.add_offset is not None

    @property
    def scale(self) -> float:
        """`scale_factor`, with the default resolved."""
        return 1.0 if self.scale_factor is None else float(self.scale_factor)

    @property
    def offset(self) -> float:
        """`add_offset`, with the default resolved."""
        return 0.0 if self.add_offset is None else float(self.add_offset)

    @property
    def value_dtype(self) -> str:
        """NumPy dtype name of the values before they are packed; `dtype` where they are not.

        Single precision where it tells all values apart that can be stored, by far.
        """
        if not self.is_packed:
            return self.dtype
        largest = max(abs(end * self.scale + self.offset) for end in whole_range(self.dtype))
        spacing = 2.0 ** (math.frexp(largest)[1] - 24)  # of float32, there
        return "float32" if 8 * spacing <= abs(self.scale) else "float64"

    @property
    def value_fill(self) -> float | int | bool:
        """What stands for no value before values are packed; `fill` where they are not."""
        return math.nan if self.is_packed else self.fill

    def to_xarray(self) -> dict[str, Any]:
        """Return the `encoding` that `xarray.Dataset.to_zarr(zarr_format=3)` takes."""
        codecs = [dict(codec) for codec in (*self.compressors, *((CRC32C,) * self.checksum))]
        encoding: dict[str, Any] = {
            "dtype": str if self.is_text else self.dtype,
            "chunks": self.chunks,
            "compressors": codecs,
            "units": self.units,
            "calendar": self.calendar,
            "shards": self.shards,
            "scale_factor": None if self.scale_factor is None else float(self.scale_factor),
            "add_offset": None if self.add_offset is None else float(self.add_offset),
            "fill_value": "" if self.is_text else self.fill,
        }
        if self.units is None:
            encoding["_FillValue"] = self.missing
        if self.shards is not None and self.index_location != "end":
            encoding["shards"] = {"shape": self.shards, "index_location": self.index_location}
        optional = {"units", "calendar", "shards", "scale_factor", "add_offset"}
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
    valid_from, valid_until
        First label along the append dim at which the provider has the variable, and the first at
        which it no longer has it. Before and after it is not offered: nothing is read for it, it
        does not hold the published extent back, and it is missing nowhere.
    valid_range
        Lowest and highest value that it can have, in its units, for validation; None means what
        its CF standard name and units say.
    gates
        What its fields must be like to be published: one beyond a gate is held until somebody
        decides, see `gridmill.Gate`.
    superseded
        What new archives have in its place; see `TemplateConfig.former_vars`.
    aliases
        What else the provider calls it, or called it: whichever of `names_in_source` a file has is
        read. A new one takes effect with the next update, also for places that are pending.
    previously
        What archives made earlier call it: they keep that name until `gridmill
        migrate-metadata` gives them this one.
    is_essential
        Whether readers wait for it. If not, positions are published while its source files are
        still awaited; they are taken in when they come, and are gaps past their deadline like those
        of any other variable.
    publication_delay
        Its own deadline, in the place of `RegionJob.publication_delay` and of what
        `RegionJob.expected` says; None has none of its own.
    derived
        The formula that it is made by, of other variables of the same source files or of others'.
    aggregated
        How many steps of the source become one position of the append dim.
    regridded
        From which grid its source files' fields are brought to the archive's, and how.

    Raises
    ------
    ValueError
        `name` is none of an array, `attrs` lacks `units` or `long_name`, something in `gates` is no
        gate, `aliases` or `previously` are no other names, or nothing says missing in a variable
        that is not essential.
    """

    name: str
    encoding: Encoding
    attrs: Mapping[str, Any]
    dims: tuple[str, ...] = ()
    keep_mantissa_bits: int | None = None
    valid_from: str | None = None
    valid_until: str | None = None
    valid_range: tuple[float, float] | None = None
    gates: tuple[Gate, ...] = ()
    superseded: Superseded | None = None
    aliases: tuple[str, ...] = ()
    previously: str | None = None
    is_essential: bool = True
    publication_delay: timedelta | None = None
    derived: Derived | None = None
    aggregated: Aggregation | None = None
    regridded: Regrid | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        missing = [key for key in ("long_name", "units") if key not in self.attrs]
        if missing:
            raise ValueError(f"attrs of variable {self.name!r} lack {missing}: CF needs them")
        if self.encoding.is_text:
            raise ValueError(
                f"{self.name!r} is text, as only coordinates can be: store numbers, and say what "
                "they mean by flag_values and flag_meanings"
            )
        check_gates(self.name, self.gates)
        if isinstance(self.aliases, str):
            raise ValueError(f"aliases={self.aliases!r} of {self.name!r}: give a tuple of names")
        if self.previously == self.name:
            raise ValueError(f"{self.name!r} is previously={self.previously!r}: give another name")
        if not self.is_essential and self.encoding.missing is None:
            raise ValueError(
                f"{self.name!r} is not essential, but nothing says missing in its dtype "
                f"{self.encoding.dtype}: readers would see {self.encoding.fill} until it comes. "
                "Declare a fill_value that cannot occur, or let readers wait for it"
            )

    @property
    def names_in_source(self) -> tuple[str, ...]:
        """What the provider may call it, the likeliest first: for `read_netcdf` and the like."""
        return (self.name, *self.aliases)

    def with_dims(self, dims: Sequence[str]) -> DataVar:
        """Return this variable with `dims` where it declares none, its rank checked."""
        var = self if self.dims else replace(self, dims=tuple(dims))
        if len(var.dims) != len(var.encoding.chunks):
            raise ValueError(
                f"variable {var.name!r} has dims {var.dims} but chunks {var.encoding.chunks}: "
                "give one chunk length a dim"
            )
        return var if var.derived is None else replace(var, derived=var.derived.with_dims(var))

    @property
    def is_made(self) -> bool:
        """Whether its values are made of others, which the source files hold."""
        return self.derived is not None or self.aggregated is not None

    @property
    def sources(self) -> tuple[DataVar, ...]:
        """What the source files hold of it, as a region job's hooks get it: mostly itself."""
        if not self.is_made:
            return (self,)
        given = (self,) if self.derived is None else self.derived.inputs
        return tuple(
            replace(var, aggregated=None, keep_mantissa_bits=None, gates=()) for var in given
        )

    def object_length(self, dim: str) -> int:
        """Return the length along `dim` that one stored object covers."""
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
        Stored dtype; int64 is usual for time, and ``"str"`` is text, like names of experiments,
        along any dims but the append dim.
    units, calendar, checksum
        As in `Encoding`; a coordinate without dims has no checksum.
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
    checksum: bool = True

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def is_text(self) -> bool:
        """Whether its labels are strings."""
        return self.dtype == "str"

    @property
    def own_dims(self) -> tuple[str, ...]:
        """The dimension names, with the default resolved."""
        return (self.name,) if self.dims is None else self.dims

    def encoding(self, lengths: Mapping[str, int]) -> Encoding:
        """Return the encoding for dims of these lengths, the append dim's being its capacity."""
        if self.as_stored is not None:
            return self.as_stored
        chunks = self.chunks or tuple(max(1, lengths[dim]) for dim in self.own_dims)
        return Encoding(
            chunks=chunks,
            dtype=self.dtype,
            compressors=(ZSTD,),
            checksum=self.checksum and bool(self.own_dims),
            units=self.units,
            calendar=self.calendar,
            fill_value=NOT_A_TIME if self.units and self.dtype == "int64" else None,
            fill_is_missing=False,
        )


@dataclass(frozen=True, kw_only=True)
class Completeness(Coordinate):
    """An auxiliary coordinate that says how much of each position arrived; gridmill fills it.

    1 where every source file that `RegionJob.generate_source_file_coords` gives was read for every
    variable, else the share of places (variable, source file) that have values; 0 where nothing
    arrived, is known yet, or is given. It is published after the values that it speaks of.

    Parameters
    ----------
    dims
        The append dim, and what of the data variables' other dims it tells apart: those on which
        source files have places of their own, like a lead or a member.

    Raises
    ------
    ValueError
        `dims` is not given, or `chunks`, `units` or `calendar` are.

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
        super().__post_init__()
        if not self.dims:
            raise ValueError(f"{self.name!r} needs dims: the append dim, and others if you like")
        if self.chunks is not None or self.units is not None or self.calendar is not None:
            raise ValueError(f"{self.name!r} takes neither chunks, units nor calendar")

    def encoding(self, lengths: Mapping[str, int]) -> Encoding:
        """Return the encoding; an object reaches as far along the append dim as it stays small."""
        if self.as_stored is not None:
            return self.as_stored
        first, *others = (max(1, lengths[dim]) for dim in self.own_dims)
        along = max(1, min(first, COMPLETENESS_CHUNK // math.prod(others)))
        encoding = super().encoding(lengths)
        return replace(encoding, chunks=(along, *others), fill_value=0.0)
