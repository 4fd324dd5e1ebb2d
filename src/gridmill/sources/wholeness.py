"""Whether a file that arrived is whole, by what it says of its own length.

A truncated file of the classic netCDF format reads without an error: the library takes bytes that
are not there for zeros, and values of one variable for another's. So does a cache's copy that lost
its end and whose Content-Length agrees. Covers netCDF classic (CDF-1, -2 and -5), HDF5 and thus
netCDF-4; of another format nothing is said. Of GRIB each message says its own length, and the
others are good: `gridmill.sources.grib.framing`.

A damaged HDF5 file may be worse than unreadable: where an object of a global heap has no length,
the library (2.2.0) looks for the next one for ever, and all that wait for the library with it. Such
a heap is found before anybody opens the file.

Sources of the formats: NetCDF Classic Format Specification (Unidata, netCDF User's Guide, appendix
B); HDF5 File Format Specification 3.0, II.A and III.E.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import BinaryIO

__all__ = ["classic_nbytes", "hdf5_nbytes", "is_netcdf_or_hdf5", "lacks"]

HDF5 = b"\x89HDF\r\n\x1a\n"
# How a global heap begins: its signature, version and reserved bytes; its size follows.
HEAP = b"GCOL\x01\0\0\0"
# Bytes that are looked through at a time.
CHUNK_NBYTES = 1 << 20
# Bytes of a value, by the classic format's types: byte, char, short, int, float, double, and of
# CDF-5 ubyte, ushort, uint, int64, uint64.
TYPE_NBYTES = dict(enumerate((1, 1, 2, 4, 4, 8, 1, 2, 4, 8, 8), 1))
DIMENSIONS, VARIABLES, ATTRIBUTES = 10, 11, 12
ENDS = "they end inside its header"


class _NoHeader(Exception):  # noqa: N818
    """What should be a header says something that none says."""


def lacks(file: BinaryIO, nbytes: int) -> str:
    """Say what of a file is not there; empty if it is whole, or of a format that does not tell.

    Parameters
    ----------
    file
        Open at any position, to read; it is left anywhere.
    nbytes
        Its size. What lies beyond what it needs is no fault.
    """
    try:
        if _is_classic(file):
            return _said(nbytes, classic_nbytes(file, nbytes), "its netCDF header")
        start = _superblock(file, nbytes)
        if start is not None:
            width = _length_width(file, start)
            lacking = _said(nbytes, hdf5_nbytes(file, start), "its HDF5 superblock")
            return lacking or _endless_heap(file, width)
    except _NoHeader as error:
        return f"it has {nbytes:,} bytes, and {error}"
    return ""


def is_netcdf_or_hdf5(file: BinaryIO, nbytes: int) -> bool:
    """Whether a file is netCDF or HDF5, by how it begins; it is left at any position."""
    return _is_classic(file) or _superblock(file, nbytes) is not None


def _is_classic(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(4) in (b"CDF\x01", b"CDF\x02", b"CDF\x05")


def _said(nbytes: int, needed: int, by: str) -> str:
    if nbytes >= needed:
        return ""
    return f"it has {nbytes:,} bytes, and {by} says that it needs {needed:,}"


# -- HDF5 -------------------------------------------------------------------------------------


def _superblock(file: BinaryIO, nbytes: int) -> int | None:
    """Return where an HDF5 file's superblock is: at its start, or after a user block of 512 * 2^n.

    None if it is no HDF5 file.
    """
    start = 0
    while start < nbytes:
        file.seek(start)
        if file.read(len(HDF5)) == HDF5:
            return start
        start = 2 * start or 512
    return None


def hdf5_nbytes(file: BinaryIO, start: int = 0) -> int:
    """Return the least size of an HDF5 file, by its superblock, which begins at `start`."""
    file.seek(start + 8)
    head = _exactly(file, 8)
    version = head[0]
    # Before the addresses come versions and sizes; before the end of file's two other addresses.
    width, first = (head[5], 24 + 4 * (version == 1)) if version < 2 else (head[1], 12)
    file.seek(start + first + 2 * width)
    return int.from_bytes(_exactly(file, width), "little")


def _length_width(file: BinaryIO, start: int) -> int:
    """Return how many bytes a length has in an HDF5 file."""
    file.seek(start + 8)
    head = _exactly(file, 8)
    return head[6] if head[0] < 2 else head[2]


def _endless_heap(file: BinaryIO, width: int) -> str:
    """Say where a global heap has an object without a length; empty if none has.

    The bytes with which a heap begins can also be among values: then it is none, and what follows
    them will hardly be an object of length 0 after objects that end within it.
    """
    for start in _places_of(file, HEAP):
        file.seek(start + len(HEAP))
        end = start + int.from_bytes(file.read(width), "little")
        at = start + len(HEAP) + width
        while at + 8 + width <= end:
            file.seek(at)
            head = file.read(8 + width)
            if len(head) < 8 + width:
                break
            is_free = head[:2] == b"\0\0"
            nbytes = int.from_bytes(head[8:], "little")
            step = nbytes if is_free else 8 + width + -(-nbytes // 8) * 8
            if not 0 < step < 1 << 63:  # the library counts so far, and from 0 again
                return f"its HDF5 heap at byte {start:,} has an object of length {nbytes:,}"
            at += step
    return ""


def _places_of(file: BinaryIO, mark: bytes) -> Iterator[int]:
    """Yield where some bytes are in a file."""
    begin, kept = 0, b""
    file.seek(0)
    while content := file.read(CHUNK_NBYTES):
        part, at = kept + content, -1
        while (at := part.find(mark, at + 1)) >= 0:
            after = file.tell()
            yield begin - len(kept) + at
            file.seek(after)
        begin += len(content)
        kept = part[1 - len(mark) :]


# -- netCDF classic ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Variable:
    """Where a variable's values begin, and how many bytes they are: in all, or a record."""

    begin: int
    nbytes: int
    has_records: bool


