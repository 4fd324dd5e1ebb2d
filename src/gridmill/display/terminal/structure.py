"""The structure of a dataset: dims, variables, and how each is cut into chunks and shards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridmill.authoring.encoding.access import access_costs, public_cut
from gridmill.authoring.encoding.chunking import Cut, cut_warnings, propose_cut
from gridmill.display.terminal.layout import facts_grid, facts_of, heading, section, table_of
from gridmill.display.terminal.values import Content, plain
from gridmill.model.wording import count_of, every, format_nbytes, shorten_label

if TYPE_CHECKING:
    from gridmill.authoring.template import TemplateConfig
    from gridmill.model.variables import Coordinate, DataVar, Encoding

__all__ = ["layout_content", "show_layout", "show_template", "template_content"]

# Below the numbers of `gridmill layout`.
TRADE = (
    "Per variable: requests, compressed bytes at a third of the raw ones, and seconds of waiting "
    "at 50 ms a request, ten at a time. Long chunks along time make series cheap and maps "
    "expensive; chunks that cover the grid do the opposite. A point series reads up to 1000 "
    "positions at one place, a map one position, a forecast all leads at one place."
)

FOR_GDAL = "GDAL reads shards and crc32c from 3.13 on; gridmill.for_gdal declares what 3.12 opens."


def template_content(config: TemplateConfig, until: Any) -> Content:
    """Describe the structure of a dataset up to a label of its append dim.

    Raises
    ------
    ValueError
        `until` is not a date.
    """
    ds = config.get_template(until)
    sizes = {str(dim): int(length) for dim, length in ds.sizes.items()}
    lengths = {**sizes, config.append_dim: config.capacity}
    index = ds.get_index(config.append_dim)
    return {
        "dataset_id": config.dataset_id,
        "append_dim": config.append_dim,
        "append_dim_start": config.append_dim_start,
        "append_dim_frequency": config.append_dim_frequency,
        "append_dim_capacity": config.capacity,
        "first": str(index[0]) if len(index) else None,
        "last": str(index[-1]) if len(index) else None,
        "dims": sizes,
        "region_length": config.region_length,
        "regions": math.ceil(sizes[config.append_dim] / config.region_length),
        "attributes": plain(config.dataset_attributes),
        "coords": [_coord_content(coord, lengths) for coord in config.coords],
        "data_vars": [_data_var_content(var, sizes) for var in config.data_vars],
    }


def _coord_content(coord: Coordinate, lengths: Mapping[str, int]) -> Content:
    encoding = coord.encoding(lengths)
    times = {"units": coord.units, "calendar": coord.calendar}
    return {
        "name": coord.name,
        "dims": list(coord.own_dims),
        **_encoding_content(encoding),
        "attrs": plain({**coord.attrs, **{k: v for k, v in times.items() if v is not None}}),
    }


def _data_var_content(var: DataVar, sizes: Mapping[str, int]) -> Content:
    return {
        "name": var.name,
        "dims": list(var.dims),
        "shape": [sizes[dim] for dim in var.dims],
        **_encoding_content(var.encoding),
        "keep_mantissa_bits": var.keep_mantissa_bits,
        "valid_until": var.valid_until,
        **({} if var.valid_from is None else {"valid_from": var.valid_from}),
        **({"aliases": list(var.aliases)} if var.aliases else {}),
        **({} if var.previously is None else {"previously": var.previously}),
        "attrs": plain(var.attrs),
    }


def _encoding_content(encoding: Encoding) -> Content:
    import numpy as np

    itemsize = np.dtype(encoding.dtype).itemsize
    packing = {"scale_factor": encoding.scale, "add_offset": encoding.offset}
    return {
        "dtype": encoding.dtype,
        **(packing if encoding.is_packed else {}),
        "fill_value": plain(encoding.fill),
        "chunks": list(encoding.chunks),
        "shards": None if encoding.shards is None else list(encoding.shards),
        **({} if encoding.index_location == "end" else {"index_location": encoding.index_location}),
        "codecs": plain(encoding.to_xarray()["compressors"]),
        "chunk_nbytes": math.prod(encoding.chunks) * itemsize,
        "object_nbytes": math.prod(encoding.object_shape) * itemsize,
    }


def show_template(content: Content) -> RenderableType:
    """Show a structure: dims, coordinates, variables and how each is stored."""
    return Group(
        heading(content["dataset_id"], content["attributes"].get("title", "")),
        facts_grid(facts_of(_template_facts(content))),
        section("variables", _variables_table(content["data_vars"])),
        section("coordinates", _coords_table(content["coords"])),
        section("attributes", facts_grid(facts_of(content["attributes"]))),
    )


def _template_facts(content: Content) -> dict[str, str]:
    dim = content["append_dim"]
    sizes = (f"{name} {length:,}" for name, length in content["dims"].items())
    step = content["append_dim_frequency"]
    span = f"from {content['append_dim_start']}"
    if content["first"]:
        span = f"{shorten_label(content['first'])} … {shorten_label(content['last'])}"
    return {
        "dims": " · ".join(sizes),
        dim: span + (f", {every(step)}" if step else ""),
        "grows": f"along {dim}, {content['append_dim_capacity']:,} positions per object of {dim}",
        "region": f"{content['region_length']:,} positions along {dim}: "
        f"{count_of(content['regions'], 'region')} so far",
    }


def _variables_table(data_vars: Iterable[Content]) -> Table:
    table = table_of("name", "dims", "chunk", "shard", "stored as", "attributes")
    for var in data_vars:
        table.add_row(
            Text(var["name"], "bold"),
            "\n".join(var["dims"]) or "–",
            _lengths(var["chunks"], var["chunk_nbytes"]),
            "–" if var["shards"] is None else _lengths(var["shards"], var["object_nbytes"]),
            _stored_as(var),
            _attributes(var["attrs"]),
        )
    return table


def _coords_table(coords: Iterable[Content]) -> Table:
    table = table_of("name", "dims", "chunk", "stored as", "attributes")
    for coord in coords:
        table.add_row(
            Text(coord["name"], "bold"),
            " ".join(coord["dims"]) or "–",
            " × ".join(f"{n:,}" for n in coord["chunks"]) or "–",
            _stored_as(coord),
            _attributes(coord["attrs"]),
        )
    return table


def _lengths(lengths: Sequence[int], nbytes: int) -> Text:
    text = Text("\n".join(f"{length:,}" for length in lengths))
    return text.append(f"\n{format_nbytes(nbytes)}", "dim")


def _stored_as(array: Content) -> Text:
    lines = [_codec_name(codec) for codec in array["codecs"]]
    if array.get("keep_mantissa_bits") is not None:
        lines.append(f"{array['keep_mantissa_bits']} bits of mantissa")
    if array.get("valid_from") is not None:
        lines.append(f"from {array['valid_from']}")
    if array.get("valid_until") is not None:
        lines.append(f"until {array['valid_until']}")
    return Text(f"{array['dtype']}").append("".join(f"\n{line}" for line in lines), "dim")


def _codec_name(codec: Content) -> str:
    """Name a codec with what matters of its settings.

    Examples
    --------
    >>> _codec_name({"name": "zstd", "configuration": {"level": 3, "checksum": False}})
    'zstd-3'
    >>> blosc = {"cname": "zstd", "clevel": 3, "shuffle": "bitshuffle"}
    >>> _codec_name({"name": "blosc", "configuration": blosc})
    'blosc zstd-3 bitshuffle'
    """
    name, settings = codec["name"], codec.get("configuration", {})
    if name == "blosc":
        return f"blosc {settings.get('cname')}-{settings.get('clevel')} {settings.get('shuffle')}"
    return f"{name}-{settings['level']}" if "level" in settings else str(name)


def _attributes(attrs: Mapping[str, Any]) -> Text:
    text = Text()
    for key, value in attrs.items():
        text.append(("\n" if text else "") + f"{key}: ", "dim").append(str(value))
    return text


def layout_content(config: TemplateConfig, end: Any, positions: int | None) -> Content:
    """Describe how each variable is cut and might be, alike ones together.

    Parameters
    ----------
    config
        The template.
    end
        Where its dataset ends.
    positions
        How many positions of the append dim one write brings; None: a region.
    """
    sizes = {str(dim): int(n) for dim, n in config.get_template(end).sizes.items()}
    written = positions or config.region_length
    alike: dict[Any, list[DataVar]] = {}
    for var in config.data_vars:
        key = (var.dims, var.encoding.chunks, var.encoding.object_shape, var.encoding.dtype)
        alike.setdefault(key, []).append(var)
    return {
        "dataset_id": config.dataset_id,
        "append_dim": config.append_dim,
        "positions": written,
        "cuts": [_cut_content(config, group, sizes, written) for group in alike.values()],
    }


def _cut_content(
    config: TemplateConfig, alike: Sequence[DataVar], sizes: dict[str, int], positions: int
) -> Content:
    import numpy as np

    var, dim = alike[0], config.append_dim
    encoding, itemsize = var.encoding, np.dtype(var.encoding.dtype).itemsize
    lengths = {
        name: max(sizes[name], positions) if name == dim else sizes[name] for name in var.dims
    }
    proposed = propose_cut(lengths, dim if dim in var.dims else None, positions, itemsize)
    declared = Cut(encoding.chunks, encoding.object_shape, itemsize)
    return {
        "variables": [one.name for one in alike],
        "dims": list(var.dims),
        "declared": _lengths_content(declared),
        "proposed": _lengths_content(proposed),
        "access": {
            "declared": _access_content(declared, lengths, dim, encoding.shards is not None),
            "proposed": _access_content(proposed, lengths, dim),
            "public": _access_content(public_cut(var.dims, itemsize), lengths, dim),
        },
        "opened_by_gdal": "3.12" if encoding.shards is None and not encoding.checksum else "3.13",
        "warnings": list(cut_warnings(encoding, var.dims, dim, positions, itemsize)),
    }


def _access_content(
    cut: Cut | None, sizes: Mapping[str, int], append_dim: str, is_sharded: bool = True
) -> list[Content] | None:
    if cut is None or len(sizes) < 2:
        return None
    return [
        {
            "read": cost.what,
            "requests": cost.requests,
            "nbytes": cost.nbytes,
            "waiting_s": round(cost.waiting_s, 3),
        }
        for cost in access_costs(cut, sizes, append_dim, is_sharded=is_sharded)
    ]


def _lengths_content(cut: Cut) -> Content:
    return {
        "chunks": list(cut.chunks),
        "shards": list(cut.shards),
        "chunk_nbytes": cut.chunk_nbytes,
        "shard_nbytes": cut.shard_nbytes,
    }


def show_layout(content: Content) -> RenderableType:
    """Show how variables are cut, and what to mind."""
    table = table_of("variables", "dims", "chunk", "proposed", "shard", "proposed")
    for cut in content["cuts"]:
        table.add_row(
            _names(cut["variables"]),
            "\n".join(cut["dims"]) or "–",
            *(
                _lengths(cut[which][kind], cut[which][f"{kind[:-1]}_nbytes"])
                for kind in ("chunks", "shards")
                for which in ("declared", "proposed")
            ),
        )
    positions = count_of(content["positions"], "position")
    parts: list[RenderableType] = [
        heading(content["dataset_id"], f"an update adds {positions} along {content['append_dim']}"),
        table,
    ]
    warnings = [
        Text.assemble((f"{_names(cut['variables'])}: ", "bold"), warning)
        for cut in content["cuts"]
        for warning in cut["warnings"]
    ]
    shown: list[RenderableType] = [_access_table(content["cuts"]), Text(TRADE)]
    if any(cut["opened_by_gdal"] == "3.13" for cut in content["cuts"]):
        shown.append(Text(FOR_GDAL))
    parts.append(section("what reads cost", Group(*shown)))
    return Group(*parts, *([section("warnings", Group(*warnings))] if warnings else []))


def _access_table(cuts: Sequence[Content]) -> Table:
    table = table_of("variables", "read", "declared", "proposed", "dynamical.org's chunks")
    for cut in cuts:
        columns = [cut["access"][which] for which in ("declared", "proposed", "public")]
        for number, cost in enumerate(columns[0] or ()):
            cells = [_access(column and column[number]) for column in columns]
            table.add_row("" if number else _names(cut["variables"]), cost["read"], *cells)
    return table


def _access(cost: Content | None) -> str:
    if not cost:
        return "–"
    requests = count_of(cost["requests"], "request")
    return f"{requests}\n{format_nbytes(cost['nbytes'])}, {cost['waiting_s']:.2f} s"


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
