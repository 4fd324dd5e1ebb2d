"""Archives that another program made of the tiny dataset's values, and what takes them over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import zarr

from gridmill.model.urls import is_local
from gridmill.operations.elsewhere.adopt import adopt
from gridmill.operations.elsewhere.copying import copy_archive
from tiny import NAMES, SHAPE, TinyJob, dataset_of, hours, truth, until

__all__ = [
    "Elsewhere",
    "adopt_tiny",
    "copy_tiny",
    "dataset_at",
    "look_at",
    "made",
    "open_for_reading",
    "update_tiny",
    "write",
]

N = 10
NOW = until(30)


class Punctual(TinyJob):
    """A file that is not there after two hours will never be."""

    publication_delay = timedelta(hours=2)


Elsewhere = dataset_of(job=Punctual)


def made(n: int = N, first: int = 0, **attrs: Any) -> xr.Dataset:
    """Give what xarray has in memory before it writes an archive."""
    labels = hours(n, first)
    data = {
        name: (("time", "y", "x"), truth(labels, name), {"long_name": name, "units": "1"})
        for name in NAMES
    }
    coords = {
        "time": labels,
        "y": np.arange(float(SHAPE[0])),
        "x": np.arange(float(SHAPE[1])),
    }
    return xr.Dataset(data, coords, {"title": "Tiny", **attrs})


def write(
    url: str,
    ds: xr.Dataset | None = None,
    *,
    steps: Sequence[int] = (6,),
    options: Mapping[str, Any] | None = None,
    **how: Any,
) -> None:
    """Write an archive as its maintainer did: at once, or with appends that begin at `steps`."""
    ds = made() if ds is None else ds
    ends = [*steps, None]
    # At once, it may be along whatever dims.
    pairs = zip([0, *steps], ends, strict=True)
    parts = [ds.isel(time=slice(a, b)) for a, b in pairs] if steps else [ds]
    if url.rstrip("/").endswith(".icechunk"):
        _write_icechunk(url, parts, options, **how)
        return
    place: dict[str, Any] = {"storage_options": options} if options else {}
    how = {"zarr_format": 3, "consolidated": False, **how}
    parts[0].to_zarr(url, **place, **how)
    for part in parts[1:]:
        part.to_zarr(url, append_dim="time", consolidated=how["consolidated"], **place)


def _write_icechunk(
    url: str, parts: Sequence[xr.Dataset], options: Mapping[str, Any] | None, **how: Any
) -> None:
    import icechunk

    from gridmill.stores.icechunk.settings.storage import storage_at

    repository = icechunk.Repository.create(storage_at(url, options or {}))
    for number, part in enumerate(parts):
        session = repository.writable_session("main")
        _to_icechunk(part, session, **({"append_dim": "time"} if number else how))
        session.commit(f"part {number}")


def _to_icechunk(part: xr.Dataset, session: Any, **how: Any) -> None:
    from icechunk.xarray import to_icechunk

    try:
        to_icechunk(part, session, **how)
    except TypeError:
        # Icechunk 1.1 passes what xarray 2026.9 no longer takes; this is what it does otherwise.
        new = {} if "append_dim" in how else {"zarr_format": 3}
        part.to_zarr(session.store, consolidated=False, **new, **how)


def adopt_tiny(store: str, source: str, options: Any = None) -> None:
    """Adopt an archive of the tiny dataset, unless that is done."""
    try:
        adopt(dataset_at(store, source, options), who="operator", now=NOW)
    except ValueError as error:
        if "gridmill update continues it" not in str(error):
            raise


def copy_tiny(a: str, b: str, source: str, options: Any = None) -> None:
    """Copy an archive of the tiny dataset; the options are the copy's."""
    copy_archive(dataset_at(a, source), dataset_at(b, source, options), who="operator", now=NOW)


def update_tiny(store: str, source: str, options: Any = None) -> None:
    """Bring an archive of the tiny dataset up to fourteen positions."""
    dataset = dataset_at(store, source, options)
    dataset.reformat_operational_update(client="none", until=until(14), now=NOW)


def dataset_at(store: str, source: str, options: Any = None, **more: Any) -> Any:
    """Give the tiny dataset with a store."""
    return Elsewhere(store, source_base=source, storage_options=options, **more)


def open_for_reading(url: str, options: Any = None) -> xr.Dataset:
    """Open an archive as a stranger does."""
    if url.rstrip("/").endswith(".icechunk"):
        import icechunk

        from gridmill.stores.icechunk.settings.storage import storage_at

        repository = icechunk.Repository.open(storage_at(url, options or {}))
        store = repository.readonly_session("main").store
        return xr.open_zarr(store, consolidated=False, chunks=None)
    if is_local(url):
        return xr.open_zarr(url, chunks=None, consolidated=Path(url, "zarr.json").exists() and None)
    store = zarr.storage.FsspecStore.from_url(url, storage_options=options, read_only=True)
    return xr.open_zarr(store, chunks=None)


def look_at(url: str, least: int, most: int, options: Any = None, **values: np.ndarray) -> int:
    """Look at all that a stranger sees of an archive, and say how many positions that is.

    Raises
    ------
    AssertionError
        It is none that should be seen.
    """
    with open_for_reading(url, options) as ds:
        n = ds.sizes["time"]
        assert least <= n <= most, f"{n} positions"
        assert list(ds.get_index("time")) == hours(n)
        for name in NAMES:
            wanted = values.get(name, truth(hours(most), name))
            np.testing.assert_array_equal(ds[name].values, wanted[:n])
    return n
