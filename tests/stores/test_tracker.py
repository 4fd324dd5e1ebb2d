"""Records are found again, and none is believed that should not be."""

from __future__ import annotations

import json

import pytest

from gridmill.progress import ProgressRecord, VariableRecord
from gridmill.run_report import RunReport
from gridmill.stores.objects import open_objects
from gridmill.stores.tracker import UpdateProgressTracker

REGIONS = [slice(0, 4), slice(4, 8), slice(100, 104), slice(1000, 1002)]


@pytest.fixture
def tracker(tmp_path):
    return UpdateProgressTracker(open_objects(str(tmp_path)), "tiny")


def record(region, dataset_id="tiny"):
    done = VariableRecord(state="absent", group=0)
    return ProgressRecord(
        dataset_id=dataset_id,
        start=region.start,
        stop=region.stop,
        groups=((),),
        variables={"a": done},
    )


def test_records_are_read_as_written_in_order(tracker):
    """Each region has its record, and all come in the order of the regions."""
    for region in reversed(REGIONS):
        tracker.write(record(region))
    assert [tracker.read(region) for region in REGIONS] == [record(r) for r in REGIONS]
    assert list(tracker.records()) == [record(r) for r in REGIONS]


def test_a_region_that_grew_has_the_record_of_its_start(tracker):
    """The last region keeps its record while the archive grows; a rewrite replaces it."""
    tracker.write(record(slice(4, 6)))
    assert tracker.read(slice(4, 8)) == record(slice(4, 6))
    tracker.write(record(slice(4, 8)))
    assert list(tracker.records()) == [record(slice(4, 8))]


def test_static_variables_have_a_record_of_their_own(tracker):
    """It is none of the regions', the first region's least of all."""
    tracker.write(record(slice(0, 0)))
    assert tracker.read(slice(0, 4)) is None
    assert tracker.read(slice(0, 0)) == record(slice(0, 0))
    assert list(tracker.records()) == []


def test_records_that_cannot_be_believed_are_none(tracker):
    """Another dataset's, another schema's and a damaged record count as no record."""
    tracker.write(record(slice(0, 4), "another"))
    tracker.write(record(slice(4, 8)))
    tracker.objects.put("regions/0000000008.json", b"{")
    raw = json.loads(record(slice(12, 16)).to_json())
    tracker.objects.put("regions/0000000012.json", json.dumps({**raw, "schema": 2}).encode())
    assert [tracker.read(slice(n, n + 4)) for n in (0, 8, 12)] == [None] * 3
    assert list(tracker.records()) == [record(slice(4, 8))]


def test_a_region_can_be_forgotten(tracker):
    """After a delete there is no record; deleting none is no error."""
    tracker.write(record(slice(0, 4)))
    tracker.delete(slice(0, 4))
    tracker.delete(slice(0, 4))
    assert tracker.read(slice(0, 4)) is None


def test_the_first_declaration_stays(tracker):
    """What was declared when the archive was made is never replaced."""
    assert tracker.read_declaration() is None
    tracker.write_declaration({"start": "2020"})
    tracker.write_declaration({"start": "2021"})
    assert tracker.read_declaration() == {"start": "2020"}


def test_the_last_report_is_the_latest_run_s(tracker):
    """Of the reports the last by the runs' names, which begin with the time, is given."""
    assert tracker.last_report() is None
    for run in ("20200102T000000-b", "20200101T000000-a"):
        tracker.write_report(RunReport(run, "tiny", "update", "2020-01-01T00:00:00+00:00"))
    assert tracker.last_report()["run"] == "20200102T000000-b"
    assert tracker.runs() == ["20200101T000000-a", "20200102T000000-b"]
    assert "update of tiny" in tracker.read_page("20200101T000000-a")
    assert tracker.read_report("20200103T000000-c") is None
