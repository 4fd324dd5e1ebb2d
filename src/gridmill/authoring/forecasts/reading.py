"""Messages in a local file: where each lies, and whether it is what was asked for.

Beside the file lies a small JSON file that says where each message is, or why it is not there.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gridmill.authoring.forecasts.variables import GribVar, Level
from gridmill.authoring.grids import HorizontalGrid
from gridmill.authoring.transforms.resolution import tell_resolution
from gridmill.authoring.transforms.scaling import scale_inplace
from gridmill.sources.grib.framing import GribRefused, iter_messages, message_nbytes
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.message import InventoryMismatch, Message
from gridmill.sources.grib.inventory.ranges import check_message
from gridmill.sources.grib.inventory.selection import Selector
from gridmill.sources.grib.layout import packing_step
from gridmill.sources.grib.messages import OpenMessage, open_message

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Asked",
    "Found",
    "Place",
    "contradictions",
    "ends_in",
    "is_as_promised",
    "is_whole",
    "read_field",
    "write_listing",
]


class Asked(NamedTuple):
    """One level of a variable, and which message holds it."""

    var: GribVar
    level: Level
    selector: Selector

    @property
    def key(self) -> str:
        """What its message is called among those of a file."""
        return f"{self.var.name} at {self.level.name}"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a message lies in a local file.

    `stop` is not included; None: where the message itself says that it ends, or for the last line
    of an inventory (`line`), at the file's end. `promised_stop` is its stop in the provider's file.
    """

    start: int
    stop: int | None = None
    submessage: int | None = None
    line: str | None = None
    promised_stop: int | None = None

    @classmethod
    def promised(cls, message: Message, start: int) -> Place:
        """Return the place of a message whose line of the inventory is known."""
        stop = None if message.stop is None else start + message.stop - message.start
        return cls(
            start=start,
            stop=stop,
            submessage=message.submessage,
            line=message.raw,
            promised_stop=message.stop,
        )

    def read(self, path: Path) -> bytes:
        """Read the message, checked against its line of the inventory."""
        with path.open("rb") as file:
            file.seek(self.start)
            if self.line is None:
                head = file.read(16)
                return head + file.read(message_nbytes(head) - len(head))
            data = file.read(-1 if self.stop is None else self.stop - self.start)
        (message,) = parse_inventory(self.line)
        check_message(replace(message, stop=self.promised_stop), data)
        return data


# By key of what was asked: where its message is, or why it is not there.
Found = dict[str, Place | str]


def write_listing(path: Path, found: Mapping[str, Place | str]) -> None:
    """Write beside a file where its messages are."""
    listed = {key: one if isinstance(one, str) else asdict(one) for key, one in found.items()}
    _listing(path).write_text(json.dumps(listed))


def read_field(
    path: Path,
    asked: Asked,
    init: pd.Timestamp,
    grid: HorizontalGrid | None,
    out: np.ndarray[Any, Any] | None = None,
) -> np.ndarray[Any, Any]:
    """Decode one message into `out`, by default a new array.

    Raises
    ------
    ValueError
        The message is not there, is damaged, is another than was asked for, or lies on another
        grid than `grid`.
    """
    with open_message(_read_message(path, asked.key)) as opened:
        if wrong := contradictions(opened, asked, init):
            raise InventoryMismatch(
                f"the message at the place of {asked.selector} is another one: {'; '.join(wrong)}"
            )
        if grid is not None and (wrong := grid.differences(opened.grid)):
            raise ValueError("; ".join(wrong))
        values = np.empty(opened.shape, np.float32) if out is None else out
        if values.shape != opened.shape:
            raise ValueError(
                f"the message of {asked.var.name} has shape {opened.shape}, but out_loc() selects "
                f"{values.shape}"
            )
        opened.decode_into(values)
        factor = _factor(asked.var, opened.units) if asked.var.factors else 1.0
        if asked.var.factors:
            scale_inplace(values, factor=factor)
        if asked.var.window is not None:
            tell_resolution(_resolution(values, factor * packing_step(opened.handle)))
    return values


