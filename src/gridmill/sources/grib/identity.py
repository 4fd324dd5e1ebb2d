"""What a GRIB message is: parameter, level, time, statistic and member."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from gridmill.sources.grib.framing import GribCorrupt
from gridmill.sources.grib.inventory.message import Statistic
from gridmill.sources.grib.keys import (
    first_of_array,
    integer,
    is_defined,
    optional_integer,
    optional_real,
    optional_scaled,
    text,
)

__all__ = ["MessageIdentity", "Surface", "read_identity"]


class Surface(NamedTuple):
    """A level: GRIB2 code table 4.5 (GRIB1 table 3), and the value in that type's SI unit.

    Pressures are in Pa, heights and depths in m, potential temperatures in K, and sigma is a
    fraction, in both editions: GRIB1's hPa, cm and ten thousandths are converted. Numbers of model
    levels are numbers.
    """

    type: int
    value: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageIdentity:
    """What a message is, by its code figures: names fail where ecCodes has none for them.

    Those names are `short_name` and `units` of `gridmill.sources.grib.messages.OpenMessage`.

    Attributes
    ----------
    edition
        1 or 2.
    centre
        Originating centre as ecCodes abbreviates it, ``kwbc`` for NCEP.
    discipline
        GRIB2 code table 0.0; None in edition 1.
    category
        GRIB2 code table 4.1; in edition 1 the version of the parameter table.
    number
        GRIB2 code table 4.2; in edition 1 the indicator of the parameter.
    first_surface, second_surface
        None where missing; two of them bound a layer.
    reference_time
        Analysis or start of the forecast, in UTC, naive.
    start_step, end_step
        Period that the values describe, from `reference_time`; equal for an instant. None where it
        is coded in months or years, or missing.
    statistic
        None where the message does not say it.
    member
        Ensemble member, negative for a negatively perturbed one, 0 for a control; None for a
        message that is no single member.
    derived_forecast
        GRIB2 code table 4.7 (0 is the ensemble mean); None for a message that is not derived.
    percentile
        Of 100; None for a message that is no percentile of an ensemble. None in edition 1.
    is_probability
        Whether the values are probabilities of an event. False in edition 1.
    """

    edition: int
    centre: str
    discipline: int | None
    category: int
    number: int
    first_surface: Surface | None
    second_surface: Surface | None
    reference_time: datetime
    start_step: timedelta | None
    end_step: timedelta | None
    statistic: Statistic | None
    member: int | None
    derived_forecast: int | None
    percentile: int | None = None
    is_probability: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it is a forecast itself: no member, nothing derived, and no probability."""
        figures = (self.member, self.derived_forecast, self.percentile)
        return figures == (None, None, None) and not self.is_probability


def read_identity(handle: int) -> MessageIdentity:
    """Read what a message is that is loaded; see `gridmill.sources.grib.messages`."""
    edition = integer(handle, "edition")
    reference_time = _read_reference_time(handle)
    read_rest = _read_grib1_identity if edition == 1 else _read_grib2_identity
    try:
        rest = read_rest(handle)
    except OverflowError as error:
        raise GribCorrupt(f"a step or a level is beyond all that can be: {error}") from error
    return MessageIdentity(
        edition=edition, centre=text(handle, "centre"), reference_time=reference_time, **rest
    )


# GRIB2 code table 4.4 and GRIB1 table 4; other units are months and years, of no fixed length.
_TIME_UNITS = {
    0: timedelta(minutes=1),
    1: timedelta(hours=1),
    2: timedelta(days=1),
    10: timedelta(hours=3),
    11: timedelta(hours=6),
    12: timedelta(hours=12),
}
_GRIB2_TIME_UNITS = {**_TIME_UNITS, 13: timedelta(seconds=1)}
_GRIB1_TIME_UNITS = {
    **_TIME_UNITS,
    13: timedelta(minutes=15),  # as ECMWF and DWD use it
    14: timedelta(minutes=30),
    254: timedelta(seconds=1),
}
# GRIB2 code table 4.10.
_STATISTICS = {
    0: Statistic.AVERAGE,
    1: Statistic.ACCUMULATION,
    2: Statistic.MAXIMUM,
    3: Statistic.MINIMUM,
    4: Statistic.DIFFERENCE,
    5: Statistic.ROOT_MEAN_SQUARE,
    6: Statistic.STANDARD_DEVIATION,
    8: Statistic.DIFFERENCE,
}
# GRIB1 code table 5, the entries with one period from P1 to P2.
_GRIB1_PERIODS = {
    2: None,
    3: Statistic.AVERAGE,
    4: Statistic.ACCUMULATION,
    5: Statistic.DIFFERENCE,
}


# As ecCodes takes it of hours and minutes, too: not given.
_NO_SECOND, _LEAP_SECOND = 255, 60


