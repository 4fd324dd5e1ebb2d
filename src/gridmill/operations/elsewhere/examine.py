"""Whether an archive that another program made is one that gridmill could have made."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr
from zarr.abc.store import Store

from gridmill.archive.archive import Archive
from gridmill.archive.declaration import with_what_it_has
from gridmill.authoring.encoding.stored import stored_encoding
from gridmill.authoring.labels import just_after
from gridmill.authoring.over_time.as_made import as_made
from gridmill.authoring.template import TemplateConfig
from gridmill.model.wording import count_of
from gridmill.operations.elsewhere.absent import absent_chunks
from gridmill.operations.elsewhere.metadata import COPY, Adapted, Misfit, adapted, metadata_in
from gridmill.operations.rebuild import declared_by
from gridmill.stores.contents.found import found_in, open_found
from gridmill.stores.metadata import array_metadata
from gridmill.stores.structure import Difference, compare_structures

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Examined", "NotAdoptable", "examine"]


# What of an array's metadata says how it is stored.
ENCODING = {"chunk_grid", "codecs", "data_type", "fill_value"}


# How Zarr v3 names the objects of an array, and gridmill does.
DEFAULT_KEYS = {"name": "default", "configuration": {"separator": "/"}}


class NotAdoptable(ValueError):  # noqa: N818
    """A store is not what gridmill could continue; `misfits` names every point, with its remedy."""

    def __init__(self, url: str, misfits: list[Misfit]) -> None:
        super().__init__(url, misfits)
        self.url = url
        self.misfits = misfits

    def __str__(self) -> str:
        listed = "; ".join(map(str, self.misfits))
        return f"{self.url} cannot be adopted, and nothing was written: {listed}"


@dataclass(frozen=True)
class Examined:
    """An archive that fits, and what adopting it takes.

    Parameters
    ----------
    archive
        Its template, as it is once the archive is adopted.
    declaration
        What makes of the code's template what the archive has.
    found
        Its metadata as they are.
    changes
        What its metadata are to say otherwise.
    length
        How many positions it has.
    remarks
        What works, and costs readers more than it had to.
    """

    archive: Archive
    declaration: dict[str, Any]
    found: dict[str, Any]
    changes: tuple[str, ...]
    length: int
    remarks: tuple[str, ...] = ()


def examine(dataset: DynamicalDataset) -> Examined:
    """Compare what a store holds with what the dataset declares; writes nothing.

    Raises
    ------
    NotAdoptable
        They differ; every difference is named, with its remedy.
    """
    store = dataset.store
    source = found_in(store)
    if source is None:
        raise NotAdoptable(store.url, [Misfit("readers see nothing", "give another --store")])
    root, misfits = metadata_in(source)
    if root is None:
        raise NotAdoptable(store.url, misfits)
    coded = with_what_it_has(store, dataset.declared)
    if lacking := _without_index(coded, root):
        raise NotAdoptable(store.url, [*misfits, lacking])
    is_consolidated = bool((store.metadata() or {}).get("consolidated_metadata"))
    examined = None
    try:
        changed = adapted(root, coded, is_consolidated=is_consolidated)
        with open_found(store) as ds:
            examined, more = _compare(dataset, coded, changed, root, ds)
        misfits += more or list(_filled(source, changed))
    except ValueError as error:  # a template that cannot be: of its labels, leads or shards
        misfits.append(Misfit(str(error), COPY))
    if misfits or examined is None:
        raise NotAdoptable(store.url, misfits)
    return examined


def _without_index(config: TemplateConfig, root: dict[str, Any]) -> Misfit | None:
    dim, arrays = config.append_dim, array_metadata(root)
    if dim not in arrays:
        return Misfit(
            f"there is no coordinate {dim}",
            "rename the one that has its labels, or write it with xarray",
        )
    if not any(var.name in arrays for var in config.data_vars):
        names = ", ".join(var.name for var in config.data_vars)
        return Misfit(f"it has none of {names}", "give the dataset that it is of")
    if list(arrays[dim].get("dimension_names") or ()) != [dim]:
        return Misfit(f"the dims of {dim} are not named {dim}", COPY)
    if not arrays[dim]["shape"][0]:
        return Misfit(f"it has no position along {dim}", "gridmill backfill makes an archive")
    return None


def _compare(
    dataset: DynamicalDataset,
    coded: TemplateConfig,
    changed: Adapted,
    found: dict[str, Any],
    ds: xr.Dataset,
) -> tuple[Examined, list[Misfit]]:
    dim, arrays = coded.append_dim, array_metadata(changed.root)
    declaration = declared_by(dataset.store, coded, arrays, ds)
    narrowed = coded.narrowed(
        start=declaration["start"],
        variables=declaration["variables"],
        max_lead=declaration["max_lead"],
    )
    config = as_made(narrowed, changed.root).config
    _ = config.region_length  # raises where shards do not go together
    labels = ds.get_index(dim)
    archive = dataset.archive(just_after(labels[-1]), as_declared=True, config=config)
    differences = compare_structures(json.loads(archive.metadata), changed.root, dim)
    misfits = [*_undeclared(config), *_named(differences, arrays)]
    if len(labels) > len(archive.index) or not labels.equals(archive.index[: len(labels)]):
        misfits.append(_unlike(archive, labels))
    elif not misfits:
        named = archive.coordinate_differences(ds, len(labels))
        misfits += [Misfit(one, "declare the archive's, or copy it to another") for one in named]
    remarks = tuple(_remarks(arrays[dim], dim))
    own = Examined(archive, declaration, found, changed.changes, len(labels), remarks)
    return own, misfits


def _undeclared(config: TemplateConfig) -> Iterator[Misfit]:
    """Name the variables that nothing would ever fill: another program's, and no former ones."""
    for var in config.kept_vars:
        yield Misfit(
            f"{var.name} is not in the template",
            "declare it, or delete it from the store; a copy leaves it out",
        )


