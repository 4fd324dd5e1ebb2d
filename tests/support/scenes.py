"""Scenes at irregular times: a provider that lists them, some of them late, and their archive."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Coordinate
from gridmill.operations.axis.reindex import reindex
from gridmill.stores.icechunk import publication
from gridmill.stores.icechunk.maintenance import rearranging
from gridmill.stores.objects.local import LocalObjects
from tiny import TinyCoord, TinyJob, TinyTemplate, time_coordinate, values_at

__all__ = [
    "Frozen",
    "Provider",
    "SceneJob",
    "SceneTemplate",
    "Scenes",
    "name_of",
    "scene",
    "scenes_of",
]

START = pd.Timestamp("2020-01-01")


def scene(minutes: int) -> pd.Timestamp:
    """Give the label of a scene, so many minutes after the start."""
    return START + pd.Timedelta(minutes=minutes)


class Provider:
    """A folder with a file a scene, and a list of them."""

    def __init__(self, folder: Path, name: Callable[[Any], str] | None = None) -> None:
        self.folder = folder
        self.name = name or name_of

    def publish(self, *labels: pd.Timestamp) -> None:
        """Put scenes there."""
        for label in labels:
            path = self.folder / self.name(label)
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values_at(label))

    def withdraw(self, *labels: pd.Timestamp) -> None:
        """Take scenes away."""
        for label in labels:
            (self.folder / self.name(label)).unlink()


def name_of(label: pd.Timestamp) -> str:
    """Give the name of a scene's file."""
    return label.strftime("%Y%m%dT%H%M.npy")


class SceneTemplate(TinyTemplate):
    """What the provider lists, whatever an archive has."""

    append_dim_frequency = None
    coords = (
        time_coordinate(units="seconds since 2020-01-01"),
        Coordinate(name="y"),
        Coordinate(name="x"),
    )

    def append_dim_coordinates(self, end: Any, *, source: Any = ()) -> pd.DatetimeIndex:
        """Give the times of the scenes that the provider lists."""
        names = sorted(path.stem for base in source for path in Path(base).glob("*.npy"))
        labels = pd.DatetimeIndex([pd.Timestamp(name) for name in names])
        return labels[labels < self.label(end)]


class Frozen(SceneTemplate):
    """The same; labels that readers see stay, and those of the last hour wait."""

    settling_window = "1h"


class SceneCoord(TinyCoord):
    """The file of one scene."""

    def get_url(self) -> str:
        """Give its name."""
        return name_of(self.label)


class SceneJob(TinyJob):
    """Reads a file a scene."""

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a file a scene."""
        return [SceneCoord(label=label) for label in processing_region_ds.get_index("time")]


class Scenes(DynamicalDataset):
    """Scenes whose labels are frozen once readers see them."""

    template_config = Frozen
    region_job = SceneJob


class Unfrozen(DynamicalDataset):
    """Scenes without a settling window."""

    template_config = SceneTemplate
    region_job = SceneJob


def scenes_of(
    folder: Path, kind: str = "zarr", dataset: type[DynamicalDataset] = Scenes, **options: Any
) -> DynamicalDataset:
    """Give the archive of the provider in a folder."""
    source = str(folder / "source")
    return dataset(folder / "a", source_base=source, format=kind, **options)


def kill_at(number: int, only: tuple[str, ...] = ()) -> None:
    """Let this process kill itself before its `number`-th change of records or of the archive.

    With `only`, changes of objects whose keys begin so.
    """
    left = [number]

    def counted(function: Any, *, is_of_objects: bool = True) -> Any:
        def step(*args: Any, **kwargs: Any) -> Any:
            key = str(args[1]) if is_of_objects else ""
            # Leases and reports are those of every command.
            counts = not key.startswith(("claims", "leases", "runs", "beats"))
            if counts and (not only or not key or key.startswith(only)):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
            return function(*args, **kwargs)

        return step

    for name in ("put", "delete", "put_if_absent"):
        setattr(LocalObjects, name, counted(getattr(LocalObjects, name)))
    rearranging.commit = counted(rearranging.commit, is_of_objects=False)
    rearranging._move = counted(rearranging._move, is_of_objects=False)
    publication.commit = counted(publication.commit, is_of_objects=False)


if __name__ == "__main__":
    folder, number, now = sys.argv[1:]
    dataset = scenes_of(Path(folder), "icechunk")
    kill_at(int(number), ("reindex/order", "reindex/regions/0000000000", "regions"))
    reindex(dataset, who="me", now=now)
