"""What can be told of an archive whose metadata are damaged: what of them is whole, its labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal

from gridmill.authoring.axis import labels_before
from gridmill.authoring.template import TemplateConfig
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import array_metadata
from gridmill.stores.structure import without_append_length

__all__ = ["declared_labels", "own_metadata", "undamaged_metadata"]

# A template's end is looked for a day after its first label, twice that, and so on: 358 years.
DOUBLINGS = 18


def undamaged_metadata(
    store: FinalStore,
    config: TemplateConfig,
    believed: Literal["own", "root", "neither"] = "neither",
) -> dict[str, Any] | None:
    """Return the root metadata of a store, as far as they are whole; None if nothing of them is.

    An array's metadata are also in an object of its own: where only one of the two can be read it
    is taken, and where they differ what is `believed`.
    """
    root: dict[str, Any] = {}
    with suppress(ValueError):
        root = store.metadata() or {}
    arrays: dict[str, Any] = dict(array_metadata(root))
    for name in {*arrays, *(c.name for c in config.coords), *(v.name for v in config.data_vars)}:
        own = own_metadata(store, name)
        if name not in arrays:
            arrays.update({} if own is None else {name: own})
        elif own is not None and not _agree(own, arrays[name], config.append_dim):
            arrays[name] = {"own": own, "root": arrays[name], "neither": {}}[believed]
    consolidated = {"consolidated_metadata": {"metadata": arrays}}
    return (
        {"attributes": dict(config.dataset_attributes), **root, **consolidated} if arrays else None
    )


def own_metadata(store: FinalStore, name: str) -> dict[str, Any] | None:
    """Read an array's own metadata object; None if it is gone or no JSON object."""
    content = store.read_object(f"{name}/zarr.json")
    try:
        found = None if content is None else json.loads(content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _agree(own: Mapping[str, Any], array: Mapping[str, Any], append_dim: str) -> bool:
    return without_append_length(own, append_dim) == without_append_length(array, append_dim)


def declared_labels(config: TemplateConfig, n: int, now: Any) -> Any:
    """Return the first `n` labels of a template's append dim, and one more where it goes on.

    Raises
    ------
    ValueError
        It has fewer.
    """
    first = config.label(config.append_dim_start)
    labels = labels_before(config, config.label(now))
    # The axis may go beyond the present, or end before it.
    for doubling in range(DOUBLINGS):
        if len(labels) > n:
            break
        with suppress(OverflowError, ValueError):  # beyond the calendar's last day
            labels = labels_before(config, first + timedelta(days=2**doubling))
    if len(labels) < n:
        raise ValueError(f"readers see {n} positions, the template has {len(labels)}")
    return labels[: n + 1]
