"""Records are found again, and one that cannot be read is an error, never an absence."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.model.reports.run_report import RunReport
from gridmill.model.state_files import NewerSchema, UnreadableState
from gridmill.planning.redo import RedoOrder
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.state.claims import Claim, current_claims
from gridmill.stores.state.notices import notice_key
from gridmill.stores.state.records import UpdateProgressTracker

REGIONS = [Region(0, 4), Region(4, 8), Region(100, 104), Region(1000, 1002)]
DECLARATION = {"dataset_id": "tiny", "start": "2020", "variables": None, "format": "zarr"}
RUN = "20200101T000000-a"
REPORT = RunReport(RUN, "tiny", "update", "2020-01-01T00:00:00+00:00")
CLAIM = Claim(
    run=RUN,
    kind="update",
    host="h",
    machine="m",
    pid=1,
    process_started=0.5,
    since="2020-01-01T00:00:00+00:00",
    positions=((0, 4),),
    beat_key=f"leases/{RUN}/beat",
    time_to_live_s=20.0,
)


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
    tracker.write(record(Region(4, 6)))
    assert tracker.read(Region(4, 8)) == record(Region(4, 6))
    tracker.write(record(Region(4, 8)))
    assert list(tracker.records()) == [record(Region(4, 8))]


def test_static_variables_have_a_record_of_their_own(tracker):
    """It is none of the regions', the first region's least of all."""
    tracker.write(record(Region(0, 0)))
    assert tracker.read(Region(0, 4)) is None
    assert tracker.read(Region(0, 0)) == record(Region(0, 0))
    assert list(tracker.records()) == []


def test_all_records_begin_with_that_of_the_static_variables(tracker):
    """Who asks for all records gets each once, whether there are static variables or not."""
    for region in REGIONS:
        tracker.write(record(region))
    assert list(tracker.all_records()) == [record(r) for r in REGIONS]
    tracker.write(record(Region.STATIC))
    assert list(tracker.all_records()) == [record(r) for r in [Region.STATIC, *REGIONS]]


def test_records_and_notices_lie_where_earlier_releases_look(tracker):
    """The keys beside a store are those of 0.1.0: a region's first position in ten digits."""
    for region in (Region.STATIC, Region(0, 4), Region(1000, 1002)):
        tracker.write(record(region))
    names = ["0000000000.json", "0000001000.json", "static.json"]
    assert sorted(tracker.objects.keys("regions")) == [f"regions/{name}" for name in names]
    assert notice_key(1000, "run") == "behind/0000001000-run"


def test_a_region_can_be_forgotten(tracker):
    """After a delete there is no record; deleting none is no error."""
    tracker.write(record(Region(0, 4)))
    tracker.delete(Region(0, 4))
    tracker.delete(Region(0, 4))
    assert tracker.read(Region(0, 4)) is None


def test_the_first_declaration_stays(tracker):
    """What was declared when the archive was made is never replaced."""
    assert tracker.read_declaration() is None
    tracker.write_declaration(DECLARATION)
    tracker.write_declaration({**DECLARATION, "start": "2021"})
    assert tracker.read_declaration() == DECLARATION


def test_the_last_report_is_the_latest_run_s(tracker):
    """Of the reports the last by the runs' names, which begin with the time, is given."""
    assert tracker.reports.last() is None
    for run in ("20200102T000000-b", "20200101T000000-a"):
        tracker.reports.write(
            RunReport(run, "tiny", "update", "2020-01-01T00:00:00+00:00"), "a page"
        )
    assert tracker.reports.last()["run"] == "20200102T000000-b"
    assert tracker.reports.names() == ["20200101T000000-a", "20200102T000000-b"]
    assert tracker.objects.get("runs/20200101T000000-a.html") == b"a page"
    assert tracker.reports.read_plain("20200103T000000-c") is None


# -- what cannot be read ----------------------------------------------------------------------

