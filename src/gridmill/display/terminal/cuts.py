"""Chunks and shards: those declared, those proposed, and what is wrong with the former."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from gridmill.authoring.chunking import Cut, cut_warnings, propose_cut
from gridmill.display.terminal.layout import heading, section, table_of
from gridmill.display.terminal.values import Content
from gridmill.model.wording import count_of, format_nbytes

if TYPE_CHECKING:
    from gridmill.authoring.template import TemplateConfig
    from gridmill.model.variables import DataVar

__all__ = ["layout_content", "show_layout"]


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
        "warnings": list(cut_warnings(encoding, var.dims, dim, positions, itemsize)),
    }


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
        heading(content["dataset_id"], f"a write brings {positions} along {content['append_dim']}"),
        table,
    ]
    warnings = [
        Text.assemble((f"{_names(cut['variables'])}: ", "bold"), warning)
        for cut in content["cuts"]
        for warning in cut["warnings"]
    ]
    return Group(*parts, *([section("to mind", Group(*warnings))] if warnings else []))


def _names(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _lengths(lengths: Sequence[int], nbytes: int) -> Text:
    return Text("\n".join(f"{n:,}" for n in lengths)).append(f"\n{format_nbytes(nbytes)}", "dim")
