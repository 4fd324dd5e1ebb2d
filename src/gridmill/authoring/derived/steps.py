"""The steps of a source of which many become one position of the append dim. With the driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.authoring.locate import processing_region
from gridmill.model.fields.derived import Aggregation

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from gridmill.authoring.region_job import RegionJob
    from gridmill.model.variables import DataVar

__all__ = ["Steps", "n_steps", "position_of", "step_offsets", "steps_of", "timedelta_of"]


@dataclass(frozen=True)
class Steps:
    """Steps along the append dim.

    Parameters
    ----------
    labels
        All of them, in order.
    offsets
        Where each position's begin among them, and where the last one's end.
    """

    labels: pd.Index[Any]
    offsets: tuple[int, ...]

    def positions(self, steps: int | slice) -> int | slice:
        """Return the positions that steps are part of.

        Examples
        --------
        >>> steps = Steps(None, (0, 24, 48))
        >>> steps.positions(30), steps.positions(slice(20, 48))
        (1, slice(0, 2, None))
        """
        if isinstance(steps, int):
            return int(np.searchsorted(self.offsets, steps, side="right")) - 1
        if steps.start >= steps.stop:
            return slice(0, 0)
        first, last = (
            int(np.searchsorted(self.offsets, at, side="right")) - 1
            for at in (steps.start, steps.stop - 1)
        )
        return slice(first, last + 1)

    def dataset(self, ds: xr.Dataset, append_dim: str) -> xr.Dataset:
        """Return a part of a template with these labels instead of its own, without values."""
        others = [name for name, var in ds.variables.items() if append_dim in var.dims]
        return ds.drop_vars(others).assign_coords({append_dim: self.labels})


def steps_of(index: pd.Index[Any], how: Aggregation) -> Steps:
    """Return the steps of positions.

    Examples
    --------
    >>> import pandas as pd
    >>> days = pd.date_range("2025-01-01", periods=2)
    >>> how = Aggregation(method="sum", every="12h", first="12h", period="D")
    >>> [str(label) for label in steps_of(days, how).labels[1:3]]
    ['2025-01-02 00:00:00', '2025-01-02 12:00:00']
    """
    import pandas as pd
    from pandas.tseries.frequencies import to_offset

    every, first = timedelta_of(how.every), timedelta_of(how.first)
    period = to_offset(how.period)
    parts = [
        pd.date_range(label + first, label + period + first, freq=every, inclusive="left")
        for label in index
    ]
    offsets = (0, *np.cumsum([len(part) for part in parts]).tolist())
    labels = parts[0].append(parts[1:]) if parts else index
    return Steps(labels, offsets)


def step_offsets(job: RegionJob[Any, Any], var: DataVar) -> tuple[int, ...] | None:
    """Return `Steps.offsets` of a job's processing region; None if nothing is aggregated."""
    if var.aggregated is None or job.is_static:
        return None
    index = job.template_ds.get_index(job.append_dim)[processing_region(job)]
    return steps_of(index, var.aggregated).offsets


def n_steps(offsets: tuple[int, ...] | None, length: int) -> int:
    """Return how many steps the source has where a variable has so many positions."""
    return length if offsets is None else offsets[-1]


def position_of(index: pd.Index[Any], how: Aggregation, label: Any) -> slice:
    """Return the positions that a label of a source's steps is part of, or a slice of them.

    Parameters
    ----------
    index
        The append dim's labels, in order.
    how
        The aggregation.
    label
        One that the steps have.
    """
    import pandas as pd

    first = timedelta_of(how.first)
    ends = (label.start, label.stop) if isinstance(label, slice) else (label, label)

    def at(end: Any) -> int:
        return int(index.searchsorted(pd.Timestamp(end) - first, side="right"))

    return slice(
        0 if ends[0] is None else max(at(ends[0]) - 1, 0),
        len(index) if ends[1] is None else at(ends[1]),
    )


def timedelta_of(text: str) -> pd.Timedelta:
    """Return the length of a fixed offset, like ``"h"`` or ``"15min"``.

    Raises
    ------
    ValueError
        It has none, as a month has.
    """
    import pandas as pd

    return pd.Timedelta(text if text[:1].isdigit() else f"1{text}")
