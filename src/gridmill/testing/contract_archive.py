"""A small archive in a store, and what it must hold: what the stores' contract is tried on."""

from __future__ import annotations

import functools
import shutil
import warnings
from collections.abc import Collection, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr
import zarr

from gridmill.model.region import Region
from gridmill.stores.final_store import CoordinateValues, FinalStore, StagedRegion, Uploaded
from gridmill.stores.state.leases import LeaseLost, LeaseProof

__all__ = [
    "DIM",
    "LARGE",
    "REGION",
    "SHARE",
    "SMALL",
    "ContractArchive",
    "CountedProof",
    "other_process",
    "token_of",
    "values_of",
]

DIM = "time"

# A region is four positions: two shards of `small`, one of `large`.
REGION = 4
SMALL, LARGE, STATIC = "small", "large", "static"

# A coordinate that speaks of the data, in objects of six positions.
SHARE = "share"
CELLS = 3


@functools.cache
def other_process() -> ProcessPoolExecutor:
    """Return a spawned process that knows nothing; one for all tests, because it is slow."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


@dataclass
class CountedProof:
    """A lease that stands for so many checks."""

    checks: float = float("inf")
    made: list[int] = field(default_factory=list)

    def check(self) -> None:
        """Raise if it has stood for all of them."""
        self.made.append(1)
        if len(self.made) > self.checks:
            raise LeaseLost("taken over by the contract's test")


ENCODING: dict[str, dict[str, Any]] = {
    SMALL: {"chunks": (1, CELLS), "shards": (2, CELLS)},
    LARGE: {"chunks": (2, 1), "shards": (REGION, CELLS)},
    STATIC: {"chunks": (CELLS,)},
    DIM: {"chunks": (64,)},
    SHARE: {"chunks": (6,), "fill_value": 0.0, "_FillValue": None},
}


class ContractArchive:
    """Builds a small archive in a store, and knows what it must hold."""

    def __init__(self, store: FinalStore, tmp_path: Path) -> None:
        self.store = store
        self.tmp_path = tmp_path
        self.proof = cast(LeaseProof, CountedProof())
        self.title = "Contract"
        self.length = 4 * REGION
        self.versions: dict[int, int] = {}
        self.shown: dict[int, int] = {}
        self.uploaded: dict[tuple[str, int], Uploaded] = {}
        self.visible = 0
        with self._folder(0) as folder, self._folder(self.length):
            store.prepare(folder)

    def upload(self, number: int, version: int = 0) -> None:
        """Upload all variables of a region, and the static one if it is not yet."""
        self.versions[number] = version
        for name in (SMALL, LARGE):
            folder, keys = self.region_folder(name, number, version)
            self.keep(name, number, self.store.upload(folder, keys, self.proof))
        if number == 0:
            self.upload_static()

    def upload_static(self) -> None:
        """Upload the variable without the append dim."""
        folder, keys = self.region_folder(STATIC, 0)
        self.keep(STATIC, -1, self.store.upload(folder, keys, self.proof))

    def keep(self, name: str, number: int, uploaded: Uploaded) -> None:
        """Keep a receipt."""
        self.versions.setdefault(number, 0)
        self.uploaded[name, number] = uploaded

    def publish(
        self,
        length: int,
        upto: int | None = None,
        without: Collection[int] = (),
        values: Sequence[CoordinateValues] = (),
    ) -> bool:
        """Make positions visible, from the receipts of the regions that they touch."""
        staged = []
        for number in sorted({n for _, n in self.uploaded}):
            if number * REGION >= length or (upto is not None and number > upto):
                continue
            if number in without:
                continue
            self.shown[number] = self.versions[number]
            of_region = {v: u for (v, n), u in self.uploaded.items() if n == number}
            tokens = {name: u.token for name, u in of_region.items() if u.token is not None}
            stop = max(0, min((number + 1) * REGION, length))
            name = Region.STATIC.name if number < 0 else str(number)
            if tokens:
                staged.append(StagedRegion(name, stop, tokens, DIM, self.visible, f"region {name}"))
        with self._folder(length) as folder:
            changed = self.store.publish(folder, staged, "metadata", values=values)
        self.visible = length
        return changed

    def truncate(self, length: int) -> int:
        """Let readers see fewer positions; the number of objects that are gone."""
        with self._folder(length) as folder:
            deleted = self.store.truncate(folder, DIM, "truncate")
        self.visible = length
        return deleted

    def act_at_random(self, random: np.random.Generator, steps: int) -> None:
        """Upload and publish as a seed says, and check all after each publication."""
        for _ in range(steps):
            whole = next(n for n in range(5) if n not in self.versions)
            if whole * REGION > self.visible and random.random() < 0.4:
                length = int(random.integers(self.visible + 1, whole * REGION + 1))
                # What is visible as it was may wait for a later publication.
                seen = [n for n in range(4) if (n + 1) * REGION <= self.visible]
                self.publish(length, without=[n for n in seen if random.random() < 0.5])
                self.check(self.visible)
            elif self.visible and random.random() < 0.2:
                self.publish(self.visible)
                self.check(self.visible)
            else:
                number = int(random.integers(0, 4))
                self.upload(number, self.versions.get(number, -1) + 1)
        for number in set(range(4)) - set(self.versions):
            self.upload(number)
        self.publish(self.length)
        self.check(self.length)

    def missing(self) -> list[str]:
        """Return what the store misses of all that was uploaded."""
        return [
            key
            for uploaded in self.uploaded.values()
            for key in self.store.missing(uploaded.objects, *token_of(uploaded))
        ]

    def check(self, length: int) -> None:
        """Compare all that a reader sees with what it must be."""
        assert self.store.published_length(DIM) == length
        metadata = self.store.metadata()
        assert metadata is not None
        assert metadata["attributes"]["title"] == self.title
        arrays = metadata["consolidated_metadata"]["metadata"]
        assert arrays[SMALL]["shape"] == [length, CELLS]
        with self.store.open_dataset() as ds:
            assert ds.attrs["title"] == self.title
            np.testing.assert_array_equal(ds[DIM].values, np.arange(length) * 10)
            np.testing.assert_array_equal(ds["cell"].values, np.arange(CELLS))
            for name in (SMALL, LARGE, STATIC):
                truth = self.truth(name)
                np.testing.assert_array_equal(
                    ds[name].values, truth if name == STATIC else truth[:length]
                )

    def values(self, name: str) -> np.ndarray[Any, Any]:
        """Return what a reader sees of a variable."""
        with self.store.open_dataset() as ds:
            return np.asarray(ds[name].values)

    def truth(self, name: str) -> np.ndarray[Any, Any]:
        """Return what the whole archive holds once every region is uploaded."""
        if name == STATIC:
            return np.arange(CELLS, dtype="float32")
        versions = self.versions if self.store.shows_uploads else self.shown
        parts = [values_of(name, n, versions.get(n, 0)) for n in range(self.length // REGION)]
        return np.concatenate(parts)

    def region_folder(self, name: str, number: int, version: int = 0) -> tuple[Path, list[str]]:
        """Write one variable of a region as compress does: a folder, and the keys in it."""
        with self._folder(self.length) as template:
            folder = self.tmp_path / f"shards-{name}-{number}-{version}"
            (folder / name).mkdir(parents=True, exist_ok=True)
            for key in ("zarr.json", f"{name}/zarr.json"):
                shutil.copy(template / key, folder / key)
        array = zarr.open_array(folder, path=name, mode="r+", zarr_format=3)
        if name == STATIC:
            array[:] = np.arange(CELLS, dtype="float32")
        else:
            array[number * REGION : (number + 1) * REGION] = values_of(name, number, version)
        paths = [p for p in (folder / name).rglob("*") if p.is_file() and p.name != "zarr.json"]
        return folder, sorted(path.relative_to(folder).as_posix() for path in paths)

    @contextmanager
    def _folder(self, length: int) -> Any:
        folder = self.tmp_path / f"metadata-{length}-{self.title}"
        if not folder.exists():
            self._write(folder, length)
        yield folder
        shutil.rmtree(folder / SHARE / "c", ignore_errors=True)

    def _write(self, folder: Path, length: int) -> None:
        ds = self._declared(length)
        encoding = {name: dict(one) for name, one in ENCODING.items()}
        for name in (SMALL, LARGE, STATIC):
            encoding[name]["_FillValue"] = np.float32("nan")
            # Loaded variables would be written: these are for their metadata only.
            if ds[name].size:
                ds[name] = ds[name].chunk()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ds.to_zarr(
                folder,
                mode="w",
                compute=False,
                consolidated=True,
                zarr_format=3,
                encoding=encoding,
            )

    def _declared(self, length: int) -> xr.Dataset:
        def empty(*shape: int) -> np.ndarray[Any, Any]:
            return np.zeros(shape, dtype="float32")

        return xr.Dataset(
            {
                SMALL: ((DIM, "cell"), empty(length, CELLS)),
                LARGE: ((DIM, "cell"), empty(length, CELLS)),
                STATIC: (("cell",), empty(CELLS)),
            },
            coords={
                DIM: np.arange(length) * 10,
                "cell": np.arange(CELLS),
                SHARE: (DIM, empty(length)),
            },
            attrs={"title": self.title},
        )


def values_of(name: str, number: int, version: int) -> np.ndarray[Any, Any]:
    cells = np.arange(REGION * CELLS, dtype="float32").reshape(REGION, CELLS)
    return cells + np.float32(100 * number + 1000 * version + (0.5 if name == LARGE else 0.0))


def token_of(uploaded: Uploaded) -> tuple[str, ...]:
    return () if uploaded.token is None else (uploaded.token,)
