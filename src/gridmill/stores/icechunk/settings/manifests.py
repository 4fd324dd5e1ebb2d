"""How a repository is configured when it is made: manifests that end, so that a commit stays cheap.

A manifest lists where an array's objects are. Whole, it is rewritten by every commit that adds
to the array, and grows with the archive. Split along the append dim, a commit writes those that its
positions are in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import icechunk

__all__ = ["new_config", "splitting_along", "splitting_of"]

# References in a manifest. A commit writes one manifest of an array, 10 ms for these, and the list
# of all of them, 30 bytes each: at 10 million references 1000, which is as much again.
REFERENCES = 10_000

Array = Mapping[str, Any]


def splitting_along(
    append_dim: str, arrays: Mapping[str, Array]
) -> icechunk.ManifestSplittingConfig:
    """Split the manifests of arrays along the append dim.

    Parameters
    ----------
    append_dim
        Its name.
    arrays
        Their metadata. Those that come later are split like the largest of them.
    """
    conditions, dims = icechunk.ManifestSplitCondition, icechunk.ManifestSplitDimCondition
    along = dims.DimensionName(append_dim)
    lengths: dict[int, list[str]] = {}
    for name, array in arrays.items():
        if append_dim in (array.get("dimension_names") or ()):
            lengths.setdefault(_objects_along(append_dim, array), []).append(name)
    sizes: Any = {}
    for length, names in sorted(lengths.items()):
        these = "|".join(re.escape(name) for name in sorted(names))
        sizes[conditions.name_matches(f"^({these})$")] = {along: length}
    sizes[conditions.AnyArray()] = {along: min(lengths, default=REFERENCES)}
    return icechunk.ManifestSplittingConfig.from_dict(sizes)


def new_config(append_dim: str, arrays: Mapping[str, Array]) -> icechunk.RepositoryConfig:
    """Configure a new repository; it keeps this, for every writer."""
    splitting = splitting_along(append_dim, arrays)
    return icechunk.RepositoryConfig(manifest=icechunk.ManifestConfig(splitting=splitting))


def splitting_of(repository: icechunk.Repository) -> icechunk.ManifestSplittingConfig | None:
    """Return how a repository's manifests are split; None if they are not."""
    manifest = repository.config.manifest
    return None if manifest is None else manifest.splitting


def _objects_along(append_dim: str, array: Array) -> int:
    """Return how many objects along the append dim one manifest is to list."""
    chunk = array["chunk_grid"]["configuration"]["chunk_shape"]
    across = math.prod(
        math.ceil(n / m)
        for dim, n, m in zip(array["dimension_names"], array["shape"], chunk, strict=True)
        if dim != append_dim
    )
    return int(max(1, REFERENCES // max(1, across)))
