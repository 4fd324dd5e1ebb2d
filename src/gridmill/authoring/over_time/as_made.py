"""A template with the encoding and the descriptions that an archive was made with. Pure.

The code's defaults improve, and an archive outlives them: its new objects are stored as its old
ones are. What contradicts the archive, in values or in what they mean, is left as the code has it,
so that the comparison of structures names it.

See Also
--------
gridmill.stores.structure : what is compared before anything is written.
gridmill.operations.migrate : lets an archive's descriptions follow the code.
"""

from __future__ import annotations

import base64
import copy
import json
import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from zarr.registry import get_codec_class

from gridmill.authoring.describing.acdd import DERIVED
from gridmill.authoring.describing.finality import shares_of
from gridmill.authoring.encoding.stored import stored_encoding
from gridmill.authoring.encoding.survival import doubts
from gridmill.authoring.over_time.succession import as_named, no_longer_declared, say_succession
from gridmill.authoring.template import TemplateConfig
from gridmill.model.variables import Coordinate, DataVar, Encoding
from gridmill.model.wording import count_of
from gridmill.stores.structure import (
    CURRENT,
    DECODING_ATTRIBUTES,
    STATISTICS,
    Difference,
    keeps_acdd,
)

__all__ = ["AsMade", "as_made"]

Metadata = Mapping[str, Any]

# What decodes values, or says what they mean: the code's, and a contradiction where they differ.
MEANING = DECODING_ATTRIBUTES | {"units"}
MISSING = "missing value"
# In a remark; `gridmill migrate-metadata` lists all.
MOST_NAMED = 6
# What another program's metadata, or a class of an author's, makes of what is read from it.
NOT_OURS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class AsMade:
    """A template as an archive was made with it.

    Parameters
    ----------
    config
        The template; the code's own where nothing differs. It also carries `remarks`.
    changed
        Where the code's defaults differ from what the archive keeps.
    missing
        Declared variables that the archive lacks; `config` does not have them.
    more
        Dims with more labels than the archive has, where it is only looked at, see `held`.
    """

    config: TemplateConfig
    changed: tuple[Difference, ...] = ()
    missing: tuple[DataVar, ...] = ()
    more: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def as_made(
    config: TemplateConfig, stored: Metadata | None, adding: Collection[str] = ()
) -> AsMade:
    """Return a template with the encoding and the descriptions that an archive was made with.

    Parameters
    ----------
    config
        What the code declares, narrowed to the archive's declaration; it is not changed.
    stored
        The archive's consolidated root metadata; None where nothing is published yet.
    adding
        Variables that stay though the archive lacks them: they are being added to it.
    """
    arrays = _arrays_of(stored)
    coded, config = config, as_named(config, arrays, adding)
    kept = [v for v in config.data_vars if v.name in arrays or v.name in adding]
    if stored is None or not any(var.name in arrays for var in kept):
        return AsMade(_without_idle_dims(config))
    missing = tuple(var for var in config.data_vars if var not in kept)
    _ = config.capacity  # takes long to count, and the copy takes it over
    twin = copy.copy(config)
    changed = [*_keep_attributes(twin, stored), *_keep_capacity(twin, arrays)]
    left_out = _left_out(config, kept, arrays)
    lacking = sorted(left_out - _along_idle_dims(config))
    changed += [Difference(name, "", {}, None) for name in lacking]
    lengths = {**_lengths(arrays), config.append_dim: twin.capacity}
    # A dim that gets more labels than it has goes on in more objects of the same size.
    grown = {dim: len(labels) for dim, labels in config.dimension_coordinates().items()}
    coords = [
        _coordinate(c, arrays, lengths, grown) for c in config.coords if c.name not in left_out
    ]
    auxiliary = [c for c, _ in coords if c.name not in c.own_dims]
    variables = [_variable(v, arrays.get(v.name, _former(v, arrays)), auxiliary) for v in kept]
    others = no_longer_declared(config, arrays)
    twin.kept_vars = tuple(_variable(v, arrays[v.name], auxiliary)[0] for v in others)
    changed += [difference for _, found in (*coords, *variables) for difference in found]
    twin.coords = tuple(coord for coord, _ in coords)
    twin.data_vars = tuple(var for var, _ in variables)
    twin.left_out = config.left_out | left_out
    twin.__dict__.pop("region_length", None)
    doubtful = doubts(twin)
    former = [var for var in kept if var.superseded is not None]
    is_other = coded is not config or left_out or changed or missing or doubtful or former
    if not is_other and _is_as_declared(twin, config):
        return AsMade(config)
    said = _remarks(changed, missing, arrays, config.append_dim)
    succession = say_succession(coded, arrays, others)
    twin.remarks = (*said, *_superseded(former), *succession, *doubtful)
    return AsMade(twin, tuple(changed), missing)


