"""Daily files that a server serves: a provider that all others are other kinds of.

What it measures, and where it puts the truth of a day or a lie.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

import daily_netcdf as daily
from daily_netcdf import LONS, Held, write
from gridmill import DownloadSettings, Encoding
from gridmill.testing import ArchiveServer
from tiny import dataset_of

__all__ = ["Provider", "Template", "truth"]

# As regular as GeoTIFF has them.
LATS = np.array([60.0, 20.0, -20.0])
# By label: how often a file of it was fetched, by tasks of this process.
FETCHED: Counter[pd.Timestamp] = Counter()


def truth(label: pd.Timestamp) -> Held:
    """Return what the provider measured."""
    day = (label.normalize() - pd.Timestamp("2020-01-01")).days
    values = 250 + day % 100 + np.arange(3.0)[:, None] + np.cos(np.deg2rad(LONS))
    return Held(values=values.astype("float32"), lats=LATS, lons=LONS, time=label)


class Template(daily.Template):
    """Daily temperature."""

    data_vars = tuple(
        replace(var, encoding=Encoding(chunks=(8, LATS.size, LONS.size)))
        for var in daily.Template.data_vars
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


class Provider:
    """Daily files in a folder that a server serves.

    Parameters
    ----------
    folder
        Where it keeps what it tells.
    days
        How many days it tells of.
    draw
        What is left to chance.
    """

    lies: ClassVar[tuple[str, ...]] = (*daily.HELD, *daily.BYTES)
    # Lies that are told otherwise, and no gaps.
    converted: ClassVar[frozenset[str]] = frozenset({"flipped", "rolled", "celsius"})
    template: ClassVar[Any] = Template
    job: ClassVar[Any] = daily.Job
    suffix = "nc"

    def __init__(self, folder: Path, days: int, draw: random.Random) -> None:
        self.root, self.draw = folder / "provider", draw
        self.labels = pd.date_range("2020-01-01", periods=days, freq="D")
        self.root.mkdir(parents=True)
        self.options: dict[str, Any] = {}

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Be there."""
        with ArchiveServer(self.root) as self.server:
            self.server.release_all()
            self.options = {"source_base": self.server.url}
            yield

    def dataset(self, path: Path, store: str) -> Any:
        """Return the dataset that is made of it."""
        given = {"__module__": __name__, **_counting(self.job), **self.declared()}
        job = type("Liar", (self.job,), given)
        return dataset_of(template=self.template, job=job)(path, format=store, **self.options)

    def declared(self) -> dict[str, Any]:
        """Return what the job needs to know of this server."""
        return {}

    def measured(self, day: int) -> np.ndarray:
        """Return the archive's values of a day."""
        return truth(self.labels[day]).values

    def fetched(self, days: Sequence[int]) -> int:
        """Return how often files of days were fetched until now."""
        wanted = {self.labels[day] for day in days}
        return sum(many for label, many in FETCHED.items() if label.normalize() in wanted)

    def tell(self, days: Sequence[int], lie: str = "") -> None:
        """Put the files of days: the truth, or a lie."""
        for day in days:
            self.put(self.labels[day], lie)

    def put(self, label: pd.Timestamp, lie: str) -> None:
        """Put a file."""
        held = truth(label)
        if lie in daily.HELD:
            daily.HELD[lie](held)
        path = self.path(label)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        self.write(path, held)
        if lie in daily.BYTES:
            path.write_bytes(daily.BYTES[lie](path.read_bytes(), self.draw))

    def path(self, label: pd.Timestamp) -> Path:
        """Return where a file is."""
        return self.root / f"{label:%Y%m%d}.{self.suffix}"

    def write(self, path: Path, held: Held) -> None:
        """Write a file."""
        write(path, held, self.draw.choice(daily.FORMATS))


def _counting(job: Any) -> dict[str, Any]:
    """Return what a job needs to count what it fetches."""

    def download_file(self: Any, coord: Any) -> Any:
        _count(coord.label)
        return job.download_file(self, coord)

    return {
        "download_file": download_file,
        "download_settings": DownloadSettings(attempts=1),
        "publication_delay": daily.DUE,
    }


def _count(label: pd.Timestamp) -> None:
    """Count in this module: what is pickled with a class made here has a copy of its globals."""
    FETCHED[label] += 1
