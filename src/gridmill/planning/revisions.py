"""What a run made otherwise than it was: values that it replaced, or made final. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gridmill.model.files.earlier import Earlier
from gridmill.model.files.recorded import SourceFileRecord, by_listing
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.reports.publication import SECONDS
from gridmill.model.settled import SourceFileStatus

__all__ = ["changed_places", "earlier_versions", "finals", "revised"]

# What makes other values of the same source files.
MAKERS = ("epochs", "version")


def changed_places(before: ProgressRecord, after: ProgressRecord) -> dict[str, list[Region]]:
    """Return by variable where a region holds other values than before.

    Of a region that a run also let grow, the source files tell which of its positions changed:
    those that were revised, that give values where there were none, or that are final now: this is
    news also where the provisional file held the same.

    Parameters
    ----------
    before, after
        Records of one region.
    """
    return {
        name: list(_changed(before, after, name))
        for name in after.variables.keys() & before.variables.keys()
    }


def revised(changed: Mapping[str, Sequence[Region]], seen: int) -> tuple[Region, list[str]] | None:
    """Return what readers see otherwise: positions, and variables; None if they do not.

    Parameters
    ----------
    changed
        See `changed_places`.
    seen
        How many positions readers saw before.
    """
    within = {
        name: [at for at in found if at.is_static or at.start < seen]
        for name, found in changed.items()
    }
    places = [at for found in within.values() for at in found]
    if not places or not seen:
        return None
    names = sorted(name for name, found in within.items() if found)
    if any(at.is_static for at in places):
        return Region.STATIC, names
    start, stop = min(at.start for at in places), max(at.stop for at in places)
    return Region(start, min(stop, seen)), names


def finals(before: ProgressRecord, after: ProgressRecord) -> set[str]:
    """Return the URLs of source files whose provisional values gave way to final ones."""
    found = set()
    for name in after.variables.keys() & before.variables.keys():
        known, made = before.variables[name], after.variables[name]
        if not _is_untouched(known, made):
            found |= {f.url for f in _final_files(before, known, after, made)}
    return found


def _final_files(
    before: ProgressRecord, known: VariableRecord, after: ProgressRecord, made: VariableRecord
) -> Iterator[SourceFileRecord]:
    """Yield the source files of a variable that were provisional, and are final now."""
    if not any(file.is_provisional for file in before.groups[known.group]):
        return
    were = by_listing(before.groups[known.group])
    for listing, (number, file) in by_listing(after.groups[made.group]).items():
        is_final = file.status is SourceFileStatus.SUCCEEDED and file.provisional is None
        at, was = were.get(listing, (None, None))
        was_not = was is not None and was.is_provisional and at not in known.unread
        if was_not and is_final and number not in made.unread:
            yield file


def _changed(before: ProgressRecord, after: ProgressRecord, name: str) -> Iterator[Region]:
    """Yield the positions where a variable has other values: those of source files, or all."""
    known, made, region = before.variables[name], after.variables[name], after.region
    if _is_untouched(known, made):
        return
    final = () if region.is_static else tuple(_final_files(before, known, after, made))
    files: tuple[SourceFileRecord, ...] = final
    if _has_other_objects(known, made):
        files = () if region.is_static else tuple(_changed_files(before, known, after, made))
        if not files and all(receipt.digest for receipt in known.objects):
            yield region  # what made it changed, not what it was made from
    for file in dict.fromkeys([*files, *final]):
        at = region.clip(file.start, file.stop)
        if at.start < at.stop:
            yield Region(region.start + at.start, region.start + at.stop)


def _has_other_objects(known: VariableRecord, made: VariableRecord) -> bool:
    """Whether the store holds other bytes; also where it is not known what it held."""
    before, after = ({(o.key, o.digest) for o in of.objects} for of in (known, made))
    return before != after


def _is_untouched(known: VariableRecord, made: VariableRecord) -> bool:
    """Whether a run did not make a variable, or there was nothing to replace."""
    return known.state != "done" or made.state != "done" or known.run == made.run


def _changed_files(
    before: ProgressRecord, known: VariableRecord, after: ProgressRecord, made: VariableRecord
) -> Iterator[SourceFileRecord]:
    """Yield the source files that give a variable other values, as far as their identity tells."""
    were = by_listing(before.groups[known.group])
    for listing, (number, file) in by_listing(after.groups[made.group]).items():
        if file.status is not SourceFileStatus.SUCCEEDED or number in made.unread:
            continue
        at, was = were.get(listing, (None, None))
        gave = was is not None and was.status is SourceFileStatus.SUCCEEDED
        if was is None or not gave or at in known.unread or not file.is_as(was):
            yield file


# -- what a place held before ----------------------------------------------------------------


def earlier_versions(
    before: ProgressRecord | None,
    name: str,
    made: VariableRecord,
    files: Sequence[SourceFileRecord],
    by: int,
) -> Iterator[Earlier]:
    """Yield what a variable's places held before a run made it, where that was something else.

    Parameters
    ----------
    before
        The region's record from before the run.
    name, made, files
        The variable as the run made it, and its source files.
    by
        The run's index.
    """
    known = None if before is None else before.known_before(name)
    if before is None or known is None or known.state == "failed" or made.state == "failed":
        return
    runs = {run: index for index, (run, _) in enumerate(before.runs)}
    if any(getattr(known, part) != getattr(made, part) for part in MAKERS):
        run = runs.get(known.run)
        yield Earlier(variables=(name,), run=run, by=by, until=made.finished[:SECONDS])
    now = by_listing(files)
    for listing, (number, was) in by_listing(before.groups[known.group]).items():
        status = was.status.of_unread(known.unread[number][1]) if number in known.unread else None
        if listing in now and _is_other(was, status, *now[listing], made):
            yield _version(name, was, status or was.status, runs.get(known.run), by, made)


def _is_other(
    was: SourceFileRecord,
    status: SourceFileStatus | None,
    number: int,
    file: SourceFileRecord,
    made: VariableRecord,
) -> bool:
    """Whether a place held something that was final or a value, and is of another version now."""
    before = status or was.status
    if before is not SourceFileStatus.SUCCEEDED and not was.settled:
        return False  # readers had not been told that anything was there, or missing
    unread = made.unread.get(number)
    after = file.status if unread is None else file.status.of_unread(unread[1])
    return before is not after or not file.is_as(was)


def _version(
    name: str,
    was: SourceFileRecord,
    status: SourceFileStatus,
    run: int | None,
    by: int,
    made: VariableRecord,
) -> Earlier:
    return Earlier(
        variables=(name,),
        url=was.url,
        start=was.start,
        stop=was.stop,
        status=str(status),
        nbytes=was.nbytes,
        last_modified=was.last_modified,
        checksum=was.checksum,
        arrived=was.arrived,
        run=run if was.run is None else was.run,
        by=by,
        until=made.finished[:SECONDS],
    )