def _is_as_declared(twin: TemplateConfig, config: TemplateConfig) -> bool:
    """Whether an archive gives a template nothing that the code does not declare."""
    pairs = zip(config.coords, twin.coords, strict=True)
    has_more = twin.derived is not None or twin.kept_vars
    is_told = any(_told(var.attrs) for var in twin.data_vars)
    return not has_more and not is_told and all(ours is kept for ours, kept in pairs)


# -- what of the code's an archive replaces ---------------------------------------------------


def _variable(
    var: DataVar, array: Metadata | None, auxiliary: Sequence[Coordinate]
) -> tuple[DataVar, list[Difference]]:
    if array is None or _dims_of(array) != var.dims:
        return var, []
    within = (c.name for c in auxiliary if set(c.own_dims) <= set(var.dims))
    implied = {"coordinates": " ".join(sorted(within))}  # xarray writes it of itself
    attrs, described = _attributes(var.name, var.attrs, array, implied, MEANING)
    try:
        # What the code's own attributes say is no encoding's.
        packed_by = {k: v for k, v in _attributes_of(array).items() if k not in var.attrs}
        encoding = stored_encoding({**array, "attributes": packed_by})
        _check_fill_value(encoding, array)
        found = _encoding_differences(var.name, var.encoding, encoding)
        made = replace(var, attrs=attrs, encoding=encoding if found else var.encoding)
    except NOT_OURS:
        return var, []
    is_other = found or described or _told(attrs)
    return (made, [*found, *described]) if is_other else (var, [])


def _told(attributes: Mapping[str, Any]) -> bool:
    """Whether a variable says what its values are like: it goes on saying it."""
    return not attributes.keys().isdisjoint(STATISTICS)


def _former(var: DataVar, arrays: Metadata) -> Metadata | None:
    """Return what an archive has of a variable by its former name: it is stored as that was."""
    return None if var.previously is None else arrays.get(var.previously)


def _check_fill_value(encoding: Encoding, array: Metadata) -> None:
    """Raise where xarray and zarr would read other values as missing: no encoding gives that."""
    if encoding.is_floating:
        # As xarray writes it in Zarr v3.
        written = base64.standard_b64encode(struct.pack("<d", encoding.fill)).decode()
        if _attributes_of(array).get("_FillValue") != written:
            raise ValueError(f"fill value {encoding.fill} is not the attribute _FillValue")


def _coordinate(
    coord: Coordinate, arrays: Metadata, lengths: Mapping[str, int], grown: Mapping[str, int]
) -> tuple[Coordinate, list[Difference]]:
    array = arrays.get(coord.name)
    if array is None or _dims_of(array) != coord.own_dims:
        return coord, []
    own = coord.encoding(lengths)
    try:
        units = _time_units(coord, array)
        encoding = stored_encoding(array, units=units, calendar=coord.calendar)
        whole = coord.encoding({**lengths, **grown}).chunks
        if coord.chunks is None and _are_cut(whole, encoding.chunks, coord.own_dims, grown):
            own = replace(own, chunks=encoding.chunks)
        differing = _encoding_differences(coord.name, own, encoding)
        # CF 2.5.1: a coordinate has a value everywhere.
        found = [difference for difference in differing if difference.key != MISSING]
    except NOT_OURS:
        return coord, []
    is_time = coord.units is not None or " since " in str(_attributes_of(array).get("units"))
    attrs, described = _attributes(
        coord.name, coord.attrs, array, {}, MEANING if is_time else DECODING_ATTRIBUTES
    )
    # Of times it is no author's to choose, and nothing that an operator can change.
    fills = {_as_json(_stored_fill(one)) for one in (own, encoding)}
    has_other_fill = coord.units is not None and len(fills) > 1
    is_longer = own.chunks == encoding.chunks != whole
    if not (found or described or has_other_fill or is_longer):
        return coord, []
    changes: dict[str, Any] = {"attrs": attrs}
    if found or has_other_fill or is_longer:
        changes |= {"dtype": encoding.dtype, "units": units, "as_stored": encoding}
    return replace(coord, **changes), [*found, *described]


