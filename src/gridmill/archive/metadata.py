"""A template as the objects of a Zarr store: metadata and coordinates, without data.

What grows is written by xarray, everything else is taken over as it was written once: a third of a
second for forty data variables, or for coordinates of two dims, is what readers would wait for with
each publication.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import xarray as xr
import zarr

from gridmill.authoring.describing.coverage import time_coverage
from gridmill.authoring.encoding.text import is_text
from gridmill.stores.metadata import ROOT, array_metadata
from gridmill.stores.structure import CURRENT, keeps_acdd

__all__ = [
    "is_as_declared",
    "leave_out_seen",
    "objects_of",
    "with_current",
    "write_by_xarray",
    "write_current",
    "write_growing",
]

Objects = Mapping[str, bytes]


def write_by_xarray(ds: xr.Dataset, folder: Path, of_data: Collection[str] = ()) -> None:
    """Write all metadata and coordinates of a template into an empty folder.

    xarray writes values as they are, and loads what has none: so it writes the data variables at
    length 0, of which only the metadata is taken, with the lengths that they have.

    Coordinates have all of their objects, also those that hold nothing but fill values: where a
    reader may not list a bucket, an object that is absent is forbidden to it.

    Parameters
    ----------
    ds
        The template.
    folder
        Where to.
    of_data
        The coordinates whose values are not the template's: of them nothing but fill is left out,
        so that it does not replace what is known.
    """
    coords = ds.drop_vars(list(ds.data_vars)).copy()  # with encodings of its own
    for name in coords.coords.keys() - set(of_data):
        coords[name].encoding["write_empty_chunks"] = True
    _to_zarr(coords, folder)
    if not ds.data_vars:
        return
    with TemporaryDirectory(dir=folder) as emptied:
        _to_zarr(_emptied(ds), Path(emptied))
        root = json.loads((Path(emptied) / ROOT).read_bytes())
    arrays = array_metadata(root)
    written = array_metadata(json.loads((folder / ROOT).read_bytes()))
    for name, variable in ((str(name), variable) for name, variable in ds.variables.items()):
        if name in ds.data_vars:
            arrays[name] |= {"shape": list(variable.shape)}
            (folder / name).mkdir()
            (folder / name / ROOT).write_bytes(_as_json(arrays[name]))
        else:
            arrays[name] = written[name]
    root["consolidated_metadata"]["metadata"] = arrays
    (folder / ROOT).write_bytes(_as_json(root))


def _emptied(ds: xr.Dataset) -> xr.Dataset:
    # Of text that is not there xarray does not know that it is text.
    texts = {dim for coord in ds.coords.values() if is_text(coord) for dim in coord.dims}
    cut = ds.isel({dim: slice(0, int(dim in texts)) for dim in ds.dims})
    return cut.assign(
        {n: v.copy(data=np.empty(v.shape, v.dtype)) for n, v in cut.data_vars.items()}
    )


def _to_zarr(ds: xr.Dataset, folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently")
        ds.to_zarr(folder, mode="w", consolidated=True, zarr_format=3)


def objects_of(folder: Path) -> dict[str, bytes]:
    """Read the objects of a local store, by key."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def is_as_declared(ds: xr.Dataset, declared: xr.Dataset) -> bool:
    """Whether the metadata of a dataset are those of a template, but for lengths."""
    return (
        ds.variables.keys() == declared.variables.keys()
        and ds.coords.keys() == declared.coords.keys()
        and all(v.dims == declared.variables[n].dims for n, v in ds.variables.items())
        and _have_same(declared, ds)
        and all(_have_same(declared[name], ds[name]) for name in ds.data_vars)
    )


