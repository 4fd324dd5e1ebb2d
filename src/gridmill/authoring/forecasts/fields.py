"""Region jobs for providers of whose GRIB files each holds one field: a variable at a lead.

There are no inventories: a file is fetched whole, and its only message is the one that is wanted,
whatever the provider calls parameter and level.

See Also
--------
gridmill.authoring.forecasts.job : for files that hold many messages.
gridmill.datasets.eccc.hrdps_forecast : an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.variables import GribVar
from gridmill.sources.grib.inventory.selection import Selector

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["FieldFile", "GribFieldJob"]


@dataclass(frozen=True, kw_only=True)
class FieldFile(ForecastFile):
    """The file of one variable at one lead; subclasses give its address.

    `field` is what the address calls the variable.
    """

    field: str = ""


FieldFileT = TypeVar("FieldFileT", bound=FieldFile)


class GribFieldJob(GribForecastJob[FieldFileT], Generic[FieldFileT]):
    """Reads forecasts out of one GRIB file a variable and lead; subclass it."""

    def field_of(self, data_var: GribVar) -> str:
        """Return what addresses call a variable; by default its parameter."""
        return str(data_var.parameter)

    # -- most subclasses need not override what follows --------------------------------------

    def inventory_url(self, url: str) -> None:
        """Return None: a file of one message needs no inventory."""

    def source_groups(self, data_vars: Sequence[GribVar]) -> Sequence[Sequence[GribVar]]:
        """Return each variable a group of its own, as it has its own files."""
        return [[var] for var in data_vars]

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[FieldFileT]:
        """Return one file of the variable for each forecast, lead and member."""
        (var,) = data_var_group
        files = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [replace(file, field=self.field_of(var)) for file in files]

    def message_selectors(self, coord: FieldFileT, data_var: GribVar) -> list[Selector]:
        """Ask for the message at the lead, of whichever parameter and level."""
        return [
            replace(asked, parameter=None, level=None)
            for asked in super().message_selectors(coord, data_var)
        ]