def _unlike(archive: Archive, labels: Any) -> Misfit:
    """Name the first label that is not the template's."""
    dim, ours = archive.append_dim, archive.index
    at = next((i for i, (a, b) in enumerate(zip(labels, ours, strict=False)) if a != b), len(ours))
    declared = ours[at] if at < len(ours) else "nothing"
    return Misfit(
        f"{dim} is {labels[at]} at position {at}, and {declared} in the template",
        "gridmill copy puts each label into its place, and leaves a gap where there is none",
    )


def _remarks(index: dict[str, Any], dim: str) -> Iterator[str]:
    """Say what of an archive costs more than it had to."""
    (chunk,) = index["chunk_grid"]["configuration"].get("chunk_shape") or [index["shape"][0]]
    many = -(-index["shape"][0] // chunk)
    if many > 1:
        yield (
            f"{dim} is in {count_of(many, 'object')} of {chunk}, each read by those who open the "
            "archive, and grows by more of them; gridmill copy, instead of this, puts it into one"
        )


def _filled(source: Store, changed: Adapted) -> Iterator[Misfit]:
    """Name the arrays of which chunks are absent that readers take for values."""
    arrays = array_metadata(changed.root)
    for name in changed.filled:
        if arrays[name]["chunk_key_encoding"] != DEFAULT_KEYS:
            continue  # named as it is
        if absent := absent_chunks(source, name, arrays[name]):
            yield Misfit(
                f"{name}: {count_of(absent, 'chunk')} not written, which readers take for a value",
                f"gridmill copy keeps them as values; or rewrite them where they are missing "
                f"({arrays[name]['fill_value']})",
            )


def _named(differences: Sequence[Difference], arrays: Mapping[str, Any]) -> Iterator[Misfit]:
    """Name each difference with its remedy; of an encoding that is none of gridmill's, why."""
    told: set[str] = set()
    for difference in differences:
        name = difference.array
        why = None if difference.key not in ENCODING else _why_not_kept(arrays.get(str(name)))
        if why is None or name is None:
            yield Misfit(str(difference), _remedy(difference))
        elif name not in told:
            told.add(name)
            yield Misfit(f"{name}: {why}", COPY)


def _why_not_kept(array: Any) -> str | None:
    """Say why no variable of gridmill's could be stored so; None if one could."""
    try:
        stored_encoding(array)
    except (LookupError, TypeError, ValueError) as error:
        return str(error)
    return None


def _remedy(difference: Difference) -> str:
    """Say what takes a difference away."""
    if not difference.key:
        if difference.stored is None:
            return "write it with xarray as the dataset declares it; " + COPY
        return "declare it, or delete it from the store; a copy leaves it out"
    if difference.array is None:
        return "give the dataset that it is of, or correct the attribute"
    if difference.key == "units":
        return "declare the archive's units; or set the attribute if the values are in those"
    if difference.is_attribute:
        return "declare what the archive has; " + COPY
    if difference.key == "data_type":
        return "declare the archive's dtype; " + COPY
    return COPY
