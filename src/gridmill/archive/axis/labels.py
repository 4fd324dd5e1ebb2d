"""Whether the values that a store holds would get other labels by what is about to be written.

A position's values are those of the label that its readers see. So coordinates of published
positions are written again only as they are, or where the records say that their values were made
under the labels that are to be written.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.model.records import ProgressRecord
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore

__all__ = ["LabelsWouldChange", "refuse_other_labels"]


class LabelsWouldChange(ValueError):  # noqa: N818
    """Coordinates that were to be written would give stored values another label."""


def refuse_other_labels(
    archive: Archive, store: FinalStore, length: int, names: Collection[str] | None = None
) -> None:
    """Raise where the template's coordinates would give values of a store another label.

    Parameters
    ----------
    archive
        The template that is to be written.
    store
        Holds the values, and the records that say what they were made of.
    length
        How many of the template's positions are to be written.
    names
        Only these coordinates; None looks at all.

    Raises
    ------
    LabelsWouldChange
        A coordinate differs, or cannot be read, and no record says that the values were made under
        the labels that are to be written; or one says that they were not. Nothing was written.
    """
    ours = archive.up_to(length)
    chosen = [str(n) for n in ours.coords if names is None or n in names]
    doubtful = dict(_doubtful(archive, store, ours, chosen))
    if not doubtful:
        return
    records = list(store.tracker.all_records())
    for name, why in doubtful.items():
        said = _said_of(archive, records, name, length)
        may_be_lost = why == GONE and _follows_from_declaration(archive, name)
        if said != "proven" and not (said == "unknown" and may_be_lost):
            raise LabelsWouldChange(_message(archive, store, name, why, said))


GONE = "cannot be read"


def _doubtful(
    archive: Archive, store: FinalStore, ours: xr.Dataset, names: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield the coordinates that readers do not decode as they are to, and how they differ."""
    try:
        stored = store.open_dataset(chunks=None)
    except Exception:  # whatever damage makes of codecs and metadata
        yield from ((name, GONE) for name in names if not archive.speaks_of_data(name))
        return
    with (
        archive.written(ours) as folder,
        xr.open_zarr(folder, chunks=None, consolidated=True) as written,
    ):
        for name in (name for name in names if not archive.speaks_of_data(name)):
            why = GONE
            if name in stored.variables:
                why = _difference(archive, written[name].variable, stored[name].variable)
            if why:
                yield name, why


def _follows_from_declaration(archive: Archive, name: str) -> bool:
    """Whether the template gives a coordinate without asking anybody: no irregular append dim."""
    along = archive.append_dim in archive.template_ds[name].dims
    return not along or archive.config.append_dim_frequency is not None


def _difference(archive: Archive, ours: xr.Variable, stored: xr.Variable) -> str:
    dim = archive.append_dim
    if dim in ours.dims and dim in stored.dims:
        shared = slice(0, min(ours.sizes[dim], stored.sizes[dim]))
        ours, stored = ours.isel({dim: shared}), stored.isel({dim: shared})
    try:
        wanted, found = ours.values, stored.values
    except Exception:  # see above
        return GONE
    if wanted.shape != found.shape:
        return f"has shape {found.shape}, and would have {wanted.shape}"
    differs = np.argwhere(~((wanted == found) | ((wanted != wanted) & (found != found))))
    if not len(differs):
        return ""
    first = tuple(differs[0])
    return (
        f"holds {_text(found[first])} where {_text(wanted[first])} would be written, and differs "
        f"at {len(differs):,} of {wanted.size:,} places"
    )


def _text(value: Any) -> str:
    return str(
        np.datetime_as_string(value, unit="s") if isinstance(value, np.datetime64) else value
    )


def _said_of(archive: Archive, records: Sequence[ProgressRecord], name: str, length: int) -> str:
    """Say whether values were made under the template's labels: proven, otherwise or unknown."""
    dims = archive.template_ds[name].dims
    part = "labels" if archive.append_dim in dims else "grid"
    found = {said for record in records for said in _parts(archive, record, part, dims, length)}
    if "otherwise" in found:
        return "otherwise"
    # The other dims are those of the whole archive: one record that knows them speaks for all.
    is_proven = "proven" in found if part == "grid" else found == {"proven"}
    return "proven" if is_proven else "unknown"


def _parts(
    archive: Archive, record: ProgressRecord, part: str, dims: Collection[Any], length: int
) -> Iterator[str]:
    """Yield what a record says of the labels of each of its variables."""
    is_along = part == "labels"
    if record.stop > length or (is_along and record.region.is_static):
        return
    prepared = prepare_recorded(archive, archive.job(record.region), record)
    for group in prepared.groups:
        for name in group.fingerprints.keys() & record.variables.keys():
            known, ours = record.variables[name].fingerprint or {}, group.fingerprints[name]
            has_dims = is_along or set(dims) <= set(archive.template_ds[name].dims)
            if not has_dims or known.get("stop") != ours["stop"]:
                continue
            if part in known:
                yield "proven" if known[part] == ours[part] else "otherwise"
            elif is_along:
                # Of an earlier gridmill: source files are mostly named by their labels.
                same = known.get("addresses") == ours["addresses"]
                yield "proven" if same else "unknown"


def _message(archive: Archive, store: FinalStore, name: str, why: str, said: str) -> str:
    where = mask_url(store.url)
    if said == "otherwise":
        because = "its records say that its values were made under other labels"
    else:
        because = "no record says that its values were made under these labels"
    along = archive.append_dim in archive.template_ds[name].dims
    way = (
        "let TemplateConfig.append_dim_coordinates() give the labels that the archive has (or "
        "declare a settling_window, which keeps them)"
        if along
        else "let TemplateConfig.dimension_coordinates() give what the archive has; another grid "
        "is another archive: give another --store"
    )
    return (
        f"{name} of {where} {why}; {because}: nothing was written, as values would get another "
        f"label, which --force does not change. Instead, {way}; or, if it is the stored {name} "
        f"that is wrong, delete its objects ({name}/c) and run gridmill restore-metadata again"
    )
