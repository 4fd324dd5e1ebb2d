"""The extent that records allow is a correct prefix, and what ends it is said as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import RegionState, SourceFileStatus
from gridmill.publishing.extent import publishable_extent, say_unsettled, why_unsettled

OK = SourceFileStatus.SUCCEEDED
LATE = SourceFileStatus.NOT_YET_AVAILABLE
LOST = SourceFileStatus.DOWNLOAD_FAILED

# -- how far ----------------------------------------------------------------------------------


@st.composite
def archives(draw):
    """Draw the states of all regions of an archive, some without a record, and an extent."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=5))
    states, start = [], 0
    for length in lengths:
        settled = draw(st.integers(0, length) | st.just(length))
        data = draw(st.integers(0, settled) | st.just(settled))
        recorded = draw(st.sampled_from([True, True, True, False]))
        states.append((RegionState(start, start + length, settled, data), recorded))
        start += length
    return states, draw(st.integers(0, start))


def naive_extent(published, states):
    """Walk position by position from the region that is published last."""
    by_position = {}
    for state, recorded in states:
        for at in range(state.start, state.stop):
            settled = recorded and at < state.start + state.settled
            by_position[at] = (settled, recorded and at < state.start + state.data)
    first = max((s.start for s, _ in states if s.start <= max(published - 1, 0)), default=0)
    extent = published
    for at in range(first, len(by_position)):
        settled, before_last_data = by_position[at]
        if not settled:
            break
        if before_last_data:
            extent = max(extent, at + 1)
    return extent


@given(archives())
def test_the_extent_is_the_longest_settled_prefix(archive):
    """It is the last settled position with data, and never below what is published."""
    states, published = archive
    first = max(s.start for s, _ in states if s.start <= max(published - 1, 0))
    known = []
    for state, recorded in states:
        if state.start < first:
            continue
        if not recorded:
            break
        known.append(state)
    assert publishable_extent(published, known) == naive_extent(published, states)


@given(archives(), st.randoms())
def test_the_extent_does_not_pass_a_region_that_is_missing_from_the_list(archive, random):
    """Whichever regions are left out, the extent ends before the first of them."""
    states, _ = archive
    kept = [state for state, _ in states if random.random() < 0.7]
    extent = publishable_extent(0, kept)
    missing = [state.start for state, _ in states if state not in kept]
    assert extent <= min(missing, default=extent)


def test_the_extent_waits_for_the_region_that_is_published_now():
    """States that begin after the published extent say nothing."""
    assert publishable_extent(5, [RegionState(8, 12, 4, 4)]) == 5
    assert publishable_extent(5, []) == 5


# -- why not further --------------------------------------------------------------------------


def record_of(*files: SourceFileRecord, **variables: VariableRecord) -> ProgressRecord:
    """Make the record of a region of four positions."""
    done = {"a": VariableRecord(state="done", group=0), **variables}
    return ProgressRecord(dataset_id="tiny", start=4, stop=8, groups=(files,), variables=done)


def file(at: int, status: SourceFileStatus, **more: object) -> SourceFileRecord:
    """Make the record of a source file of one position."""
    settled = bool(more.pop("settled", False))
    return SourceFileRecord(
        url=f"f{at}", start=at, stop=at + 1, status=status, settled=settled, **more
    )


UNREAD = VariableRecord(state="done", group=0, unread={1: (False, "no message")})
FAILED = VariableRecord(state="failed", group=0, error="KeyError: 'b'")
DONE = file(0, OK, settled=True)
# The record, the variables that are declared, and what is said of it without and with a file.
REASONS = {
    "late": (
        record_of(DONE, file(1, LATE, detail="HTTP 404"), file(2, LATE)),
        ["a"],
        "a: 2 source files not yet available",
        "f1 not yet available (HTTP 404), and 1 source file more",
    ),
    "lost counts before late": (
        record_of(DONE, file(1, LATE), file(2, LOST, detail="reset")),
        ["a"],
        "a: 1 source file download failed, 1 source file not yet available",
        "f2 download failed (reset), and 1 source file more",
    ),
    "unread for one variable": (
        record_of(DONE, file(1, OK, settled=True), b=UNREAD),
        ["a", "b"],
        "b: 1 source file read failed",
        "f1 read failed for b (no message)",
    ),
    "arrived, and may improve": (
        record_of(DONE, file(1, OK)),
        ["a"],
        "a: 1 source file provisional",
        "f1 provisional",
    ),
    "failed": (record_of(DONE, b=FAILED), ["a", "b"], *["b failed: KeyError: 'b'"] * 2),
    "not yet recorded": (record_of(DONE), ["a", "b"], *["b is not done"] * 2),
}


@pytest.mark.parametrize("reason", REASONS)
def test_why_a_region_may_still_change_is_said_once(reason):
    """Whatever the reason is, a file is named or files are counted in the same words."""
    record, names, counted, named = REASONS[reason]
    why = why_unsettled(record, names)
    assert why is not None
    assert say_unsettled(why, names_file=False) == counted
    assert say_unsettled(why, names_file=True) == named


def test_what_is_settled_has_no_reason():
    """Neither a region whose files all succeeded or were accepted, nor what is not declared."""
    accepted = file(1, LATE, settled=True, accepted="me: lost")
    assert why_unsettled(record_of(DONE, accepted), ["a"]) is None
    assert why_unsettled(record_of(DONE, b=FAILED), ["a"]) is None


@given(st.integers(0, 3), st.sets(st.integers(0, 3)))
def test_only_what_fills_a_position_is_its_reason(at, late):
    """Of a region's files those of the position are named, and no other."""
    files = [file(n, LATE if n in late else OK, settled=n not in late) for n in range(4)]
    why = why_unsettled(record_of(*files), ["a"], slice(at, at + 1))
    assert [f.url for f in (why.files if why else ())] == [f"f{n}" for n in late & {at}]
