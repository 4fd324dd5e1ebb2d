"""A region is judged by its source files as the design says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.region import Region
from gridmill.model.settled import RegionState, SourceFileStatus, SourceFill, region_state

LENGTH = 6
OK = SourceFileStatus.SUCCEEDED
STATUSES = st.sampled_from([s for s in SourceFileStatus if s is not SourceFileStatus.PROCESSING])


@st.composite
def fills(draw):
    """Draw what one source file does, within a region or reaching into its margins."""
    start = draw(st.integers(-3, LENGTH + 2))
    status = draw(STATUSES)
    settled = status is OK or draw(st.booleans())
    stop, essential = start + draw(st.integers(0, 4)), draw(st.booleans())
    return SourceFill(start, stop, status, settled, is_essential=essential)


def naive_state(region, variables, publish_when):
    """Judge position by position, straight from the words of the design."""

    def is_settled(position):
        there = [f for fills in variables for f in fills if f.start <= position < f.stop]
        files = [f for f in there if f.is_essential]
        if publish_when == "complete":
            return all(f.settled or f.status is OK for f in files)
        if any(f.status.is_failure and not f.settled for f in files):
            return False
        return any(f.status is OK for f in files) or all(f.settled for f in files)

    def has_data(position):
        return any(
            f.status is OK and f.start <= position < f.stop for fills in variables for f in fills
        )

    length = region.stop - region.start
    settled = next((i for i in range(length) if not is_settled(i)), length)
    data = max((i + 1 for i in range(settled) if has_data(i)), default=0)
    return RegionState(region.start, region.stop, settled, data)


@given(st.lists(st.lists(fills(), max_size=6), max_size=3), st.sampled_from(["complete", "any"]))
def test_a_region_is_judged_as_the_design_says(variables, publish_when):
    """Settled and with data, position by position, for whatever its source files did."""
    region = Region(12, 12 + LENGTH)
    assert region_state(region, variables, publish_when) == naive_state(
        region, variables, publish_when
    )
