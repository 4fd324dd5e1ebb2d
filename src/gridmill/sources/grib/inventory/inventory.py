"""An inventory as a whole: read as far as it is asked, and searched by parameter and member. Pure.

ECMWF's for an ensemble has 8,000 lines, 2.1 MB, of which a variable needs one in a hundred: to read
every line as JSON takes 0.17 s, and to look at each for each member of each variable takes longer.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from gridmill.sources.grib.inventory.ecmwf import parse_index, parse_index_line
from gridmill.sources.grib.inventory.lines import read_line
from gridmill.sources.grib.inventory.message import InventoryMalformed, Message
from gridmill.sources.grib.inventory.noaa import parse_idx
from gridmill.sources.grib.inventory.selection import MessageNotFound, Selector, select

__all__ = ["Inventory", "read_inventory"]


class Inventory:
    """The messages of a file, by its inventory; equal where the texts are.

    Parameters
    ----------
    text
        The inventory.
    places
        By parameter, the places of its messages.
    read
        Gives the message at a place.

    Notes
    -----
    Thread-safe: two threads may read the same line, and get equal messages.
    """

    def __init__(
        self, text: str, places: dict[str, list[int]], read: Callable[[int], Message]
    ) -> None:
        self._text = text
        self._places = places
        self._read = read
        self._known: dict[str, dict[int | None, list[Message]]] = {}

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, Inventory) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._text)

    def __iter__(self) -> Iterator[Message]:
        return map(self._read, sorted(place for some in self._places.values() for place in some))

    def select(self, selector: Selector) -> Message:
        """Find the one message that `selector` names, see `selection.select`.

        Raises
        ------
        MessageNotFound, AmbiguousMessage
            As `selection.select`.
        InventoryMalformed
            A line that had to be read cannot be.
        """
        asked = selector.parameter
        names = (
            list(self._places) if asked is None else [asked] if isinstance(asked, str) else asked
        )
        found = [one for name in names for one in self._of(name, selector.member)]
        found.sort(key=lambda message: message.number)
        try:
            return select(found, selector)
        except MessageNotFound:
            if not found:
                # The error names the nearest of all, of which members and steps are alike.
                select(list({(m.parameter, m.level): m for m in self}.values()), selector)
            raise

    def _of(self, parameter: str, member: int | None) -> list[Message]:
        if parameter not in self._known:
            by_member: defaultdict[int | None, list[Message]] = defaultdict(list)
            for place in self._places.get(parameter, ()):
                message = self._read(place)
                by_member[message.member].append(message)
            self._known[parameter] = dict(by_member)
        known = self._known[parameter]
        if member is None:
            return [message for some in known.values() for message in some]
        return known.get(member, [])


def read_inventory(content: bytes) -> Inventory:
    """Read an inventory, ECMWF's if its first character is ``{``, else NOAA's.

    Raises
    ------
    InventoryMalformed
        It is not one, or is cut off. Of ECMWF's, a line is read when its parameter is first asked
        for, and raises then.

    Examples
    --------
    >>> inventory = read_inventory(b'{"param": "t", "levtype": "sfc", "_offset": 10, "_length": 5}')
    >>> inventory.select(Selector(parameter="t")).byte_range
    ByteRange(start=10, stop=15)
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InventoryMalformed(f"the inventory is no text: {error}") from error
    if not text.lstrip().startswith("{"):
        return _of_messages(text, parse_idx(text))
    lines = text.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    parameters = _PARAMETER.findall(text)
    # Where a line is blank, cut off, or says it twice, each is read at once, and says what it is.
    is_regular = all(line[:1] == "{" and line.rstrip()[-1:] == "}" for line in lines)
    if not is_regular or len(parameters) != len(lines) or _PARAMETER.search(lines[-1]) is None:
        return _of_messages(text, parse_index(text))
    return Inventory(text, _grouped(parameters), _reader(lines))


_PARAMETER = re.compile(r'"(?:param|variable)"\s*:\s*"([^"\\]*)"')


def _of_messages(text: str, messages: Sequence[Message]) -> Inventory:
    return Inventory(text, _grouped(m.parameter for m in messages), messages.__getitem__)


def _grouped(parameters: Iterable[str]) -> dict[str, list[int]]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for place, parameter in enumerate(parameters):
        places[parameter].append(place)
    return dict(places)


def _reader(lines: Sequence[str]) -> Callable[[int], Message]:
    known: dict[int, Message] = {}

    def read(place: int) -> Message:
        if place not in known:
            known[place] = read_line(parse_index_line, place + 1, lines[place])
        return known[place]

    return read