def _read_reference_time(handle: int) -> datetime:
    date, time = integer(handle, "dataDate"), integer(handle, "dataTime")
    second = optional_integer(handle, "second") or 0
    if second == _NO_SECOND:
        second = 0
    try:
        minute = datetime(date // 10_000, date // 100 % 100, date % 100, time // 100, time % 100)
        if second > _LEAP_SECOND:
            raise ValueError(f"there is no second {second}")
        return minute + timedelta(seconds=second)
    except (ValueError, OverflowError) as error:
        what = f"{date} {time} and {second} s"
        raise GribCorrupt(f"the reference time {what} does not exist") from error


def _read_grib2_identity(handle: int) -> dict[str, Any]:
    start_step, end_step, statistic = _read_grib2_period(handle)
    return {
        "discipline": integer(handle, "discipline"),
        "category": integer(handle, "parameterCategory"),
        "number": integer(handle, "parameterNumber"),
        "first_surface": _read_surface(handle, "First"),
        "second_surface": _read_surface(handle, "Second"),
        "start_step": start_step,
        "end_step": end_step,
        "statistic": statistic,
        "member": _read_member(handle),
        "derived_forecast": optional_integer(handle, "derivedForecast"),
        "percentile": optional_integer(handle, "percentileValue"),
        "is_probability": is_defined(handle, "probabilityType"),
    }


# All bits set is missing; ecCodes reads the first of them as a sign where there is one.
_NO_FORECAST_TIME, _NO_LENGTH = -0x7FFFFFFF, 0xFFFFFFFF
_Period = tuple[timedelta | None, timedelta | None, Statistic | None]


def _read_grib2_period(handle: int) -> _Period:
    """Read the step and, where the template has one, the outermost time range."""
    forecast_time = optional_integer(handle, "forecastTime")
    if forecast_time is None:  # satellite and radar products
        return timedelta(0), timedelta(0), Statistic.INSTANT
    unit = _GRIB2_TIME_UNITS.get(integer(handle, "indicatorOfUnitOfTimeRange"))
    is_missing = forecast_time == _NO_FORECAST_TIME
    start = None if unit is None or is_missing else forecast_time * unit
    if not is_defined(handle, "typeOfStatisticalProcessing"):
        return start, start, Statistic.INSTANT
    figure = first_of_array(handle, "typeOfStatisticalProcessing")
    statistic = None if figure == 255 else _STATISTICS.get(figure, Statistic.OTHER)
    length_unit = _GRIB2_TIME_UNITS.get(first_of_array(handle, "indicatorOfUnitForTimeRange"))
    length = first_of_array(handle, "lengthOfTimeRange")
    is_missing = length == _NO_LENGTH or integer(handle, "numberOfTimeRange") != 1
    if start is None or length_unit is None or is_missing:
        return None, None, statistic
    return start, start + length * length_unit, statistic


def _read_surface(handle: int, which: str) -> Surface | None:
    kind = optional_integer(handle, f"typeOf{which}FixedSurface")
    if kind is None or kind == 255:
        return None
    return Surface(kind, optional_scaled(handle, f"{which}FixedSurface", is_signed=True))


def _read_member(handle: int) -> int | None:
    number = optional_integer(handle, "perturbationNumber")
    if number is None:
        return None
    kind = optional_integer(handle, "typeOfEnsembleForecast")  # GRIB2 code table 4.6
    if kind in (0, 1):
        return 0
    return -number if kind == 2 else number


def _read_grib1_identity(handle: int) -> dict[str, Any]:
    start_step, end_step, statistic = _read_grib1_period(handle)
    is_ensemble = bool(optional_integer(handle, "numberOfForecastsInEnsemble"))
    first, second = _read_grib1_surfaces(handle)
    return {
        "discipline": None,
        "category": integer(handle, "table2Version"),
        "number": integer(handle, "indicatorOfParameter"),
        "first_surface": first,
        "second_surface": second,
        "start_step": start_step,
        "end_step": end_step,
        "statistic": statistic,
        "member": optional_integer(handle, "perturbationNumber") if is_ensemble else None,
        "derived_forecast": None,
    }


class _Coded(NamedTuple):
    """What the figures of a level mean: in SI units, `offset` + `factor` times the figure."""

    factor: float
    offset: float = 0.0


# GRIB1 code table 3: one figure in octets 11 and 12, others as they are written.
_GRIB1_LEVELS = {
    100: _Coded(100.0),  # hPa
    107: _Coded(1e-4),
    111: _Coded(0.01),  # cm
    115: _Coded(100.0),
    117: _Coded(1e-9),
    119: _Coded(1e-4),
    125: _Coded(0.01),
}
# One figure in each of the two octets: upper and lower surface of a layer.
_GRIB1_LAYERS = {
    101: _Coded(1000.0),  # kPa
    104: _Coded(100.0),  # hm
    106: _Coded(100.0),
    108: _Coded(0.01),
    110: _Coded(1.0),
    112: _Coded(0.01),
    114: _Coded(-1.0, 475.0),  # K below 475 K
    116: _Coded(100.0),
    120: _Coded(0.01),
    121: _Coded(-100.0, 110_000.0),  # hPa below 1100 hPa
}


def _read_grib1_surfaces(handle: int) -> tuple[Surface, Surface | None]:
    kind = integer(handle, "indicatorOfTypeOfLevel")
    if kind in _GRIB1_LAYERS:
        factor, offset = _GRIB1_LAYERS[kind]
        upper, lower = (
            Surface(kind, offset + factor * integer(handle, key))
            for key in ("topLevel", "bottomLevel")
        )
        return upper, lower
    coded = optional_real(handle, "level")
    factor, offset = _GRIB1_LEVELS.get(kind, _Coded(1.0))
    return Surface(kind, None if coded is None else offset + factor * coded), None


def _read_grib1_period(handle: int) -> _Period:
    """Read P1, P2 and the time range indicator, GRIB1 code table 5."""
    unit = _GRIB1_TIME_UNITS.get(integer(handle, "indicatorOfUnitOfTimeRange"))
    p1, p2 = integer(handle, "P1"), integer(handle, "P2")
    indicator = integer(handle, "timeRangeIndicator")
    if unit is None:
        return None, None, None
    if indicator in (0, 1, 10):
        step = {0: p1, 1: 0, 10: p1 * 256 + p2}[indicator] * unit
        return step, step, Statistic.INSTANT
    if indicator in _GRIB1_PERIODS:
        return p1 * unit, p2 * unit, _GRIB1_PERIODS[indicator]
    return None, None, None
