"""What is done stays done: records are believed across releases, and what differs is named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.records import ProgressRecord
from gridmill.planning.prepare import fits, prepare_region
from recordings import ARRAYS, OK, Job, files_of, prepared_of, receipt, recorded
from tiny import (
    REGION,
    Provider,
    Tiny,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    tiny_var,
    until,
)


def done_record(n: int = 4, job_class: Any = Job) -> ProgressRecord:
    prepared = prepared_of(job_class=job_class, n=n)
    files = files_of(prepared, *[OK] * n)
    return recorded(prepared, a=receipt("a", files), b=receipt("b", files), files=files)


def as_first_release(record: ProgressRecord) -> ProgressRecord:
    """Give a record as gridmill 0.1.0 wrote it: with one hash that includes library versions."""
    raw = json.loads(record.to_json())
    for variable in raw["variables"].values():
        for name in ("fingerprint", "epochs", "version", "libraries"):
            variable.pop(name, None)
        variable["plan"] = "made-by-0.1.0"
    return ProgressRecord.from_json(json.dumps(raw).encode())


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


@RELEASES
def test_a_region_that_grew_is_so_called(release):
    """Its first positions are as they were: that is no contradiction."""
    record = release(done_record(n=3))
    assert set(todo(record, n=4).values()) == {"the region has grown"}


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


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    provider = Provider(tmp_path / "source")
    provider.publish(hours(2 * REGION))
    return provider


def build(tmp_path: Path, client: Any, kind: Any = Tiny, **given: Any) -> Any:
    dataset = kind(tmp_path / "a.zarr", source_base=str(tmp_path / "source"))
    return dataset, dataset.backfill(until(2 * REGION), client=client, **given)


def forget_fingerprints(dataset: Any) -> None:
    for record in dataset.store.progress():
        dataset.store.tracker.write(as_first_release(record))


@pytest.mark.parametrize("is_first_release", [False, True])
def test_a_release_redoes_nothing(tmp_path, client, provider, monkeypatch, is_first_release):
    """With other versions of gridmill, zarr and numcodecs no file is asked for and none written."""
    dataset, _ = build(tmp_path, client)
    if is_first_release:
        forget_fingerprints(dataset)
    before = snapshot(tmp_path / "a.zarr")
    monkeypatch.setattr("gridmill.planning.recording.distribution_version", lambda name: "99.0")
    for label in hours(2 * REGION):
        provider.withdraw(label)
    _, report = build(tmp_path, client)
    assert (report.variables_done, report.variables_skipped, report.files) == (0, 4, {})
    assert snapshot(tmp_path / "a.zarr") == before


class Raised(TinyJob):
    version = 2


def test_a_raised_version_is_told_and_redone_when_asked_for(tmp_path, client, provider):
    """Plan and status count the regions; `--redo`, and nothing else, makes them again."""
    build(tmp_path, client)
    raised = dataset_of(job=Raised)
    dataset, report = build(tmp_path, client, raised)
    assert report.variables_done == 0
    told = "2 regions made under version 1 of the dataset, now 2"
    assert any(told in line for line in dataset.plan(until(8)).describe()["warnings"])
    assert dataset.status(now=until(8)).made_earlier == {"version 1 of the dataset, now 2": 2}
    _, report = build(tmp_path, client, raised, redo=True)
    assert report.variables_done == 4
    assert dataset.plan(until(8)).describe()["warnings"] == []
    assert dataset.status(now=until(8)).made_earlier == {}


def test_a_raised_epoch_is_told_as_long_as_values_of_the_earlier_one_stay(
    tmp_path, client, provider, monkeypatch
):
    """A region that was completed under the new epoch still has values of the earlier one."""
    provider.withdraw(hours(8)[6])
    job = type("Job", (TinyJob,), {"reads_again": False})
    dataset, _ = build(tmp_path, client, dataset_of(job=job))
    for record in dataset.store.progress():  # workers have the table of their own process
        variables = {n: replace(v, epochs={"encoding": 0}) for n, v in record.variables.items()}
        dataset.store.tracker.write(replace(record, variables=variables))
    told = {"epoch 0 of encoding, now 1": 2}
    assert dataset.status(now=until(8)).made_earlier == told
    provider.publish(hours(8)[6:7])
    _, report = build(tmp_path, client, dataset_of(job=job))
    assert report.variables_done == 2
    assert dataset.status(now=until(8)).made_earlier == told


def test_epochs_and_libraries_are_recorded(tmp_path, client, provider):
    """A record says what made it: stages with their epochs, and the libraries' versions."""

    class Rounded(TinyTemplate):
        data_vars = (tiny_var("a", keep_mantissa_bits=7), tiny_var("b", 1))

    dataset, _ = build(tmp_path, client, dataset_of(template=Rounded))
    for record in dataset.store.progress():
        assert record.variables["a"].epochs == {"encoding": 1, "mantissa rounding": 1}
        assert record.variables["b"].epochs == {"encoding": 1}
        assert set(record.variables["a"].libraries) == {"gridmill", "numcodecs", "zarr"}
