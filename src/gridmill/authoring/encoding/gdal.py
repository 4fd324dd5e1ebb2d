"""An encoding that GDAL opens before it reads shards, and with it rasterio and QGIS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from gridmill.model.variables import Coordinate, DataVar

__all__ = ["for_gdal"]

# What its Zarr driver opens of what an `Encoding` may have, with each build of it that has wheels.
CODECS = ("blosc", "zstd")

Declared = TypeVar("Declared", DataVar, Coordinate)


def for_gdal(declared: Iterable[Declared]) -> tuple[Declared, ...]:
    """Declare variables or coordinates in the encoding that GDAL 3.12 opens.

    GDAL reads shards and crc32c from 3.13 on. Without shards each chunk is an object of its own:
    declare chunks of a megabyte or more, and expect more objects and more puts. Without crc32c
    a damaged chunk may be decoded to garbage; objects are still put whole, and records have
    their checksums. GDAL finds the CRS by the variables' CF attribute `grid_mapping`, and the
    transform by evenly spaced coordinates of the last two dims.

    Parameters
    ----------
    declared
        Of a template: its `data_vars`, or its `coords`. Both are needed, for GDAL reads the
        coordinates, too.

    Raises
    ------
    ValueError
        A compressor is none that GDAL knows.

    Examples
    --------
    >>> from gridmill import DataVar, Encoding
    >>> encoding = Encoding(chunks=(1, 721, 1440), shards=(24, 721, 1440))
    >>> attrs = {"long_name": "Temperature", "units": "K"}
    >>> (one,) = for_gdal([DataVar(name="t2m", encoding=encoding, attrs=attrs)])
    >>> one.encoding.shards, one.encoding.checksum
    (None, False)
    """
    return tuple(_declared(one) for one in declared)


def _declared(one: Declared) -> Declared:
    if isinstance(one, Coordinate):
        return replace(one, checksum=False)
    for codec in one.encoding.compressors:
        if codec["name"] not in CODECS:
            raise ValueError(
                f"GDAL does not open the codec {codec['name']!r} of variable {one.name!r}: "
                f"take one of {', '.join(CODECS)}"
            )
    return replace(one, encoding=replace(one.encoding, shards=None, checksum=False))
