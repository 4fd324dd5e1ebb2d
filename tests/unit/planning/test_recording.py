"""A record says of each variable what its own chain found, and nothing that may be untrue."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from gridmill.authoring.settling import state_of
from gridmill.model.files.versions import Word
from gridmill.model.records import ProgressRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import Encoding
from gridmill.planning.prepare import prepare_region, results_from_record
from gridmill.sources.fetch.download import FileIdentity
from recordings import (
    ABSENT,
    ARRAYS,
    CONFIG,
    OK,
    Job,
    files_of,
    next_try,
    prepared_of,
    receipt,
    recorded,
    statuses,
)
from tiny import HOUR, SHAPE, START, TinyCoord, tiny_var


def test_files_are_named_once_for_all_variables_of_a_group():
    """Chains that found the same share one list of files."""
    prepared = prepared_of()
    files = files_of(prepared, OK, OK, OK, ABSENT)
    twin = files_of(prepared, OK, OK, OK, ABSENT)
    record = recorded(prepared, a=receipt("a", files), b=receipt("b", twin), files=files)
    assert len(record.groups) == 1
    assert record.variables["a"].state == record.variables["b"].state == "done"


def test_files_are_named_once_for_variables_of_several_runs():
    """What an interrupted run left is done from the same files: they are not listed again."""
    prepared = prepared_of()
    files = files_of(prepared, OK, OK, OK, OK)
    partly = recorded(prepared, a=receipt("a", files), files=files)
    rest = prepared_of(partly)
    assert list(rest.todo) == ["b"]
    record = recorded(rest, b=receipt("b", files_of(rest, OK, OK, OK, OK)), files=files)
    assert len(record.groups) == 1
    assert set(record.variables) == {"a", "b"}


def test_each_variable_has_what_its_own_chain_found():
    """A file that one chain met and another did not counts as there for the one only."""
    prepared = prepared_of()
    first = files_of(prepared, OK, ABSENT, OK, OK)
    healed = files_of(prepared, OK, OK, OK, OK)
    record = recorded(prepared, a=receipt("a", first), b=receipt("b", healed), files=healed)
    assert statuses(record, "a") == [OK, ABSENT, OK, OK]
    assert statuses(record, "b") == [OK] * 4
    again = prepared_of(record)
    assert set(again.todo) == {"a"}


def test_a_variable_that_is_under_way_is_not_in_the_record():
    """What was known of it is not true any more once one of its objects is replaced."""
    prepared = prepared_of()
    files = files_of(prepared, OK, ABSENT, OK, OK)
    record = recorded(prepared, a=receipt("a", files), b=receipt("b", files))
    again = prepared_of(record)
    assert set(again.todo) == {"a", "b"}
    assert recorded(again).variables == {}
    partly = recorded(again, a=receipt("a", files_of(again, OK, OK, OK, OK)))
    assert set(partly.variables) == {"a"}
    # Beside them stays what was known of the other, for what the store may have lost of it.
    assert set(partly.under_way) == {"b"}
    assert partly.groups[partly.under_way["b"].group] == record.groups[0]
    assert ProgressRecord.from_json(partly.to_json()) == partly
    whole = recorded(prepared_of(partly), b=receipt("b", files_of(again, OK, OK, OK, OK)))
    assert (set(whole.variables), whole.under_way, len(whole.groups)) == ({"a", "b"}, {}, 1)


def test_what_is_done_stays_as_it_was_recorded():
    """A run that does one variable keeps the other's record, with its own files."""
    prepared = prepared_of()
    done = receipt("a", files_of(prepared, OK, OK, OK, OK))
    record = recorded(prepared, failures={"b": "why"}, a=done)
    again = prepared_of(record)
    assert set(again.todo) == {"b"}
    after = recorded(again, b=receipt("b", files_of(again, OK, OK, ABSENT, OK)))
    assert after.variables["a"].objects == record.variables["a"].objects
    assert statuses(after, "a") == [OK] * 4
    assert statuses(after, "b") == [OK, OK, ABSENT, OK]


def test_objects_that_a_redo_could_not_replace_are_still_there():
    """If no source file arrives when a region is done again, its record keeps its objects."""
    prepared = prepared_of()
    done = receipt("a", files_of(prepared, OK, ABSENT, OK, OK))
    record = recorded(
        prepared, a=done, b=receipt("b", files_of(prepared, *[ABSENT] * 4), n_objects=0)
    )
    assert record.variables["b"].state == "absent"
    again = prepared_of(record)
    nothing = receipt("a", files_of(again, *[ABSENT] * 4), n_objects=0)
    after = recorded(again, a=nothing).variables["a"]
    assert (after.state, after.objects) == ("done", done.objects)


def test_a_failure_keeps_its_cause_and_may_lack_files():
    """Where even the download failed by an error in code, the cause is all there is."""
    record = recorded(prepared_of(), failures={"a": "KeyError: x", "b": "KeyError: x"})
    assert record.variables["a"].error == "KeyError: x"
    assert record.fills("a") is None
    again = prepared_of(record)
    assert again.todo["a"] == "failed before: KeyError: x"
    assert results_from_record(again, record) == {}


@pytest.mark.parametrize(("now_h", "settled"), [(3, [True, True, False, True]), (4, [True] * 4)])
def test_an_absent_file_is_settled_once_it_is_overdue(now_h, settled):
    """By the dataset's delay: the file of hour 2 is expected two hours later."""
    prepared = prepared_of()
    files = files_of(prepared, OK, OK, ABSENT, OK)
    record = recorded(prepared, now_h, a=receipt("a", files))
    assert [fill.settled for fill in record.fills("a")] == settled


def test_a_region_is_judged_again_without_new_files():
    """As time goes on, a recorded absence becomes a gap, and nothing is processed for it."""
    prepared = prepared_of()
    files = files_of(prepared, OK, OK, ABSENT, OK)
    record = recorded(prepared, 3, a=receipt("a", files), b=receipt("b", files))

    def ask(job, coords):
        return {coord.get_url(): None for coord in coords}

    early = prepared_of(record, ask=ask, now=START + 3 * HOUR)
    assert (early.todo, early.record) == ({}, record)
    late = prepared_of(record, ask=ask, now=START + 4 * HOUR)
    assert late.todo == {}
    assert late.record.is_settled("ab")
    assert not record.is_settled("ab")


@pytest.mark.parametrize("etags", [("one", "two"), ("one", "one")])
def test_what_cannot_be_read_holds_readers_until_its_deadline_and_then_is_pending(etags):
    """Reading it in vain again settles nothing: the fault may be the reader's. Time lets others go.

    The file of hour 1 is expected two hours later.
    """
    record = None
    for etag, now_h in zip(etags, (2, 2.5), strict=True):
        prepared = prepared_of(record)
        assert set(prepared.todo) == {"a", "b"}
        record = unread_record(prepared, now_h, etag)
        assert [fill.settled for fill in record.fills("a")] == [True, False, True, True]
        assert list(record.pending()) == []
    prepared = prepared_of(record, now=START + 3 * HOUR)
    record = unread_record(prepared, 3, "one")
    assert record.is_settled("ab")
    assert list(record.pending()) == [("a", 1), ("b", 1)]
    assert (next_try(record), record.is_complete("ab")) == ("2020-01-01T04:00", False)


def test_an_author_may_let_readers_wait_for_a_variable():
    """What readers must never miss holds the archive back, however late it is."""

    class Holds(Job):
        def holds_extent(self, coord, data_var):
            return data_var.name == "a"

    prepared = prepared_of(job_class=Holds)
    record = unread_record(prepared, 100, "one")
    assert [fill.settled for fill in record.fills("a")] == [True, False, True, True]
    assert record.is_settled("b")


COUNTED = Encoding(chunks=(2, *SHAPE), shards=(4, *SHAPE), dtype="int16")
WITH_MISSING = replace(COUNTED, fill_value=-1)


def test_of_what_nothing_says_missing_a_missing_file_holds_readers_back():
    """They would see 0; a neighbour with a missing value does not wait past the deadline.

    The file of hour 2 is expected two hours later, and is looked at again without being fetched.
    """
    data_vars = (tiny_var("a", encoding=COUNTED), tiny_var("b", 1, encoding=WITH_MISSING))

    def prepared(record=None, **options):
        return prepared_of(record, data_vars=data_vars, **options)

    first = prepared()
    files = files_of(first, OK, OK, ABSENT, OK)
    early = recorded(first, 3, a=receipt("a", files), b=receipt("b", files))
    assert (extent(first, early, "a"), extent(first, early, "b")) == (2, 2)
    late = prepared(early, now=START + 4 * HOUR, ask=asked_in_vain).record
    again = prepared(late, now=START + 5 * HOUR, ask=asked_in_vain).record
    at_once = recorded(first, 4, a=receipt("a", files), b=receipt("b", files))
    for record in (late, again, at_once):
        assert (extent(first, record, "a"), extent(first, record, "b")) == (2, 4)
        assert [fill.status for fill in record.fills("a")] == [OK, OK, ABSENT, OK]
        (unread,) = record.variables["a"].unread.values()
        assert unread[1].startswith("not yet available; readers would see 0 there, as nothing says")
        assert unread[1].count("gridmill accept") == 1
        assert [name for name, _ in record.pending()] == ["b"]
        url = record.groups[0][2].url
        assert record.unsettled_files() == [(url, "not yet available for a")]
    accepted = tuple(replace(file, accepted="me") for file in late.groups[0])
    assert extent(first, replace(late, groups=(accepted,)), "a") == 4


@pytest.mark.parametrize(("encoding", "settled"), [(COUNTED, 2), (WITH_MISSING, 4)])
def test_a_position_is_not_published_for_others_where_a_variable_would_be_zero(encoding, settled):
    """Though its dataset publishes what has anything."""
    data_vars = (tiny_var("a", encoding=encoding), tiny_var("b", 1))
    job_class = type("Any", (Job,), {"publish_when": "any"})
    prepared = prepared_of(job_class=job_class, data_vars=data_vars)
    late, all_there = (files_of(prepared, OK, OK, s, OK) for s in (ABSENT, OK))
    record = recorded(prepared, a=receipt("a", late), b=receipt("b", all_there))
    assert state_of(prepared.job, results_from_record(prepared, record)).settled == settled


def test_of_what_nothing_says_missing_an_unreadable_file_holds_readers_back():
    """However late it is, and with the cause."""
    data_vars = (tiny_var("a", encoding=COUNTED), tiny_var("b", 1, encoding=WITH_MISSING))
    prepared = prepared_of(data_vars=data_vars)
    files = files_of(prepared, OK, OK, OK, OK)
    chains = {name: receipt(name, files, unread={1: "ValueError: x"}) for name in "ab"}
    record = recorded(prepared, 100, **chains)
    assert (extent(prepared, record, "a"), extent(prepared, record, "b")) == (1, 4)
    assert record.variables["a"].unread[1][1].startswith("ValueError: x; readers would see 0")
    assert record.variables["b"].unread[1] == (True, "ValueError: x")


def asked_in_vain(job, coords):
    """Answer as a provider that has nothing new."""
    return {coord.get_url(): None for coord in coords}


def extent(prepared, record, name):
    """Give how many positions one variable alone lets readers see."""
    results = results_from_record(prepared, record)
    return state_of(prepared.job, {name: results[name]}).settled


def test_a_pending_place_is_tried_again_at_growing_intervals_for_ever():
    """Nothing that was read in vain is forgotten, and a provider is not asked all the time."""
    record = unread_record(prepared_of(), 3, "one")
    tried, hour = [], 3
    while len(tried) < 10:
        hour += 1
        prepared = prepared_of(record, now=START + hour * HOUR)
        if prepared.todo:
            why = "1 source files that could not be read are tried again"
            assert prepared.todo == {"a": why, "b": why}
            record = unread_record(prepared, hour, "one")
            tried.append(hour)
    waits = [b - a for a, b in itertools.pairwise([3, *tried])]
    assert waits == [1, 2, 4, 8, 16, 24, 24, 24, 24, 24]
    assert {tries.since for tries in record.variables["a"].tries.values()} == {"2020-01-01T03:00"}


def test_what_failed_with_other_content_did_not_fail_twice():
    """Size, ETag and time may agree: the waits begin anew, and since when it lacks is kept."""
    prepared = prepared_of()
    record = None
    for hour, content in ((3, "one"), (4, "one"), (6, "two"), (7, None)):
        prepared = prepared_of(record, now=START + hour * HOUR)
        files = files_of(prepared, OK, OK, OK, OK, etag="one")
        checksum = content and f"whole-{content}"
        files = [replace(f, coord=replace(f.coord, checksum=checksum)) for f in files]
        unread = {name: receipt(name, files, {1: "ValueError"}) for name in "ab"}
        record = recorded(prepared, hour, **unread)
        tries = record.variables["a"].tries[1]
        times = {3: 1, 4: 2, 6: 1, 7: 2}[hour]
        assert (tries.times, tries.since) == (times, "2020-01-01T03:00")


def test_a_pending_place_is_read_at_once_when_what_reads_it_changed(monkeypatch):
    """A mended reader, or a new decoder, needs no order of anybody."""
    record = unread_record(prepared_of(), 3, "one")
    soon = START + 3.5 * HOUR
    assert prepared_of(record, now=soon).todo == {}
    monkeypatch.setattr("gridmill.planning.reasons.reading_code", lambda job_class: "mended")
    assert set(prepared_of(record, now=soon).todo) == {"a", "b"}


def test_of_a_pending_place_only_its_own_file_is_fetched():
    """What succeeded is in the store."""
    record = unread_record(prepared_of(), 3, "one")
    (group,) = prepared_of(record, now=START + 4 * HOUR).groups
    assert sorted(group.kept) == [0, 2, 3]


def test_what_somebody_accepted_is_not_tried_again():
    """A place that is closed by hand is neither pending nor due."""
    record = unread_record(prepared_of(), 3, "one")
    files = tuple(replace(file, accepted="somebody, why") for file in record.groups[0])
    record = replace(record, groups=(files,))
    assert (list(record.pending()), next_try(record)) == ([], None)
    assert prepared_of(record, now=START + 1000 * HOUR).todo == {}


def test_an_absence_that_is_overdue_is_asked_for_again_at_growing_intervals():
    """Asking is noted, though nothing is processed for it; what arrives is taken in."""
    prepared = prepared_of()
    files = files_of(prepared, OK, OK, ABSENT, OK)
    record = recorded(prepared, 4, a=receipt("a", files), b=receipt("b", files))
    assert next_try(record) == "2020-01-01T05:00"
    asked = []

    def ask(job, coords):
        asked.extend(coords)
        return {coord.get_url(): None for coord in coords}

    assert prepared_of(record, ask=ask, now=START + 4.5 * HOUR).record == record
    assert asked == []
    later = prepared_of(record, ask=ask, now=START + 5 * HOUR)
    assert (len(asked), later.todo) == (1, {})
    assert next_try(later.record) == "2020-01-01T07:00"
    arrived = {
        url: FileIdentity(nbytes=1, etag="e", last_modified=None) for url in [asked[0].get_url()]
    }
    again = prepared_of(later.record, ask=lambda job, coords: arrived, now=START + 7 * HOUR)
    assert set(again.todo) == {"a", "b"}


def test_a_hole_that_an_older_gridmill_settled_is_due():
    """Its record says of no try, so that it is tried by the next update."""
    record = unread_record(prepared_of(), 3, "one")
    variables = {name: replace(v, tries={}) for name, v in record.variables.items()}
    record = replace(record, variables=variables)
    assert next_try(record) == ""
    assert set(prepared_of(record, now=START + 3 * HOUR).todo) == {"a", "b"}


def unread_record(prepared, now_h, etag):
    """Return the record of a run in which the file of hour 1 could not be read."""
    files = files_of(prepared, OK, OK, OK, OK, etag=etag)
    return recorded(
        prepared,
        now_h,
        a=receipt("a", files, {1: "ValueError"}),
        b=receipt("b", files, {1: "ValueError"}),
    )


@pytest.mark.parametrize(
    ("names", "wrong"),
    [(["a"], "forgets b"), (["a", "b", "b"], "gives b once too often"), ([], "forgets a, b")],
)
def test_source_groups_hold_every_variable_once(names, wrong):
    """A variable that an author forgets would never be made, and nothing would say so."""

    class Forgets(Job):
        def source_groups(self, data_vars):
            return [[var for var in data_vars if var.name == name] for name in names]

    with pytest.raises(ValueError, match=rf"Forgets.source_groups\(\) {wrong}: put each of a, b"):
        prepared_of(job_class=Forgets)


