"""Region jobs that flatten forecasts to one series: each time from the latest forecast for it.

Instants come from leads 0 up to before the next forecast; what describes a period has no value at
lead 0 and comes from the leads after it, up to the next forecast's start.

See Also
--------
gridmill.authoring.forecasts.job : the forecasts.
gridmill.datasets.noaa.gfs_analysis : an example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from gridmill.authoring.forecasts.job import ForecastFile, GribForecastJob
from gridmill.authoring.forecasts.variables import GribVar, Window
from gridmill.authoring.locate import processing_region

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["AnalysisFile", "GribAnalysisJob"]


@dataclass(frozen=True, kw_only=True)
class AnalysisFile(ForecastFile):
    """The file of one lead of one forecast, as the source of one time."""

    def out_loc(self) -> Mapping[str, Any]:
        """Return the time for which the forecast is valid."""
        return {"time": self.init_time + self.lead_time}


AnalysisFileT = TypeVar("AnalysisFileT", bound=AnalysisFile)


class GribAnalysisJob(GribForecastJob[AnalysisFileT], Generic[AnalysisFileT]):
    """Reads the shortest leads of successive forecasts along the append dim time; subclass it.

    The first step of an archive has no step before it: there, means are since the last reset.
    """

    step_dim = "time"
    whole_dims = ("time",)
    # Forecasts start at the multiples of this since midnight; resets of periods divide it.
    init_frequency: ClassVar[timedelta] = timedelta(hours=6)

    # -- most subclasses need not override what follows --------------------------------------

    def get_processing_region(self) -> slice:
        """Return the region and the step before it, from which its first step's period begins."""
        return slice(self.region.start - 1, self.region.stop)

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[GribVar]
    ) -> Sequence[AnalysisFileT]:
        """Return one file for each time; for the margin only where it is needed."""
        times: Any = processing_region_ds.get_index("time")
        if all(var.window is None for var in data_var_group):
            own = times[self.region.place_in(processing_region(self)).start :]
            inits = own.floor(self.init_frequency)
            return [self.source_file(i, t - i) for i, t in zip(inits, own, strict=True)]
        inits = times.ceil(self.init_frequency) - self.init_frequency
        return [self.source_file(i, t - i) for i, t in zip(inits, times, strict=True)]

    def steps_in_seconds(self) -> tuple[float, ...]:
        """Return the times of the processing region since 1970."""
        times: Any = self.template_ds.get_index("time")[processing_region(self)]
        return tuple((times.as_unit("ns").asi8 / 1e9).tolist())

    def reset_seconds(self, window: Window) -> float:
        """Return the step at whose multiples periods restart: with each forecast, or before."""
        frequency = self.init_frequency.total_seconds()
        return min(frequency, super().reset_seconds(window) or frequency)
