"""What a line of an inventory says about a GRIB message. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

__all__ = [
    "ByteRange",
    "InventoryError",
    "InventoryMalformed",
    "InventoryMismatch",
    "Message",
    "Statistic",
]


class InventoryError(ValueError):
    """An inventory is of no use for its file: an error of that file, not of the run."""


class InventoryMalformed(InventoryError):  # noqa: N818
    """The text is not an inventory, or is cut off."""


class InventoryMismatch(InventoryError):  # noqa: N818
    """The inventory contradicts the GRIB file that it describes."""


class Statistic(StrEnum):
    """What a value says about its period; GRIB2 code table 4.10, and the instant.

    ``OTHER`` stands for an entry of the table that has no name here.
    """

    INSTANT = "instant"
    AVERAGE = "average"
    ACCUMULATION = "accumulation"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    DIFFERENCE = "difference"
    ROOT_MEAN_SQUARE = "root mean square"
    STANDARD_DEVIATION = "standard deviation"
    OTHER = "other"


class ByteRange(NamedTuple):
    """Bytes of a file: `start` is included, `stop` is not; None means the end of the file."""

    start: int
    stop: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One line of an inventory.

    Attributes
    ----------
    number
        Counted from 1: as NOAA prints it; for ECMWF the line.
    submessage
        The field's place, counted from 1, inside a message that packs several (``7.2`` in an
        ``.idx``); None for a message with one field. Submessages share their byte range.
    start, stop
        Byte range of the whole message in the file; `stop` is not included. None: the last message
        of an ``.idx``, which gives no length, until `with_file_size`.
    reference_time
        Analysis or start of the forecast, in UTC, naive. None where the line has no date.
    parameter
        Short name, ``TMP`` or ``2t``. wgrib2 prints parameters that it does not know as
        ``var discipline=0 center=7 …``, see `parameter_code`; and a name can change when NOAA
        updates its tables (``CLWMR`` became ``CLMR``).
    level
        NOAA: as printed, ``2 m above ground``. ECMWF: levelist, if any, and levtype: ``500 pl``,
        ``sfc``.
    step
        As printed, ``0-6 hour acc fcst`` or ``6``.
    start_step, end_step
        Period that the value describes, from `reference_time`; equal for an instant. None where
        `step` has no fixed length (months) or is a nested average.
    statistic
        None where the line does not say it: ECMWF's never do (the step of an accumulation from
        the start reads ``6``, so there `start_step` equals `end_step`), and wgrib2's do not for
        NCEP's deprecated TMIN and TMAX.
    member
        Ensemble member, signed as in ``ENS=-3``; 0 for a control forecast; None for one that is no
        single member.
    qualifiers
        Whatever else the line says, in a fixed order: ``ENS=low-res ctl``, ``ens mean``,
        ``prob >0.254``; for ECMWF ``type=fc``, ``stream=oper`` and the like, sorted.
    raw
        The line itself.
    """

    number: int
    submessage: int | None
    start: int
    stop: int | None
    reference_time: datetime | None
    parameter: str
    level: str
    step: str
    start_step: timedelta | None
    end_step: timedelta | None
    statistic: Statistic | None
    member: int | None
    qualifiers: tuple[str, ...]
    raw: str

    @property
    def byte_range(self) -> ByteRange:
        """`start` and `stop` as one value."""
        return ByteRange(self.start, self.stop)

    @property
    def level_type(self) -> str:
        """`level` without its leading number or range: ``mb``, ``m above ground``, ``pl``."""
        return _LEVEL_NUMBER.sub("", self.level)

    @property
    def parameter_code(self) -> tuple[int, int, int] | None:
        """Discipline, category and number of a parameter that wgrib2 has no name for, else None."""
        found = _UNKNOWN_PARAMETER.fullmatch(self.parameter)
        if found is None:
            return None
        return int(found[1]), int(found[2]), int(found[3])

    @property
    def description(self) -> tuple[object, ...]:
        """What the message is, without where it lies: equal for duplicate lines."""
        return (self.reference_time, self.parameter, self.level, self.step, self.qualifiers)


_LEVEL_NUMBER = re.compile(r"^[-+]?[\d.]+(?:-[-+]?[\d.]+)?\s+")
_UNKNOWN_PARAMETER = re.compile(
    r"var discipline=(\d+) (?:\w+=\d+ )*?parmcat=(\d+) parm=(\d+)", re.ASCII
)
