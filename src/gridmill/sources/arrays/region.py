"""A region of somebody's Zarr archive, fetched chunk by chunk into one local file.

The chunks that a selection touches, with the metadata and the coordinates, become a Zarr store in a
zip file: what is read from it later is what was fetched, whatever the provider's archive is by
then. Both formats (v2, v3), any codec; of sharded arrays whole shards are fetched. Its identity is
that of the chunks, and not of the metadata, which changes with each append.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gridmill.model.files.versions import checksum_of_file
from gridmill.sources.arrays.opened import Remote
from gridmill.sources.fetch.download import (
    Download,
    FileIdentity,
    NotAvailable,
    partial_beside,
)
from gridmill.sources.fetch.failures import mask_url

if TYPE_CHECKING:
    import xarray as xr

__all__ = [
    "AbsentChunks",
    "Selected",
    "fetch_region",
    "has_changed",
    "identify_region",
    "open_region",
]

AbsentChunks: TypeAlias = Literal["missing", "fill"]

# A chunk is a request; what the host allows holds beside.
CHUNKS_AT_ONCE = 8
Positions: TypeAlias = Mapping[str, slice]


@dataclass(frozen=True, kw_only=True)
class Selected:
    """What of an archive is wanted.

    Parameters
    ----------
    arrays
        Names of its arrays.
    labels
        By dim a label, or a slice of labels with both ends included; other dims are wanted whole.
    absent_chunks
        What a chunk means that is not there. The format says that its values are the fill; whether
        they were left out because they are, or were not written yet, only the provider knows.
        "missing": the region is not available yet. "fill": they are the fill.
    """

    arrays: tuple[str, ...]
    labels: Mapping[str, Any]
    absent_chunks: AbsentChunks = "missing"


def fetch_region(remote: Remote, selected: Selected, destination: Path) -> Download:
    """Fetch a region to `destination`, which is then whole or untouched.

    Raises
    ------
    NotAvailable
        The archive has no such labels yet, none of the arrays, or lacks chunks that are not taken
        for fill. Of several arrays those that are there are fetched.
    DownloadFailed
        The provider did not give a chunk, or the metadata.
    ValueError
        An array has no such dim.
    """
    selected = _there(remote, selected)
    positions = _positions(remote, selected)
    keys = _keys(remote, selected.arrays, positions)
    with partial_beside(destination) as partial:
        with zipfile.ZipFile(partial, "w") as packed:
            found = _fetched(remote, keys, packed)
            _check_absent(remote, selected, keys, found)
            # No object of the store, which would be told of as no part of Zarr.
            told = {dim: [at.start, at.stop] for dim, at in positions.items()}
            packed.comment = json.dumps(told).encode()
            for name, content in remote.description().items():
                packed.writestr(zipfile.ZipInfo(name), content)
        partial.replace(destination)
    absent = len(keys) - len(found)
    return Download(
        path=destination,
        nbytes=destination.stat().st_size,
        etag=_named(remote, selected.arrays, positions, keys, found),
        last_modified=None,
        attempts=1,
        file_nbytes=sum(file.nbytes or 0 for file in found.values()),
        checksum=checksum_of_file(destination),
        remark="some chunks are absent at the source, and taken for its fill" if absent else None,
        url=mask_url(remote.url),
    )


def identify_region(remote: Remote, selected: Selected) -> FileIdentity:
    """Ask which version of a region an archive has: a small request a chunk.

    Raises
    ------
    NotAvailable, DownloadFailed, ValueError
        As by `fetch_region`.
    """
    selected = _there(remote, selected)
    positions = _positions(remote, selected)
    keys = _keys(remote, selected.arrays, positions)
    found = _each(keys, remote.identify)
    _check_absent(remote, selected, keys, found)
    return FileIdentity(etag=_named(remote, selected.arrays, positions, keys, found))


def has_changed(remote: Remote, before: Remote, selected: Selected) -> bool:
    """Whether a region is another version than it was, in an archive that tells its changes.

    That is so if its labels lie elsewhere, its arrays are decoded otherwise, or a chunk changed.

    Raises
    ------
    NotAvailable, DownloadFailed, ValueError
        As by `fetch_region`.
    """
    selected = _there(remote, selected)
    positions = _positions(remote, selected)
    decoding = remote.decoding(selected.arrays)
    try:
        if _positions(before, selected) != positions:
            return True
        if before.decoding(selected.arrays) != decoding:
            return True
    except (NotAvailable, ValueError):
        return True  # it was not there
    keys = _keys(remote, selected.arrays, positions)
    return remote.has_changed(before, selected.arrays, keys)


def open_region(path: Path) -> xr.Dataset:
    """Open what `fetch_region` fetched, with its coordinates; close it after use."""
    import xarray as xr
    from zarr.storage import ZipStore

    with zipfile.ZipFile(path) as packed:
        told = json.loads(packed.comment)
    # Coordinates are whole, for their own encoding says how they are decoded.
    store = ZipStore(path, mode="r")
    opened: xr.Dataset = xr.open_zarr(store, chunks=None, consolidated=False)
    return opened.isel({dim: slice(*at) for dim, at in told.items() if dim in opened.dims})


def _there(remote: Remote, selected: Selected) -> Selected:
    """Leave out arrays that are not there: to read these fails then, and no others."""
    found = tuple(name for name in selected.arrays if remote.has_array(name))
    if not found:
        raise NotAvailable(remote.url, f"it has no array {' or '.join(selected.arrays)}")
    return replace(selected, arrays=found)


def _positions(remote: Remote, selected: Selected) -> dict[str, slice]:
    """Find labels on the archive's axes."""
    found = {}
    for dim, label in selected.labels.items():
        index = remote.index(dim)
        ends = (label.start, label.stop) if isinstance(label, slice) else (label, label)
        at = [int(position) for position in index.get_indexer(list(ends))]  # type: ignore[arg-type]
        if -1 in at:
            told = f"{index[0]} … {index[-1]}" if len(index) else "nothing"
            raise NotAvailable(remote.url, f"its {dim} is {told}, without {ends[0]} … {ends[1]}")
        found[dim] = slice(min(at), max(at) + 1)
    return found


