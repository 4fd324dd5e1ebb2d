"""What the STAC extensions of a collection of ours demand of it, by their documentation.

Their JSON schemas are on the web alone: no package has those of these versions. Sources, each the
README of the repository with its tables of fields:

- https://github.com/stac-extensions/datacube, v2.3.0;
- https://github.com/stac-extensions/zarr, v1.1.0;
- https://github.com/stac-extensions/xarray-assets, v1.0.0;
- https://github.com/stac-extensions/version, v1.2.0;
- https://github.com/radiantearth/stac-spec, v1.1.0, common metadata, for data types.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

__all__ = ["broken_rules"]

DURATION = re.compile(r"P(?=.)(\d+D)?(T(?=.)(\d+H)?(\d+M)?(\d+S)?)?")
DATA_TYPES = {
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    *("float16", "float32", "float64", "cint16", "cint32", "cfloat32", "cfloat64", "other"),
}
ZARR = {
    "zarr:consolidated": lambda value: isinstance(value, bool),
    "zarr:node_type": lambda value: value in ("group", "array"),
    "zarr:zarr_format": lambda value: value in (2, 3) and not isinstance(value, bool),
}
XARRAY = {"xarray:open_kwargs", "xarray:storage_options"}


def broken_rules(collection: Mapping[str, Any]) -> list[str]:
    """Return what a collection breaks of the rules of its extensions."""
    dims = collection.get("cube:dimensions")
    if not isinstance(dims, Mapping):
        return ["cube:dimensions is required"]
    variables = collection.get("cube:variables", {})
    both = [f"{name} is a dimension and a variable" for name in dims.keys() & variables.keys()]
    of_dims = [f"{n}: {what}" for n, dim in dims.items() for what in _of_dimension(dim)]
    of_variables = [f"{n}: {what}" for n, v in variables.items() for what in _of_variable(v, dims)]
    version = [] if isinstance(collection.get("version"), str) else ["version is a text"]
    return [*both, *of_dims, *of_variables, *_of_assets(collection["assets"]), *version]


def _of_dimension(dim: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_texts(dim)
    kind, axis = dim.get("type"), dim.get("axis")
    if not isinstance(kind, str):
        yield "type is required"
    if kind == "spatial" and axis in ("x", "y"):
        yield from _of_numbers(dim, required=("extent",), may_be_open=False)
    elif kind == "spatial" and axis == "z":
        yield from _of_numbers(dim, required=("extent", "values"))
    elif kind == "spatial":
        yield f"axis is x, y or z, not {axis!r}"
    elif axis is not None:
        yield "only a spatial dimension has an axis"
    elif kind == "temporal" and any(isinstance(end, str) for end in dim.get("extent", ())):
        yield from _of_times(dim)
    elif kind == "geometry":
        yield "this says nothing of geometries"
    else:
        yield from _of_numbers(dim, required=("extent", "values"))


def _of_texts(said: Mapping[str, Any]) -> Iterator[str]:
    for name in ("description", "unit"):
        if not isinstance(said.get(name, ""), str):
            yield f"{name} is a text"


def _of_numbers(
    dim: Mapping[str, Any], *, required: tuple[str, ...], may_be_open: bool = True
) -> Iterator[str]:
    if not set(required) & set(dim):
        yield f"{' or '.join(required)} is required"
    if "extent" in dim:
        ends = dim["extent"]
        numbers = [end for end in ends if end is not None]
        if len(ends) != 2 or not all(map(_is_number, numbers)) or numbers != sorted(numbers):
            yield f"extent has a lower and an upper bound, not {ends}"
        if not may_be_open and len(numbers) < 2:
            yield "extent is closed"
    values = dim.get("values", [0])
    if not values or not all(isinstance(value, str) or _is_number(value) for value in values):
        yield "values are numbers or texts"
    if dim.get("step") is not None and not _is_number(dim["step"]):
        yield "step is a number or null"


def _of_times(dim: Mapping[str, Any]) -> Iterator[str]:
    try:
        first, last = (datetime.fromisoformat(end) for end in dim["extent"])
        if first > last:
            yield "extent has a lower and an upper bound"
    except (TypeError, ValueError):
        yield f"extent has two dates, not {dim['extent']}"
    step = dim.get("step")
    if step is not None and not DURATION.fullmatch(step):
        yield f"step is an ISO 8601 duration, not {step!r}"


def _of_variable(variable: Mapping[str, Any], dims: Mapping[str, Any]) -> Iterator[str]:
    yield from _of_texts(variable)
    unknown = [dim for dim in variable["dimensions"] if dim not in dims]
    if unknown:
        yield f"cube:dimensions lacks {', '.join(unknown)}"
    if variable.get("type") not in ("data", "auxiliary"):
        yield "type is data or auxiliary"
    if variable.get("data_type", "other") not in DATA_TYPES:
        yield f"{variable['data_type']} is no data type"


def _of_assets(assets: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not any(ZARR.keys() & asset.keys() for asset in assets.values()):
        yield "no asset has a field of zarr"
    for name, asset in assets.items():
        for field, value in asset.items():
            if field.startswith("zarr:") and not ZARR.get(field, lambda _: False)(value):
                yield f"{name}: {field} is {value!r}"
            is_xarrays = field.startswith("xarray:")
            if is_xarrays and not (field in XARRAY and isinstance(value, Mapping)):
                yield f"{name}: {field} is {value!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
