"""Which of a variable's source files its transformation fails with. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["MOST_TRIALS", "culprits"]

# Each trial reads some of the files and transforms the region. So many find each of 32 bad files,
# or three among thousands.
MOST_TRIALS = 64

Fails = Callable[[Sequence[int]], bool]


def culprits(
    files: Sequence[int], fails: Fails, *, most_trials: int = MOST_TRIALS
) -> tuple[int, ...]:
    """Return the source files without which a transformation does not fail.

    Of files that make it fail only together, the last one is returned.

    Parameters
    ----------
    files
        Indices of the source files with all of which it fails.
    fails
        Whether it fails with certain ones of them.
    most_trials
        How often to ask that, about. Files that could not be told apart by then are all returned.

    Returns
    -------
    tuple of int
        In order; empty where it fails without any source file, so that none is to blame.

    Examples
    --------
    >>> culprits(range(8), lambda some: 2 in some or 5 in some)
    (2, 5)
    >>> culprits(range(8), lambda some: True)
    ()
    """
    if fails(()):
        return ()
    search = _Search(fails, most_trials)
    rest, found = list(files), list[int]()
    while rest and (not found or search.fails(rest)):
        to_blame = search.look(rest)
        found += to_blame
        rest = [file for file in rest if file not in set(to_blame)]
    return tuple(sorted(found))


class _Search:
    """Looks into groups of files with which the transformation fails."""

    def __init__(self, fails: Fails, most_trials: int) -> None:
        self._fails = fails
        self._left = most_trials

    def fails(self, files: Sequence[int]) -> bool:
        """Whether it does; where there are no trials left, that is taken for granted."""
        if self._left <= 0:
            return True
        self._left -= 1
        return self._fails(files)

    def look(self, files: Sequence[int]) -> list[int]:
        """Return those to blame."""
        if len(files) == 1 or self._left <= 0:
            return list(files)
        middle = len(files) // 2
        bad = [half for half in (files[:middle], files[middle:]) if self.fails(half)]
        if not bad:
            return [self._last_needed(files)]
        return [file for half in bad for file in self.look(half)]

    def _last_needed(self, files: Sequence[int]) -> int:
        """Return the last file of the shortest beginning that fails; no half does."""
        most, least = len(files), len(files) // 2
        while most - least > 1:
            middle = (most + least) // 2
            if self.fails(files[:middle]):
                most = middle
            else:
                least = middle
        return files[most - 1]
