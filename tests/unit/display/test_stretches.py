"""The bar of the append dim is as wide as what is around it, and each stretch lies where it is."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.display.stretches import STATES, Stretch, stretches_chart
from gridmill.display.svg import MOST_BARS

Look = tuple[str | None, str | None]


def drawn(stretches: list[Stretch], length: int, published: int = 0) -> ElementTree.Element:
    return ElementTree.fromstring(str(stretches_chart(stretches, length, published)))


def bars(chart: ElementTree.Element) -> list[tuple[float, float, str]]:
    """Return by bar its start and width in percent, and its title; the ground is the first."""
    return [
        (float(r.attrib["x"][:-1]), float(r.attrib["width"][:-1]), r.findtext("title", ""))
        for r in chart.findall("rect")
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
    published = data.draw(st.integers(0, length))
    chart = drawn(stretches, length, published)
    assert "viewBox" not in chart.attrib
    ground, *shown = bars(chart)
    assert ground == (0, 100, "not checked")
    assert [title for *_, title in shown] == [stretch.title for stretch in stretches]
    for stretch, (x, width, _) in zip(stretches, shown, strict=True):
        share = 100 * (stretch.stop - stretch.start) / length
        assert x == pytest.approx(100 * stretch.start / length, abs=1e-3)
        assert share - 0.15 - 1e-3 <= width <= max(share, 0.1) + 1e-3
    marks = [float(line.attrib["x1"][:-1]) for line in chart.findall("line")]
    seen = min(100 * published / length, 99.9)
    assert marks == ([pytest.approx(seen, abs=1e-3)] if published else [])


def test_each_state_has_a_look_of_its_own_that_is_named_below():
    """What is done by its colour, too; of a state that there is not, nothing is said."""
    stretches = [Stretch(at, at + 1, state, state) for at, state in enumerate(STATES)]
    for some in (stretches, stretches[1:2]):
        chart = drawn(some, 3)
        looks: list[Look] = [(r.get("fill"), r.get("fill-opacity")) for r in chart.findall("rect")]
        names = [text.text for text in chart.findall("text")]
        assert names == [stretch.state for stretch in some]
        assert looks[1 : 1 + len(some)] == looks[1 + len(some) :]
        assert len(set(looks)) == len(some) + 1
    done, *others = (colour for colour, _ in STATES.values())
    assert done not in others


def test_of_very_many_regions_neighbours_in_one_state_are_one_bar():
    """It reaches from the first to the last of them, and says how many they are."""
    states = [*["done"] * MOST_BARS, *["to do"] * 3]
    stretches = [Stretch(at, at + 1, state, "one") for at, state in enumerate(states)]
    (_, *shown) = bars(drawn(stretches, len(states)))
    assert [title for *_, title in shown] == ["3,000 regions done", "3 regions to do"]
    share = 100 * MOST_BARS / len(states)
    assert shown[0][:2] == pytest.approx((0, share), abs=0.2)
    assert shown[1][:2] == pytest.approx((share, 100 - share), abs=0.01)


def test_what_readers_see_is_said_where_there_is_room():
    """Left of the mark in the second half of the axis, right of it in the first."""
    early, late = (str(stretches_chart([], 10, published)) for published in (2, 9))
    assert 'text-anchor="start"' in early
    assert 'text-anchor="end"' in late
    assert "readers see" not in str(stretches_chart([], 10, 0))
