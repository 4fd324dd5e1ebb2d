"""Files whose names only the listing of a folder says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import daily_netcdf as daily
from gridmill import ListedFileCoord
from gridmill.testing import ArchiveServer
from gridmill.testing.faults import HtmlBody
from liars.files import Provider

__all__ = ["Listing"]

PATTERN = "t2m_{label:%Y%m%d}_c{created:d}.nc"


@dataclass(frozen=True, kw_only=True)
class ListedDay(ListedFileCoord):
    """The newest file of a day."""

    label: Any

    def out_loc(self) -> dict[str, Any]:
        """Give its day."""
        return {"time": self.label}


class ListedJob(daily.Job):
    """Finds names in a folder."""

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give the newest file of each day."""
        return [
            ListedDay(
                label=label,
                listed=self.listings.of(f"{label:%Y%m%d}/", PATTERN).newest(label=label),
            )
            for label in processing_region_ds.get_index("time")
        ]


class Listing(Provider):
    """Puts the time at which a file was made into its name; shows folders."""

    lies = (*Provider.lies, "page_as_listing", "stale_listing")
    job = ListedJob
    created = 0

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Show folders, too."""
        with ArchiveServer(self.root, lists=True) as self.server:
            self.server.release_all()
            self.options = {"source_base": self.server.url}
            yield

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Put files, of which a listing may say something else."""
        self.created += self.draw.randrange(2)  # a file may be made anew under a new name
        super().tell(days, lie)
        self.server.clear_faults()
        self.server.release_all()
        for label in self.labels[list(days)]:
            if lie == "page_as_listing":
                self.server.inject(f"{label:%Y%m%d}/", HtmlBody(), times=None)
            elif lie == "stale_listing":
                self.server.hold(f"{label:%Y%m%d}/*")

    def path(self, label: pd.Timestamp) -> Path:
        """Return where a file is."""
        return self.root / f"{label:%Y%m%d}/t2m_{label:%Y%m%d}_c{self.created}.nc"

    def fetched(self, days: Sequence[int]) -> int:
        """Count files; and folders where those are never reached."""
        folders = {f"{self.labels[day]:%Y%m%d}/" for day in days}
        asked = sum(one.path in folders for one in self.server.requests)
        return max(super().fetched(days), asked)
