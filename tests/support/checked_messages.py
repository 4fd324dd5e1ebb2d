"""Whether what inventories lead to are the messages that they name."""

from __future__ import annotations

from gridmill.sources.grib.inventory.formats import parse_inventory
from gridmill.sources.grib.inventory.ranges import check_message, with_file_size


def check_messages(text, data):
    """Give the messages that an inventory names, each held against its bytes."""
    messages = with_file_size(parse_inventory(text), len(data))
    for message in messages:
        check_message(message, data[message.start : message.stop])
    return messages
