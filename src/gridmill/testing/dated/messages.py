"""GRIB messages of a sample, with another start, lead and member."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.sources.grib.framing import iter_messages
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.selection import Selector
from gridmill.sources.grib.keys import import_eccodes, is_defined, loaded
from gridmill.sources.grib.messages import open_message

__all__ = ["DatedMessages", "dated_message"]

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class DatedMessages:
    """Messages that are written again for other places.

    Parameters
    ----------
    samples
        A folder with ``messages.grib``.
    """

    def __init__(self, samples: Path) -> None:
        self._known = []
        for message in iter_messages(samples / "messages.grib"):
            with open_message(message.data) as opened:
                self._known.append((opened.identity, opened.short_name, message.data))
        self._done: defaultdict[Path, dict[Any, bytes]] = defaultdict(dict)

    def write(self, job: Any, coord: Any, group: Sequence[GribVar], path: Path) -> None:
        """Add the messages of a source file."""
        for var in group:
            selectors = job.message_selectors(coord, var)
            for level, selector in zip(job.levels_in(coord, var), selectors, strict=True):
                key = (var.name, level, selector, coord.init_time)
                if key not in self._done[path]:
                    message = self._sample_of(var, level)
                    self._done[path][key] = dated_message(message, coord.init_time, selector)

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Return the files and what is in each."""
        for path, messages in self._done.items():
            yield path, b"".join(messages.values())

    def _sample_of(self, var: GribVar, level: Level) -> bytes:
        for identity, short_name, data in self._known:
            codes = (identity.discipline, identity.category, identity.number)
            is_parameter = codes in var.codes if var.codes else short_name == var.short_name
            is_level = _same(level.surface, identity.first_surface) and _same(
                level.below, identity.second_surface
            )
            if is_parameter and is_level and var.statistic in (None, identity.statistic):
                return data
        raise ValueError(f"the samples have no message of {var.name} at {level.name}")


def _same(want: Surface | None, has: Surface | None) -> bool:
    if want is None or has is None:
        return want is None
    if want.value is None or has.value is None:
        return want.type == has.type and want.value is None
    return want.type == has.type and math.isclose(want.value, has.value, abs_tol=1e-9)


def dated_message(message: bytes, init: datetime, selector: Selector) -> bytes:
    """Return a message with the start, the period and the member that are asked for."""
    eccodes = import_eccodes()
    start = selector.start_step or timedelta(0)
    end = selector.end_step or timedelta(0)
    unit, code = (HOUR, 1) if not (start % HOUR or end % HOUR) else (MINUTE, 0)
    with loaded(message) as handle:
        _set(handle, "dataDate", init.year * 10_000 + init.month * 100 + init.day)
        _set(handle, "dataTime", init.hour * 100 + init.minute)
        _set(handle, "second", init.second)
        if not is_defined(handle, "forecastTime"):
            if is_defined(handle, "indicatorOfUnitOfTimeRange"):
                _set_edition_1(handle, start // unit, end // unit, code)
        else:
            _set(handle, "indicatorOfUnitOfTimeRange", code)
            _set(handle, "forecastTime", start // unit)
            if is_defined(handle, "lengthOfTimeRange"):
                _set(handle, "indicatorOfUnitForTimeRange", code)
                _set(handle, "lengthOfTimeRange", (end - start) // unit)
        if selector.member is not None and is_defined(handle, "perturbationNumber"):
            _set(handle, "typeOfEnsembleForecast", 3 if selector.member > 0 else 1)
            _set(handle, "perturbationNumber", abs(selector.member))
        made: bytes = eccodes.codes_get_message(handle)
    return made


def _set(handle: int, key: str, value: int) -> None:
    eccodes = import_eccodes()
    if is_defined(handle, key) and eccodes.codes_get_long(handle, key) != value:
        eccodes.codes_set_long(handle, key, int(value))


def _set_edition_1(handle: int, start: int, end: int, code: int) -> None:
    """Set the periods of GRIB1's table 5: some have one time, the others two."""
    eccodes = import_eccodes()
    _set(handle, "indicatorOfUnitOfTimeRange", code)
    if eccodes.codes_get_long(handle, "timeRangeIndicator") in (2, 3, 4, 5):
        _set(handle, "P1", start)
        _set(handle, "P2", end)
    elif eccodes.codes_get_long(handle, "timeRangeIndicator") == 10:
        eccodes.codes_set_long(handle, "startStep", end)
    else:
        _set(handle, "P1", end)