def _keys(remote: Remote, arrays: Sequence[str], positions: Positions) -> list[str]:
    """Return the keys of the chunks that a selection touches."""
    keys = []
    for name in arrays:
        array, dims = remote.array(name), remote.dims(name)
        if unknown := sorted(positions.keys() - set(dims)):
            raise ValueError(f"{name} of {mask_url(remote.url)} has dims {dims}, not {unknown}")
        lengths = array.shards or array.chunks
        spans = (
            range(at.start // length, -(-at.stop // length))
            for dim, size, length in zip(dims, array.shape, lengths, strict=True)
            for at in (positions.get(dim, slice(0, size)),)
        )
        encode = array.metadata.encode_chunk_key
        keys += [f"{array.path}/{encode(chunk)}".lstrip("/") for chunk in product(*spans)]
    return keys


def _fetched(
    remote: Remote, keys: Sequence[str], packed: zipfile.ZipFile
) -> dict[str, FileIdentity]:
    """Fetch chunks into a zip file, in order, so that the same chunks are the same bytes."""
    found = {}
    for start in range(0, len(keys), CHUNKS_AT_ONCE):
        some = _each(keys[start : start + CHUNKS_AT_ONCE], remote.read)
        for key, (content, file) in some.items():
            packed.writestr(zipfile.ZipInfo(key), content)
            found[key] = file
    return found


def _each(keys: Sequence[str], ask: Callable[[str], Any]) -> dict[str, Any]:
    """Ask for chunks, several at once; those that are absent are left out."""

    def there(key: str) -> Any:
        try:
            return ask(key)
        except NotAvailable:
            return None

    # Its threads know what this one does: credentials, and what stops it in a race of mirrors.
    runs = [copy_context().run for _ in keys]
    with ThreadPoolExecutor(CHUNKS_AT_ONCE, thread_name_prefix="chunk") as pool:
        answers = pool.map(lambda run, key: run(there, key), runs, keys)
        return {k: answer for k, answer in zip(keys, answers, strict=True) if answer is not None}


def _check_absent(
    remote: Remote, selected: Selected, keys: Sequence[str], found: Mapping[str, Any]
) -> None:
    """Raise unless the chunks that are not there are known to be fill."""
    absent = [key for key in keys if key not in found]
    if not absent or (selected.absent_chunks == "fill" and found):
        return
    advice = "" if not found else '; if it leaves out chunks of fill, declare absent_chunks="fill"'
    raise NotAvailable(
        remote.url, f"{len(absent)} of {len(keys)} chunks are absent, like {absent[0]}{advice}"
    )


def _named(
    remote: Remote,
    arrays: Sequence[str],
    positions: Positions,
    keys: Sequence[str],
    found: Mapping[str, FileIdentity],
) -> str:
    """Name a version by what names its chunks, where they lie, and how they are decoded."""
    files = [
        (key, file and (file.nbytes, file.etag, file.last_modified))
        for key in keys
        for file in (found.get(key),)
    ]
    places = sorted((dim, at.start, at.stop) for dim, at in positions.items())
    told = json.dumps([files, places, remote.decoding(arrays)], sort_keys=True)
    snapshot = "" if remote.snapshot is None else f"@{remote.snapshot}"
    return f'"chunks-{hashlib.sha256(told.encode()).hexdigest()[:32]}{snapshot}"'
