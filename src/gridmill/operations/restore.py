"""Puts metadata and coordinates back that somebody damaged in a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded
from gridmill.archive.salvage import declared_labels, undamaged_metadata
from gridmill.authoring.labels import just_after
from gridmill.authoring.over_time.as_made import as_made
from gridmill.authoring.over_time.held import as_held, more_declared
from gridmill.authoring.template import TemplateConfig
from gridmill.model.display_hook import page_of
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.maintenance import leased
from gridmill.publishing.publisher import Publisher
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import readable_length

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["is_made_with", "restore_metadata"]

# Which metadata of an array, where its own object and the root differ.
BELIEVED: tuple[Literal["neither", "own", "root"], ...] = ("neither", "own", "root")


def restore_metadata(
    dataset: DynamicalDataset, *, who: str, force: bool = False, now: Any = None
) -> RunReport:
    """Write metadata and coordinates again, as the archive was made with; data stay.

    What of its metadata is whole says how that was, and elsewhere the template does. In replicas,
    too. Readers see as many positions as before, or as the last run showed where that
    cannot be read.

    Parameters
    ----------
    dataset
        With its archive.
    who
        Kept in the report.
    force
        Also where the records do not prove that the archive was made with what is put back.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        There is no archive, that proof is missing, or a run published more meanwhile.
    LeaseHeld
        A run works on the archive.
    """
    store = dataset.store
    report = RunReport.begin(dataset.dataset_id, "restore-metadata", mask_url(store.url))
    config = dataset.held()
    length = _published(dataset)
    if not length:
        raise ValueError(f"{store.url} never showed a position: there is nothing to put back")
    labels = declared_labels(config, length, dataset.present() if now is None else now)
    archive = _proven(dataset, just_after(labels[length - 1]), force=force)
    publisher = Publisher(archive, dataset.replicas)
    with leased(store, report.run, report.kind) as lease:
        note = f"{who} put metadata and coordinates back"
        restored = publisher.restore(length, note, lease)
        report.notes.append(note if restored else f"{who} found nothing to put back")
        report.replicas = publisher.replicas.outcomes()
        report.positions_before = report.positions_after = length
        report.published_before = report.published_after = str(labels[length - 1])
        report.end()
        store.tracker.reports.write(report, page_of(report))
    return report


def _proven(dataset: DynamicalDataset, end: Any, *, force: bool) -> Archive:
    """Return the archive with what the records prove it to be made with."""
    for config in _candidates(dataset):
        archive = dataset.archive(end, as_declared=True, config=config)
        if is_made_with(archive):
            return archive
    if force:
        return archive
    raise ValueError(
        f"the records do not prove that {dataset.store.url} was made with this template: compare "
        "the two, and give --force if it was"
    )


def _candidates(dataset: DynamicalDataset) -> Iterator[TemplateConfig]:
    """Yield what the archive may have been made with, last of all what the code declares."""
    coded = dataset.coded()
    for believed in BELIEVED:
        stored = undamaged_metadata(dataset.store, coded, believed)
        config = as_made(coded, stored).config
        held = as_held(config, more_declared(config, stored))
        if held is not config:
            yield held
        if config is not coded:
            yield config
    yield coded


def is_made_with(archive: Archive) -> bool:
    """Whether every record says that it was made with this template."""
    records = list(archive.store.tracker.records())
    length = len(archive.index)
    whole = [record for record in records if record.stop <= length]
    for record in whole:
        job = archive.job(record.region)
        prepared = prepare_recorded(archive, job, record)
        if not all(
            group.believes(name, record.variables[name])
            for group in prepared.groups
            for name in group.fingerprints.keys() & record.variables.keys()
        ):
            return False
    return bool(whole)


def _published(dataset: DynamicalDataset) -> int:
    """Return how many positions readers see, or saw where the store does not say any more."""
    length = readable_length(dataset.store, dataset.declared.append_dim)
    if length:
        return length
    report = dataset.store.tracker.reports.last() or {}
    return int(report.get("positions_after", 0))
