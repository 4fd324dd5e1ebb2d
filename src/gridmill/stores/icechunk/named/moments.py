"""What readers saw at a moment, also before another version took the place of the present one.

Icechunk tells versions of a moment by the history of a branch. After a promotion, that of the
branch readers read is the history of what was promoted, which nobody saw while it was built.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import icechunk
import numpy as np
import zarr
from zarr.abc.store import Store

from gridmill.stores.icechunk.patience import patiently
from gridmill.stores.icechunk.repository import RepositoryAt
from gridmill.stores.state.beside.exchange import promotions_of

__all__ = ["Moments"]


class Moments:
    """The versions that readers of a branch saw, by when they saw them.

    Parameters
    ----------
    repository
        The repository, with its branch.
    declaration
        The archive's, which names its promotions.
    """

    def __init__(self, repository: RepositoryAt, declaration: Mapping[str, Any] | None) -> None:
        self.repository = repository
        self.promotions = promotions_of(declaration)

    def as_of(self, moment: datetime) -> Store:
        """Return the last version that was published before a moment.

        Raises
        ------
        ValueError
            None is kept.
        """
        later = [promotion for promotion in self.promotions if promotion.at > moment]
        try:
            here = self.repository.open()
            if not later:
                store: Store = here.readonly_session(self.repository.branch, as_of=moment).store
                return store
            history = here.ancestry(snapshot_id=later[-1].before)
            found = next((one.id for one in history if one.written_at <= moment), None)
            if found is not None:
                return here.readonly_session(snapshot_id=found).store
            cause: Exception | None = None
        except icechunk.IcechunkError as error:
            cause = error
        raise ValueError(
            f"{self.repository.url} keeps no version of {moment.isoformat(timespec='seconds')}: it "
            "began later, or such versions are expired (gridmill upkeep, gridmill promote "
            "--forget-previous)"
        ) from cause

    def read(
        self, variable: str, selection: tuple[slice, ...], moment: datetime
    ) -> np.ndarray[Any, Any]:
        """Read values that readers saw at a moment; see `FinalStore.read_as_of`."""

        def read() -> np.ndarray[Any, Any]:
            array = zarr.open_array(self.as_of(moment), path=variable, mode="r", zarr_format=3)
            return np.asarray(array[selection])

        try:
            return patiently(read)
        except (KeyError, FileNotFoundError) as error:
            raise ValueError(
                f"{self.repository.url} had no {variable} at "
                f"{moment.isoformat(timespec='seconds')}: give a moment at which readers saw what "
                "they are to see again"
            ) from error

    def seen_since(self, snapshot: str, written_at: datetime) -> datetime:
        """Return a moment at which readers saw a version: when it was published, or promoted."""
        for promotion in self.promotions:
            if promotion.after == snapshot:
                return max(promotion.at, written_at)
        return written_at
