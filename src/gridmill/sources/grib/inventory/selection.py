"""The choice of messages from an inventory. Pure."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import SequenceMatcher

from gridmill.sources.grib.inventory.message import Message, Statistic

__all__ = ["AmbiguousMessage", "MessageNotFound", "Selector", "select"]


class MessageNotFound(ValueError):  # noqa: N818
    """No message of an inventory answers a selector."""


class AmbiguousMessage(ValueError):  # noqa: N818
    """Several messages of an inventory answer a selector that must name one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Selector:
    """Names one message of an inventory. What is None, or empty, is not asked.

    Attributes
    ----------
    parameter, level
        Compared as text with those of `Message`. A tuple accepts any of its entries: names change
        when a provider updates its tables.
    start_step, end_step, statistic, member
        Compared with those of `Message`; a message that does not state the value does not match.
    qualifiers
        Each must be among the message's.
    without_qualifiers
        None of the message's may begin with one of these: ``("ens std dev", "prob")`` leaves what
        is neither, and ``("",)`` what has no qualifier at all, like NBM's deterministic fields
        beside their deviations, percentiles and probabilities.
    occurrence
        Which of several lines with the same description: 0 is the first, -1 the last. GFS prints
        ``APCP:surface:0-6 hour acc fcst`` twice at f006, the 6-hour bucket and the run total. It
        never chooses between lines that differ.

    Examples
    --------
    >>> from gridmill.sources.grib.inventory.noaa import parse_idx
    >>> asked = Selector(parameter="APCP", level="surface", end_step=timedelta(hours=6))
    >>> [message] = parse_idx("1:0:d=2025080100:APCP:surface:0-6 hour acc fcst:")
    >>> asked.matches(message)
    True
    """

    parameter: str | tuple[str, ...] | None = None
    level: str | tuple[str, ...] | None = None
    start_step: timedelta | None = None
    end_step: timedelta | None = None
    statistic: Statistic | None = None
    member: int | None = None
    qualifiers: tuple[str, ...] = ()
    without_qualifiers: tuple[str, ...] = ()
    occurrence: int | None = None

    def __post_init__(self) -> None:
        """Refuse a bare string where a tuple of strings is meant.

        Raises
        ------
        TypeError
            `qualifiers` or `without_qualifiers` is a string.
        """
        for name in ("qualifiers", "without_qualifiers"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name}={getattr(self, name)!r}: give a tuple of strings")

    def matches(self, message: Message) -> bool:
        """Whether `message` is what is asked, `occurrence` aside."""
        return _accepts(self.parameter, message.parameter) and not self.differences(message)

    def differences(self, message: Message) -> tuple[str, ...]:
        """Names of the attributes in which `message` is not what is asked."""
        differing = [
            name
            for name in ("parameter", "level")
            if not _accepts(getattr(self, name), getattr(message, name))
        ]
        for name in ("start_step", "end_step", "statistic", "member"):
            asked = getattr(self, name)
            if asked is not None and asked != getattr(message, name):
                differing.append(name)
        if not set(self.qualifiers) <= set(message.qualifiers):
            differing.append("qualifiers")
        if any(found.startswith(self.without_qualifiers) for found in message.qualifiers):
            differing.append("without_qualifiers")
        return tuple(differing)

    def __str__(self) -> str:
        asked = {
            "parameter": self.parameter,
            "level": self.level,
            "start_step": self.start_step,
            "end_step": self.end_step,
            "statistic": self.statistic,
            "member": self.member,
            "qualifiers": self.qualifiers or None,
            "without_qualifiers": self.without_qualifiers or None,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return ", ".join(
            f"{name}={value!r}" if isinstance(value, tuple) else f"{name}={str(value)!r}"
            for name, value in given.items()
        )


def _accepts(asked: str | tuple[str, ...] | None, has: str) -> bool:
    return asked is None or (asked == has if isinstance(asked, str) else has in asked)


def select(messages: Sequence[Message], selector: Selector) -> Message:
    """Find the one message that `selector` names.

    Raises
    ------
    MessageNotFound
        None matches; the error names the nearest.
    AmbiguousMessage
        Several match: they differ in something that `selector` does not ask; or they are the same
        and `selector` has no `occurrence`; the error lists them.
    """
    found = [message for message in messages if selector.matches(message)]
    if not found:
        raise MessageNotFound(_not_found_text(messages, selector))
    if len(found) == 1:
        return found[0]
    shown = "; ".join(message.raw for message in found[:5])
    if len({message.description for message in found}) > 1:
        raise AmbiguousMessage(
            f"{len(found)} messages match {selector}: {shown}: ask for what tells them apart"
        )
    if selector.occurrence is None:
        raise AmbiguousMessage(
            f"{len(found)} messages with the same description match {selector}: {shown}: "
            "give `occurrence`, 0 for the first or -1 for the last"
        )
    try:
        return found[selector.occurrence]
    except IndexError:
        raise MessageNotFound(
            f"occurrence={selector.occurrence} of {selector} was asked; there are {len(found)}: "
            f"{shown}"
        ) from None


def _not_found_text(messages: Sequence[Message], selector: Selector) -> str:
    def distance(message: Message) -> tuple[int, bool, float]:
        differing = selector.differences(message)
        return len(differing), "parameter" in differing, -_likeness(selector, message)

    nearest = heapq.nsmallest(3, messages, key=distance)
    shown = "; ".join(
        f"{message.raw!r} (differs in {', '.join(selector.differences(message))})"
        for message in nearest
    )
    return f"none of {len(messages)} messages matches {selector}; nearest: {shown or 'none'}"


def _likeness(selector: Selector, message: Message) -> float:
    """How much alike parameter and level are, as texts: 2 is the same."""
    score = 0.0
    for asked, has in ((selector.parameter, message.parameter), (selector.level, message.level)):
        texts = (asked or "",) if isinstance(asked, str | None) else asked
        score += max((SequenceMatcher(None, text, has).ratio() for text in texts), default=0.0)
    return score
