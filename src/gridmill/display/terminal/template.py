"""The structure of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gridmill.display.terminal.layout import facts_grid, facts_of, heading, section, table_of
from gridmill.display.terminal.values import Content, plain
from gridmill.model.wording import count_of, format_nbytes, shorten_label

if TYPE_CHECKING:
    from gridmill.authoring.template import TemplateConfig
    from gridmill.model.variables import Coordinate, DataVar, Encoding

__all__ = ["show_template", "template_content"]


def template_content(config: TemplateConfig, until: Any) -> Content:
    """Describe the structure of a dataset up to a label of its append dim.

    Raises
    ------
    ValueError
        `until` is not a date, or beyond the append dim's capacity.
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
        "attrs": plain(var.attrs),
    }


def _encoding_content(encoding: Encoding) -> Content:
    import numpy as np

    itemsize = np.dtype(encoding.dtype).itemsize
    return {
        "dtype": encoding.dtype,
        "fill_value": plain(encoding.fill),
        "chunks": list(encoding.chunks),
        "shards": None if encoding.shards is None else list(encoding.shards),
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
        dim: span + (f", every {step}" if step else ""),
        "grows": f"along {dim}, with room for {content['append_dim_capacity']:,} positions",
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
