"""The append dim as one bar: what of it is done, what is to do, how far readers see. Pure.

Places along it are shares of the width, and text keeps its size: the same drawing is legible on a
phone and on a wide page.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from gridmill.display.svg import MOST_BARS
from gridmill.model.wording import count_of

__all__ = ["Stretch", "stretches_chart"]

# Percent of the width: the gap between neighbours, where it fits, and what can still be seen.
GAP = 0.15
LEAST = 0.1
FEW = 170

# A region that is done, has something to do, or has not started.
STATES: Mapping[str, tuple[str, float]] = {
    "done": ("#009e73", 0.8),
    "partly done": ("#e69f00", 0.45),
    "to do": ("#e69f00", 1.0),
}

BAR = Markup(
    '<rect x="{:.3f}%" y="16" width="{:.3f}%" height="16" rx="1.5" fill="{}" '
    'fill-opacity="{:g}"><title>{}</title></rect>\n'
)


@dataclass(frozen=True)
class Stretch:
    """Positions of the append dim, half-open, that are in one state."""

    start: int
    stop: int
    state: str
    title: str


def stretches_chart(stretches: Sequence[Stretch], length: int, published: int) -> Markup:
    """Draw the append dim, what of it is in which state, and how far readers see.

    Parameters
    ----------
    stretches
        Each in one of the states ``done``, ``partly done`` and ``to do``.
    length
        Positions in all; where there is no stretch, nothing is known.
    published
        How many of them readers see.
    """
    gap = GAP if len(stretches) < FEW else 0.0
    parts = [BAR.format(0, 100, "currentColor", 0.1, "not checked")]
    for stretch in _joined(stretches):
        start, stop = (100 * at / max(length, 1) for at in (stretch.start, stretch.stop))
        colour, opacity = STATES[stretch.state]
        width = max(stop - start - gap, LEAST)
        parts.append(BAR.format(start, width, colour, opacity, stretch.title))
    if published:
        parts.append(_readers_see(100 * published / max(length, 1)))
    parts.append(_legend([s for s in STATES if any(s == x.state for x in stretches)]))
    whole = Markup(
        '<svg class="gm-fluid" width="100%" height="56" role="img" font-size="11.5" '
        'aria-label="The append dim: what is done and to do">\n{}</svg>\n'
    )
    return whole.format(Markup().join(parts))


def _joined(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Where there are more stretches than a page shows well, draw neighbours as one."""
    if len(stretches) <= MOST_BARS:
        return list(stretches)
    joined: list[Stretch] = []
    for state, group in groupby(stretches, key=lambda stretch: stretch.state):
        found = list(group)
        title = f"{count_of(len(found), 'region')} {state}"
        joined.append(Stretch(found[0].start, found[-1].stop, state, title))
    return joined


def _readers_see(share: float) -> Markup:
    anchor, shift = ("end", -4) if share > 50 else ("start", 4)
    return Markup(
        '<line x1="{0:.3f}%" y1="10" x2="{0:.3f}%" y2="38" stroke="currentColor" '
        'stroke-opacity=".9"/><text x="{0:.3f}%" dx="{1}" y="10" text-anchor="{2}" '
        'opacity=".75">published up to here</text>'
    ).format(min(share, 99.9), shift, anchor)


def _legend(states: Iterable[str]) -> Markup:
    entry = Markup(
        '<rect x="{:.1f}" y="42" width="10" height="10" rx="2" fill="{}" fill-opacity="{:g}"/>'
        '<text x="{:.1f}" y="51" opacity=".75">{}</text>'
    )
    left, parts = 0.0, []
    for state in states:
        colour, opacity = STATES[state]
        parts.append(entry.format(left, colour, opacity, left + 15, state))
        left += 36 + 6.5 * len(state)
    return Markup().join(parts)
