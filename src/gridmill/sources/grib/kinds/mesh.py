"""Cells without rows: HEALPix, and meshes that another file of the provider places."""

from gridmill.sources.grib.earth import read_earth
from gridmill.sources.grib.framing import GribCorrupt, GribRefused
from gridmill.sources.grib.keys import (
    import_eccodes,
    integer,
    is_defined,
    optional_integer,
    real,
    text,
)
from gridmill.sources.grib.kinds.grid import Grid, winds_follow_grid
from gridmill.sources.grib.layout import Layout

__all__ = ["read_healpix", "read_unstructured"]

# Latitude and longitude of the cells' centres, degrees: template 3.150 has no others in use.
CENTRES, FIRST_LONGITUDE = 4, 45.0


def read_healpix(handle: int, layout: Layout) -> Grid:
    """Read a HEALPix mesh in its own order, ring or nested; ecCodes knows where its cells lie."""
    sides, order = integer(handle, "Nside"), text(handle, "orderingConvention")
    if 12 * sides**2 != layout.shape[0] or (order == "nested" and sides & (sides - 1)):
        raise GribCorrupt(f"{layout.shape[0]} cells are no HEALPix mesh, {order}, of {sides} sides")
    first = real(handle, "longitudeOfFirstGridPointInDegrees")
    position = integer(handle, "gridPointPosition")
    if order not in ("ring", "nested") or (position, first) != (CENTRES, FIRST_LONGITUDE):
        raise GribRefused(
            f"a HEALPix mesh in {order} order from {first} degrees east, with points at position "
            f"{position} of each cell, is not taken"
        )
    eccodes = import_eccodes()
    latitudes, longitudes = (
        eccodes.codes_get_array(handle, key) for key in ("latitudes", "longitudes")
    )
    return Grid(
        grid_type=layout.grid_type,
        dims=("cell",),
        shape=layout.shape,
        latitudes=latitudes,
        longitudes=(longitudes + 180.0) % 360.0 - 180.0,
        grid_mapping={"grid_mapping_name": "latitude_longitude", **read_earth(handle)},
        winds_follow_grid=winds_follow_grid(handle),
        mesh=f"HEALPix, {sides} sides, {order}",
    )


def read_unstructured(handle: int, layout: Layout) -> Grid:
    """Read which mesh a message is on (template 3.101); it does not say where its cells lie."""
    number, reference = (
        optional_integer(handle, key) for key in ("numberOfGridUsed", "numberOfGridInReference")
    )
    uuid = text(handle, "uuidOfHGrid") if is_defined(handle, "uuidOfHGrid") else "none"
    return Grid(
        grid_type=layout.grid_type,
        dims=("cell",),
        shape=layout.shape,
        grid_mapping={"grid_mapping_name": "latitude_longitude", **read_earth(handle)},
        winds_follow_grid=winds_follow_grid(handle),
        mesh=f"uuid {uuid}, grid {number}, reference {reference}",
    )