ORDER = RedoOrder.of("2020", None, None)
# Every kind of file beside a store: its key, what is in it, and what reads it.
KINDS: dict[str, tuple[str, bytes, Callable[[UpdateProgressTracker], Any]]] = {
    "declaration": (
        "declaration.json",
        json.dumps(DECLARATION).encode(),
        lambda tracker: tracker.read_declaration(),
    ),
    "record": (
        "regions/0000000004.json",
        record(Region(4, 8)).to_json(),
        lambda tracker: tracker.read(Region(4, 8)),
    ),
    "static record": (
        "regions/static.json",
        record(Region(0, 0)).to_json(),
        lambda tracker: tracker.read(Region(0, 0)),
    ),
    "records": (
        "regions/0000000004.json",
        record(Region(4, 8)).to_json(),
        lambda tracker: list(tracker.records()),
    ),
    "redo order": (
        f"redo/{ORDER.name}.json",
        b'{"start": "2020", "end": null, "variables": null, "runs": ["a"]}',
        lambda tracker: ORDER.runs(tracker),
    ),
    "report": (f"runs/{RUN}.json", REPORT.to_json(), lambda tracker: tracker.reports.read(RUN)),
    "claim": (
        f"leases/{RUN}/claim.json",
        CLAIM.to_json(),
        lambda tracker: current_claims(tracker.objects),
    ),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def without(content: bytes, name: str) -> bytes:
    raw = json.loads(content)
    del raw[name]
    return json.dumps(raw).encode()


def changed(content: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(content), **fields}).encode()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "blank": lambda content: b" \n",
    "truncated": lambda content: content[:-1],
    "no text": lambda content: b"\xff\xfe\xfd",
    "an error page": lambda content: b"<html>503</html>",
    "a list": lambda content: b"[" + content + b"]",
    "null": lambda content: b"null",
    "too deep": lambda content: b"[" * 100_000,
    "no field": lambda content: b"{}",
    "no schema number": lambda content: changed(content, schema="one"),
    "schema zero": lambda content: changed(content, schema=0),
}


@every_kind
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_an_error_that_names_it(kind, damage, tracker):
    """Whatever is wrong with it: its address, the cause and the remedy in one line; it pickles."""
    key, content, read = KINDS[kind]
    tracker.objects.put(key, DAMAGE[damage](content))
    with pytest.raises(UnreadableState) as caught:
        read(tracker)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (str(error), type(error)) == (str(caught.value), UnreadableState)
    assert str(error).startswith(f"{tracker.objects.url}/{key} ")
    assert len(str(error).splitlines()) == 1
    assert "restore it from a backup" in str(error) or "delete it" in str(error)


@every_kind
def test_a_later_schema_is_refused_with_both_numbers(kind, tracker):
    """It is told apart from damage, says to upgrade, and pickles."""
    key, content, read = KINDS[kind]
    tracker.objects.put(key, changed(content, schema=3))
    with pytest.raises(
        NewerSchema, match=r"has schema 3, this gridmill \S+ reads up to 1"
    ) as caught:
        read(tracker)
    error = pickle.loads(pickle.dumps(caught.value))
    assert (str(error), error.schema, error.readable) == (str(caught.value), 3, 1)
    assert str(error).startswith(f"{tracker.objects.url}/{key} ")
    assert ": upgrade gridmill, or " in str(error)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"record", "static record", "records"}))
@pytest.mark.parametrize("more", [{}, {"schema": 1}, {"note": {"by": "a later gridmill"}}])
def test_fields_that_are_added_and_a_schema_that_is_not_named_change_nothing(kind, more, tracker):
    """A file without a schema has schema 1, and what is not known is ignored."""
    key, content, read = KINDS[kind]
    tracker.objects.put(key, content)
    plain = read(tracker)
    tracker.objects.put(key, changed(content, **more))
    found = read(tracker)
    if kind == "declaration":
        assert found.pop("note", None) == more.get("note")
    assert found == plain


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        ("declaration", "variables", "a"),
        ("declaration", "dataset_id", None),
        ("redo order", "runs", "a"),
        ("report", "files", []),
        ("report", "regions_done", "3"),
        ("report", "spans", [{"stage": "upload"}]),
        ("claim", "pid", "1"),
        ("claim", "positions", [[0]]),
        ("claim", "positions", [None]),
        ("record", "groups", 3),
        ("record", "start", "4"),
    ],
)
def test_a_field_of_another_type_is_damage(kind, name, value, tracker):
    """What would fail later, far from the file, is told where it is read."""
    key, content, read = KINDS[kind]
    tracker.objects.put(key, changed(content, **{name: value}))
    with pytest.raises(UnreadableState, match=key):
        read(tracker)


@pytest.mark.parametrize(("kind", "name"), [("declaration", "format"), ("claim", "since")])
def test_a_field_that_is_missing_is_named(kind, name, tracker):
    """One learns what a file that was written by hand lacks."""
    key, content, read = KINDS[kind]
    tracker.objects.put(key, without(content, name))
    with pytest.raises(UnreadableState, match=f"lacks '{name}'"):
        read(tracker)


def test_a_record_of_another_dataset_or_region_is_an_error(tracker):
    """A file that was copied there by mistake does not make its region look undone."""
    tracker.write(record(Region(0, 4), "another"))
    with pytest.raises(UnreadableState, match=r"0000000000.*belongs to another, not to tiny"):
        tracker.read(Region(0, 4))
    tracker.objects.put("regions/0000000008.json", record(Region(4, 8)).to_json())
    with pytest.raises(UnreadableState, match=r"belongs at regions/0000000004\.json"):
        tracker.read(Region(8, 12))
    with pytest.raises(UnreadableState):
        list(tracker.records())


