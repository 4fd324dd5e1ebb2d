"""What is done stays done: records are believed across releases, and what differs is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from first_release import as_first_release
from gridmill.model.records import ProgressRecord
from gridmill.planning.belief import Belief
from gridmill.planning.fingerprint import fits
from gridmill.planning.prepare import prepare_region
from gridmill.sources.fetch.download import FileIdentity
from recordings import ARRAYS, OK, Job, files_of, prepared_of, receipt, recorded
from tiny import HOUR, START, TinyCoord


def done_record(n: int = 4, job_class: Any = Job) -> ProgressRecord:
    prepared = prepared_of(job_class=job_class, n=n)
    files = files_of(prepared, *[OK] * n)
    return recorded(prepared, a=receipt("a", files), b=receipt("b", files), files=files)


def todo(record: ProgressRecord, *, n: int = 4, job_class: Any = Job, **changes: Any) -> dict:
    job = prepared_of(job_class=job_class, n=n).job
    arrays = changes.get("arrays", ARRAYS)
    stored = changes.get("stored", ARRAYS)
    return prepare_region(job, record, arrays, lambda *_: [], stored=lambda: stored).todo


class Moved(Job):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        coords = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [AtMirror(label=coord.label) for coord in coords]


class AtMirror(TinyCoord):
    def get_url(self) -> str:
        return "https://mirror/" + super().get_url()


class Fewer(Job):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        return super().generate_source_file_coords(processing_region_ds, data_var_group)[:-1]


def with_dtype(dtype: str) -> dict[str, Any]:
    return {**ARRAYS, "a": {**ARRAYS["a"], "data_type": dtype}}


RELEASES = pytest.mark.parametrize("release", [lambda r: r, as_first_release], ids=["now", "0.1.0"])


@RELEASES
def test_what_is_as_it_was_is_done(release):
    """A record of either format is believed where array, region and source files are today's."""
    assert todo(release(done_record())) == {}


@RELEASES
def test_what_differs_is_named(release):
    """Another array, or other places of source files, make their variables be processed."""
    record = release(done_record())
    changed = with_dtype("float64")
    assert todo(record, arrays=changed) == {"a": "the array's metadata changed"}
    assert set(todo(record, job_class=Fewer).values()) == {"source files changed"}


def test_the_store_is_asked_for_the_objects_of_all_variables_at_once():
    """A distant one makes each asking wait; what it lacks is named for the variable that has it."""
    prepared = prepared_of()
    files = files_of(prepared, *[OK] * 4)
    objects = {name: receipt(name, files, n_objects=2) for name in ("a", "b")}
    record = recorded(prepared, files=files, **objects)
    asked = []

    def missing(receipts: Any, token: str | None = None) -> list[str]:
        asked.append([one.key for one in receipts])
        return ["b/1"]

    found = prepare_region(prepared.job, record, ARRAYS, missing, stored=lambda: ARRAYS).todo
    assert found == {"b": "the store does not hold b/1"}
    assert [sorted(keys) for keys in asked] == [["a/0", "a/1", "b/0", "b/1"]]
    asked.clear()
    nothing = recorded(prepared, failures={"a": "e", "b": "e"})
    prepare_region(prepared.job, nothing, ARRAYS, missing, stored=lambda: ARRAYS)
    assert asked == []


@RELEASES
def test_a_region_that_grew_is_so_called(release):
    """Its first positions are as they were: that is no contradiction."""
    record = release(done_record(n=3))
    assert set(todo(record, n=4).values()) == {"the region has grown"}


