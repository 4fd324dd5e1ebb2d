"""GRIB messages: identify, place on a grid, and decode into a caller's buffer.

Edition 2 in the packings simple, complex, complex with spatial differencing, CCSDS, JPEG 2000, PNG
and IEEE, and edition 1 in what the installed ecCodes decodes. The decoder is ecCodes, imported when
first needed: ``pip install 'gridmill[grib]'``. It does not download, and it encodes nothing.

Sources of the formats: WMO Manual on Codes I.2, FM 92 GRIB (code tables 3.1, 3.2, 4.4, 4.10 and
4.11, flag tables 3.3 and 3.4); https://confluence.ecmwf.int/display/ECC (keys).

See Also
--------
gridmill.sources.grib.inventory : finds the bytes of the messages that are needed.
gridmill.sources.grib.framing : finds messages in a file.
gridmill.sources.grib.grids : the orientation of every array and coordinate.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from gridmill.model.epochs import GRIB_DECODING, note_stage
from gridmill.sources.grib.framing import (
    Section,
    find_field,
    grid_definition,
    without_local_section,
)
from gridmill.sources.grib.grids import Grid, grid_of
from gridmill.sources.grib.guard.edition1 import check_structure
from gridmill.sources.grib.guard.grids import check_grid
from gridmill.sources.grib.guard.packing import check_consistency, is_all_missing
from gridmill.sources.grib.identity import MessageIdentity, read_identity
from gridmill.sources.grib.keys import is_defined, loaded, text
from gridmill.sources.grib.layout import Layout, copy_lines, read_layout, read_values

__all__ = [
    "OpenMessage",
    "decode_message_into",
    "message_identity",
    "open_message",
    "read_grid",
]


def decode_message_into(buffer: NDArray[np.float32], message: bytes) -> None:
    """Decode the values of `message` into `buffer`, in place; missing values become NaN.

    Parameters
    ----------
    buffer
        float32, of the shape that `read_grid` gives, or one-dimensional and contiguous of that
        size. Strides do not matter otherwise: a slice of a larger array will do. Its contents are
        replaced; after an error they are undefined.
    message
        One whole GRIB message with one field, as `iter_messages` yields it.

    Raises
    ------
    GribRefused
        The grid does not have the shape of `buffer`, or the message holds spectral coefficients or
        a staggered grid.
    GribCorrupt
        The message is damaged, or holds a value beyond the range of float32.
    TypeError
        `buffer` is not float32.
    ImportError
        ecCodes is not installed.

    Notes
    -----
    Thread-safe, and ecCodes decodes outside the GIL. Idempotent. Memory beyond `buffer`: ecCodes'
    own copy of the message and its float64 array of the values. ecCodes' float32 call would save
    half of that, but refuses JPEG 2000 and PNG (ecCodes 2.50).
    """
    with open_message(message) as opened:
        opened.decode_into(buffer)


def read_grid(message: bytes) -> Grid:
    """Read where the values of `message` lie.

    Raises
    ------
    GribRefused
        The grid's type is none of those that `Grid` lists, or it is staggered, or its Earth or
        projection has no CF equivalent.
    GribCorrupt
        The message is damaged, or its grid contradicts itself.
    ImportError
        ecCodes is not installed.

    Notes
    -----
    Thread-safe. Takes about a millisecond; packing and values do not matter.
    """
    with open_message(message) as opened:
        return opened.grid


def message_identity(message: bytes) -> MessageIdentity:
    """Read what `message` is.

    Raises
    ------
    GribCorrupt
        The message is damaged, or its date does not exist.
    GribRefused
        The message packs several fields.
    ImportError
        ecCodes is not installed.

    Notes
    -----
    Thread-safe. Takes about 1 ms; grid, packing and values do not matter, so a message that nobody
    needs cannot spoil the search of a whole file.
    """
    with open_message(message) as opened:
        return opened.identity


@dataclass(frozen=True)
class OpenMessage:
    """A message that is loaded into ecCodes once, for all that is asked of it.

    What is asked is read when it is first asked, and kept. Errors are those of `message_identity`,
    `read_grid` and `decode_message_into`.

    Parameters
    ----------
    message
        Its bytes.
    sections
        See `gridmill.sources.grib.framing.find_field`.
    handle
        ecCodes' own, valid inside `open_message`.
    """

    message: bytes
    sections: Sequence[Section]
    handle: int

    @cached_property
    def identity(self) -> MessageIdentity:
        """See `message_identity`."""
        return read_identity(self.handle)

    @cached_property
    def short_name(self) -> str:
        """ecCodes' name of the parameter; ``unknown`` for MRMS, CMC precipitation and others.

        It and the units take 0.7 ms each, a tenth of the decoding: ecCodes searches its tables.
        """
        return text(self.handle, "shortName")

    @cached_property
    def units(self) -> str:
        """The units that ecCodes names for the parameter; ``unknown`` where it knows none."""
        return text(self.handle, "units")

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the values, whether or not anything is known of where they lie."""
        return self._layout().shape

    @cached_property
    def grid(self) -> Grid:
        """See `read_grid`. Messages whose grid definition is the same share one object."""
        definition = self._definition
        known = None if definition is None else _grids.get(definition)
        if known is not None:
            return known
        return _remember(_grids, definition, grid_of(self.handle, self._layout()))

    def decode_into(self, buffer: NDArray[np.float32]) -> None:
        """See `decode_message_into`."""
        note_stage(GRIB_DECODING)
        if buffer.dtype != np.float32:
            raise TypeError(f"the buffer is {buffer.dtype}, not float32")
        layout = self._layout()
        check_consistency(self.message, self.sections)
        lines = layout.lines_of(buffer)
        if is_all_missing(self.message, self.sections):
            lines[...] = np.nan
            return
        values = read_values(self.handle, layout)
        copy_lines(lines, values, layout)

    @cached_property
    def _definition(self) -> bytes | None:
        return grid_definition(self.message, self.sections)

    def _layout(self) -> Layout:
        definition = self._definition
        known = None if definition is None else _layouts.get(definition)
        if known is not None:
            return known
        check_grid(self.message, self.sections)
        if not self.sections:
            # In edition 1 ecCodes counts the values to know how many points there are.
            check_consistency(self.message, self.sections)
        return _remember(_layouts, definition, read_layout(self.handle))


@contextmanager
def open_message(message: bytes) -> Iterator[OpenMessage]:
    """Load a message for several questions: each of the functions above reloads it.

    Notes
    -----
    Thread-safe, but one thread may use the open message at a time.
    """
    sections = find_field(message)
    if not sections:
        check_structure(message)
    has_local = any(section.number == 2 for section in sections)
    with loaded(message) as handle:
        # ecCodes reads nothing behind a local section that is shorter than it knows it.
        if not has_local or is_defined(handle, "dataRepresentationTemplateNumber"):
            yield OpenMessage(message, sections, handle)
            return
    with loaded(without_local_section(message, sections)) as handle:
        yield OpenMessage(message, sections, handle)


# By grid definition section: a file's messages, and those of all leads, have a few in all, and to
# read one through ecCodes takes as long as a tenth of the decoding.
_grids: dict[bytes, Grid] = {}
_layouts: dict[bytes, Layout] = {}
_MOST_KNOWN = 64
_Known = TypeVar("_Known")


def _remember(known: dict[bytes, _Known], definition: bytes | None, value: _Known) -> _Known:
    """Keep what a definition means; that of edition 1 has none."""
    if definition is not None:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        known[definition] = value
    return value
