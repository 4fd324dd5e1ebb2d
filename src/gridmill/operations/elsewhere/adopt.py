"""Takes over an archive that another program made: from then on gridmill continues it.

Its data objects stay as they are. What it lacks are records, which say that every value in it is
there and that nobody has proven it; metadata as gridmill writes them, with which readers decode
the same values; and the declaration. In this order: before the last of them the archive is nobody's
for a run, and the same command, interrupted, starts over.

See Also
--------
gridmill.operations.elsewhere.examine : what fits, and what does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.model.display_hook import page_of
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.model.wording import count_of
from gridmill.operations.elsewhere.examine import Examined, examine
from gridmill.operations.elsewhere.metadata import metadata_in
from gridmill.operations.maintenance import leased
from gridmill.operations.rebuild import look, record_of, usual_places, visible_jobs
from gridmill.publishing.view import view_of
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.contents.found import found_in
from gridmill.stores.final_store import FinalStore
from gridmill.stores.lookahead import lookahead
from gridmill.stores.state.leases import Lease

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Adoption", "adopt"]


@dataclass(frozen=True)
class Adoption:
    """What was taken over, or would be.

    Parameters
    ----------
    changes
        What the metadata say otherwise than before.
    remarks
        What works, and costs readers more than it had to.
    positions, first, last
        What readers see.
    region_length
        Positions of a region from now on.
    gaps
        By variable, the places of source files without a value.
    report
        What is kept beside the records; None of a trial.
    """

    changes: tuple[str, ...]
    remarks: tuple[str, ...]
    positions: int
    first: str
    last: str
    region_length: int
    gaps: dict[str, int]
    report: RunReport | None = None


def adopt(
    dataset: DynamicalDataset, *, who: str, dry_run: bool = False, now: Any = None
) -> Adoption:
    """Take over an archive that gridmill did not make; the next update continues it.

    No source file is asked for. Where a source file should have filled something and there is no
    value, a gap is recorded, which updates try to fill.

    Parameters
    ----------
    dataset
        With its archive.
    who
        Kept in the report.
    dry_run
        Only look.
    now
        The present; None asks the clock.

    Raises
    ------
    NotAdoptable
        The archive does not fit the dataset; nothing was written.
    ValueError
        gridmill has its declaration already, or another program changed it meanwhile.
    LeaseHeld
        A run works on the archive.
    StoreUnwritable
        The store cannot be written.
    """
    store = dataset.store
    if store.tracker.read_declaration() is not None:
        raise ValueError(
            f"{store.url} is gridmill's already, by the declaration in {store.state.url}: "
            "gridmill update continues it"
        )
    examined = examine(dataset)
    archive = examined.archive
    archive.reach(examined.length)
    if dry_run:
        return _adoption(examined, _records(archive, "", dataset.present(now)))
    report = RunReport.begin(dataset.dataset_id, "adopt", mask_url(store.url))
    with leased(store, report.run, report.kind) as lease:
        records = _records(archive, report.run, dataset.present(now))
        for record in records:
            lease.proof.check()
            store.tracker.write(record)
        _publish(examined, store, lease, f"{who} adopted the archive")
        store.tracker.write_declaration(examined.declaration)
        _complete(report, examined, records, who)
        store.tracker.reports.write(report, page_of(report))
    return _adoption(examined, records, report)


def _records(archive: Archive, run: str, now: Any) -> list[ProgressRecord]:
    """Say what each region holds, by a look at each: the provider is not asked."""
    at_once = archive.store.state.at_once
    found = list(lookahead(partial(look, archive, asks=False), visible_jobs(archive), at_once))
    usual = usual_places(found)
    return [record_of(archive, one, usual, run, now) for one in found]


def _publish(examined: Examined, store: FinalStore, lease: Lease, message: str) -> None:
    """Write metadata and coordinates as gridmill does, the root last.

    Raises
    ------
    ValueError
        Another program changed the archive since it was examined.
    """
    archive = examined.archive
    view = view_of(archive, store)
    with lease.publishing() as check:
        source = found_in(store)
        if source is None or metadata_in(source)[0] not in (examined.found,):
            raise ValueError(
                f"{store.url} was changed during the check: stop the other writer, and "
                "run this again"
            )
        view.restore(examined.length, message, check)
        archive.check_structure()


def _complete(
    report: RunReport, examined: Examined, records: Sequence[ProgressRecord], who: str
) -> None:
    n = examined.length
    report.positions_before = report.positions_after = n
    report.published_before = report.published_after = str(examined.archive.index[n - 1])
    regions = count_of(len(records), "region")
    report.notes.append(f"{who} adopted the archive: {regions}, all of them unproven")
    report.notes.extend(examined.changes)
    report.end()


def _adoption(
    examined: Examined, records: Sequence[ProgressRecord], report: RunReport | None = None
) -> Adoption:
    index = examined.archive.index
    gaps = Counter(name for record in records for name, _ in record.pending())
    return Adoption(
        changes=examined.changes,
        remarks=examined.remarks,
        positions=examined.length,
        first=str(index[0]),
        last=str(index[examined.length - 1]),
        region_length=examined.archive.config.region_length,
        gaps=dict(sorted(gaps.items())),
        report=report,
    )
