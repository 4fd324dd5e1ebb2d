"""Lets a worker keep freed memory for the next array."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

# glibc returns freed memory at once under the nanny's settings, which costs this job a factor
# of 2.3 in page faults; these let it keep what the next variable needs again.
MALLOC_OPTIONS = {-3: 1 << 30, -1: (1 << 31) - 1, -2: 64 << 20}
# Before 2.35 glibc refuses a larger threshold for what it maps and unmaps each time.
MOST_OF_OLD_GLIBC = {-3: 32 << 20}


def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for the next array; False on a Linux where that cannot be."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return sys.platform != "linux"
    return all(
        mallopt(option, value) == 1 or mallopt(option, MOST_OF_OLD_GLIBC.get(option, value)) == 1
        for option, value in MALLOC_OPTIONS.items()
    )