def _are_cut(
    whole: Sequence[int], stored: Sequence[int], dims: Sequence[str], grown: Mapping[str, int]
) -> bool:
    """Whether stored objects are shorter than a coordinate along dims that grew, and only there."""
    if len(whole) != len(stored):
        return False
    pairs = zip(dims, whole, stored, strict=True)
    return all(ours == theirs or (dim in grown and ours > theirs) for dim, ours, theirs in pairs)


def _time_units(coord: Coordinate, array: Metadata) -> str | None:
    """Return the units of a time as they are stored, where both sides count on one calendar."""
    attributes = _attributes_of(array)
    if coord.units is None or coord.calendar not in (None, attributes.get("calendar")):
        return coord.units
    return str(attributes["units"])


def _attributes(
    name: str | None,
    declared: Metadata,
    stored: Metadata,
    implied: Metadata,
    meaning: Collection[str],
) -> tuple[dict[str, Any], list[Difference]]:
    """Return the archive's attributes, those that give a meaning the code's, and what differs."""
    theirs = dict(_attributes_of(stored))
    ours = dict(declared)
    for key, value in implied.items():
        for side in (ours, theirs):
            if side.get(key) == value:
                del side[key]
    # In the order of the archive's: what does not change has the same bytes.
    kept = {k: ours.get(k) if k in meaning else v for k, v in theirs.items()}
    kept = {k: v for k, v in kept.items() if k in ours or k not in meaning}
    kept |= {k: v for k, v in ours.items() if k in meaning}
    found = [
        Difference(name, key, _plain(ours.get(key)), theirs.get(key), is_attribute=True)
        for key in sorted({*ours, *theirs} - {*meaning, *STATISTICS})
        if _as_json(ours.get(key)) != _as_json(theirs.get(key))
    ]
    return kept, found


def _keep_attributes(twin: TemplateConfig, stored: Metadata) -> list[Difference]:
    """Return a template the archive's global attributes, in place."""
    ours = twin.dataset_attributes
    stored, twin.derived = _without_derived(stored, ours)
    written = {} if "coordinates" in ours else {"coordinates"}  # by xarray, of itself
    attrs, found = _attributes(None, ours, stored, {}, {"dataset_id", *written})
    if found:
        twin.dataset_attributes = attrs
    return found


def _without_derived(stored: Metadata, ours: Metadata) -> tuple[Metadata, dict[str, Any] | None]:
    """Part what was declared when the archive was made from what was derived, if anything was."""
    theirs = _attributes_of(stored)
    if not keeps_acdd(theirs):
        return stored, None
    derived = {k: v for k, v in theirs.items() if k in DERIVED and k not in ours}
    kept = {k: v for k, v in theirs.items() if k not in derived and (k not in CURRENT or k in ours)}
    return {"attributes": kept}, derived


def _keep_capacity(twin: TemplateConfig, arrays: Metadata) -> list[Difference]:
    """Return a template the archive's capacity, in place: it was fixed when the archive was made.

    An index that fills its chunks was not given room to grow in one: it grows by further chunks,
    each as long as these, so that readers with an older extent decode them all.
    """
    dim = twin.append_dim
    index = next((c for c in twin.coords if c.name == dim), None)
    try:
        (stored,) = arrays[dim]["chunk_grid"]["configuration"]["chunk_shape"]
        (length,) = arrays[dim]["shape"]
    except NOT_OURS:
        return []
    if index is None or index.chunks is not None or stored == twin.capacity or stored <= length:
        return []
    found = Difference(dim, "capacity", twin.capacity, stored)
    twin.append_dim_capacity = int(stored)
    twin.__dict__.pop("capacity", None)
    return [found]


def _left_out(config: TemplateConfig, kept: Sequence[DataVar], arrays: Metadata) -> frozenset[str]:
    """Return the coordinates that the archive lacks, and can do without."""
    needed = {config.append_dim, *(dim for var in kept for dim in var.dims)}
    return frozenset(c.name for c in config.coords if c.name not in arrays) - needed


def _without_idle_dims(config: TemplateConfig) -> TemplateConfig:
    """Return a new archive's template, without coordinates of dims that no variable has."""
    idle = _along_idle_dims(config)
    if not idle:
        return config
    twin = copy.copy(config)
    twin.coords = tuple(coord for coord in config.coords if coord.name not in idle)
    twin.left_out = config.left_out | idle
    return twin