def test_a_variable_without_objects_is_absent():
    """No object was written, and that is not a loss."""
    prepared = prepared_of()
    files = files_of(prepared, *[ABSENT] * 4)
    record = recorded(prepared, a=receipt("a", files, n_objects=0))
    assert record.variables["a"].state == "absent"


def test_a_grown_region_is_another_plan():
    """When the archive grows inside a region, its record does not count as done."""
    prepared = prepared_of(n=3)
    files = files_of(prepared, OK, OK, OK)
    record = recorded(prepared, a=receipt("a", files), b=receipt("b", files))
    assert prepared_of(record, n=3).todo == {}
    assert set(prepared_of(record, n=4).todo) == {"a", "b"}


def test_a_shorter_job_of_one_variable_leaves_the_others_as_far_as_they_are():
    """They would be taken for something else if their record ended before them."""
    prepared = prepared_of()
    files = files_of(prepared, OK, OK, OK, OK)
    first = recorded(prepared, a=receipt("a", files), b=receipt("b", files))
    shorter = prepared_of(n=3)
    job = replace(shorter.job, data_vars=[v for v in CONFIG.data_vars if v.name == "a"])
    shorter = prepare_region(job, first, ARRAYS, lambda *_: [])
    assert set(shorter.todo) == {"a"}
    record = recorded(shorter, a=receipt("a", files_of(shorter, OK, OK, OK)))
    assert (record.start, record.stop) == (0, 4)
    assert record.variables["b"].fingerprint == first.variables["b"].fingerprint
    assert set(prepared_of(record).todo) == {"a"}


def test_what_a_run_skips_is_as_known_as_what_it_did():
    """The results of a recorded region are those of the run that processed it."""
    prepared = prepared_of()
    files = files_of(prepared, OK, ABSENT, OK, OK)
    record = recorded(prepared, a=receipt("a", files, {3: "ValueError"}))
    results = results_from_record(prepared_of(record), record)
    assert [coord.status for coord in results["a"]] == [
        OK,
        ABSENT,
        OK,
        SourceFileStatus.READ_FAILED,
    ]
    assert [coord.etag for coord in results["a"]] == ["e"] * 4
    assert set(results) == {"a"}


def test_credentials_are_not_recorded():
    """A URL with a password is masked."""

    class Secret(Job):
        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            coords = super().generate_source_file_coords(processing_region_ds, data_var_group)
            return [WithPassword(label=coord.label) for coord in coords]

    prepared = prepared_of(job_class=Secret)
    record = recorded(prepared, a=receipt("a", files_of(prepared, OK, OK, OK, OK)))
    assert b"hunter2" not in record.to_json()


class WithPassword(TinyCoord):
    def get_url(self):
        return "https://me:hunter2@host/" + super().get_url()


HELD = "held by gate jump: values differ"


def test_what_a_gate_holds_is_settled_by_no_time():
    """Unlike what cannot be read: however late it is, the region waits, and each run looks."""
    prepared = prepared_of()
    files = files_of(prepared, OK, OK, OK, OK)
    record = recorded(prepared, 1000, a=receipt("a", files, {1: HELD}), b=receipt("b", files))
    assert record.variables["a"].unread == {1: (False, HELD)}
    assert (record.variables["a"].tries, list(record.pending())) == ({}, [])
    again = prepared_of(record, now=START + 2000 * HOUR)
    assert again.todo == {"a": "1 source files held by gate"}
    assert sorted(again.groups[0].kept) == [0, 2, 3]


@pytest.mark.parametrize("kind", ["released", "withdrawn"])
def test_a_word_is_about_one_version_of_a_file(kind):
    """It is kept while the file is as it was, or did not arrive; not for another version."""
    record = unread_record(prepared_of(), 3, "one")
    word = {"a": Word("me, why", record.groups[0][1].identity)}
    files = tuple(replace(file, **{kind: word}) for file in record.groups[0])
    record = replace(record, groups=(files,))
    for status, etag, kept in ((OK, "one", word), (ABSENT, None, word), (OK, "two", {})):
        prepared = prepared_of(record, now=START + 1000 * HOUR)
        found = files_of(prepared, OK, status, OK, OK, etag=etag)
        after = recorded(prepared, 1000, a=receipt("a", found), b=receipt("b", found))
        assert getattr(after.groups[0][1], kind) == kept