def test_what_is_not_named_like_a_record_is_none(tracker):
    """An operating system's or an editor's files among the records disturb nobody."""
    tracker.write(record(Region(4, 8)))
    for name in (".DS_Store", "0000000004.json~", "0000000004.json.bak"):
        tracker.objects.put(f"regions/{name}", b"")
    assert list(tracker.records()) == [record(Region(4, 8))]


def test_a_notice_that_names_no_region_is_an_error(tracker):
    """It says that something is behind, and not what: nobody may pass over it."""
    tracker.notices.write("behind/0000000004-a")
    assert tracker.notices.all() == ["behind/0000000004-a"]
    tracker.objects.put("behind/0000000004-a", b"what a later gridmill notes in it")
    assert tracker.notices.all() == ["behind/0000000004-a"]
    tracker.notices.write("behind/a")
    with pytest.raises(UnreadableState, match="behind/a is named like no notice"):
        tracker.notices.all()


@given(
    kind=st.sampled_from(sorted(KINDS)),
    garbage=st.binary(max_size=40),
    at=st.floats(0, 1),
)
def test_no_damage_looks_like_an_absence(kind, garbage, at):
    """Bytes that replace a file's end leave it as it was, or an error: never nothing at all."""
    objects = InMemory()
    tracker = UpdateProgressTracker(objects, "tiny")
    key, content, read = KINDS[kind]
    objects.put(key, content[: int(at * len(content))] + garbage)
    with suppress(UnreadableState):
        assert read(tracker) not in (None, [])


class InMemory(LocalObjects):
    """What these tests put and get, without a disk."""

    url = "memory"

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def put(self, key: str, content: bytes) -> None:
        self.content[key] = content

    def get(self, key: str) -> bytes | None:
        return self.content.get(key)

    def keys(self, prefix: str = ""):
        return (key for key in sorted(self.content) if key.startswith(f"{prefix}/"))


def test_no_credential_is_in_an_error(tracker):
    """Of the address of the folder either."""
    objects: Objects = InMemory()
    objects.url = "https://me:pw@example.org/a.zarr.gridmill"
    objects.put("declaration.json", b"")
    with pytest.raises(UnreadableState, match=r"^https://\*\*\*@example\.org/a\.zarr") as caught:
        UpdateProgressTracker(objects, "tiny").read_declaration()
    assert "pw" not in str(caught.value.args)


def test_what_is_not_known_survives_a_rewrite(tracker):
    """A later gridmill's fields of a declaration and of a redo order stay when they are changed."""
    note = {"encoding": {"a": "zstd"}}
    tracker.write_declaration({**DECLARATION, **note})
    tracker.replace_declaration({**DECLARATION, "variables": ["a"]})
    assert tracker.read_declaration() == {**DECLARATION, "variables": ["a"], **note}
    assert json.loads(tracker.objects.get("declaration.json"))["schema"] == 1
    tracker.write_redo(ORDER.name, {"runs": ["a"], **note})
    assert ORDER.join(tracker, "b") == ("a", "b")
    assert tracker.read_redo(ORDER.name)["encoding"] == note["encoding"]


def test_a_damaged_history_is_skipped_and_told_once(tracker, caplog):
    """Who looks at past runs gets the others, the latest first, and one warning that names it."""
    names = [f"2020010{day}T000000-a" for day in range(1, 6)]
    for name in names:
        tracker.reports.write(
            RunReport(name, "tiny", "update", "2020-01-01T00:00:00+00:00"), "a page"
        )
    tracker.objects.put(f"runs/{names[3]}.json", b"{")
    with caplog.at_level(logging.WARNING):
        assert [r.run for r in tracker.reports.past(3)] == [names[4], names[2]]
        assert [r.run for r in tracker.reports.past()] == [names[n] for n in (4, 2, 1, 0)]
    (said,) = caplog.messages
    assert f"runs/{names[3]}.json is not JSON" in said
    caplog.clear()
    tracker.objects.put(f"runs/{names[4]}.json", b"")
    tracker.objects.put(f"runs/{names[2]}.json", b"")
    with caplog.at_level(logging.WARNING):
        assert next(tracker.reports.past()).run == names[1]
    (said,) = caplog.messages
    assert said.startswith("the reports of 2 runs are skipped, the latest: ")


def test_a_report_of_a_later_gridmill_is_read(tracker):
    """Fields of its parts and statuses of files that are not known are no damage."""
    content = REPORT.to_dict() | {"files": {"quarantined": 2, "succeeded": 1}}
    failure = {"region": "r", "variable": "a", "cause": "c", "worker": "w"}
    content |= {"replicas": [{"url": "u", "positions": 3, "lag": 1}], "failures": [failure]}
    tracker.objects.put(f"runs/{RUN}.json", json.dumps(content).encode())
    found = tracker.reports.read(RUN)
    assert (found.replicas[0].url, found.failures[0].cause) == ("u", "c")
    assert not found.succeeded