def _along_idle_dims(config: TemplateConfig) -> frozenset[str]:
    idle = config.idle_dims - {config.append_dim}
    for share in shares_of(config.coords):
        idle -= set(share.own_dims)
    return frozenset(c.name for c in config.coords if idle & {*c.own_dims, c.name})


def _encoding_differences(name: str, ours: Encoding, theirs: Encoding) -> list[Difference]:
    """List what of two encodings writes other bytes or metadata."""
    declared, stored = (
        {
            "chunks": encoding.chunks,
            "shards": encoding.shards,
            "dtype": np.dtype(encoding.dtype).name,
            "fill_value": None if encoding.units else _stored_fill(encoding),
            MISSING: encoding.missing,
            "scale_factor": encoding.scale_factor,
            "add_offset": encoding.add_offset,
            "compressors": [_whole_codec(codec, encoding) for codec in encoding.compressors],
            "checksum": encoding.checksum,
            "units": encoding.units,
            # Without shards there is none.
            "index_location": encoding.shards and encoding.index_location,
        }
        for encoding in (ours, theirs)
    )
    return [
        Difference(name, key, declared[key], stored[key])
        for key in declared
        if _as_json(declared[key]) != _as_json(stored[key])
    ]


def _stored_fill(encoding: Encoding) -> Any:
    return np.dtype(encoding.dtype).type(encoding.fill).item()


def _whole_codec(codec: Metadata, encoding: Encoding) -> Any:
    """Return a codec with its defaults, as zarr writes it; another's as it is."""
    configuration = dict(codec.get("configuration", {}))
    if codec["name"] == "blosc":
        configuration.setdefault("typesize", np.dtype(encoding.dtype).itemsize)
    try:
        plain = {"name": codec["name"], "configuration": configuration}
        return get_codec_class(codec["name"]).from_dict(plain).to_dict()
    except NOT_OURS:
        return codec


def _arrays_of(stored: Metadata | None) -> Metadata:
    consolidated = (stored or {}).get("consolidated_metadata") or {}
    arrays = consolidated.get("metadata") or {}
    return arrays if isinstance(arrays, Mapping) else {}


def _attributes_of(node: Metadata) -> Metadata:
    return node.get("attributes") or {}


def _dims_of(array: Metadata) -> tuple[str, ...] | None:
    """Return the names of an array's dims; None where another program named none."""
    names = array.get("dimension_names") or ()
    return tuple(names) if len(names) == len(array.get("shape", ())) else None


def _lengths(arrays: Metadata) -> dict[str, int]:
    found: dict[str, int] = {}
    for array in arrays.values():
        dims = _dims_of(array)
        found.update(zip(dims, array["shape"], strict=True) if dims else ())
    return found


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=_plain_or_text)


def _plain_or_text(value: Any) -> Any:
    plain = _plain(value)
    return str(plain) if plain is value else plain


# -- how it is said ---------------------------------------------------------------------------


def _remarks(
    changed: Sequence[Difference], missing: Sequence[DataVar], arrays: Metadata, append_dim: str
) -> list[str]:
    """Say in a line each what the archive keeps, and what it lacks."""
    remarks = []
    if changed:
        points = _listed([_name(difference) for difference in changed])
        remarks.append(
            f"the archive keeps what it was made with, where the code's defaults differ by now: "
            f"{points}; gridmill migrate-metadata lists them, and applies what only describes"
        )
    if missing:
        names = _listed([var.name for var in missing])
        lacks = count_of(len(missing), "declared variable")
        can = [v.name for v in missing if append_dim in v.dims and set(v.dims) <= arrays.keys()]
        how = f"gridmill backfill … --variables {','.join(can[:MOST_NAMED])} adds what is named"
        how = how if can else "it takes a new archive to have them"
        remarks.append(f"the archive lacks {lacks}: {names}; {how}")
    return remarks


def _superseded(former: Sequence[DataVar]) -> list[str]:
    """Say in a line each why an archive has variables that a new one would not have."""
    whys = {var.superseded.why: None for var in former if var.superseded is not None}
    remarks = []
    for why in whys:
        of = [(v.name, v.superseded.by) for v in former if v.superseded and v.superseded.why == why]
        names, others = (_listed(list(names)) for names in zip(*of, strict=True))
        remarks.append(f"the archive continues with {names}, though {why}; instead: {others}")
    return remarks


def _name(difference: Difference) -> str:
    what = difference.key or "(a new coordinate)"
    return f"{difference.array} {what}" if difference.array is not None else what


def _listed(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMED
    shown = ", ".join(names[:MOST_NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown
