"""Inventories of GRIB files, which message lies at which bytes, from any writer. Pure.

See Also
--------
gridmill.sources.grib.inventory.selection : chooses messages.
gridmill.sources.grib.inventory.ranges : their bytes.
gridmill.sources.grib.messages : decodes them.
"""

from gridmill.sources.grib.inventory.ecmwf import parse_index
from gridmill.sources.grib.inventory.message import Message
from gridmill.sources.grib.inventory.noaa import parse_idx

__all__ = ["parse_inventory"]


def parse_inventory(text: str) -> tuple[Message, ...]:
    """Read an inventory, ECMWF's if its first character is ``{``, else NOAA's.

    The name of a file does not tell: ECMWF's MARS inventories also come as ``.idx``.

    Raises
    ------
    InventoryMalformed
        As `parse_idx` and `parse_index`.
    """
    return parse_index(text) if text.lstrip().startswith("{") else parse_idx(text)
