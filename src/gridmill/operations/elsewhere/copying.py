"""Copies an archive to another store, format or cloud: its objects, records and declaration.

What gridmill made is copied object by object, also between plain Zarr and Icechunk, whose objects
are the same: each is compared with its receipt on the way. What another program made is rewritten,
see `gridmill.operations.elsewhere.recoding`.

See Also
--------
gridmill.publishing.replica : what a copy is, as long as it is made.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.model.display_hook import page_of
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.entries import ReplicaOutcome
from gridmill.model.reports.run_report import RunReport
from gridmill.model.urls import is_local, local_path
from gridmill.model.wording import count_of, format_nbytes
from gridmill.operations.elsewhere.recoding import recode
from gridmill.operations.maintenance import leased
from gridmill.publishing.copies import Copy, copy_objects
from gridmill.publishing.extent import Extent
from gridmill.publishing.replica import Replica
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore, Uploaded
from gridmill.stores.lookahead import lookahead
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.state.leases import Lease

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Copied", "copy_archive"]

# Beside the copy, of what it is one.
MARK = "copied-from.json"
# Variables of a region on their way at once: each takes disk for its objects, and memory for one.
AT_ONCE = 4
# A source that is updated meanwhile is followed as often.
ROUNDS = 3


@dataclass(frozen=True)
class Copied:
    """What was copied.

    Parameters
    ----------
    source, target
        Addresses.
    is_recoded
        Whether values were decoded and encoded; otherwise objects were copied as they are.
    positions
        What readers of the copy see.
    objects, nbytes
        What it holds of data, by its records.
    without_checksum
        How many of the objects have receipts without a checksum: of these only sizes were compared.
    report
        What is kept beside the copy's records.
    """

    source: str
    target: str
    is_recoded: bool
    positions: int
    objects: int
    nbytes: int
    without_checksum: int
    report: RunReport


def copy_archive(
    dataset: DynamicalDataset,
    target: DynamicalDataset,
    *,
    who: str,
    lossy: bool = False,
    now: Any = None,
) -> Copied:
    """Copy an archive to another store; the next update of the copy continues it.

    Interrupted, the same call resumes. Readers of the copy see nothing, or the archive's first
    positions as they are in the source. The source may be updated meanwhile; it is only read.

    Parameters
    ----------
    dataset
        With the archive that is copied.
    target
        The same dataset with the other store.
    who
        Kept in the report.
    lossy
        Whether values of an archive that another program made may lose precision.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive, or the target is another one.
    LeaseHeld
        Something works on the target.
    StoreUnwritable
        The target cannot be written.
    """
    source, store = dataset.store, target.store
    if source.url.rstrip("/") == store.url.rstrip("/"):
        raise ValueError(f"{store.url} is the archive itself: give another address to copy it to")
    # What cannot be read leaves no mark at the other place.
    source.metadata()
    report = RunReport.begin(dataset.dataset_id, "copy", mask_url(store.url))
    is_recoded = source.tracker.read_declaration() is None
    with leased(store, report.run, report.kind) as lease:
        _take(source, store)
        report.positions_before = store.published_length(target.declared.append_dim) or 0
        if is_recoded:
            report.notes.extend(recode(source, target, lease, lossy=lossy, now=now))
            failure = None
        else:
            failure = _copy_objects(dataset, store, lease, now)
        copied = _copied(dataset, target, report, is_recoded)
        report.notes.insert(0, f"{who} copied {mask_url(source.url)}")
        _end(report, copied.positions, store, target.declared.append_dim, failure)
    return copied


def _take(source: FinalStore, store: FinalStore) -> None:
    """Mark an empty place as that of this copy; see that it still is.

    Raises
    ------
    ValueError
        There is something else, or the copy went its own way since.
    """
    is_here = is_local(source.url)
    place = str(local_path(source.url).resolve()) if is_here else mask_url(source.url)
    known = store.state.get(MARK)
    if known is None:
        if store.tracker.read_declaration() is not None or store.metadata() is not None:
            raise ValueError(
                f"{store.url} holds something already, and no copy of {mask_url(source.url)}: "
                "give another address"
            )
        store.state.put(MARK, json.dumps({"source": place}).encode())
        return
    if json.loads(known)["source"] != place:
        raise ValueError(
            f"{store.url} is a copy of {json.loads(known)['source']}, not of {place}: give "
            "another address"
        )
    last = store.tracker.reports.last()
    if last is not None and last["kind"] != "copy":
        raise ValueError(
            f"{store.url} was copied, and changed since by the {last['kind']} {last['run']}: to "
            "copy again would undo that; give another address"
        )


def _end(
    report: RunReport, positions: int, store: FinalStore, append_dim: str, failure: str | None
) -> None:
    report.positions_after = positions
    if positions:
        labels = store.open_dataset(chunks=None).get_index(append_dim)
        report.published_after = str(labels[positions - 1])
    if failure is not None:
        report.replicas = [ReplicaOutcome(mask_url(store.url), positions, failure)]
    report.end()
    store.tracker.reports.write(report, page_of(report))


def _copied(
    dataset: DynamicalDataset, target: DynamicalDataset, report: RunReport, is_recoded: bool
) -> Copied:
    receipts = [
        receipt
        for record in target.store.tracker.all_records()
        for variable in record.variables.values()
        for receipt in variable.objects
    ]
    nbytes = sum(receipt.nbytes for receipt in receipts)
    report.notes.append(f"{count_of(len(receipts), 'object')}, {format_nbytes(nbytes)}")
    return Copied(
        source=dataset.store.url,
        target=target.store.url,
        is_recoded=is_recoded,
        positions=target.store.published_length(target.declared.append_dim) or 0,
        objects=len(receipts),
        nbytes=nbytes,
        without_checksum=sum(receipt.crc32c is None for receipt in receipts),
        report=report,
    )


# -- object by object ----------------------------------------------------------------------------


def _copy_objects(
    dataset: DynamicalDataset, store: FinalStore, lease: Lease, now: Any
) -> str | None:
    """Copy what the source's records say, and publish it; say why the copy is behind it.

    Raises
    ------
    ValueError
        The source shows nothing, or the target holds another archive.
    """
    failure = None
    for _ in range(ROUNDS):
        archive = dataset.archive(now)
        if not archive.check_structure():
            raise ValueError(f"readers see nothing at {archive.store.url}: there is no archive")
        extent = Extent(archive)
        replica = Replica(archive, extent, store)
        with lease.publishing():
            replica.prepare()
        replica.catch_up({}, lease.proof, _copy_each)
        with lease.publishing() as check:
            replica.publish(_shown(archive, extent), check, message="Copy the archive")
        replica.completeness.settle()
        failure = replica.why_behind(store.published_length(archive.append_dim) or 0)
        if failure is None:
            return None
    return failure


def _shown(archive: Archive, extent: Extent) -> xr.Dataset:
    """Return the template as readers of the source see it."""

    def forget(record: ProgressRecord) -> None:
        """Do nothing: what is not published is of no concern."""

    trimmed = extent.publishable(forget)
    is_as_far = trimmed.sizes[archive.append_dim] == archive.published
    return trimmed if is_as_far else archive.up_to(archive.published)


def _copy_each(copies: Sequence[Copy]) -> list[Uploaded | str]:
    """Make copies in this process, several at once."""

    def make(copy: Copy) -> Uploaded | str:
        with temporary_folder() as folder:
            return copy_objects(copy, folder)

    return list(lookahead(make, copies, AT_ONCE))
