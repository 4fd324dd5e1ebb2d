"""A dataset whose source files xarray opens, whatever they are: the slow way that always works."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from gridmill.authoring.region_job import DataVarT, RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.sources.opened import read_xarray
from gridmill.sources.selecting import Labels

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["XarrayRegionJob"]

CoordT = TypeVar("CoordT", bound=SourceFileCoord)


class XarrayRegionJob(RegionJob[DataVarT, CoordT]):
    """Reads source files with xarray; subclass it.

    Implement `generate_source_file_coords`. Each file is opened once for each variable, by workers
    that import xarray and the backend; ``gridmill plan`` says how often. `gridmill.read_netcdf` is
    several times as fast where a file is netCDF.
    """

    # Of ``xarray.open_dataset``; None lets xarray choose by what is installed.
    engine: ClassVar[str | None] = None
    # By dim of the files, the labels that are taken of it, in the archive's order and the files'
    # units: some levels of many. What else they have there is left.
    selected: ClassVar[Mapping[str, Labels]] = MappingProxyType({})

    def open_file(self, coord: CoordT) -> xr.Dataset:
        """Open a downloaded source file; it is closed after one variable was read.

        Override it to choose a part, or to give options to a backend.
        """
        import xarray as xr

        return xr.open_dataset(coord.downloaded_path, engine=self.engine)  # type: ignore[arg-type]

    def array_name(self, data_var: DataVarT) -> str:
        """Return the name of a variable in the files; by default the variable's own."""
        return data_var.name

    def read_data(self, coord: CoordT, data_var: DataVarT) -> np.ndarray[Any, Any]:
        """Read one variable, without the dims of length 1 that the variable does not have."""
        labels = coord.out_loc()
        kept = {d for d in data_var.dims if isinstance(labels.get(d, slice(None)), slice)}
        name = self.array_name(data_var)
        with self.open_file(coord) as opened:
            sizes = opened[name].sizes if name in opened else {}
            single = {
                dim: 0
                for dim, n in sizes.items()
                if n == 1 and dim not in kept and dim not in self.selected
            }
            return read_xarray(opened.isel(single), name, select=self.selected)
