"""Rebuilds the records of an archive whose `<store>.gridmill/` was lost.

What readers see is there, but not how it came about. Both can be asked: the store, at which places
it has values, and the provider, which source files it has. A place with values was filled; one
without is a gap, open where the provider has the file, and settled where it should have it by now
and does not. Of a variable that has no value at a place where it has some at all other times, and
others have some now, the file could not be read.

Values are looked for in one inner chunk of each variable, and in all of them only where that one
has none, so that a rebuild reads a small part of an archive.

What another program made has records made in the same way, but nobody is asked: see
`gridmill.operations.elsewhere.adopt`.

What somebody accepted, rejected, released or withdrew is taken from the records of a replica. What
no one can tell stays unknown: such words where there is no replica, which is said; checksums of
objects and of source files, epochs, and whether the provider replaced a file since it was read.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from gridmill.archive.archive import Archive
from gridmill.archive.declaration import with_what_it_has
from gridmill.archive.recorded import prepare_recorded
from gridmill.authoring.labels import just_after
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import url_of
from gridmill.authoring.template import TemplateConfig
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.reports.run_report import RunReport
from gridmill.model.settled import SourceFileStatus
from gridmill.model.state_files import NewerSchema, UnreadableState
from gridmill.model.variables import DataVar
from gridmill.operations.decisions.kept_words import copied_record, unknown_words, with_words
from gridmill.operations.maintenance import by_hand
from gridmill.pipeline.values import SourceFile
from gridmill.planning.prepare import PreparedGroup, PreparedRegion
from gridmill.planning.source_files.asking import ask_files
from gridmill.planning.source_files.places import positions_filled
from gridmill.sources.fetch.download import FileIdentity, mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.lookahead import lookahead
from gridmill.stores.metadata import array_metadata
from gridmill.stores.state.records import UpdateProgressTracker

if TYPE_CHECKING:
    import xarray as xr

    from gridmill.dataset import DynamicalDataset

__all__ = [
    "Everything",
    "Found",
    "Index",
    "Labels",
    "declaration_from_store",
    "declared_by",
    "elsewhere",
    "look",
    "place_of",
    "rebuild_records",
    "record_of",
    "usual_places",
    "visible_jobs",
]

Index = tuple[int | slice, ...]
Labels = tuple[Any, ...]

ABSENT = SourceFileStatus.NOT_YET_AVAILABLE
NO_VALUE = "the archive has no value of it, and its record was lost"
NEVER_HAD = "the archive had no value of it when it was taken over"


def rebuild_records(dataset: DynamicalDataset, *, who: str, now: Any = None) -> RunReport:
    """Write a declaration where it is lost or damaged, and a record for each region that lacks one.

    Parameters
    ----------
    dataset
        With its archive. What is recorded of published regions stays as it is.
    who
        Kept in the report.
    now
        The present; None asks the clock. Files that are absent and are expected by then are gaps.

    Raises
    ------
    ValueError
        Readers see nothing, or the store is not this dataset's; or a later gridmill declared it.
    LeaseHeld
        A run works on the archive.

    Notes
    -----
    Interrupted, the same call begins to look again; records that it wrote stay as they are. None is
    written before all regions were looked at: what a variable lacks shows only beside the others.
    """
    store, tracker = dataset.store, dataset.store.tracker
    _declare(tracker, declaration_from_store(dataset))
    with by_hand(dataset, "rebuild-records", now=now) as hand:
        last = store.open_dataset().get_index(dataset.declared.append_dim)[-1]
        archive = dataset.archive(just_after(last))
        archive.check_structure()
        lacking = [job for job in visible_jobs(archive) if tracker.read(job.region) is None]
        found = list(lookahead(partial(look, archive), lacking, store.state.at_once))
        usual = usual_places(found)
        present = dataset.present() if now is None else archive.config.label(now)
        n_copied = 0
        for region in found:
            hand.lease.proof.check()
            record = record_of(archive, region, usual, hand.report.run, present)
            copied = copied_record(dataset.replicas, record.region)
            n_copied += copied is not None
            tracker.write(with_words(record, copied))
        regions = [job.region for job in lacking]
        hand.report.notes.append(f"{who} rebuilt the records of {len(found)} regions")
        hand.report.notes.extend(unknown_words(store, regions, n_copied))
    return hand.report


def _declare(tracker: UpdateProgressTracker, declaration: Mapping[str, Any]) -> None:
    """Write a declaration where there is none, or one that is damaged.

    Raises
    ------
    NewerSchema
        A later gridmill wrote the one that is there: it is whole.
    """
    try:
        known = tracker.read_declaration()
    except NewerSchema:
        raise
    except UnreadableState:
        tracker.objects.delete("declaration.json")
        known = None
    if known is None:
        tracker.write_declaration(declaration)


def declaration_from_store(dataset: DynamicalDataset) -> dict[str, Any]:
    """Say what an archive was declared to be when it was made, by what readers see of it.

    Raises
    ------
    ValueError
        Readers see nothing, or no dataset of gridmill's.
    """
    store = dataset.store
    config = with_what_it_has(store, dataset.declared)
    arrays = array_metadata(store.metadata() or {})
    if not arrays or not store.published_length(config.append_dim):
        raise ValueError(
            f"readers see nothing at {store.url}: there is no record to rebuild; gridmill backfill "
            "makes an archive"
        )
    return declared_by(store, config, arrays, store.open_dataset())


def declared_by(
    store: FinalStore, config: TemplateConfig, arrays: Container[str], ds: xr.Dataset
) -> dict[str, Any]:
    """Say what makes of a template what a store has: its start, variables and leads."""
    there = [var.name for var in config.data_vars if var.name in arrays]
    first = ds.get_index(config.append_dim)[0]
    return {
        "dataset_id": config.dataset_id,
        "start": None if first == config.label(config.append_dim_start) else first.isoformat(),
        "variables": None if len(there) == len(config.data_vars) else there,
        "max_lead": _max_lead(config, ds),
        **store.declared_format(),
    }


def _max_lead(config: TemplateConfig, ds: Any) -> str | None:
    """Return the longest lead, where an archive has fewer than its dataset declares."""
    leads = config.dimension_coordinates().get("lead_time")
    if leads is None or len(leads) == ds.sizes["lead_time"]:
        return None
    return f"{ds.get_index('lead_time')[-1].total_seconds() / 3600:g}h"


def visible_jobs(archive: Archive) -> Iterator[RegionJob[Any, Any]]:
    """Yield the jobs of all regions that readers see, that of static variables first."""
    if archive.static:
        yield archive.job(Region.STATIC)
    yield from map(archive.job, archive.visible_regions())


# -- what is there ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What store and provider have of a region.

    Parameters
    ----------
    prepared
        Its source files.
    answers
        By address, which version of a file the provider has, None if it has none; None where
        the provider was not asked.
    has_values
        By variable, whether the store has values at the place of each of its source files.
    objects
        By variable, the objects that hold it.
    """

    prepared: PreparedRegion
    answers: Mapping[str, FileIdentity | None] | None
    has_values: dict[str, list[bool]] = field(default_factory=dict)
    objects: dict[str, tuple[ObjectReceipt, ...]] = field(default_factory=dict)


