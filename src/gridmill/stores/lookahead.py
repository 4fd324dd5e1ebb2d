"""Does what waits for a distant store a little ahead of who needs it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["lookahead"]

Item = TypeVar("Item")
Made = TypeVar("Made")


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
        How many calls go on at a time.

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
