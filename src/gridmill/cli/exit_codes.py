"""What the exit code says to a scheduler."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["ExitCode"]


class ExitCode(IntEnum):
    """What the exit code says to a scheduler."""

    SUCCESS = 0
    FAILED = 1
    WRONG_INPUT = 2
    NOTHING_NEW = 3
    HELD = 4
    UNWRITABLE = 5
    LATE = 6
    UNREADABLE = 7
    GAPS = 8
    NO_WORKERS = 9
    INTERRUPTED = 130
