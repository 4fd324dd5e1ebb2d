"""Results come in order, soon, and never too far ahead."""

from __future__ import annotations

import threading

import pytest

from gridmill.stores.lookahead import lookahead


@pytest.mark.parametrize("at_once", [1, 2, 16])
def test_results_are_in_the_order_of_the_items(at_once):
    """However many calls go on at once, and with none at all."""
    assert list(lookahead(str, range(40), at_once)) == [str(n) for n in range(40)]
    assert list(lookahead(str, [], at_once)) == []


def test_calls_go_on_at_once():
    """As many as asked for are inside the function together."""
    together = threading.Barrier(4)
    assert list(lookahead(lambda n: together.wait(20) * 0 + n, range(8), 4)) == list(range(8))


@pytest.mark.parametrize("at_once", [1, 3])
def test_items_are_taken_as_they_are_needed(at_once):
    """Never more than `at_once` beyond what was yielded: there may be millions."""
    taken = []

    def items():
        for n in range(20):
            taken.append(n)
            yield n

    for number, _ in enumerate(lookahead(str, items(), at_once)):
        assert len(taken) <= number + at_once


@pytest.mark.parametrize("at_once", [1, 3])
def test_an_error_comes_in_its_turn(at_once):
    """What was made before it is not lost."""
    results = lookahead(lambda n: 6 // n, [3, 2, 0, 1], at_once)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_who_stops_listening_waits_for_nothing_more():
    """Calls that did not begin are cancelled; no thread is left."""
    called = []
    results = lookahead(called.append, range(100), 4)
    next(results)
    results.close()
    assert len(called) <= 5
    assert not [t for t in threading.enumerate() if t.name.startswith("lookahead")]
