"""The source files that a transformation fails with are found, and no others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gridmill.pipeline.slabs.blame import MOST_TRIALS, culprits

FILES = range(24)


class Failing:
    """Fails with each of some files, and with all of each group; counts how often it is asked."""

    def __init__(self, groups) -> None:
        self.groups = [set(group) for group in groups]
        self.asked = 0

    def __call__(self, some) -> bool:
        """Whether it does."""
        self.asked += 1
        return any(group <= set(some) for group in self.groups)


@given(st.sets(st.sampled_from(FILES), min_size=1))
def test_each_bad_file_is_found_and_no_other(bad):
    """Also where all are bad."""
    assert culprits(FILES, Failing([one] for one in bad)) == tuple(sorted(bad))


@given(st.lists(st.sets(st.sampled_from(FILES), min_size=1, max_size=3), min_size=1, max_size=4))
def test_without_what_is_blamed_it_does_not_fail(groups):
    """Also where files only fail together; and each that is blamed is one of those."""
    fails = Failing(groups)
    blamed = culprits(FILES, fails, most_trials=10_000)
    assert blamed
    assert not fails(set(FILES) - set(blamed))
    assert set(blamed) <= set().union(*groups)


def test_nobody_is_blamed_where_it_fails_without_any():
    """It is the code."""
    assert culprits(FILES, lambda some: True) == ()


@given(st.sets(st.integers(0, 4999), min_size=1, max_size=200))
def test_it_is_not_asked_for_ever(bad):
    """Of thousands of files too many are blamed at worst, never too few."""
    fails = Failing([one] for one in bad)
    blamed = culprits(range(5000), fails)
    assert fails.asked <= MOST_TRIALS + 1
    assert bad <= set(blamed)
