"""What a commit to an Icechunk archive costs while the archive grows to millions of objects.

    python -m benchmarks.icechunk_commits [--to 10000000] [--unsplit] [--format-version 1]

An archive is filled with references that name no object (a reference is what a commit's cost
could grow with, and ten million objects would take hours), to each size in turn. At each, one
position is uploaded and published as a run does it, with `IcechunkStore`, on a local disk.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import icechunk
import numpy as np
import zarr

from gridmill.stores.final_store import StagedRegion
from gridmill.stores.icechunk.settings.formats import DEFAULT
from gridmill.stores.icechunk.store import IcechunkStore
from gridmill.stores.state.leases import LeaseProof

DIM, NAME = "time", "value"
# Objects at one position of the append dim.
ACROSS = (10, 100)
SIZES = (10_000, 100_000, 1_000_000, 5_000_000, 10_000_000)
# Of how many commits the median is.
COMMITS = 3
AT_ONCE = 200_000


class _Permits:
    """Lets every object be put."""

    def check(self) -> None:
        """Permit."""


class Growing:
    """An archive with one variable of one object a value, and its store.

    Parameters
    ----------
    folder
        Where it is made.
    is_split
        Whether its manifests are.
    format_version
        Of Icechunk's format.
    """

    def __init__(self, folder: Path, *, is_split: bool, format_version: int) -> None:
        self.folder = folder
        self.length = 0
        self.store = IcechunkStore(
            str(folder / "archive.icechunk"), "growing", format_version=format_version
        )
        if not is_split:
            self.store.repository.create(None, {}, format_version)
        self.store.prepare(self._template(0))

    def fill(self, length: int) -> None:
        """Add references up to a length, in commits that each hold few of many manifests."""
        repository = self.store.repository.open()
        for chunks in _references(self.length, length):
            session = repository.writable_session("main")
            array = zarr.open_array(session.store, path=NAME, mode="r+", zarr_format=3)
            array.resize((chunks[-1].index[0] + 1, *ACROSS))
            cast(Any, session.store).set_virtual_refs(NAME, chunks, validate_containers=False)
            session.commit(f"Fill to {length}", {"gridmill-merged": {}})
        self.length = length

    def append(self) -> tuple[float, float]:
        """Upload and publish one position; seconds of each."""
        number = self.length
        folder = self._template(number + 1)
        values = zarr.open_array(folder, path=NAME, mode="r+", zarr_format=3)
        values[number:] = np.arange(np.prod(ACROSS), dtype="float32").reshape(1, *ACROSS) + 1
        keys = [f"{NAME}/c/{number}/{i}/{j}" for i in range(ACROSS[0]) for j in range(ACROSS[1])]
        begun = time.perf_counter()
        uploaded = self.store.upload(folder, keys, cast(LeaseProof, _Permits()))
        between = time.perf_counter()
        tokens = {NAME: uploaded.token or ""}
        region = StagedRegion(str(number), number + 1, tokens, DIM, number, f"region {number}")
        self.store.publish(self._template(number + 1), [region])
        ended = time.perf_counter()
        self.length = number + 1
        return between - begun, ended - between

    def _template(self, length: int) -> Path:
        """Write a local store as a run does: metadata, consolidated, and the append coordinate."""
        folder = self.folder / f"template-{length}"
        shutil.rmtree(folder, ignore_errors=True)
        group = zarr.create_group(folder, zarr_format=3)
        times = group.create_array(
            DIM, shape=(length,), chunks=(1 << 17,), dtype="int64", dimension_names=[DIM]
        )
        times[:] = np.arange(length)
        group.create_array(
            NAME,
            shape=(length, *ACROSS),
            chunks=(1, 1, 1),
            dtype="float32",
            fill_value=0,
            dimension_names=[DIM, "y", "x"],
            compressors=None,
        )
        zarr.consolidate_metadata(folder, zarr_format=3)
        return folder


def _references(start: int, stop: int) -> Iterator[list[icechunk.VirtualChunkSpec]]:
    """Yield references for every object of positions from start to stop, many at once."""
    across = int(np.prod(ACROSS))
    for first in range(start, stop, AT_ONCE // across):
        last = min(stop, first + AT_ONCE // across)
        yield [
            icechunk.VirtualChunkSpec([t, i, j], "s3://nowhere/object", 0, 4)
            for t in range(first, last)
            for i in range(ACROSS[0])
            for j in range(ACROSS[1])
        ]


def measure(to: int, *, is_split: bool, format_version: int) -> Iterator[tuple[int, float, float]]:
    """Yield at each size up to one: references, and the median seconds of upload and commit."""
    with tempfile.TemporaryDirectory(prefix="icechunk-commits-") as folder:
        archive = Growing(Path(folder), is_split=is_split, format_version=format_version)
        across = int(np.prod(ACROSS))
        for size in (size for size in SIZES if size <= to):
            archive.fill(size // across)
            costs = np.array([archive.append() for _ in range(COMMITS)])
            upload_s, commit_s = np.median(costs, axis=0)
            yield size, float(upload_s), float(commit_s)


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=int, default=SIZES[-1], help="references, at most")
    parser.add_argument("--unsplit", action="store_true", help="with one manifest an array")
    parser.add_argument("--format-version", type=int, default=DEFAULT)
    asked = parser.parse_args()
    how = "unsplit" if asked.unsplit else "split"
    print(f"Icechunk {icechunk.__version__}, format {asked.format_version}, {how} manifests")
    results = measure(asked.to, is_split=not asked.unsplit, format_version=asked.format_version)
    for size, upload_s, commit_s in results:
        print(f"{size:>10,} references: upload {upload_s:6.2f} s, commit {commit_s:6.2f} s")


if __name__ == "__main__":
    main()
