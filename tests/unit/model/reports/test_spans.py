"""Overlap of stages against a count second by second."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.reports.spans import STAGES, Span, measure_overlap
from gridmill.pipeline.timing import recorded

SPANS = st.lists(
    st.builds(
        lambda stage, start, length: Span(stage, "key", "w", float(start), float(start + length)),
        st.sampled_from(STAGES),
        st.integers(0, 30),
        st.integers(0, 10),
    ),
    max_size=12,
)


@given(SPANS)
def test_overlap_equals_a_count_second_by_second(spans):
    """Busy time and the shares with two and three stages are those of a naive count."""
    seconds = [
        len({s.stage for s in spans if s.started <= second < s.ended}) for second in range(41)
    ]
    busy = sum(n > 0 for n in seconds)
    measured = measure_overlap(spans)
    assert measured.busy_s == busy
    assert measured.two == pytest.approx(sum(n > 1 for n in seconds) / max(busy, 1))
    assert measured.three == pytest.approx(sum(n > 2 for n in seconds) / max(busy, 1))


def test_a_recorded_body_becomes_a_span():
    """The span is there when the body ends, with the bytes that the body gave, if any."""
    with recorded("upload", "upload-1", "w") as box:
        box.append(7)
    with recorded("upload", "upload-1", "w") as silent:
        pass
    assert (box[0].stage, box[0].key, box[0].worker, box[0].nbytes) == (
        "upload",
        "upload-1",
        "w",
        7,
    )
    assert box[0].seconds >= 0
    assert [span.nbytes for span in silent] == [0]
