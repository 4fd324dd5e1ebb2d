"""The same files at two addresses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import daily_netcdf as daily
from gridmill.testing import ArchiveServer
from liars.files import Provider

__all__ = ["Raced"]


class Raced(Provider):
    """Two mirrors that are raced: both lie, or one does."""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there twice."""
        self.roots = (self.root, self.root.with_name("mirror"))
        self.roots[1].mkdir()
        with ExitStack() as stack:
            servers = [stack.enter_context(ArchiveServer(root)) for root in self.roots]
            for server in servers:
                server.release_all()
            self.urls = tuple(server.url for server in servers)
            yield

    def declared(self) -> dict[str, Any]:
        """Return the file type with both addresses."""
        urls = self.urls

        def get_url(coord: Any) -> tuple[str, ...]:
            return tuple(f"{url}/{coord.label:%Y%m%d}.nc" for url in urls)

        given = {"get_url": get_url, "races_mirrors": True, "__module__": __name__}
        return {"file_type": type("RacedDay", (daily.Day,), given)}

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Tell the truth at the one, and at the other, or not."""
        one = self.draw.choice([None, 0, 1])
        for number, root in enumerate(self.roots):
            self.root = root
            super().tell(days, lie if one in (None, number) else "")
