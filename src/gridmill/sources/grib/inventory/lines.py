"""What the formats of inventories share: a line a message. Pure."""

from collections.abc import Callable

from gridmill.sources.grib.inventory.message import InventoryMalformed, Message

__all__ = ["not_negative", "parse_lines", "read_line"]


def parse_lines(parse: Callable[[int, str], Message], text: str) -> list[Message]:
    """Read every line that is not blank, by its number, counted from 1, and its text.

    Raises
    ------
    InventoryMalformed
        There is none, or one cannot be read.
    """
    messages = [
        read_line(parse, number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    if not messages:
        raise InventoryMalformed("the inventory has no line")
    return messages


def not_negative(value: int, name: str) -> int:
    """Return a value of a line; ValueError if it is negative."""
    if value < 0:
        raise ValueError(f"{name} {value} is negative")
    return value


def read_line(parse: Callable[[int, str], Message], number: int, line: str) -> Message:
    """Read one line; InventoryMalformed says which it is and why it cannot be read."""
    try:
        return parse(number, line.strip())
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InventoryMalformed(
            f"line {number} of the inventory cannot be read: {line[:200]!r}: {reason}"
        ) from error