@pytest.mark.parametrize(
    ("belief", "why"),
    [
        (Belief(), ""),
        (Belief(runs=("other", "r")), ""),
        (Belief(runs=("other",)), "to be reprocessed"),
        (Belief(runs=()), "to be reprocessed"),
        (Belief(revalidate=True), "8 source files arrived or were revised"),
    ],
)
def test_a_run_says_what_it_believes(belief, why):
    """Records of runs that a redo knows, or of all; or of none without asking the provider."""
    asked: list[Any] = []

    def ask(job: Any, coords: Any) -> dict[str, FileIdentity]:
        asked.extend(coords)
        return {coord.get_url(): FileIdentity(etag="another") for coord in coords}

    class Unrevised(Job):
        asks_for_revisions = False

    record = done_record(8)
    job = prepared_of(n=8, job_class=Unrevised).job
    prepared = prepare_region(job, record, ARRAYS, lambda *_: [], ask, belief=belief)
    assert prepared.todo == ({"a": why, "b": why} if why else {})
    assert bool(asked) == belief.revalidate


def test_what_is_done_asks_a_file_once_for_its_address():
    """A rerun looks at each of very many files: an author's hook is called no more than needed."""
    asked: list[Any] = []

    class Asked(TinyCoord):
        def get_url(self) -> str:
            asked.append(self.label)
            return super().get_url()

    class AskedJob(Job):
        def generate_source_file_coords(self, ds: Any, group: Any) -> Any:
            return [
                Asked(label=one.label) for one in super().generate_source_file_coords(ds, group)
            ]

    record = done_record()
    job = prepared_of(job_class=AskedJob).job
    asked.clear()
    assert not prepare_region(job, record, ARRAYS, lambda *_: [], now=START + 9 * HOUR).todo
    assert len(asked) == 4


def test_descriptions_decide_nothing():
    """An attribute that only describes may change."""
    attributes = {**ARRAYS["a"]["attributes"], "long_name": "better"}
    described = {**ARRAYS["a"], "attributes": attributes}
    assert todo(done_record(), arrays={**ARRAYS, "a": described}) == {}


def test_another_address_of_the_same_file_is_told_and_believed():
    """It fills the same place: nothing is downloaded again because a mirror's name is another."""
    record = done_record()
    job = prepared_of(job_class=Moved).job
    prepared = prepare_region(job, record, ARRAYS, lambda *_: [])
    assert (prepared.todo, prepared.has_moved) == ({}, True)
    assert not prepare_region(prepared_of().job, record, ARRAYS, lambda *_: []).has_moved


def test_a_record_of_the_first_release_names_its_files():
    """It has no hash of places: files of other addresses are other files."""
    assert set(todo(as_first_release(done_record()), job_class=Moved)) == {"a", "b"}


def test_a_record_of_the_first_release_needs_the_archives_metadata():
    """Where nothing published says how its objects are stored, it is not believed, with the why."""
    why = todo(as_first_release(done_record()), stored={})
    assert set(why) == {"a", "b"}
    assert "0.1.0" in why["a"]
    assert set(todo(as_first_release(done_record()), stored=with_dtype("int16"))) == {"a"}


def test_the_fingerprint_is_written_with_the_record():
    """What was believed without one has it from the next time on that its region is recorded."""
    old = as_first_release(done_record())
    half = replace(old, variables={"a": old.variables["a"]})
    job = prepared_of().job
    prepared = prepare_region(job, half, ARRAYS, lambda *_: [], stored=lambda: ARRAYS)
    assert set(prepared.todo) == {"b"}
    record = recorded(prepared, b=receipt("b", files_of(prepared, *[OK] * 4)))
    assert all(
        fits(record.variables[n].fingerprint, prepared.groups[0].fingerprints[n]) for n in "ab"
    )
    assert todo(record, stored={}) == {}


@given(st.dictionaries(st.sampled_from(["array", "stop", "places", "addresses"]), st.integers()))
def test_a_fingerprint_fits_only_what_has_all_its_parts(known):
    """A part that is missing is not as it is today."""
    ours = {"array": 1, "stop": 2, "places": 3, "addresses": 4}
    decides = {"array": 1, "stop": 2, "places": 3}
    assert fits(known, ours) == (decides.items() <= known.items())


# -- whole archives -----------------------------------------------------------------------------