def is_whole(path: Path, place: Place) -> bool:
    """Whether one whole message lies at a place, by its start, length and end alone."""
    try:
        place.read(path)
    except ValueError:
        return False
    return True


def ends_in(path: Path, place: Place) -> bool:
    """Whether a file ends inside the message at a place, the last of its inventory."""
    with path.open("rb") as file:
        file.seek(place.start)
        head = file.read(16)
        there = file.seek(0, io.SEEK_END) - place.start
    if place.stop is not None or not b"GRIB".startswith(head[:4]):
        return False
    return len(head) < 16 or there < message_nbytes(head)


def is_as_promised(path: Path, place: Place, asked: Asked, init: pd.Timestamp) -> bool:
    """Whether the message at a place is whole and is what was asked for; decodes no value."""
    try:
        with open_message(_read_at(path, place)) as opened:
            return not contradictions(opened, asked, init)
    except GribRefused:
        return True  # it is what it is, and another inventory would not change it
    except ValueError:
        return False


def contradictions(message: OpenMessage, asked: Asked, init: pd.Timestamp) -> list[str]:
    """Say in what a message is not what is asked; what nobody asks is not read."""
    var, level, selector = asked
    identity = message.identity
    code = (identity.discipline, identity.category, identity.number)
    pairs = [
        ("parameter", var.codes and (code if code in var.codes else var.codes), code),
        ("short name", var.short_name, var.short_name and message.short_name),
        ("reference time", init.to_pydatetime(), identity.reference_time),
        *(
            (name.replace("_", " "), getattr(selector, name), getattr(identity, name))
            for name in ("start_step", "end_step", "statistic", "member")
        ),
    ]
    wrong = [f"{n} {has}, not {want}" for n, want, has in pairs if want not in (None, (), has)]
    surfaces = (
        (level.surface, identity.first_surface),
        (level.below, identity.second_surface),
    )
    wrong += [f"surface {has}, not {want}" for want, has in surfaces if not _same(want, has)]
    if "" in selector.without_qualifiers and not identity.is_plain:
        wrong.append("a member, derived, a percentile or a probability, not a forecast itself")
    return wrong


def _resolution(values: np.ndarray[Any, Any], step: float) -> float:
    """Return by how much a value may be off: a whole step.

    It is rounded to a step by the model, in some products (GEFS at 0.25°) once more after it was
    interpolated, and at last to the precision of its dtype.
    """
    largest = max(np.fmax.reduce(values, axis=None), -np.fmin.reduce(values, axis=None))
    return step if np.isnan(largest) else step + float(np.spacing(largest))


def _factor(var: GribVar, units: str) -> float:
    if units not in var.factors:
        known = ", ".join(var.factors)
        raise ValueError(f"the message's values of {var.name} are in {units!r}, not in {known}")
    return var.factors[units]


def _same(want: Surface | None, has: Surface | None) -> bool:
    if want is None:
        return True
    if has is None or has.type != want.type:
        return False
    if want.value is None:
        return True
    return has.value is not None and math.isclose(has.value, want.value, abs_tol=1e-9)


def _listing(path: Path) -> Path:
    return path.with_name(f"{path.name}.messages.json")


def _read_message(path: Path, key: str) -> bytes:
    """Read one field."""
    place = json.loads(_listing(path).read_bytes())[key]
    if isinstance(place, str):
        raise ValueError(place)
    return _read_at(path, Place(**place))


def _read_at(path: Path, found: Place) -> bytes:
    data = found.read(path)
    if found.submessage is None:
        return data
    fields = {field.submessage: field.data for field in iter_messages(data)}
    if found.submessage not in fields:
        raise InventoryMismatch(f"the message has no field {found.submessage}: {found.line!r}")
    return fields[found.submessage]
