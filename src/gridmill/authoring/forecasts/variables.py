"""Variables of GRIB forecasts: what each is called in inventories, and what its messages say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, NamedTuple

from gridmill.model.variables import DataVar
from gridmill.sources.grib.identity import Surface
from gridmill.sources.grib.inventory.message import Statistic

__all__ = ["Code", "GribVar", "Level", "Window"]

# GRIB2 discipline, category and number.
Code = tuple[int, int, int]


class Level(NamedTuple):
    """A level: what the inventory calls it, and what the message must say it is.

    None, and a value of None, are not checked. `below` is the lower surface of a layer.
    """

    name: str | tuple[str, ...]
    surface: Surface | None = None
    below: Surface | None = None


@dataclass(frozen=True, kw_only=True)
class Window:
    """The period before each lead that a provider's values describe, and what they say of it.

    Parameters
    ----------
    kind
        ``"accumulation"`` and ``"average"`` become the mean of each step, see
        `transforms.deaccumulate_inplace`; an ``"extreme"`` stays as it is.
    reset_every
        Periods restart at the multiples of this lead; None: all begin with the forecast.
    non_negative_within
        For a quantity that cannot be negative: by how much the mean of a step may be below 0, in
        its own units, beside what the steps explain in which the messages are packed. 0 where only
        those do.
    as_given
        Whether values stay as they are: they are packed too coarsely to be undone.
    """

    kind: Literal["accumulation", "average", "extreme"]
    reset_every: timedelta | None = None
    non_negative_within: float | None = None
    as_given: bool = False

    @property
    def undone(self) -> Literal["accumulation", "average"] | None:
        """What values are that become the mean of each step; None where they stay as they are."""
        return None if self.kind == "extreme" or self.as_given else self.kind

    def start_of(self, lead: timedelta) -> timedelta:
        """Return the start of the period that ends at a lead.

        Examples
        --------
        >>> window = Window(kind="accumulation", reset_every=timedelta(hours=6))
        >>> [window.start_of(timedelta(hours=h)) // timedelta(hours=1) for h in (1, 6, 7, 12)]
        [0, 0, 6, 6]
        """
        if self.reset_every is None:
            return timedelta(0)
        return max(-(-lead // self.reset_every) - 1, 0) * self.reset_every


@dataclass(frozen=True, kw_only=True)
class GribVar(DataVar):
    """A data variable that one message of each file holds, or one for each of its levels.

    Parameters
    ----------
    parameter
        What the inventory calls it; a tuple accepts any of its entries.
    levels
        One, or those of the dim that stands before the grid's, in its order. A file has all of
        them, or the variable is unreadable there.
    statistic
        What the values say about their period, as the inventory and the message state it.
    codes
        GRIB2 discipline, category and number: what the message itself says it is. Any of these:
        a centre's own figures may be replaced by the WMO's. Empty: not checked.
    short_name
        ecCodes' name of what the message says it is, in place of `codes`; None is not checked.
    factors
        By the units that ecCodes names for the message, what its values are multiplied with; a
        message in others is unreadable. Empty: values stay as they are.
    without_qualifiers
        What its line of the inventory must not say besides, see `Selector.without_qualifiers`:
        ``("",)`` for a forecast itself among deviations and probabilities of the same name.
    window
        The period that its values describe; None for an instant. At lead 0 only instants have a
        value.
    """

    parameter: str | tuple[str, ...]
    levels: tuple[Level, ...]
    statistic: Statistic | None = Statistic.INSTANT
    codes: tuple[Code, ...] = ()
    short_name: str | None = None
    factors: Mapping[str, float] = field(default_factory=dict)
    without_qualifiers: tuple[str, ...] = ()
    window: Window | None = None

    @property
    def parameters(self) -> str | tuple[str, ...]:
        """What inventories may call it: `parameter`, and `aliases`."""
        if not self.aliases:
            return self.parameter
        own = (self.parameter,) if isinstance(self.parameter, str) else self.parameter
        return (*own, *self.aliases)
