"""Does what waits for a distant store several at a time, or a little ahead of who needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["NBYTES_IN_FLIGHT", "each", "lookahead"]

Item = TypeVar("Item")
Made = TypeVar("Made")

# Of one upload; enough to fill a connection to a distant store, little beside a shard in memory.
NBYTES_IN_FLIGHT = 128 << 20


def lookahead(
    function: Callable[[Item], Made], items: Iterable[Item], at_once: int
) -> Generator[Made]:
    """Yield a function's results in order, while it works on the next ones in threads.

    Parameters
    ----------
    function
        Called for every item; for one at a time if `at_once` is 1.
    items
        Taken in the caller's thread, at most `at_once` more than were yielded.
    at_once
        How many calls run at a time.

    Raises
    ------
    Exception
        What the function raised, in its item's turn.

    Examples
    --------
    >>> list(lookahead(abs, [-1, 2, -3], at_once=2))
    [1, 2, 3]
    """
    if at_once == 1:
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="lookahead")
    begun: deque[Future[Made]] = deque()
    try:
        for item in items:
            begun.append(pool.submit(function, item))
            if len(begun) == at_once:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def each(
    function: Callable[[Item], Made], items: Sequence[Item], at_once: int, nbytes: int = 0
) -> list[Made]:
    """Call a function for every item, several at a time; its results in order.

    Parameters
    ----------
    function
        Called in threads, or here for one at a time.
    items
        What it is called with.
    at_once
        How many calls run at a time, at most.
    nbytes
        What the largest item takes in memory: all that are in hand take `NBYTES_IN_FLIGHT` at
        most, unless one alone is larger.

    Raises
    ------
    Exception
        What the function raised for the first such item.

    Examples
    --------
    >>> each(abs, [-1, 2, -3], at_once=2)
    [1, 2, 3]
    """
    width = max(1, min(at_once, NBYTES_IN_FLIGHT // nbytes)) if nbytes else at_once
    if width == 1 or len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(width, thread_name_prefix="store") as pool:
        return list(pool.map(function, items))
