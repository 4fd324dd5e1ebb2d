"""Messages and inventories of a sample inventory, with another start, lead and member.

For providers of whom nothing but an inventory was given: values, and what messages say of their
parameter and level, are made up; the inventory says which is which.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from gridmill.authoring.forecasts.variables import GribVar
from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.message import Message, Statistic
from gridmill.sources.grib.inventory.selection import Selector
from gridmill.sources.grib.keys import import_eccodes
from gridmill.testing.dated.messages import dated_message

__all__ = ["DatedInventories"]

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WORDS = {
    Statistic.ACCUMULATION: "acc",
    Statistic.AVERAGE: "ave",
    Statistic.MAXIMUM: "max",
    Statistic.MINIMUM: "min",
}
FIGURES = {
    Statistic.AVERAGE: 0,
    Statistic.ACCUMULATION: 1,
    Statistic.MAXIMUM: 2,
    Statistic.MINIMUM: 3,
}


class DatedInventories:
    """Messages on a declared grid, with the inventory that lists them.

    Parameters
    ----------
    samples
        A folder with ``inventory_0.idx`` and others.
    """

    def __init__(self, samples: Path) -> None:
        texts = [path.read_text() for path in sorted(samples.glob("inventory_*.idx"))]
        self._known = [line for text in texts for line in parse_inventory(text)]
        self._done: defaultdict[Path, dict[Any, tuple[Message, Selector, datetime]]]
        self._done = defaultdict(dict)
        self._shape = (0, 0)
        self._suffix = ".idx"

    def write(self, job: Any, coord: Any, group: Sequence[GribVar], path: Path) -> None:
        """Add the messages of a source file."""
        self._shape = tuple(labels.size for labels in job.grid.labels().values())
        self._suffix = Path(job.inventory_url("x.y") or "x.idx").suffix
        for var in group:
            for selector in job.message_selectors(coord, var):
                line = self._line_of(var, selector)
                key = (line.parameter, line.level, selector, coord.init_time)
                self._done[path].setdefault(key, (line, selector, coord.init_time))

    def contents(self) -> Iterator[tuple[Path, bytes]]:
        """Return the files and what is in each."""
        for path, wanted in self._done.items():
            content, lines = b"", []
            for number, (line, selector, init) in enumerate(wanted.values(), start=1):
                message = dated_message(_blank(self._shape, selector), init, selector)
                lines.append(_listed(number, len(content), len(message), line, selector, init))
                content += message
            text = "".join(f"{line}\n" for line in lines).encode()
            is_idx = self._suffix == ".idx"
            beside = path.with_name(f"{path.name}.idx") if is_idx else path.with_suffix(".index")
            yield beside, text
            yield path, content

    def _line_of(self, var: GribVar, selector: Selector) -> Message:
        for line in self._known:
            if (line.parameter, line.level) == (selector.parameter, selector.level):
                return line
        raise ValueError(f"the inventory has no line of {var.name} at {selector.level}")


def _blank(shape: tuple[int, ...], selector: Selector) -> bytes:
    """Return a message of made-up values on a global grid from the north pole."""
    eccodes = import_eccodes()
    rows, columns = shape
    figure = FIGURES.get(selector.statistic) if selector.statistic is not None else None
    is_member = selector.member is not None
    template = (1 if is_member else 0) if figure is None else (11 if is_member else 8)
    keys = {
        "productDefinitionTemplateNumber": template,
        "shapeOfTheEarth": 6,
        "Ni": columns,
        "Nj": rows,
        "latitudeOfFirstGridPointInDegrees": 90.0,
        "latitudeOfLastGridPointInDegrees": -90.0,
        "longitudeOfFirstGridPointInDegrees": 0.0,
        "longitudeOfLastGridPointInDegrees": 360.0 - 360.0 / columns,
        "iDirectionIncrementInDegrees": 360.0 / columns,
        "jDirectionIncrementInDegrees": 180.0 / (rows - 1),
        **({} if figure is None else {"typeOfStatisticalProcessing": figure}),
    }
    handle = eccodes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
    try:
        for key, value in keys.items():
            eccodes.codes_set(handle, key, value)
        eccodes.codes_set_values(handle, np.arange(rows * columns) % 100.0)
        made: bytes = eccodes.codes_get_message(handle)
    finally:
        eccodes.codes_release(handle)
    return made


def _listed(
    number: int, start: int, nbytes: int, line: Message, selector: Selector, init: datetime
) -> str:
    """Return the line of an inventory."""
    steps = [step or timedelta(0) for step in (selector.start_step, selector.end_step)]
    unit, named = (MINUTE, "min") if any(step % HOUR for step in steps) else (HOUR, "hour")
    begin, end = (step // unit for step in steps)
    if line.raw.startswith("{"):
        entry = json.loads(line.raw)
        entry |= {"date": f"{init:%Y%m%d}", "time": f"{init:%H%M}", "step": str(end)}
        entry |= {"_offset": start, "_length": nbytes}
        if selector.member:
            entry["number"] = str(selector.member)
        return json.dumps(entry)
    word = WORDS.get(selector.statistic) if selector.statistic is not None else None
    step = f"{begin}-{end} {named} {word} fcst" if word else f"{end} {named} fcst" if end else "anl"
    member = "" if selector.member is None else f"ENS=+{selector.member}"
    return f"{number}:{start}:d={init:%Y%m%d%H}:{line.parameter}:{line.level}:{step}:{member}"
