"""Which published values a run replaced: of what readers saw, by the places of source files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.planning.revisions import changed_places, revised

OK, ABSENT = SourceFileStatus.SUCCEEDED, SourceFileStatus.NOT_YET_AVAILABLE


def file(at: int, url: str, etag: str = "1", status: SourceFileStatus = OK) -> SourceFileRecord:
    """Return the record of a source file that fills a position."""
    return SourceFileRecord(url=url, start=at, stop=at + 1, status=status, settled=True, etag=etag)


def record(run: str, *files: SourceFileRecord, digest: str = "", **changes: Any) -> ProgressRecord:
    """Return the record of the region of four positions that begins at the fourth."""
    objects = (ObjectReceipt("a/c/1", 1, 2, digest or run),)
    made = VariableRecord(state="done", group=0, run=run, objects=objects, **changes)
    return ProgressRecord(
        dataset_id="tiny", start=4, stop=8, groups=(tuple(files),), variables={"a": made}
    )


BEFORE = record("1", *(file(at, f"{at}") for at in range(4)))


@pytest.mark.parametrize(("seen", "first", "stop"), [(8, 6, 8), (7, 6, 7)])
def test_it_ends_where_readers_saw_the_end(seen, first, stop):
    """What was revised beyond is not theirs to be told."""
    after = record("2", file(0, "0"), file(1, "1"), file(2, "2", "new"), file(3, "3", "new"))
    assert revised(changed_places(BEFORE, after), seen) == (Region(first, stop), ["a"])


@pytest.mark.parametrize("seen", [0, 4, 6])
def test_what_nobody_saw_is_not_revised(seen):
    """Nor where nothing is published at all."""
    after = record("2", file(0, "0"), file(1, "1"), file(2, "2", "new"), file(3, "3", "new"))
    assert revised(changed_places(BEFORE, after), seen) is None


def test_the_same_bytes_are_no_revision():
    """Another version of a file may give the same values."""
    after = record("2", *(file(at, f"{at}", "new") for at in range(4)), digest="1")
    assert revised(changed_places(BEFORE, after), 8) is None


@pytest.mark.parametrize("place", [0, 1])
def test_each_place_of_one_file_is_told_apart(place):
    """A file that fills two places, of which one could not be read: that one is healed."""
    files = (file(0, "both"), file(1, "both"), file(2, "2"), file(3, "3"))
    before = record("1", *files, unread={place: (True, "KeyError: hour")})
    assert revised(changed_places(before, record("2", *files)), 8) == (
        Region(4 + place, 5 + place),
        ["a"],
    )


def test_a_file_that_came_is_a_revision_of_its_place():
    """Readers saw nothing there."""
    files = (*BEFORE.groups[0][:3], file(3, "3", status=ABSENT))
    before = replace(BEFORE, groups=(files,))
    assert revised(changed_places(before, record("2", *BEFORE.groups[0])), 8) == (
        Region(7, 8),
        ["a"],
    )


def test_of_a_file_that_fills_more_than_readers_saw_it_is_what_they_saw():
    """Its place goes on beyond."""
    long = replace(file(2, "long"), stop=4)
    before = record("1", file(0, "0"), file(1, "1"), long)
    after = record("2", file(0, "0"), file(1, "1"), replace(long, etag="new"))
    assert revised(changed_places(before, after), 7) == (Region(6, 7), ["a"])
