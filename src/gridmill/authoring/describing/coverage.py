"""From when to when readers see data, as ACDD's ``time_coverage_*`` say it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

__all__ = ["time_coverage", "time_resolution"]

# By the name of a pandas frequency without its anchor: months in one of it.
MONTHS = {"MS": 1, "ME": 1, "QS": 3, "QE": 3, "YS": 12, "YE": 12}


def time_coverage(ds: xr.Dataset, append_dim: str) -> dict[str, str]:
    """Return first and last time of a template, and how long that is; empty without positions.

    Parameters
    ----------
    ds
        What readers see. Of forecasts, the times for which they are valid count.
    append_dim
        Its labels are times, too, and count where no coordinate of that name does.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"time": pd.date_range("2026-01-01", periods=25, freq="h")})
    >>> time_coverage(ds, "time")["time_coverage_end"]
    '2026-01-02T00:00:00Z'
    """
    if not ds.sizes.get(append_dim):
        return {}
    times = _times(ds, append_dim)
    ends = times.isel({append_dim: [0, -1]}).values
    start, end = _as_date(ends.min()), _as_date(ends.max())
    return {
        "time_coverage_start": _iso(start),
        "time_coverage_end": _iso(end),
        "time_coverage_duration": _duration(end - start),
    }


def time_resolution(ds: xr.Dataset, append_dim: str, frequency: str | None) -> dict[str, str]:
    """Return ``time_coverage_resolution``: the shortest distance of two times that are declared.

    Of forecasts of several leads it is that of their leads. Empty where the axis is irregular.
    """
    times = _times(ds, append_dim)
    others = [dim for dim in times.dims if dim != append_dim]
    if others and ds.sizes[others[0]] > 1:
        lead = ds[others[0]].values
        if lead.dtype.kind == "m":
            return {"time_coverage_resolution": _duration(pd.Timedelta(np.diff(lead).min()))}
    if frequency is None:
        return {}
    step: Any = pd.tseries.frequencies.to_offset(frequency)
    months = MONTHS.get(step.rule_code.partition("-")[0])
    if months is not None:
        return {"time_coverage_resolution": _of_months(months * step.n)}
    try:
        return {"time_coverage_resolution": _duration(pd.Timedelta(step))}
    except (TypeError, ValueError):  # business days, weeks of an anchor
        return {}


def _times(ds: xr.Dataset, append_dim: str) -> xr.DataArray:
    """Return the coordinate of times along the append dim: of validity where there is one."""
    named = (c for c in ds.coords.values() if c.attrs.get("standard_name") == "time")
    return next((c for c in named if append_dim in c.dims), ds[append_dim])


def _as_date(value: Any) -> Any:
    return pd.Timestamp(value) if isinstance(value, np.datetime64) else value


def _iso(date: Any) -> str:
    """Write a date of any calendar, to the second."""
    return f"{date.strftime('%Y-%m-%dT%H:%M:%S')}Z"


def _of_months(months: int) -> str:
    return f"P{months // 12}Y" if months % 12 == 0 else f"P{months}M"


def _duration(length: timedelta) -> str:
    """Write a duration as ISO 8601 does.

    Examples
    --------
    >>> _duration(timedelta(days=2, hours=6)), _duration(timedelta(minutes=90))
    ('P2DT6H', 'PT1H30M')
    """
    minutes, seconds = divmod(int(length.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((hours, "H"), (minutes, "M"), (seconds, "S"))
    within = "".join(f"{count}{unit}" for count, unit in parts if count)
    if not days and not within:
        return "PT0S"
    return f"P{f'{days}D' if days else ''}{f'T{within}' if within else ''}"
