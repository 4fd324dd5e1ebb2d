"""How long a request to a store is tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import stamina

__all__ = ["Patience"]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a request is tried before it counts as failed.

    Parameters
    ----------
    attempts
        Requests for the same thing, the first included.
    total_s
        Seconds for all attempts and the waits between them.
    wait_initial_s, wait_max_s
        The wait doubles with each attempt and carries as much jitter as its first.
    """

    # Waits of 0.2, 0.4 … 10 s: a server that is restarted, or a burst of "slow down", is outlived;
    # a chain that waits longer holds disk and a worker's thread.
    attempts: int = 12
    total_s: float = 90.0
    wait_initial_s: float = 0.2
    wait_max_s: float = 10.0

    def attempts_at(self, error: type[Exception]) -> Any:
        """Iterate over attempts, as of `stamina.retry_context`, while they end with this error."""
        return stamina.retry_context(
            on=error,
            attempts=self.attempts,
            timeout=self.total_s,
            wait_initial=self.wait_initial_s,
            wait_max=self.wait_max_s,
            wait_jitter=self.wait_initial_s,
        )
