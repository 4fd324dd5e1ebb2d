"""The append dim of a store: its labels, and how positions along it move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.stores.final_store import FinalStore, readable_length

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Moves", "published_labels"]


@dataclass(frozen=True, eq=False)
class Moves:
    """How positions along the append dim move: others come in between, or the first ones go.

    Parameters
    ----------
    dim
        The append dim.
    first
        Where the first region begins that changes.
    step
        Positions of a region.
    sources
        By new position, the old one whose values it gets; -1 for one that has none.
    arrays
        The arrays whose values move; coordinates that the template gives are written from it.
        Where the first positions go, those of all arrays do.
    """

    dim: str
    first: int
    step: int
    sources: np.ndarray[Any, np.dtype[np.int64]]
    arrays: tuple[str, ...]

    @property
    def dropped(self) -> int:
        """How many of the first positions go."""
        return max(0, int(self.sources[0])) if self.sources.size else 0


def published_labels(store: FinalStore, append_dim: str) -> pd.Index[Any] | None:
    """Return the labels that readers see; None where they see nothing, or what does not parse."""
    if readable_length(store, append_dim) is None:
        return None
    try:
        return store.open_dataset(chunks=None).get_index(append_dim)
    except Exception:  # whatever damage makes of codecs and of time decoding
        return None
