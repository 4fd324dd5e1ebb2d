"""What of a region's places an earlier run had made otherwise. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gridmill.model.files.earlier import Earlier
from gridmill.model.files.recorded import SourceFileRecord, by_listing
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.reports.publication import SECONDS
from gridmill.model.settled import SourceFileStatus

__all__ = ["earlier_versions"]

# What makes other values of the same source files.
MAKERS = ("epochs", "version")


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