def classic_nbytes(file: BinaryIO, nbytes: int) -> int:
    """Return the least size of a classic netCDF file, by its header.

    Of a file that was streamed, whose header does not count its records, what they need is not
    known. `nbytes` is what there is of it.
    """
    header = _Header(file, nbytes)
    n_records = header.count_of_records()
    lengths = header.dimensions()
    header.skip_attributes()
    variables = list(header.variables(lengths))
    ends = [header.position, *(v.begin + v.nbytes for v in variables if not v.has_records)]
    along = [v for v in variables if v.has_records]
    if along and n_records:
        # A record's variables begin at multiples of four, but for one that is alone.
        record_nbytes = sum(_padded(v.nbytes) for v in along) if len(along) > 1 else along[0].nbytes
        ends += [v.begin + (n_records - 1) * record_nbytes + v.nbytes for v in along]
    return max(ends)


class _Header:
    """Reads a header from its start, field by field; big-endian."""

    def __init__(self, file: BinaryIO, nbytes: int) -> None:
        self.file = file
        self.nbytes = nbytes
        file.seek(3)
        version = _exactly(file, 1)[0]
        self.count_width = 8 if version == 5 else 4
        self.offset_width = 4 if version == 1 else 8

    @property
    def position(self) -> int:
        return self.file.tell()

    def count_of_records(self) -> int:
        """Return how many there are; 0 also where nobody counted them."""
        found = self._count()
        return 0 if found == 256**self.count_width - 1 else found

    def dimensions(self) -> list[int]:
        """Return their lengths; 0 for the dimension of records."""
        return [self._after_name() for _ in range(self._n_elements(DIMENSIONS))]

    def skip_attributes(self) -> None:
        for _ in range(self._n_elements(ATTRIBUTES)):
            self._skip_name()
            itemsize = self._itemsize()
            self._skip(_padded(self._count() * itemsize))

    def variables(self, lengths: Sequence[int]) -> Iterator[_Variable]:
        for _ in range(self._n_elements(VARIABLES)):
            self._skip_name()
            shape = [self._length(lengths, self._count()) for _ in range(self._n_dims())]
            self.skip_attributes()
            itemsize = self._itemsize()
            self._count()  # the size, which is wrong where it does not fit
            has_records = bool(shape) and shape[0] == 0
            yield _Variable(
                self._integer(self.offset_width), prod(shape[has_records:]) * itemsize, has_records
            )

    def _length(self, lengths: Sequence[int], number: int) -> int:
        if number >= len(lengths):
            raise _NoHeader(f"its header gives a variable dimension {number} of {len(lengths)}")
        return lengths[number]

    def _n_elements(self, tag: int) -> int:
        found, many = self._integer(4), self._count()
        if found != tag and (found, many) != (0, 0):
            raise _NoHeader(f"its header has {many:,} elements of the kind {found}, not {tag}")
        # Each has a name and a number at least.
        if many > (self.nbytes - self.position) // 8:
            raise _NoHeader(ENDS)
        return many

    def _n_dims(self) -> int:
        many = self._count()
        if many > (self.nbytes - self.position) // 4:
            raise _NoHeader(ENDS)
        return many

    def _itemsize(self) -> int:
        kind = self._integer(4)
        if kind not in TYPE_NBYTES:
            raise _NoHeader(f"its header names a type {kind}")
        return TYPE_NBYTES[kind]

    def _after_name(self) -> int:
        self._skip_name()
        return self._count()

    def _skip_name(self) -> None:
        self._skip(_padded(self._count()))

    def _count(self) -> int:
        return self._integer(self.count_width)

    def _integer(self, width: int) -> int:
        return int.from_bytes(_exactly(self.file, width), "big")

    def _skip(self, nbytes: int) -> None:
        if nbytes > self.nbytes - self.position:
            raise _NoHeader(ENDS)
        self.file.seek(nbytes, io.SEEK_CUR)


def _padded(nbytes: int) -> int:
    return -(-nbytes // 4) * 4


def _exactly(file: BinaryIO, nbytes: int) -> bytes:
    found = file.read(nbytes)
    if len(found) < nbytes:
        raise _NoHeader(ENDS)
    return found
