"""A provider that first has preliminary files, and final ones in another folder later."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from gridmill import Address, Completeness, Download, Finality
from gridmill.sources.fetch.download import fetch
from tiny import Provider, TinyCoord, TinyJob, TinyTemplate, dataset_of, url_of, values_at

__all__ = [
    "FINAL",
    "PRELIMINARY",
    "WHY",
    "MarkedJob",
    "PrelimCoord",
    "PrelimJob",
    "Told",
    "ToldTemplate",
    "TwoFolders",
]

# Versions of what the files hold, see `tiny.values_at`.
FINAL, PRELIMINARY = 0, 1
WHY = "preliminary, final after two weeks"


@dataclass(frozen=True, kw_only=True)
class PrelimCoord(TinyCoord):
    """The file of one label, final or preliminary."""

    def get_url(self) -> Any:
        """Give where the final one comes, and where the preliminary one is."""
        url = url_of(self.label)
        return [f"final/{url}", Address(f"prelim/{url}", provisional=WHY)]


class PrelimJob(TinyJob):
    """Its files are two hours late, updates do not look back, and read again what is new alone."""

    lookback = timedelta(0)
    publication_delay = timedelta(hours=2)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a label."""
        return [PrelimCoord(label=label) for label in processing_region_ds.get_index("time")]


class MarkedJob(TinyJob):
    """Its files say themselves that they are preliminary, under an address that stays."""

    lookback = timedelta(0)
    publication_delay = timedelta(hours=2)

    def download_file(self, coord: TinyCoord) -> Download:
        """Fetch, and look."""
        (base,) = self.source_base
        url = f"{base}/{coord.get_url()}"
        done = fetch(url, self.download_path(coord), settings=self.download_settings)
        is_final = np.array_equal(np.load(done.path), values_at(coord.label, FINAL))
        return Download(**{**vars(done), "provisional": None if is_final else WHY})


class ToldTemplate(TinyTemplate):
    """The tiny archive, which says how much of each hour arrived, and is final."""

    coords = (*TinyTemplate.coords, Completeness(dims=("time",)), Finality(dims=("time",)))


Told = dataset_of(template=ToldTemplate, job=PrelimJob)


class TwoFolders:
    """What the provider has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.final, self.prelim = Provider(root / "final"), Provider(root / "prelim")

    def preliminary(self, labels: Iterable[Any]) -> None:
        """Publish preliminary files."""
        self.prelim.publish(labels, PRELIMINARY)

    def finish(self, labels: Iterable[Any]) -> None:
        """Publish final files."""
        self.final.publish(labels, FINAL)
