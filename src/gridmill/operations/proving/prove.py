"""Proves regions of an archive, each in its turn: recomputes them, and compares.

The archive and its records stay as they are. What came of it lies beside the records, see
`gridmill.stores.state.beside.proofs`; runs may continue meanwhile, and a region that one of them
reprocesses while it is looked at is left for another time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.archive.works import VariableWorks
from gridmill.authoring.labels import just_after
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.proof import RegionProof, VariableProof, made_of, worst
from gridmill.operations.maintenance import check_exists
from gridmill.operations.proving.known import OVERDUE, KnownProofs, label_of, read_proofs
from gridmill.operations.proving.remake import Errand, Recorded, remake
from gridmill.operations.proving.turns import ProofCounts, whose_turn
from gridmill.pipeline.slabs.dividing import takes_data_array
from gridmill.pipeline.values import RunContext
from gridmill.planning.prepare import PreparedGroup, PreparedRegion
from gridmill.planning.source_files.grouping import sources_of
from gridmill.runs.on_demand import OnDemand, seconds_of, where_of
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.state.beside.feed import utc_now
from gridmill.stores.state.leases import LeaseProof

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Proving", "prove"]

log = logging.getLogger(__name__)

OTHER_DECLARATION = "its record is of other source files, or of another declaration"


@dataclass(frozen=True)
class Proving:
    """What came of proving regions.

    Parameters
    ----------
    dataset_id, store
        Which archive.
    proofs
        Of the regions whose turn it was.
    changed
        Labels of those that a run reprocessed meanwhile: nothing is said of them.
    counts
        Of the whole archive, after it.
    """

    dataset_id: str
    store: str
    proofs: tuple[RegionProof, ...]
    changed: tuple[str, ...]
    counts: ProofCounts

    @property
    def failed(self) -> bool:
        """Whether a region differs from what its source files give."""
        return any(proof.verdict == "failed" for proof in self.proofs)


def prove(
    dataset: DynamicalDataset,
    regions: int = 1,
    *,
    overdue: timedelta = OVERDUE,
    client: Any = None,
    now: Any = None,
) -> Proving:
    """Recompute regions from their source files, and compare them with what readers see.

    Parameters
    ----------
    dataset
        With its archive, of which nothing is changed.
    regions
        How many: those that were never proven first, then those for which it was longest ago.
    overdue
        After which a region counts as overdue.
    client
        Where to do the work, as for `DynamicalDataset.backfill`.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive.
    StructureMismatch
        The template contradicts the store.

    Notes
    -----
    A region whose source files are gone, or are other versions by now, cannot be proven; those that
    are left are still compared. Interrupted, what was proven stays proven.
    """
    check_exists(dataset)
    archive = _as_published(dataset, now)
    archive.check_structure()
    found = KnownProofs.of(archive)
    chosen = whose_turn(found.records, found.marks, regions)
    prover = _Prover(archive)
    proofs: list[RegionProof] = []
    changed: list[str] = []
    with where_of(client) as where:
        for record, proof in prover.proofs(chosen, where):
            if archive.store.tracker.read(record.region) != record:
                changed.append(proof.label)
                continue
            archive.store.tracker.proofs.write(proof, found.every.get(proof.region))
            log.info("region %s: %s", proof.label, proof.verdict)
            proofs.append(proof)
    counts = read_proofs(archive, overdue=overdue)
    assert counts is not None
    url = mask_url(archive.store.url)
    return Proving(dataset.dataset_id, url, tuple(proofs), tuple(changed), counts)


def _as_published(dataset: DynamicalDataset, now: Any) -> Archive:
    """Return the archive with a template that ends where readers see its end."""
    archive = dataset.archive(now, config=dataset.held(now))
    if not archive.look():
        return archive
    last = archive.store.open_dataset(chunks=None).get_index(archive.append_dim)[-1]
    end = just_after(last)
    return dataset.archive(end, config=dataset.held(end))


class _Prover:
    """Sends regions to be recomputed, and puts together what came back.

    Parameters
    ----------
    archive
        As it was made.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.works = VariableWorks(archive)
        is_with_coords = takes_data_array(archive.job_class)
        self.context = RunContext(
            run=f"prove-{utc_now()}",
            store=archive.store,
            # Nothing is written for which somebody would have to hold a lease.
            proof=LeaseProof(archive.store.state, "leases/prove/none"),
            metadata=archive.metadata,
            published=archive.published,
            coords=self.works.coords(along=False) if is_with_coords else None,
            axes=self.works.axes,
        )

    def proofs(
        self, records: Sequence[ProgressRecord], where: OnDemand
    ) -> Iterator[tuple[ProgressRecord, RegionProof]]:
        """Yield the proof of each region, in order."""
        prepared = [self._prepared(record) for record in records]
        if not prepared:
            return
        errands = [list(self._errands(one, r)) for one, r in zip(prepared, records, strict=True)]
        place = where.workplace(map(seconds_of, prepared))
        place.open(self.context, self.archive.job_class, goes_first=False)
        try:
            made = place.each(remake, (errand for of_region in errands for errand in of_region))
            for one, record, of_region in zip(prepared, records, errands, strict=True):
                variables = [proof for _ in of_region for proof in next(made)]
                yield record, self._proof(one, record, variables)
        finally:
            place.close()

    def _prepared(self, record: ProgressRecord) -> PreparedRegion:
        job = self.archive.job(record.region)
        job = replace(job, region=record.region) if not job.is_static else job
        return prepare_recorded(self.archive, job, record)

    def _errands(self, prepared: PreparedRegion, record: ProgressRecord) -> Iterator[Errand]:
        """Yield what is to be recomputed, by source group."""
        for group in prepared.groups:
            variables = [var for var in group.variables if _is_of(group, var.name, record)]
            if not variables:
                continue
            job = prepared.job
            labels = () if job.is_static else self.archive.index[job.region.slice]
            yield Errand(
                job=job.for_worker(sources_of(variables)),
                files=group.files,
                works=self.works.of(job, variables, prepared.sizes, record),
                recorded={
                    var.name: Recorded(known, record.groups[known.group])
                    for var in variables
                    for known in [record.variables[var.name]]
                },
                context=self.context,
                labels=tuple(map(str, labels)),
            )

    def _proof(
        self, prepared: PreparedRegion, record: ProgressRecord, made: Sequence[VariableProof]
    ) -> RegionProof:
        others = [
            VariableProof(name, "unprovable", causes=(OTHER_DECLARATION,))
            for group in prepared.groups
            for name in group.fingerprints
            if _was_made(name, record) and not _is_of(group, name, record)
        ]
        variables = (*made, *others)
        return RegionProof(
            region=record.region.key,
            label=label_of(self.archive, record),
            verdict=worst(proof.verdict for proof in variables),
            at=utc_now(),
            of=made_of(record),
            gridmill=version("gridmill"),
            variables=variables,
        )


def _was_made(name: str, record: ProgressRecord) -> bool:
    known = record.variables.get(name)
    return known is not None and known.state == "done"


def _is_of(group: PreparedGroup, name: str, record: ProgressRecord) -> bool:
    """Whether a variable was made of a group's files, by the declaration of today."""
    if not _was_made(name, record):
        return False
    known = record.variables[name]
    files = record.groups[known.group]
    is_believed = known.fingerprint is None or group.believes(name, known)
    return is_believed and len(files) == len(group.files)
