"""From where a provider's accumulations and averages run: one window for each step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gridmill.authoring.transforms.blocks import Float64Array

__all__ = ["Windows"]


@dataclass(frozen=True)
class Windows:
    """Which source values accumulate from where, one number for each step."""

    step_s: Float64Array
    start_s: Float64Array
    first_index: npt.NDArray[np.intp]
    """The first step of positive length in the same window; a step that is its own has no base."""

    @classmethod
    def of(
        cls,
        step_s: Float64Array,
        reset_every_s: float | None,
        window_start_s: npt.ArrayLike | None,
    ) -> Windows:
        """Return the windows of valid steps, given either regular resets or each start."""
        if window_start_s is None:
            start_s = _regular_window_starts(step_s, reset_every_s)
        elif reset_every_s is None:
            start_s = np.asarray(window_start_s, dtype="float64")
        else:
            raise ValueError(
                f"reset_every_s is {reset_every_s} and window_start_s is given, too; "
                "give only one of them"
            )
        _check_windows(step_s, start_s)
        indices = np.arange(step_s.size)
        is_first = np.ones(step_s.size, dtype=bool)
        is_first[1:] = (start_s[1:] != start_s[:-1]) | (step_s[:-1] == start_s[:-1])
        return cls(step_s, start_s, np.maximum.accumulate(np.where(is_first, indices, 0)))

    def has_length(self, index: int) -> bool:
        """Whether any time passes between the window's start and the step."""
        return bool(self.step_s[index] > self.start_s[index])

    def opening_value(self, index: int) -> float:
        """What has accumulated when the window opens: 0, or NaN if it opens no one knows when."""
        return 0.0 if np.isfinite(self.start_s[index]) else np.nan

    def covers_step(self, index: int) -> bool:
        """Whether the window reaches back to the previous step."""
        return index == 0 or bool(self.start_s[index] <= self.step_s[index - 1])


def _regular_window_starts(step_s: Float64Array, reset_every_s: float | None) -> Float64Array:
    """Return the last multiple of `reset_every_s` before each step, or 0 if there is no reset."""
    if reset_every_s is None:
        return np.zeros_like(step_s)
    if not 0 < reset_every_s < np.inf:
        raise ValueError(
            f"reset_every_s is {reset_every_s}, but must be a positive number of seconds; give "
            "None for a total that is never reset"
        )
    start_s: Float64Array = (np.ceil(step_s / reset_every_s) - 1) * reset_every_s
    start_s[:1][step_s[:1] == 0] = 0
    return start_s


def _check_windows(step_s: Float64Array, start_s: Float64Array) -> None:
    """Refuse windows that begin after their step, or overlap another without being the same."""
    if start_s.shape != step_s.shape:
        raise ValueError(
            f"window_start_s has shape {start_s.shape}, but there are {step_s.size} steps; give "
            "one start for each"
        )
    if not (start_s <= step_s).all():
        index = int(np.flatnonzero(~(start_s <= step_s))[0])
        raise ValueError(
            f"the window of the step at {step_s[index]} s begins at {start_s[index]} s, but it "
            "must begin at or before its step; give window_start_s that says where it begins"
        )
    overlaps = (start_s[1:] != start_s[:-1]) & (start_s[1:] < step_s[:-1])
    if overlaps.any():
        index = int(np.flatnonzero(overlaps)[0]) + 1
        raise ValueError(
            f"the window of the step at {step_s[index]} s begins at {start_s[index]} s, within "
            f"the previous step's window from {start_s[index - 1]} to {step_s[index - 1]} s; "
            "windows must be equal or not overlap, so deaccumulate such a source when it is read"
        )
