"""How finely pieces were written is laid out beside their values, and what is lost is counted."""

from __future__ import annotations

import numpy as np

from gridmill.authoring.transforms.resolution import (
    known_resolution,
    losses_noted,
    note_lost,
    resolutions_told,
    tell_resolution,
    with_resolution,
)
from gridmill.pipeline.slabs.resolution import Resolutions

WHOLE = slice(None)


def test_each_piece_has_its_own_and_repeats_where_it_is_whole():
    """Dims that every piece fills have the length 1; a slab gets its part of the others."""
    resolutions = Resolutions((2, 3, 4))
    resolutions.note((0, slice(0, 2), WHOLE), 0.5)
    resolutions.note((1, slice(1, 3), WHOLE), 2.0)
    everywhere = resolutions.within((slice(0, 2), slice(0, 3), slice(0, 4)))
    np.testing.assert_array_equal(everywhere[..., 0], [[0.5, 0.5, 0], [0, 2, 2]])
    part = resolutions.within((slice(1, 2), slice(2, 3), slice(2, 4)))
    np.testing.assert_array_equal(part, [[[2.0]]])


def test_of_a_static_piece_it_is_one_number():
    """A variable that one piece fills whole has one resolution."""
    resolutions = Resolutions((3, 4))
    resolutions.note((WHOLE, slice(0, 4)), 0.25)
    np.testing.assert_array_equal(resolutions.within((slice(0, 3), slice(2, 4))), [[0.25]])


def test_nothing_is_known_where_nobody_told():
    """A transform then hears of none, and so it does outside of a run."""
    assert Resolutions((3,)).within((slice(0, 3),)) is None
    assert known_resolution() is None
    tell_resolution(1.0)
    note_lost("unheard", 3)
    with resolutions_told() as told, with_resolution(np.ones(1)), losses_noted() as lost:
        tell_resolution(2.0)
        assert known_resolution() is not None
        note_lost("a reason", 2)
        note_lost("a reason", 3)
        note_lost("nothing", 0)
    assert (told, dict(lost)) == ([2.0], {"a reason": 5})
