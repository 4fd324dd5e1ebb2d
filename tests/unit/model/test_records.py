"""Records come back as written, and say of each variable what its source files did."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.files.earlier import Earlier, kept_compactly
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import Word
from gridmill.model.records import ObjectReceipt, ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus, SourceFill

OK = SourceFileStatus.SUCCEEDED
ABSENT = SourceFileStatus.NOT_YET_AVAILABLE

TEXT = st.text(max_size=8)
MAYBE = st.none() | TEXT
IDENTITIES = st.tuples(st.none() | st.integers(0), MAYBE, MAYBE)
WORDS = st.dictionaries(TEXT, st.builds(Word, TEXT, IDENTITIES), max_size=2)
FILES = st.builds(
    SourceFileRecord,
    url=TEXT,
    start=st.integers(-5, 5),
    stop=st.integers(5, 9),
    status=st.sampled_from(SourceFileStatus),
    settled=st.booleans(),
    nbytes=st.none() | st.integers(0),
    etag=MAYBE,
    last_modified=MAYBE,
    detail=MAYBE,
    arrived=MAYBE,
    run=st.none() | st.integers(0, 3),
    released=WORDS,
    withdrawn=WORDS,
)
RUNS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
EARLIER = st.builds(
    Earlier,
    variables=st.lists(TEXT, min_size=1, max_size=2).map(tuple),
    url=TEXT,
    start=st.integers(-5, 5),
    stop=st.integers(5, 9),
    status=TEXT,
    checksum=MAYBE,
    arrived=MAYBE,
    run=st.none() | st.integers(0, 3),
    by=st.integers(0, 3),
    until=TEXT,
    extra=st.dictionaries(TEXT.map("later-{}".format), TEXT, max_size=1),
)
OBJECTS = st.builds(ObjectReceipt, TEXT, st.integers(0), st.integers(0, 2**32 - 1))
DIGESTED = st.builds(ObjectReceipt.of, TEXT, st.binary(max_size=9))


@st.composite
def records(draw):
    """Draw a record whose variables name groups that it has."""
    groups = draw(st.lists(st.lists(FILES, min_size=1, max_size=3).map(tuple), max_size=3))
    variables = {}
    for name in draw(st.lists(TEXT, unique=True, max_size=3)) if groups else ():
        group = draw(st.integers(0, len(groups) - 1))
        unread = st.dictionaries(
            st.integers(0, len(groups[group]) - 1), st.tuples(st.booleans(), TEXT), max_size=2
        )
        variables[name] = VariableRecord(
            state=draw(st.sampled_from(["done", "absent", "failed"])),
            group=group,
            fingerprint=draw(st.none() | st.dictionaries(TEXT, TEXT | st.integers())),
            objects=tuple(draw(st.lists(draw(st.sampled_from([OBJECTS, DIGESTED])), max_size=2))),
            unread=draw(unread),
            error=draw(MAYBE),
            run=draw(TEXT),
            finished=draw(TEXT),
            epochs=draw(st.none() | st.dictionaries(TEXT, st.integers(1))),
            version=draw(st.none() | st.integers(1)),
            libraries=draw(st.none() | st.dictionaries(TEXT, TEXT)),
        )
    start = draw(st.integers(0, 9))
    return ProgressRecord(
        dataset_id=draw(TEXT),
        start=start,
        stop=start + draw(st.integers(0, 9)),
        groups=tuple(groups),
        variables=variables,
    )


@given(records(), RUNS, st.lists(EARLIER, max_size=3).map(tuple))
def test_a_record_comes_back_as_it_was_written(record, runs, history):
    """JSON keeps everything, for any text and any optional field."""
    record = replace(record, runs=runs, history=history)
    read = ProgressRecord.from_json(record.to_json())
    assert read == record
    arrivals = [[(f.arrived, f.run) for group in r.groups for f in group] for r in (read, record)]
    assert arrivals[0] == arrivals[1]


def arrivals_of(record: ProgressRecord) -> list[tuple[str | None, int | None]]:
    """Give when the files of a record arrived, and with which run."""
    return [(file.arrived, file.run) for group in record.groups for file in group]


def test_when_files_arrived_is_written_once():
    """Each moment; what an earlier gridmill wrote of it is read, and what it knows nothing of."""
    file = SourceFileRecord(url="a", start=0, stop=1, status=OK, settled=True)
    came = [("2026-01-01T00:00:00", 0)] * 3 + [("2026-01-01T00:00:00", 1), (None, None)]
    files = [replace(file, url=str(n), arrived=at, run=run) for n, (at, run) in enumerate(came)]
    record = ProgressRecord(dataset_id="d", start=0, stop=1, groups=(tuple(files),))
    raw = json.loads(record.to_json())
    assert raw["arrivals"] == [["2026-01-01T00:00:00", 0], ["2026-01-01T00:00:00", 1]]
    assert not any("arrived" in one or "run" in one for one in raw["groups"][0])
    assert arrivals_of(ProgressRecord.from_json(json.dumps(raw).encode())) == came
    # An earlier gridmill that fetched the first anew keeps the table, and the others as they are.
    del raw["groups"][0][0]["came"]
    known = ProgressRecord.from_json(json.dumps(raw).encode())
    assert arrivals_of(known) == [(None, None), *came[1:]]
    # One that took them into a record without it.
    bare = {key: value for key, value in raw.items() if key != "arrivals"}
    known = ProgressRecord.from_json(json.dumps(bare).encode())
    assert arrivals_of(known) == [(None, None)] * 5
    assert ProgressRecord.from_json(known.to_json()) == known
    # What a file says itself goes before the table.
    raw["groups"][0][1] |= {"arrived": "2026-02-02T00:00:00", "run": 2}
    known = ProgressRecord.from_json(json.dumps(raw).encode())
    assert arrivals_of(known)[1:3] == [("2026-02-02T00:00:00", 2), came[2]]
    # Records in which each file says it.
    del raw["arrivals"]
    for one, (at, run) in zip(raw["groups"][0], came, strict=True):
        one.pop("came", None)
        one |= {} if at is None else {"arrived": at, "run": run}
    assert arrivals_of(ProgressRecord.from_json(json.dumps(raw).encode())) == came


@given(st.lists(EARLIER, max_size=30))
def test_earlier_versions_are_kept_compactly(found):
    """At most ten of a place and its variables, the latest; once more it changes nothing."""
    kept = kept_compactly(found)
    places = Counter((version.variables, version.place) for version in kept)
    assert max(places.values(), default=0) <= 10
    assert kept_compactly(kept) == kept
    if found:
        assert set(found[-1].variables) <= {name for version in kept for name in version.variables}


# Names of optional fields that no gridmill has yet.
LATER = st.dictionaries(TEXT.map("later-{}".format), st.integers() | TEXT | st.lists(TEXT))


@given(st.binary(min_size=1, max_size=50), st.integers(0), st.integers(1, 255))
def test_a_receipt_knows_its_object_from_others(content, at, change):
    """Also from one whose parts end with checksums, of which the checksum is always the same."""
    at %= len(content)
    other = content[:at] + bytes([content[at] ^ change]) + content[at + 1 :]
    whole = [part + google_crc32c.value(part).to_bytes(4, "little") for part in (content, other)]
    receipts = [ObjectReceipt.of("a", one) for one in whole]
    assert receipts[0].crc32c == receipts[1].crc32c
    assert [r.is_of(one) for r in receipts for one in whole] == [True, False, False, True]
    assert ObjectReceipt("a", len(content), None).is_of(other)


@given(records(), st.data())
def test_fields_of_a_later_gridmill_survive_rewriting(record, data):
    """What this code does not know it keeps, of the region, of files and of variables."""
    raw = json.loads(record.to_json())
    parts = [raw, *raw["variables"].values(), *(file for group in raw["groups"] for file in group)]
    for part in parts:
        part.update(data.draw(LATER))
    content = ProgressRecord.from_json(json.dumps(raw).encode()).to_json()
    assert json.loads(content) == raw


@given(records())
def test_a_record_of_the_first_release_is_read(record):
    """Its one hash is of no use any more, and all else is as it was."""
    raw = json.loads(record.to_json())
    for variable in raw["variables"].values():
        for name in ("fingerprint", "epochs", "version", "libraries"):
            variable.pop(name, None)
        variable["plan"] = "0123456789abcdef"
    read = ProgressRecord.from_json(json.dumps(raw).encode())
    assert {v.fingerprint for v in read.variables.values()} <= {None}
    assert read.variables.keys() == record.variables.keys()
    assert read.groups == record.groups


def test_a_later_schema_is_refused_with_both_numbers():
    """Nothing is guessed about a schema that this code does not know."""
    raw = json.loads(record_of().to_json())
    with pytest.raises(ValueError, match=r"schema 2, this gridmill reads up to 1"):
        ProgressRecord.from_json(json.dumps({**raw, "schema": 2}).encode())


@given(records(), st.data())
def test_a_broken_record_is_a_value_error(record, data):
    """Cut off anywhere, or without a field that each has, a record is refused as such."""
    content = record.to_json()
    with pytest.raises(ValueError, match="not a progress record"):
        ProgressRecord.from_json(content[: data.draw(st.integers(0, len(content) - 1))])
    raw = json.loads(content)
    raw.pop(data.draw(st.sampled_from(sorted(raw.keys() - {"arrivals"}))))
    with pytest.raises(ValueError, match="not a progress record"):
        ProgressRecord.from_json(json.dumps(raw).encode())


@pytest.mark.parametrize("content", [b"[]", b"3", b"null", b"\xff", b'{"schema": 99}'])
def test_what_is_no_record_is_a_value_error(content):
    """Other JSON, no text, or another schema version is refused as such."""
    with pytest.raises(ValueError, match="not a progress record"):
        ProgressRecord.from_json(content)


def record_of(**variables):
    """Give a record with one file that succeeded and one that is not there yet."""
    file = SourceFileRecord(url="u", start=0, stop=1, status=OK, settled=True)
    late = replace(file, start=1, stop=2, status=ABSENT, settled=False)
    return ProgressRecord(
        dataset_id="d", start=4, stop=6, groups=((file, late),), variables=variables
    )


def test_fills_say_what_was_read_for_each_variable():
    """A file that one variable could not read is a failure for that variable only."""
    done = VariableRecord(state="done", group=0)
    record = record_of(a=done, b=replace(done, unread={0: (True, "why")}))
    assert record.fills("a") == [SourceFill(0, 1, OK, True), SourceFill(1, 2, ABSENT, False)]
    assert record.fills("b")[0] == SourceFill(0, 1, SourceFileStatus.READ_FAILED, True)


def test_a_variable_that_failed_or_is_unknown_is_not_done():
    """It has no fills, and the record is neither settled nor complete with it."""
    record = record_of(a=VariableRecord(state="failed", group=0, error="why"))
    for name in "ab":
        assert record.fills(name) is None
        assert not record.is_settled([name])
        assert not record.is_complete([name])
    assert record.is_settled([])


def test_settled_and_complete_differ_by_gaps():
    """A settled gap leaves a record settled and not complete."""
    record = record_of(a=VariableRecord(state="done", group=0))
    assert (record.is_settled("a"), record.is_complete("a")) == (False, False)
    late = replace(record.groups[0][1], settled=True)
    record = replace(record, groups=((record.groups[0][0], late),))
    assert (record.is_settled("a"), record.is_complete("a")) == (True, False)
    record = replace(record, groups=((record.groups[0][0], replace(late, status=OK)),))
    assert (record.is_settled("a"), record.is_complete("a")) == (True, True)


HELD, UNREAD, GONE = "held by gate jump: 7", "ValueError: no", "withdrawn: me"


def test_what_is_held_or_withdrawn_is_told_from_what_cannot_be_read():
    """Held places are open and wait for somebody; withdrawn ones are closed; the rest heals."""
    files = tuple(
        SourceFileRecord(url=name, start=at, stop=at + 1, status=OK, settled=True)
        for at, name in enumerate("hug")
    )
    unread = {0: (False, HELD), 1: (True, UNREAD), 2: (True, GONE)}
    a = VariableRecord(state="done", group=0, unread=unread)
    record = ProgressRecord(dataset_id="d", start=0, stop=3, groups=(files,), variables={"a": a})
    fills = record.fills("a") or []
    assert [(f.status.value, f.settled) for f in fills] == [
        ("held by gate", False),
        ("read failed", True),
        ("withdrawn", True),
    ]
    assert list(record.held()) == list(record.held_open()) == [("a", 0)]
    assert list(record.pending()) == [("a", 1)]
    assert record.unsettled_files() == [("h", "held by gate for a")]
    rejected = replace(files[0], accepted="me: no")
    closed = replace(record, groups=((rejected, *files[1:]),))
    assert (list(closed.held()), list(closed.held_open())) == ([("a", 0)], [])
    assert closed.unsettled_files() == []
