"""How the values of a message follow each other, and their way into a caller's buffer.

Source of the formula of packing: WMO Manual on Codes I.2, FM 92 GRIB, regulation 92.9.4.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.keys import import_eccodes, integer, optional_integer, text

__all__ = ["Layout", "copy_lines", "packing_step", "read_layout", "read_values"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the values follow each other: flag table 3.4, bits 1 to 4."""

    grid_type: str
    shape: tuple[int, ...]
    i_negative: bool = False
    j_positive: bool = False
    j_consecutive: bool = False
    alternating: bool = False

    def lines_of(self, array: NDArray[Any]) -> NDArray[Any]:
        """View `array`, oriented as a `Grid` is, as the message's lines in its order."""
        if array.shape != self.shape:
            if array.shape != (int(np.prod(self.shape)),) or not array.flags.c_contiguous:
                raise GribRefused(
                    f"the message's grid, {self.grid_type}, has the shape {self.shape}; the "
                    f"buffer has {array.shape}"
                )
            array = array.reshape(self.shape)
        if self.i_negative:
            array = array[:, ::-1]
        return array.T if self.j_consecutive else array


def read_layout(handle: int) -> Layout:
    """Read the scanning mode and the shape.

    Raises
    ------
    GribRefused
        There are no values on a grid, or the grid is staggered.
    GribCorrupt
        Rows and columns contradict the number of points.
    """
    grid_type = text(handle, "gridType")
    if grid_type.endswith("sh") or grid_type == "lambert_bf":
        raise GribRefused(f"{grid_type}: spectral coefficients are not values on a grid")
    n_points = integer(handle, "numberOfDataPoints")
    if n_points < 1:
        raise GribCorrupt(f"a grid of {n_points} points")
    scanning = optional_integer(handle, "scanningMode") or 0
    if scanning & 0x0F:
        raise GribRefused(f"scanning mode {scanning:#04x}: staggered grids are not taken")
    n_i, n_j = optional_integer(handle, "Ni"), optional_integer(handle, "Nj")
    if n_i is None or n_j is None or optional_integer(handle, "PLPresent"):
        if scanning & ~0x40:
            raise GribRefused(
                f"scanning mode {scanning:#04x}: points of a grid without rows of one length are "
                "taken only from west to east, row by row"
            )
        return Layout(grid_type=grid_type, shape=(n_points,))
    if n_i < 1 or n_i * n_j != n_points:
        raise GribCorrupt(f"{n_j} rows of {n_i} columns are not {n_points} points")
    return Layout(
        grid_type=grid_type,
        shape=(n_j, n_i),
        i_negative=bool(scanning & 0x80),
        j_positive=bool(scanning & 0x40),
        j_consecutive=bool(scanning & 0x20),
        alternating=bool(scanning & 0x10),
    )


def read_values(handle: int, layout: Layout) -> NDArray[np.float64]:
    """Decode the values, in the message's own order; missing ones are NaN."""
    # With NaN as ecCodes' missing value, points that the bitmap or in-band codes mark arrive as
    # NaN: no mask and no further pass.
    eccodes = import_eccodes()
    eccodes.codes_set(handle, "missingValue", float("nan"))
    values: NDArray[np.float64] = eccodes.codes_get_values(handle)
    if values.size != np.prod(layout.shape):
        raise GribCorrupt(f"{values.size} values for a grid of the shape {layout.shape}")
    return values


def packing_step(handle: int) -> float:
    """Return in which steps a message's values are written, in its units.

    That is ``2 ** E / 10 ** D`` with the binary and the decimal scale, for any number of bits; 0
    where values are floating-point numbers, and in a constant field that is not scaled.
    """
    binary = optional_integer(handle, "binaryScaleFactor")
    decimal = optional_integer(handle, "decimalScaleFactor")
    if binary is None or decimal is None:
        return 0.0
    if not binary and not decimal and not integer(handle, "bitsPerValue"):
        return 0.0
    try:
        return float(2.0**binary * 10.0**-decimal)
    except OverflowError:
        return float("inf")


def copy_lines(lines: NDArray[Any], values: NDArray[np.float64], layout: Layout) -> None:
    """Copy values, in the message's own order, into its lines; see `Layout.lines_of`."""
    stored = values.reshape(lines.shape)
    try:
        with np.errstate(over="raise"):
            if layout.alternating:
                np.copyto(lines[0::2], stored[0::2], casting="same_kind")
                np.copyto(lines[1::2], stored[1::2, ::-1], casting="same_kind")
            else:
                np.copyto(lines, stored, casting="same_kind")
    except FloatingPointError as error:
        raise GribCorrupt("a value is beyond the range of float32") from error
