"""The metadata of a store that another program wrote, and what adopting changes of them. Pure."""

from __future__ import annotations

import base64
import copy
import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from zarr.abc.store import Store
from zarr.core.buffer.core import default_buffer_prototype
from zarr.core.sync import sync

from gridmill.authoring.template import TemplateConfig
from gridmill.stores.metadata import ROOT, array_metadata

__all__ = ["Adapted", "Misfit", "adapted", "metadata_in"]

COPY = "gridmill copy rewrites it as the dataset declares it"
# What the metadata of a Zarr v2 group are called.
V2 = (".zmetadata", ".zgroup", ".zattrs")

Metadata = dict[str, Any]


@dataclass(frozen=True)
class Misfit:
    """One point in which a store is not what gridmill could continue.

    Parameters
    ----------
    what
        The point, with the values.
    remedy
        What takes it away.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.remedy}"


def metadata_in(store: Store) -> tuple[Metadata | None, list[Misfit]]:
    """Read the metadata of a group and its arrays in the form of a consolidated root.

    Returns
    -------
    dict or None
        The root; None where there is no group of Zarr v3.
    list of Misfit
        What of the store no metadata of an archive could say.
    """
    content = _get(store, ROOT)
    if content is None:
        if any(_get(store, key) is not None for key in V2):
            return None, [Misfit("the store is in Zarr v2, and gridmill writes v3", COPY)]
        return None, [Misfit("there is no Zarr group", "give the address of an archive")]
    root: Metadata = json.loads(content)
    found = {name: _get(store, f"{name}/{ROOT}") for name in _names(store) if name != ROOT}
    arrays = {name: json.loads(array) for name, array in found.items() if array is not None}
    misfits = [
        Misfit(f"{name} is a group", "an archive has its arrays in the root; " + COPY)
        for name, node in arrays.items()
        if node["node_type"] != "array"
    ]
    arrays = {name: node for name, node in arrays.items() if node["node_type"] == "array"}
    misfits += _stale(root, arrays)
    return {**root, "consolidated_metadata": {"metadata": arrays}}, misfits


def _stale(root: Metadata, arrays: Mapping[str, Any]) -> list[Misfit]:
    """Name the arrays of which the root says something else than they do themselves."""
    consolidated = array_metadata(root)
    differing = [
        name
        for name in sorted(consolidated)
        if name in arrays and _essence(consolidated[name]) != _essence(arrays[name])
    ]
    return [
        Misfit(
            f"{name}: the consolidated metadata are not the array's own",
            "zarr.consolidate_metadata makes them agree",
        )
        for name in differing
    ]


def _essence(array: Mapping[str, Any]) -> Mapping[str, Any]:
    return {k: v for k, v in array.items() if v not in (None, [], {}) and k != "attributes"}


def _names(store: Store) -> list[str]:
    async def listed() -> list[str]:
        return sorted([name async for name in store.list_dir("")])

    return sync(listed())


def _get(store: Store, key: str) -> bytes | None:
    found = sync(store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


# -- what adopting changes -----------------------------------------------------------------------


@dataclass(frozen=True)
class Adapted:
    """Metadata as they are once an archive is adopted: readers decode the same values.

    Parameters
    ----------
    root
        Everything consolidated.
    changes
        What differs from what is there, in words.
    filled
        Arrays with another fill value than before: none of their chunks may be absent, since
        readers get that value for it.
    """

    root: Metadata
    changes: tuple[str, ...]
    filled: tuple[str, ...]


def adapted(found: Metadata, config: TemplateConfig, *, is_consolidated: bool) -> Adapted:
    """Change what another program leaves out or says otherwise, and nothing that readers decode.

    Parameters
    ----------
    found
        See `metadata_in`.
    config
        The template as the code declares it.
    is_consolidated
        Whether the store's root has the arrays' metadata, or the format needs no such root.
    """
    root = copy.deepcopy(found)
    arrays = array_metadata(root)
    changes = [] if is_consolidated else ["the metadata are consolidated"]
    attributes = root.setdefault("attributes", {})
    if "dataset_id" not in attributes:
        attributes["dataset_id"] = config.dataset_id
        changes.append(f"attribute dataset_id is {config.dataset_id}")
    filled = []
    for var in (v for v in config.data_vars if v.name in arrays):
        own, array = arrays[var.name].setdefault("attributes", {}), arrays[var.name]
        if "units" not in own:
            own["units"] = var.attrs["units"]
            changes.append(f"{var.name}: attribute units is {own['units']}")
        if (was := _let_missing_be_absent(array)) is not None:
            changes.append(f"{var.name}: fill_value is {array['fill_value']}, and not {was}")
            filled.append(var.name)
    for coord in (c for c in config.coords if c.name in arrays):
        # CF 2.5.1: a coordinate has a value everywhere; xarray writes it all the same.
        if arrays[coord.name].get("attributes", {}).pop("_FillValue", None) is not None:
            changes.append(f"{coord.name}: attribute _FillValue is left out")
        own = arrays[coord.name].get("attributes", {})
        units = _respelled(own)
        if units is not None:
            own["units"] = units
            changes.append(f"{coord.name}: units are spelled {units}")
    root["consolidated_metadata"] = {"metadata": arrays}
    return Adapted(root, tuple(changes), tuple(filled))


def _let_missing_be_absent(array: Metadata) -> Any:
    """Let a chunk that is not there read as missing, in place; what it read as if that changed."""
    attributes, stored = array["attributes"], array["fill_value"]
    try:
        dtype = np.dtype(array["data_type"])
    except TypeError:
        return None  # the comparison names it
    if dtype.kind == "f":
        missing = _decoded(attributes.get("_FillValue"), math.nan)
        attributes["_FillValue"] = _encoded(missing)
        wanted: Any = "NaN" if math.isnan(missing) else missing
        is_same = float(stored) == missing or (math.isnan(float(stored)) and math.isnan(missing))
    elif dtype.kind in "iu" and "_FillValue" in attributes:
        wanted = attributes["_FillValue"]
        is_same = stored == wanted
    else:
        return None
    if is_same:
        return None
    array["fill_value"] = wanted
    return stored


def _respelled(attributes: Metadata) -> str | None:
    """Spell units of a time as xarray writes those that it is given; None if they are.

    Examples
    --------
    >>> times = {"units": "hours since 2020-01-01 00:00:00", "calendar": "proleptic_gregorian"}
    >>> _respelled(times)
    'hours since 2020-01-01'
    >>> _respelled({"units": "K"})
    """
    units, calendar = str(attributes.get("units")), str(attributes.get("calendar"))
    if " since " not in units:
        return None
    try:
        label = xr.date_range("2000-01-01", periods=1, calendar=calendar)
        encoding = {"units": units, "calendar": calendar}
        given = xr.Variable(("time",), label, encoding=encoding)
        written = str(xr.conventions.encode_cf_variable(given).attrs["units"])
    except (TypeError, ValueError):
        return None  # nobody decodes these
    return None if written == units else written


def _decoded(value: Any, default: float) -> float:
    """Read a floating fill value as xarray writes it in Zarr v3: base64 of a little-endian double.

    Examples
    --------
    >>> _decoded("AAAAAAAA+H8=", 0.0), _decoded(None, 1.0)
    (nan, 1.0)
    """
    if value is None:
        return default
    if not isinstance(value, str) or value == "NaN":
        return float(value)
    (number,) = struct.unpack("<d", base64.standard_b64decode(value))
    return float(number)


def _encoded(value: float) -> str:
    return base64.standard_b64encode(struct.pack("<d", value)).decode()
