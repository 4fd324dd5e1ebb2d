"""The bar of the append dim is as wide as what is around it, and each stretch lies where it is."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.display.stretches import STATES, Stretch, stretches_chart


def bars(drawn: str) -> list[tuple[float, float, str]]:
    """Return by bar its start and width in percent, and its title; the ground is the first."""
    rects = ElementTree.fromstring(drawn).findall("rect")
    return [
        (float(r.attrib["x"][:-1]), float(r.attrib["width"][:-1]), r.findtext("title", ""))
        for r in rects
        if r.attrib["width"].endswith("%")
    ]


@given(
    st.lists(st.tuples(st.integers(1, 50), st.sampled_from(list(STATES))), min_size=1), st.data()
)
def test_a_stretch_lies_at_its_share_of_the_width(sizes, data):
    """Whatever that width is: no length is in pixels, so that nothing scrolls on a phone."""
    stretches, start = [], 0
    for number, (size, state) in enumerate(sizes):
        stretches.append(Stretch(start, start + size, state, f"region {number}"))
        start += size
    length = start + data.draw(st.integers(0, 20))
    drawn = str(stretches_chart(stretches, length, data.draw(st.integers(0, length))))
    assert "viewBox" not in drawn
    ground, *shown = bars(drawn)
    assert ground == (0, 100, "not looked at")
    assert [title for *_, title in shown] == [stretch.title for stretch in stretches]
    for stretch, (x, width, _) in zip(stretches, shown, strict=True):
        assert x == pytest.approx(100 * stretch.start / length, abs=1e-3)
        assert width <= max(100 * (stretch.stop - stretch.start) / length, 0.1) + 1e-3


def test_what_readers_see_is_said_where_there_is_room():
    """Left of the mark in the second half of the axis, right of it in the first."""
    early, late = (str(stretches_chart([], 10, published)) for published in (2, 9))
    assert 'text-anchor="start"' in early
    assert 'text-anchor="end"' in late
    assert "readers see" not in str(stretches_chart([], 10, 0))
