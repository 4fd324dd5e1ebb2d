"""Epochs: what gridmill means its stages to store, as a number for each. Pure.

A stage is a step between a source file and a stored object whose output is stored. Its epoch is
raised with each change by which the same source bytes give other stored values, and only then:
faster code, another library version or a corrected error message leave it as it is. Records
keep the epochs of the stages that made a variable, so that what was made under an earlier one can
be named. Nothing is reprocessed because an epoch was raised.

The output of every stage on a small fixed input is pinned in ``tests/unit/model/epochs.json``: a
change of it without a raised epoch fails the tests.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from gridmill.model.records import ProgressRecord, VariableRecord

__all__ = [
    "AGGREGATION",
    "BILINEAR",
    "CONSERVATIVE",
    "DEACCUMULATION",
    "ENCODING",
    "EPOCHS",
    "GRIB_DECODING",
    "INTERPOLATION",
    "NETCDF_READING",
    "PACKING",
    "REGRIDDING",
    "RELATIVE_HUMIDITY",
    "ROUNDING",
    "SCALING",
    "WIND_DIRECTION",
    "WIND_SPEED",
    "made_earlier",
    "mended_since",
    "note_stage",
    "noted_stages",
    "stage",
]

GRIB_DECODING = "GRIB decoding"
NETCDF_READING = "netCDF reading"
SCALING = "scaling"
ROUNDING = "mantissa rounding"
DEACCUMULATION = "deaccumulation"
INTERPOLATION = "interpolation of single gaps"
PACKING = "packing"
ENCODING = "encoding"
AGGREGATION = "aggregation over time"
WIND_SPEED = "wind speed of components"
WIND_DIRECTION = "wind direction of components"
RELATIVE_HUMIDITY = "relative humidity of dew point"
BILINEAR = "bilinear regridding"
CONSERVATIVE = "conservative regridding"
# What SciPy carries the weights of.
REGRIDDING = frozenset({BILINEAR, CONSERVATIVE})

EPOCHS: Mapping[str, int] = MappingProxyType(
    {
        GRIB_DECODING: 1,
        NETCDF_READING: 1,
        SCALING: 1,
        ROUNDING: 1,
        DEACCUMULATION: 2,
        INTERPOLATION: 1,
        PACKING: 1,
        ENCODING: 1,
        AGGREGATION: 1,
        WIND_SPEED: 1,
        WIND_DIRECTION: 1,
        RELATIVE_HUMIDITY: 1,
        BILINEAR: 1,
        CONSERVATIVE: 1,
    }
)
# What was wrong until a stage's epoch was raised to this one.
MENDED: Mapping[tuple[str, int], str] = MappingProxyType(
    {
        (DEACCUMULATION, 2): "means and totals that are packed in coarse steps lack values where "
        "they are low, or have rates below 0",
    }
)
# What a record that names no epochs was made under: it is older than they are.
FIRST = 1

P = ParamSpec("P")
R = TypeVar("R")

_noted = threading.local()


@contextmanager
def noted_stages() -> Iterator[dict[str, int]]:
    """Collect the stages that the calling thread uses, with their epochs.

    Examples
    --------
    >>> with noted_stages() as used:
    ...     note_stage("encoding")
    >>> used
    {'encoding': 1}
    """
    before = getattr(_noted, "stages", None)
    used: dict[str, int] = {}
    _noted.stages = used
    try:
        yield used
    finally:
        _noted.stages = before


def note_stage(name: str) -> None:
    """Note that the calling thread uses a stage; nothing where nobody collects them."""
    used = getattr(_noted, "stages", None)
    if used is not None:
        used[name] = EPOCHS[name]


def stage(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make calls of a function note that its stage was used, see `note_stage`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def noting(*args: P.args, **kwargs: P.kwargs) -> R:
            note_stage(name)
            return function(*args, **kwargs)

        return noting

    return decorate


def made_earlier(
    records: Iterable[ProgressRecord], version: int, epochs: Mapping[str, int] = EPOCHS
) -> dict[str, int]:
    """Count regions that were made under another epoch of a stage, or version of their dataset.

    Parameters
    ----------
    records
        Of regions. One that names no epochs was made under the first ones, by the stages that the
        others name for the same variable.
    version
        The dataset's, see `RegionJob.version`.
    epochs
        Those of today.

    Returns
    -------
    dict
        Number of regions, by what was raised since.

    Examples
    --------
    >>> from gridmill.model.records import ProgressRecord, VariableRecord
    >>> rain = VariableRecord(state="done", group=0, epochs={"deaccumulation": 1})
    >>> record = ProgressRecord(dataset_id="gfs", start=0, stop=4, variables={"rain": rain})
    >>> made_earlier([record], version=1, epochs={"deaccumulation": 2})
    {'epoch 1 of deaccumulation, now 2': 1}
    """
    records = list(records)
    used = _stages_used(records)
    counts: Counter[str] = Counter()
    for record in records:
        raised = (
            _raised(variable, used.get(name, ()), version, epochs)
            for name, variable in record.variables.items()
            if variable.state == "done"
        )
        counts.update({what for found in raised for what in found})
    return dict(sorted(counts.items()))


def mended_since(
    records: Iterable[ProgressRecord], epochs: Mapping[str, int] = EPOCHS
) -> Iterator[tuple[ProgressRecord, dict[str, list[str]]]]:
    """Yield the records of regions with values that would be made otherwise now.

    With each come, by what was wrong with them, the names of its variables; see `MENDED`.
    """
    records = list(records)
    used = _stages_used(records)
    for record in records:
        found: dict[str, list[str]] = {}
        for name, variable in record.variables.items():
            made = dict.fromkeys(used.get(name, ()), FIRST)
            made = made if variable.epochs is None else dict(variable.epochs)
            for (stage_name, epoch), wrong in MENDED.items():
                is_older = made.get(stage_name, epoch) < epoch <= epochs[stage_name]
                if variable.state == "done" and is_older:
                    found.setdefault(wrong, []).append(name)
        if found:
            yield record, found


def _stages_used(records: Iterable[ProgressRecord]) -> dict[str, set[str]]:
    """By name of a variable, the stages that any record names for it."""
    used: dict[str, set[str]] = {}
    for record in records:
        for name, variable in record.variables.items():
            used.setdefault(name, set()).update(variable.epochs or ())
    return used


def _raised(
    variable: VariableRecord, used: Iterable[str], version: int, epochs: Mapping[str, int]
) -> Iterator[str]:
    made = dict.fromkeys(used, FIRST) if variable.epochs is None else variable.epochs
    for name, epoch in made.items():
        if epochs.get(name, epoch) != epoch:
            yield f"epoch {epoch} of {name}, now {epochs[name]}"
    before = FIRST if variable.version is None else variable.version
    if before != version:
        yield f"version {before} of the dataset, now {version}"
