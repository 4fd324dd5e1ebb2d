"""The structure that forecasts share: starts, leads, times of validity, and a grid.

See Also
--------
gridmill.authoring.forecasts.job : fills it from GRIB files.
gridmill.authoring.cf : the coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import xarray as xr

from gridmill.authoring.cf import INIT_TIME, LEAD_TIME, valid_time
from gridmill.authoring.grids import HorizontalGrid
from gridmill.authoring.labels import fixed_step
from gridmill.authoring.template import TemplateConfig
from gridmill.model.variables import Coordinate

__all__ = ["ForecastTemplate"]


class ForecastTemplate(TemplateConfig):
    """Declares forecasts of several leads on a grid; subclass it.

    Attributes
    ----------
    grid : HorizontalGrid
        Where values lie.
    lead_hours : sequence of int
        The leads that the provider has. Where some forecasts end earlier, those of the longest: the
        job's `generate_source_file_coords` leaves out the files that others do not have.
    last_lead : timedelta or None
        Leads beyond this one are not taken; None takes all.
    more_coords : sequence of Coordinate
        Those beside start, lead, validity and the grid's; their labels are in `more_labels`.
    more_labels : mapping
        By dim, its labels.
    """

    append_dim = "init_time"
    append_dim_frequency = "6h"
    grid: ClassVar[HorizontalGrid]
    lead_hours: ClassVar[Sequence[int]]
    last_lead: timedelta | None = None
    more_coords: ClassVar[Sequence[Coordinate]] = ()
    more_labels: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        step = fixed_step(self.append_dim_frequency) or timedelta(days=1)
        a_day = max(1, timedelta(days=1) // step)
        valid = valid_time(inits_a_day=a_day, leads=len(self.lead_hours))
        self.coords = (INIT_TIME, LEAD_TIME, valid, *self.more_coords, *self.grid.coords)
        super().__init__()

    def dimension_coordinates(self) -> dict[str, Any]:
        """Return leads, the grid's labels, and `more_labels`."""
        hours = np.asarray(self.lead_hours)
        if self.last_lead is not None:
            hours = hours[hours <= self.last_lead / timedelta(hours=1)]
        return {
            "lead_time": pd.to_timedelta(hours, unit="h"),
            **self.more_labels,
            **self.grid.labels(),
        }

    def limit_leads(self, max_lead: str) -> None:
        """Leave out the leads beyond `max_lead` (``"24h"``), in place."""
        self.last_lead = self._lead(max_lead)

    def _lead(self, text: str) -> timedelta:
        leads = self.dimension_coordinates()["lead_time"]
        try:
            # pandas takes a number without a unit for nanoseconds.
            lead = pd.Timedelta(text if text[-1:].isalpha() else "")
        except ValueError:
            raise ValueError(f"max lead {text!r} is no duration, like 24h") from None
        if lead not in leads:
            before = leads[leads < lead]
            nearest = before[-1] if len(before) else leads[0]
            raise ValueError(
                f"max lead {text} is none of the leads of {self.dataset_id}; the nearest is "
                f"{nearest / pd.Timedelta(hours=1):g}h"
            )
        return lead.to_pytimedelta()

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Return the times for which forecasts are valid, and the grid's auxiliary coordinates."""
        return {"valid_time": ds["init_time"] + ds["lead_time"], **self.grid.auxiliary()}
