"""Grids of GRIB messages: where the values lie.

Orientation
-----------
Every grid, and every array that is decoded, has the same one. Rows follow the message's own j order
(north to south for most latitude-longitude grids, south to north for most projected ones), columns
run towards increasing longitude or x: messages that scan from east to west, column by column or
back and forth are turned. Longitudes increase without a jump, so ECMWF's grids, which start at
180°E, run from -180. Reduced grids have no rows of one length: they come as points. The cells of
HEALPix and of unstructured meshes stay in their own order.
"""

from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.kinds.grid import Grid
from gridmill.sources.grib.kinds.mesh import read_healpix, read_unstructured
from gridmill.sources.grib.kinds.plane import (
    read_azimuthal,
    read_lambert,
    read_mercator,
    read_polar_stereographic,
    read_transverse_mercator,
)
from gridmill.sources.grib.kinds.satellite import read_space_view
from gridmill.sources.grib.kinds.sphere import (
    read_latitude_longitude,
    read_ncep_rotated,
    read_reduced,
    read_rotated,
)
from gridmill.sources.grib.layout import Layout

__all__ = ["Grid", "grid_of"]


def grid_of(handle: int, layout: Layout) -> Grid:
    """Read the grid of a message that is loaded; see `gridmill.sources.grib.messages.read_grid`."""
    read = _GRID_READERS.get(layout.grid_type)
    if read is None:
        known = ", ".join(_GRID_READERS)
        raise GribRefused(f"grids of type {layout.grid_type!r} are not taken, only {known}")
    if len(layout.shape) == 1 and read not in _WITHOUT_ROWS:
        raise GribCorrupt(f"a grid of type {layout.grid_type!r} without rows or columns")
    return read(handle, layout)


_GRID_READERS = {
    "regular_ll": read_latitude_longitude,
    "regular_gg": read_latitude_longitude,
    "reduced_ll": read_reduced,
    "reduced_gg": read_reduced,
    "lambert": read_lambert,
    "polar_stereographic": read_polar_stereographic,
    "mercator": read_mercator,
    "lambert_azimuthal_equal_area": read_azimuthal,
    "transverse_mercator": read_transverse_mercator,
    "space_view": read_space_view,
    "rotated_ll": read_rotated,
    "rotated_gg": read_rotated,
    "reduced_rotated_ll": read_reduced,
    "reduced_rotated_gg": read_reduced,
    "ncep_32769": read_ncep_rotated,
    "healpix": read_healpix,
    "unstructured_grid": read_unstructured,
}
_WITHOUT_ROWS = (read_reduced, read_healpix, read_unstructured)
