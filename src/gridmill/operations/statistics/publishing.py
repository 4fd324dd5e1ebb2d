"""Statistics where readers find them: in the variables' attributes, and as a small Zarr group."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gridmill.model.reports.run_report import RunReport
from gridmill.model.urls import check_address, is_local
from gridmill.operations.maintenance import by_hand
from gridmill.operations.statistics.gathering import ArchiveStatistics, VariableStatistics
from gridmill.publishing.view import ReaderView
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.metadata import ROOT
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.structure import STATISTICS

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["publish_statistics", "write_statistics"]

# Attributes by which a group is told to be statistics.
MARKS = {"variables", "positions"}


def publish_statistics(
    dataset: DynamicalDataset, found: ArchiveStatistics, *, now: Any = None
) -> RunReport:
    """Let the variables' attributes say what their values are like.

    On plain Zarr with the one put of the root metadata, on Icechunk with a commit; replicas come
    first. Later publications keep these attributes as they are, and `statistics_end` says up to
    which label they speak.

    Parameters
    ----------
    dataset
        With its archive.
    found
        Its statistics; variables of which not all is known keep what they say.
    now
        The present; None asks the clock.

    Raises
    ------
    LeaseHeld
        A run works on the archive.
    """
    told = {of.name: _attributes(found, of) for of in found.variables if of.statistics}
    if not told:
        raise ValueError(
            f"of no variable of {found.store} all regions are known, and nothing was published: "
            "--read reads them"
        )
    with by_hand(dataset, "statistics", now=now) as hand, hand.lease.publishing() as check:

        def change(view: ReaderView) -> None:
            stored = view.store.metadata()
            assert stored is not None
            root = copy.deepcopy(stored)
            arrays = root["consolidated_metadata"]["metadata"]
            for name, attributes in told.items():
                own = arrays[name].setdefault("attributes", {})
                others = {key: value for key, value in own.items() if key not in STATISTICS}
                arrays[name]["attributes"] = {**others, **attributes}
            if root != stored:
                view.describe(root, f"Statistics up to {found.end}", check)

        hand.publisher.change_everywhere(change)
        hand.report.notes.append(f"statistics of {', '.join(told)} up to {found.end} published")
    return hand.report


def _attributes(found: ArchiveStatistics, of: VariableStatistics) -> dict[str, Any]:
    statistics = of.statistics
    assert statistics is not None
    some = (statistics.mean, statistics.deviation, statistics.low, statistics.high)
    values = [statistics.count, *(some if statistics.count else [None] * 4), found.end]
    pairs = zip(STATISTICS, values, strict=True)
    return {key: value for key, value in pairs if value is not None}


def write_statistics(found: ArchiveStatistics, url: str, storage_options: Any = None) -> None:
    """Write statistics as a Zarr group: an array for each, one value a variable.

    The group's attribute ``variables`` names them in order, as anemoi's training datasets do, whose
    names the arrays have: ``count``, ``mean``, ``stdev``, ``minimum`` and ``maximum``.

    Parameters
    ----------
    found
        Of an archive; what is not known is NaN.
    url
        Where to; what is there is replaced.
    storage_options
        As those of a store.

    Raises
    ------
    ValueError
        Something else is there, or the address is written wrong.
    """
    every = [of.statistics for of in found.variables]
    known = [s if s is not None and s.count else None for s in every]
    columns = {
        "count": np.array([0 if s is None else s.count for s in every], "int64"),
        "mean": np.array([np.nan if s is None else s.mean for s in known]),
        "stdev": np.array([np.nan if s is None else s.deviation for s in known]),
        "minimum": np.array([np.nan if s is None else s.low for s in known]),
        "maximum": np.array([np.nan if s is None else s.high for s in known]),
    }
    attributes: dict[str, Any] = {
        "dataset_id": found.dataset_id,
        "variables": [of.name for of in found.variables],
        "positions": found.positions,
        "end": found.end,
    }
    if is_local(check_address(url)):
        try:
            _write_group(url, columns, attributes, "w" if _is_ours_here(url, columns) else "w-")
        except FileExistsError:
            raise ValueError(_NOT_OURS.format(mask_url(url))) from None
        return
    # Not by zarr's own store: some file systems cannot end the session that zarr began.
    objects = open_objects(url, storage_options=storage_options)
    there = set(objects.keys())
    if there and not _is_ours(objects, there, columns):
        raise ValueError(_NOT_OURS.format(mask_url(url)))
    with temporary_folder() as folder:
        _write_group(str(folder), columns, attributes, "w")
        made = {str(at.relative_to(folder)): at for at in folder.rglob("*") if at.is_file()}
        # The root's metadata last: a group that dies as it is written is the one before.
        for key in sorted(made, key=lambda key: (key == ROOT, key)):
            objects.put(key, made[key].read_bytes())
    for key in there - made.keys():
        objects.delete(key)


_NOT_OURS = "{} holds something else than statistics: give another address"


def _write_group(
    url: str, columns: Mapping[str, Any], attributes: Mapping[str, Any], mode: Literal["w", "w-"]
) -> None:
    import zarr

    group = zarr.open_group(url, mode=mode, zarr_format=3, attributes=dict(attributes))
    for name, column in columns.items():
        group.create_array(name, data=column, dimension_names=("variable",))


def _is_ours_here(url: str, columns: Mapping[str, Any]) -> bool:
    """Whether statistics are in a local folder, and nothing else."""
    import zarr

    try:
        there = zarr.open_group(url, mode="r")
    except FileNotFoundError:
        return False
    return set(there) <= columns.keys() and there.attrs.keys() >= MARKS


def _is_ours(objects: Objects, keys: Collection[str], columns: Mapping[str, Any]) -> bool:
    """Whether statistics are in objects of these keys, and nothing else."""
    names = {key.partition("/")[0] for key in keys}
    root = objects.get(ROOT)
    if root is None or not names <= {ROOT, *columns}:
        return False
    try:
        return set(json.loads(root)["attributes"]) >= MARKS
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