def look(archive: Archive, job: RegionJob[Any, Any], *, asks: bool = True) -> Found:
    """Look for the values of a region's source files in the store, and ask the provider for them.

    Without `asks` it is not asked, and a variable in which nothing says missing lacks none.
    """
    prepared = prepare_recorded(archive, job, None)
    coords = [file.coord for group in prepared.groups for file in group.files]
    found = Found(prepared, ask_files(job, coords) if asks else None)
    store = archive.store
    for group in prepared.groups:
        for var in group.variables:
            found.objects[var.name] = _objects(store, job, var, prepared.sizes)
            if not asks and var.encoding.missing is None:
                found.has_values[var.name] = [True] * len(group.files)
            elif found.objects[var.name]:
                has_values = _have_values(store, var, job, prepared.sizes, group.files)
                found.has_values[var.name] = has_values
    return found


def _objects(
    store: FinalStore, job: RegionJob[Any, Any], var: DataVar, sizes: Mapping[str, int]
) -> tuple[ObjectReceipt, ...]:
    """Return the objects of a variable's region that the store has."""
    lengths = dict(zip(var.dims, var.encoding.object_shape, strict=True))
    spans = {dim: (0, sizes[dim]) for dim in var.dims}
    spans |= {job.append_dim: (job.region.start, job.region.stop)} if not job.is_static else {}
    numbers = [
        range(start // lengths[dim], -(-stop // lengths[dim]))
        for dim, (start, stop) in ((dim, spans[dim]) for dim in var.dims)
    ]
    keys = ["/".join([var.name, "c", *map(str, place)]) for place in product(*numbers)]
    nbytes = store.published_nbytes(keys)
    return tuple(ObjectReceipt(key, nbytes[key], None) for key in keys if key in nbytes)


def place_of(job: RegionJob[Any, Any], file: SourceFile, var: DataVar) -> Index | None:
    """Return where a file's values are in the store's array; None outside of the region."""
    place = dict(file.place)
    if job.append_dim in var.dims:
        filled = positions_filled(job, file)
        at = job.region.clip(filled.start, filled.stop)
        if at.start >= at.stop:
            return None
        place[job.append_dim] = _shifted(at, -job.region.start)
    return tuple(place.get(dim, slice(None)) for dim in var.dims)


def _have_values(
    store: FinalStore,
    var: DataVar,
    job: RegionJob[Any, Any],
    sizes: Mapping[str, int],
    files: Sequence[SourceFile],
) -> list[bool]:
    """Say for each file whether it has a value: by one inner chunk, else by all of them."""
    places = [place_of(job, file, var) for file in files]
    some = _selection(var, job, sizes, places)
    first = tuple(at.start or 0 for at in some)
    seen = _is_value(store.read(var.name, some), var)

    def has_value(place: Index | None) -> bool:
        if place is None:
            return True  # it fills nothing here that could be missing
        inside = tuple(
            _shifted(at, start) if at != slice(None) else slice(None)
            for at, start in zip(place, first, strict=True)
        )
        if seen[inside].any():
            return True
        whole = tuple(at if isinstance(at, slice) else slice(at, at + 1) for at in place)
        return bool(_is_value(store.read(var.name, whole), var).any())

    return [has_value(place) for place in places]


def _selection(
    var: DataVar,
    job: RegionJob[Any, Any],
    sizes: Mapping[str, int],
    places: Sequence[Index | None],
) -> tuple[slice, ...]:
    """Choose the region, whole along dims on which files have places, else one chunk wide."""
    known = [place for place in places if place is not None]
    chosen = []
    for axis, (dim, chunk) in enumerate(zip(var.dims, var.encoding.chunks, strict=True)):
        if dim == job.append_dim:
            chosen.append(job.region.slice)
        elif any(place[axis] != slice(None) for place in known):
            chosen.append(slice(0, sizes[dim]))
        else:
            middle = sizes[dim] // 2 // chunk * chunk
            chosen.append(slice(middle, min(middle + chunk, sizes[dim])))
    return tuple(chosen)


def _shifted(at: int | slice, start: int) -> int | slice:
    return at - start if isinstance(at, int) else slice(at.start - start, at.stop - start)


def _is_value(values: np.ndarray[Any, Any], var: DataVar) -> np.ndarray[Any, np.dtype[np.bool_]]:
    fill = var.encoding.fill
    is_fill = np.isnan(values) if fill != fill else values == fill
    result: np.ndarray[Any, np.dtype[np.bool_]] = ~is_fill
    return result


# -- what that means ----------------------------------------------------------------------------


class Everything(Container[tuple[str, Labels]]):
    """What holds whatever it is asked for."""

    def __contains__(self, place: object) -> bool:
        return True


def usual_places(found: Sequence[Found]) -> set[tuple[str, Labels]]:
    """Where a variable has values at some time: at lead 0 a rate never has, and lacks nothing."""
    return {
        (name, elsewhere(file, region.prepared.job))
        for region in found
        for group in region.prepared.groups
        for name in group.fingerprints.keys() & region.has_values.keys()
        for file, has in zip(group.files, region.has_values[name], strict=True)
        if has
    }


def elsewhere(file: SourceFile, job: RegionJob[Any, Any]) -> Labels:
    """Return a file's place but for the append dim."""
    return tuple(sorted((d, repr(at)) for d, at in file.place.items() if d != job.append_dim))


def record_of(
    archive: Archive, found: Found, usual: Container[tuple[str, Labels]], run: str, now: Any
) -> ProgressRecord:
    """Say what must have become of a region's source files, by what was found of them.

    Where the provider was not asked, what has no value is a gap, and all else unproven.
    """
    job, prepared = found.prepared.job, found.prepared
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    variables = {
        var.name: VariableRecord(
            state="done" if found.objects[var.name] else "absent",
            group=number,
            fingerprint=group.fingerprints[var.name],
            objects=found.objects[var.name],
            unread=_unread(found, group, var.name, usual),
            run=run,
            finished=finished,
            unproven=True if found.answers is None and found.objects[var.name] else None,
        )
        for number, group in enumerate(prepared.groups)
        for var in group.variables
    }
    return ProgressRecord(
        dataset_id=archive.config.dataset_id,
        start=job.region.start,
        stop=job.region.stop,
        groups=tuple(tuple(_files(found, group, now)) for group in prepared.groups),
        variables=variables,
    )


def _files(found: Found, group: PreparedGroup, now: Any) -> Iterator[SourceFileRecord]:
    """Yield what became of a group's files, as far as it can be told."""
    job = found.prepared.job
    for index, file in enumerate(group.files):
        answer = (found.answers or {}).get(url_of(file.coord))
        at = positions_filled(job, file)
        known = {} if answer is None else asdict(answer)
        known.pop("url", None)  # nobody knows from which address its values came
        outcome: dict[str, Any] = {"status": SourceFileStatus.SUCCEEDED, "settled": True, **known}
        if not _has_any(found, group, index):
            # What the provider has and the archive lacks is fetched by the next run.
            is_there = answer is not None
            status = SourceFileStatus.DOWNLOAD_FAILED if is_there else ABSENT
            settled = not is_there and job.expected(file.coord, now)
            outcome = {"status": status, "settled": settled, "detail": NO_VALUE}
            if found.answers is None:  # readers do without it already
                outcome |= {"settled": True, "detail": NEVER_HAD}
        url = mask_url(url_of(file.coord))
        yield SourceFileRecord(url=url, start=at.start, stop=at.stop, **outcome)


def _has_any(found: Found, group: PreparedGroup, index: int) -> bool:
    """Whether any variable of a group has values of one of its files."""
    return any(
        found.has_values[name][index] for name in group.fingerprints if name in found.has_values
    )


def _unread(
    found: Found, group: PreparedGroup, name: str, usual: Container[tuple[str, Labels]]
) -> dict[int, tuple[bool, str]]:
    """Return the files that were there and of which a variable lacks what it has at other times."""
    has_values = found.has_values.get(name, [])
    lacking = (False, NO_VALUE) if found.answers is not None else (True, NEVER_HAD)
    return {
        index: lacking
        for index, (file, has) in enumerate(zip(group.files, has_values, strict=False))
        if not has
        and _has_any(found, group, index)
        and (name, elsewhere(file, found.prepared.job)) in usual
    }
