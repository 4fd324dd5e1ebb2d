"""What a file is, by its first bytes."""

from __future__ import annotations

from pathlib import Path

from gridmill.operations.samples.facts import Kind
from gridmill.sources.wrapped.wrapping import HEAD_NBYTES

__all__ = ["kind_of", "kind_of_file"]

MAGIC: tuple[tuple[bytes, Kind], ...] = (
    (b"GRIB", "grib"),
    (b"CDF\x01", "netcdf"),
    (b"CDF\x02", "netcdf"),
    (b"CDF\x05", "netcdf"),
    (b"\x89HDF\r\n\x1a\n", "netcdf"),
    (b"II*\x00", "geotiff"),
    (b"MM\x00*", "geotiff"),
    (b"II+\x00", "geotiff"),
    (b"MM\x00+", "geotiff"),
)


def kind_of_file(path: Path) -> Kind | None:
    """Return what a file is; None for what is no weather data."""
    with path.open("rb") as file:
        return kind_of(file.read(HEAD_NBYTES))


def kind_of(head: bytes) -> Kind | None:
    """Return what a file with this head is; None for what is no weather data."""
    found = next((kind for magic, kind in MAGIC if head.startswith(magic)), None)
    if found is None and b"GRIB" in head:  # after a bulletin's header
        return "grib"
    if found is None and _is_inventory(head):
        return "inventory"
    return found


def _is_inventory(head: bytes) -> bool:
    line = head.split(b"\n")[0].lstrip()
    if line.startswith(b"{"):
        return b'"_offset"' in head or b'"param"' in head
    parts = line.split(b":")
    return len(parts) > 5 and parts[1].isdigit() and parts[2].startswith(b"d=")