def write_growing(
    ds: xr.Dataset,
    template_ds: xr.Dataset,
    append_dim: str,
    written: Objects,
    folder: Path,
    of_data: Collection[str] = (),
) -> None:
    """Write a part of a template into an empty folder: what grows as new, the rest as written.

    Parameters
    ----------
    ds
        The part; its metadata are as declared.
    template_ds
        The template.
    append_dim
        What grows.
    written
        The whole template's objects.
    folder, of_data
        See `write_by_xarray`.
    """
    # What grows is not taken from there: the template may reach further by now.
    unchanged = {
        name
        for name, variable in ds.variables.items()
        if variable is template_ds.variables[name] and append_dim not in variable.dims
    }
    write_by_xarray(ds.drop_vars({*ds.data_vars, *unchanged}), folder, of_data)
    root = json.loads(written[ROOT])
    arrays = array_metadata(root)
    arrays.update(array_metadata(json.loads((folder / ROOT).read_bytes())))
    objects = {k: v for k, v in written.items() if k.partition("/")[0] in unchanged}
    for name, variable in ds.data_vars.items():
        arrays[str(name)] |= {"shape": list(variable.shape)}
        objects[f"{name}/{ROOT}"] = _as_json(arrays[str(name)])
    root["consolidated_metadata"]["metadata"] = arrays
    objects[ROOT] = _as_json(root)
    for key, content in objects.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(content)


def leave_out_seen(
    ds: xr.Dataset,
    template_ds: xr.Dataset,
    append_dim: str,
    seen: int,
    folder: Path,
    of_data: Collection[str] = (),
) -> None:
    """Delete the objects of coordinates that hold nothing but positions that readers have seen.

    An archive that another program made may have one a position.

    Parameters
    ----------
    ds, template_ds
        What the folder has, and the template: only of what is the template's anything is deleted.
    append_dim
        What grows.
    seen
        How many positions.
    folder
        A local store.
    of_data
        The coordinates whose values are not the template's: of them all stays.
    """
    for name in ds.coords.keys() - set(of_data):
        dims = ds[name].dims
        if append_dim not in dims:
            continue
        axis, array = dims.index(append_dim), json.loads((folder / str(name) / ROOT).read_bytes())
        chunk = int(array["chunk_grid"]["configuration"]["chunk_shape"][axis])
        whole = {append_dim: slice(0, seen // chunk * chunk)}
        ours, declared = (of.variables[name].isel(whole) for of in (ds, template_ds))
        if not ours.size or not np.array_equal(ours.values, declared.values):
            continue
        for path in folder.glob(f"{name}/c/{'*/' * len(dims)}"[:-1]):
            if int(path.relative_to(folder / str(name) / "c").parts[axis]) < seen // chunk:
                path.unlink()


def with_current(
    root: Mapping[str, Any], ds: xr.Dataset, append_dim: str, declared: Mapping[str, Any]
) -> dict[str, Any]:
    """Return root metadata that say how far readers see, where they keep ACDD.

    Parameters
    ----------
    root
        Everything consolidated, with the lengths that readers see.
    ds
        The template, as far or further.
    append_dim
        What grows.
    declared
        Global attributes of the template: what of it an author declares stays as declared.
    """
    attributes = dict(root.get("attributes") or {})
    index = array_metadata(dict(root)).get(append_dim)
    if not keeps_acdd(attributes) or index is None:
        return dict(root)
    ds = ds.isel({append_dim: slice(0, int(index["shape"][0]))})
    theirs = {key: value for key, value in attributes.items() if key not in CURRENT}
    own = {key: value for key, value in attributes.items() if key in declared}
    return {**root, "attributes": {**theirs, **time_coverage(ds, append_dim), **own}}


def write_current(
    ds: xr.Dataset, append_dim: str, declared: Mapping[str, Any], folder: Path
) -> None:
    """Let the root metadata of a local store say how far readers see, see `with_current`."""
    if keeps_acdd(declared):
        root = json.loads((folder / ROOT).read_bytes())
        (folder / ROOT).write_bytes(_as_json(with_current(root, ds, append_dim, declared)))


def _have_same(declared: xr.Dataset | xr.DataArray, ours: xr.Dataset | xr.DataArray) -> bool:
    """Whether attributes and encoding hold the very same objects, as cutting leaves them.

    Others may be equal and yet be written differently, as 1 and 1.0 are.
    """
    return all(
        theirs.keys() == mine.keys() and all(mine[key] is value for key, value in theirs.items())
        for theirs, mine in ((declared.attrs, ours.attrs), (declared.encoding, ours.encoding))
    )


def _as_json(metadata: Mapping[str, Any]) -> bytes:
    """Write metadata as zarr does: what did not change has the same bytes."""
    return json.dumps(metadata, indent=zarr.config.get("json_indent")).encode()
