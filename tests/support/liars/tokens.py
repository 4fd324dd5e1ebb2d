"""Files for who has a token."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from unittest import mock

from gridmill import BearerToken
from gridmill.sources.fetch.credentials import keeper
from guarded import Guarded
from liars.files import Provider

__all__ = ["Token"]

TOKEN = "LIES_TOKEN"


class Token(Provider):
    """Serves who has a token."""

    lies = (*Provider.lies, "refused")

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there."""
        # Ten days pass in a second here, and a token that was refused is left alone for minutes.
        left_alone = mock.patch.object(keeper, "LEFT_ALONE_S", 0.0)
        token = mock.patch.dict(os.environ, {TOKEN: "right"})
        with left_alone, token, Guarded(self.root, "bearer", ["right"]) as self.guard:
            rule = BearerToken(self.guard.url, env=TOKEN)
            self.options = {"source_base": self.guard.url, "credentials": [rule]}
            yield

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Know nobody, if that is the lie."""
        super().tell(days, lie)
        self.guard.valid = set() if lie == "refused" else {"right"}
