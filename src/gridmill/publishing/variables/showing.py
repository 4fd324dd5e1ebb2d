"""How variables that were made apart become part of an archive: recorded, then shown at once.

Each step can be repeated. Records come first: of what readers do not see they say nothing to
other runs (`gridmill.archive.recorded.tokens_of`). Then the declaration and what readers see, and
at last the records that were kept apart go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import prepare_recorded, tokens_of
from gridmill.authoring.settling import is_offered
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.publishing.variables.merging import with_variables, without_variables
from gridmill.publishing.view import Check, ReaderView
from gridmill.stores.final_store import CoordinateValues, FinalStore, StagedRegion
from gridmill.stores.lookahead import each
from gridmill.stores.metadata import array_metadata
from gridmill.stores.state.records import UpdateProgressTracker

__all__ = [
    "are_shown",
    "forget_added",
    "forget_shown",
    "lacking_regions",
    "record_added",
    "show_added",
]


def lacking_regions(archive: Archive) -> list[Region]:
    """Return the published regions with something to do for variables that nobody sees yet.

    Parameters
    ----------
    archive
        With the records of these variables.
    """

    def lacks(region: Region) -> bool:
        record = archive.store.tracker.read(region)
        job = archive.job(region)
        job = replace(job, data_vars=[v for v in job.data_vars if v.name in archive.unseen])
        return record is None or bool(prepare_recorded(archive, job, record).todo)

    regions = list(_regions(archive, archive.published, archive.unseen))
    found = each(lacks, regions, archive.store.state.at_once)
    return [region for region, is_lacking in zip(regions, found, strict=True) if is_lacking]


def record_added(view: ReaderView, names: Collection[str], run: str) -> None:
    """Take what is recorded of variables apart from others into a store's records.

    Parameters
    ----------
    view
        Of the store.
    names
        The variables.
    run
        Named in notices of what readers do not see yet.

    Raises
    ------
    ValueError
        What is recorded apart does not reach as far as readers see.
    """
    tracker = view.store.tracker

    def take(added: ProgressRecord) -> ProgressRecord:
        before = tracker.read(added.region)
        after = with_variables(before, added, names)
        view.completeness.announce(added.region, run)
        if after != before:
            tracker.write(after)
        return after

    taken = each(take, list(tracker.adding.all_records()), tracker.objects.at_once)
    _check_recorded(view, names, {record.region.key: record for record in taken})


def _check_recorded(
    view: ReaderView, names: Collection[str], taken: Mapping[str, ProgressRecord]
) -> None:
    """Raise unless each region that readers see has a record of all these variables."""
    archive = view.archive
    length = view.store.published_length(archive.append_dim) or 0
    for region in _regions(archive, length, names):
        record = taken.get(region.key) or view.store.tracker.read(region)
        job = archive.job(region)
        wanted = {v.name for v in job.data_vars if v.name in names and is_offered(job, v)}
        if record is None or not wanted <= record.variables.keys():
            raise ValueError(
                f"{view.store.url} has no {', '.join(sorted(wanted))} in the region from position "
                f"{region.name} yet: the next run copies it"
            )


def show_added(
    view: ReaderView, names: Collection[str], check: Check, declare: Callable[[], None]
) -> None:
    """Show variables that are recorded to readers of a store, all at once.

    Parameters
    ----------
    view
        Of the store.
    names
        The variables.
    check
        Called before every step.
    declare
        Makes them part of what is declared of the store.

    Raises
    ------
    LeaseLost
        Nothing may be written any more.
    """
    archive, store = view.archive, view.store
    length = store.published_length(archive.append_dim) or 0
    staged: list[StagedRegion] = []
    values: list[CoordinateValues] = []
    regions = list(_regions(archive, length, names))
    for region, record in zip(regions, store.tracker.read_each(regions), strict=True):
        if record is None:
            continue
        stop = min(record.stop, length)
        tokens = tokens_of(archive, record)
        staged.append(StagedRegion(region.name, stop, tokens, unseen=frozenset(names)))
        if not region.is_static:
            # With one more variable, every share is another one.
            values.extend(view.completeness.take(record, length))

    def check_and_declare() -> None:
        check()
        declare()

    view.show(
        archive.up_to(length),
        check_and_declare,
        seen=length,
        staged=staged,
        values=values,
        message=f"Add {', '.join(names)}",
    )


def are_shown(store: FinalStore, names: Collection[str]) -> bool:
    """Whether readers of a store see these variables."""
    return set(names) <= array_metadata(store.metadata() or {}).keys()


def forget_added(tracker: UpdateProgressTracker, names: Collection[str]) -> None:
    """Delete what is recorded of variables apart from others."""
    apart = tracker.adding
    _forget(apart, names)
    for key in list(apart.objects.keys("seeds")):
        # Those of others may be in use.
        if key.partition("/")[2].rpartition("-")[0] in names:
            apart.objects.delete(key)
    if next(apart.all_records(), None) is None:
        for key in [*apart.objects.keys("behind"), *apart.objects.keys("pending")]:
            apart.objects.delete(key)


def _forget(apart: UpdateProgressTracker, names: Collection[str]) -> None:
    def forget(record: ProgressRecord) -> None:
        rest = without_variables(record, names)
        if rest.variables or rest.under_way:
            apart.write(rest)
        else:
            apart.delete(record.region)

    each(forget, list(apart.all_records()), apart.objects.at_once)


def forget_shown(store: FinalStore, archive: Archive) -> None:
    """Delete what a run left that died as it had shown variables, if one did.

    What cannot be deleted now is left to another run.
    """
    with suppress(OSError):
        _forget_shown(store, archive)


def _forget_shown(store: FinalStore, archive: Archive) -> None:
    if next(store.tracker.adding.objects.keys(), None) is not None:
        forget_added(store.tracker, archive.stored_arrays().keys())


def _regions(archive: Archive, length: int, names: Collection[str]) -> Iterator[Region]:
    """Yield the static region, if there are such variables in it, and those up to a length.

    Raises
    ------
    ValueError
        The template does not reach as far.
    """
    if length > len(archive.index):
        raise ValueError(
            f"readers see {length} positions, and the template ends after {len(archive.index)}: "
            "nothing was shown; run this again"
        )
    static = {var.name for var in archive.static}
    if static.intersection(names):
        yield Region.STATIC
    if static.issuperset(names):
        return
    yield from archive.visible_regions(length)
