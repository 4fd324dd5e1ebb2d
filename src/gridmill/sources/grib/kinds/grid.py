"""Where the values of a message lie: what every kind of grid is read as."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridmill.sources.grib.framing import GribRefused
from gridmill.sources.grib.keys import optional_integer
from gridmill.sources.grib.projections import GridMapping, unproject

__all__ = ["Attributes", "Grid", "to_180", "winds_follow_grid"]

Attributes = dict[str, str | float | tuple[float, ...]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Where the values of a message lie, oriented as `gridmill.sources.grib.grids` says.

    Equal when all of it is equal, coordinates bit for bit; hashable and picklable.

    Attributes
    ----------
    grid_type
        ecCodes' name: ``regular_ll``, ``regular_gg``, ``reduced_gg``, ``reduced_ll``, and those
        four about another pole, ``rotated_…``; ``lambert``, ``lambert_azimuthal_equal_area``,
        ``polar_stereographic``, ``mercator``, ``transverse_mercator``, ``space_view``,
        ``ncep_32769``; ``healpix``, ``unstructured_grid``.
    dims
        ``("latitude", "longitude")``, ``("rlat", "rlon")``, ``("y", "x")``, ``("point",)`` for a
        reduced grid, or ``("cell",)``.
    shape
        Length of each of `dims`.
    latitudes, longitudes
        float64, degrees, read-only. Along their dims, or along ``point`` or ``cell``; None on a
        projected or rotated grid, where `points` computes them, and of a mesh that the message
        does not hold.
    y, x
        float64, read-only, in the coordinates of `grid_mapping`: metres, degrees about another
        pole, radians of a satellite's view; None elsewhere.
    grid_mapping
        CF attributes of the grid mapping variable, with the figure of the Earth (CF conventions,
        appendix F).
    winds_follow_grid
        Whether vector components are along the grid's x and y instead of east and north.
    mesh
        Of cells without rows, which mesh they are of: sides and order of HEALPix; ``uuidOfHGrid``,
        and the numbers of the grid and of its reference (GRIB2 template 3.101); empty otherwise.
    """

    grid_type: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    latitudes: NDArray[np.float64] | None = None
    longitudes: NDArray[np.float64] | None = None
    y: NDArray[np.float64] | None = None
    x: NDArray[np.float64] | None = None
    grid_mapping: GridMapping
    winds_follow_grid: bool
    mesh: str = ""

    def __post_init__(self) -> None:
        """Make the coordinates and the mapping read-only."""
        for coordinate in self._coordinates():
            if coordinate is not None:
                coordinate.setflags(write=False)
        object.__setattr__(self, "grid_mapping", MappingProxyType(dict(self.grid_mapping)))

    def points(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Compute latitude and longitude of every value.

        Returns
        -------
        latitudes, longitudes
            float64, degrees, of `shape`, possibly views of one row or column. Longitudes are those
            of `longitudes`, and from -180 to below 180 on a projected grid. NaN beyond the Earth.

        Raises
        ------
        GribRefused
            The message does not hold its mesh.
        """
        if self.y is not None and self.x is not None:
            return unproject(self.grid_mapping, self.x[np.newaxis, :], self.y[:, np.newaxis])
        latitudes, longitudes = self.latitudes, self.longitudes
        if latitudes is None or longitudes is None:
            raise GribRefused(
                f"the message does not hold the places of its cells, only which mesh it is on "
                f"({self.mesh}): its provider publishes them in a file of their own"
            )
        if len(self.dims) == 1:
            return latitudes, longitudes
        return (
            np.broadcast_to(latitudes[:, np.newaxis], self.shape),
            np.broadcast_to(longitudes, self.shape),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Grid):
            return NotImplemented
        return self._description() == other._description() and all(
            np.array_equal(mine, theirs) if mine is not None and theirs is not None else True
            for mine, theirs in zip(self._coordinates(), other._coordinates(), strict=True)
        )

    def __hash__(self) -> int:
        return hash((self.grid_type, self.dims, self.shape))

    def __reduce__(self) -> tuple[Any, ...]:
        return _grid_from_state, ({**self.__dict__, "grid_mapping": dict(self.grid_mapping)},)

    def _coordinates(self) -> tuple[NDArray[np.float64] | None, ...]:
        return (self.latitudes, self.longitudes, self.y, self.x)

    def _description(self) -> tuple[object, ...]:
        # `dims` says which of the coordinates are there.
        mapping = dict(self.grid_mapping)
        return (self.grid_type, self.dims, self.shape, mapping, self.winds_follow_grid, self.mesh)


def _grid_from_state(state: dict[str, Any]) -> Grid:
    return Grid(**state)


def winds_follow_grid(handle: int) -> bool:
    return bool(optional_integer(handle, "uvRelativeToGrid"))


def to_180(longitude: float) -> float:
    """The same meridian, from -180 to below 180 degrees, to 1e-9 degrees."""
    return round((longitude + 180.0) % 360.0 - 180.0, 9)
