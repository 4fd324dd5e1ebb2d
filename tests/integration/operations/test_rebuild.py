"""A lost folder of records is rebuilt from what store and provider have, and nothing is guessed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from gridmill.cli import ExitCode, cli
from gridmill.model.records import ProgressRecord
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.model.state_files import NewerSchema
from gridmill.operations.accept import accept_files
from gridmill.operations.decisions.withdraw import withdraw
from gridmill.operations.rebuild import declaration_from_store, rebuild_records
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps
from tiny import (
    REGION,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    make,
    snapshot,
    tiny_var,
    truth,
    until,
    url_of,
)

OK = SourceFileStatus.SUCCEEDED
ABSENT = SourceFileStatus.NOT_YET_AVAILABLE
WHO = {"who": "operator"}
FORMATS = ["zarr", "icechunk"]


class Punctual(TinyJob):
    """A file that is not there after two hours will never be."""

    publication_delay = timedelta(hours=2)


def lose_records(dataset: Any) -> list[ProgressRecord]:
    """Delete what lies beside a store; give what it said."""
    records = dataset.store.progress()
    shutil.rmtree(f"{dataset.store.url}.gridmill")
    return records


def essence(record: ProgressRecord) -> ProgressRecord:
    """Leave out what nobody can know of a lost record."""
    variables = {
        name: replace(
            variable,
            run="",
            finished="",
            token=None,
            epochs=None,
            version=None,
            libraries=None,
            tries={},
            statistics=None,
            objects=tuple(replace(one, crc32c=None, digest=None) for one in variable.objects),
        )
        for name, variable in record.variables.items()
    }
    unknown = {"detail": None, "checksum": None}
    groups = tuple(tuple(replace(file, **unknown) for file in group) for group in record.groups)
    return replace(record, variables=variables, groups=groups, runs=(), history=())


@pytest.mark.parametrize("kind", FORMATS)
def test_the_records_are_what_they_were(tmp_path, client, provider, kind):
    """A whole archive and its gap are recorded as before; nothing is left to do."""
    provider.withdraw(hours(12)[6])
    dataset = make(tmp_path, dataset_of(job=Punctual), format=kind)
    dataset.backfill(until(12), client=client, now=until(24))
    before, objects = lose_records(dataset), snapshot(tmp_path / "a")
    rebuild_records(dataset, now=until(24), **WHO)
    assert [essence(r) for r in dataset.store.progress()] == [essence(r) for r in before]
    report = dataset.backfill(until(12), client=client, now=until(24))
    assert (report.variables_done, report.variables_skipped) == (0, 6)
    assert snapshot(tmp_path / "a") == objects


def test_what_the_provider_has_by_now_is_fetched(tmp_path, client, provider):
    """A place without values is open where the file is there: the next run fills it."""
    provider.withdraw(hours(12)[6])
    dataset = make(tmp_path, dataset_of(job=Punctual))
    dataset.backfill(until(12), client=client, now=until(24))
    lose_records(dataset)
    provider.publish(hours(12)[6:7])
    rebuild_records(dataset, now=until(24), **WHO)
    (region,) = (r for r in dataset.store.progress() if not r.is_settled("ab"))
    assert region.start == REGION
    dataset.backfill(until(12), client=client, now=until(24))
    np.testing.assert_array_equal(dataset.store.open_dataset()["a"].values, truth(hours(12)))


def test_what_may_still_come_is_no_gap(tmp_path, client, provider):
    """A file that is not due at the moment that is given is waited for, whatever the clock says."""
    late = hours(12)[6]
    provider.withdraw(late)
    dataset = make(tmp_path, dataset_of(job=Punctual))
    dataset.backfill(until(12), client=client, now=until(24))
    lose_records(dataset)
    rebuild_records(dataset, now=late, **WHO)
    assert [r.start for r in dataset.store.progress() if not r.is_settled("ab")] == [REGION]


def test_a_variable_that_could_not_be_read_is_a_gap_of_its_own(tmp_path, client, provider):
    """Others of the file have values there, and it has some at all other times."""

    class Refusing(Punctual):
        def read_data(self, coord, data_var):
            if data_var.name == "b" and coord.label == hours(12)[5]:
                raise ValueError("unreadable")
            return super().read_data(coord, data_var)

    dataset = make(tmp_path, dataset_of(job=Refusing))
    for _ in range(2):
        dataset.backfill(until(12), client=client, now=until(24))
    assert dataset.store.published_length("time") == 12
    lose_records(dataset)
    dataset = make(tmp_path, dataset_of(job=Punctual))
    rebuild_records(dataset, now=until(24), **WHO)
    assert [r.start for r in dataset.store.progress() if not r.is_settled("b")] == [REGION]
    assert all(r.is_settled("a") for r in dataset.store.progress())
    dataset.backfill(until(12), client=client, now=until(24))
    np.testing.assert_array_equal(dataset.store.open_dataset()["b"].values, truth(hours(12), "b"))


def test_what_never_has_values_lacks_none(tmp_path, client, provider):
    """A variable that is NaN wherever it may be looked for is no reason to read files again."""

    class Empty(Punctual):
        def read_data(self, coord, data_var):
            return super().read_data(coord, data_var) * (np.nan if data_var.name == "b" else 1)

    dataset = make(tmp_path, dataset_of(job=Empty))
    dataset.backfill(until(8), client=client, now=until(24))
    lose_records(dataset)
    rebuild_records(dataset, now=until(24), **WHO)
    assert all(record.is_complete("ab") for record in dataset.store.progress())


def test_a_value_far_from_the_first_chunk_counts(tmp_path, client, provider):
    """Where one inner chunk has none, the others are looked at before a place is called empty."""

    class Corner(TinyTemplate):
        data_vars = tuple(
            tiny_var(name, n, encoding=replace(tiny_var(name).encoding, chunks=(2, 1, 1)))
            for n, name in enumerate("ab")
        )

    class Masked(Punctual):
        def read_data(self, coord, data_var):
            values = super().read_data(coord, data_var).copy()
            values.ravel()[:-1] = np.nan
            return values

    dataset = make(tmp_path, dataset_of(template=Corner, job=Masked))
    dataset.backfill(until(8), client=client, now=until(24))
    before = lose_records(dataset)
    rebuild_records(dataset, now=until(24), **WHO)
    assert [essence(r) for r in dataset.store.progress()] == [essence(r) for r in before]


def test_what_is_recorded_stays(tmp_path, client, provider):
    """One lost record is rebuilt beside the others, which keep checksums and all."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    before = {r.start: r for r in dataset.store.progress()}
    dataset.store.tracker.delete(Region(REGION, 2 * REGION))
    rebuild_records(dataset, **WHO)
    after = {r.start: r for r in dataset.store.progress()}
    assert {start for start in before if after[start] != before[start]} == {REGION}
    assert essence(after[REGION]) == essence(before[REGION])


def test_a_gap_without_a_record_names_the_command_that_writes_one(tmp_path, client, provider):
    """Of a published region whose record was lost, and of no other."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    dataset.store.tracker.delete(Region(REGION, 2 * REGION))
    gaps = list(find_gaps(Context(dataset)))
    assert {gap.start for gap in gaps} == set(range(REGION, 2 * REGION))
    assert all("gridmill rebuild-records" in gap.detail for gap in gaps)
    rebuild_records(dataset, **WHO)
    assert not list(find_gaps(Context(dataset)))


@pytest.mark.parametrize(
    "given", [{}, {"start": "2020-01-01T04:00"}, {"variables": ["b"]}], ids=["all", "start", "b"]
)
def test_the_declaration_is_told_by_the_store(tmp_path, client, provider, given):
    """Where an archive begins and which variables it has is what readers see."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client, **given)
    declared = dataset.store.tracker.read_declaration()
    told = declaration_from_store(dataset)
    assert {**told, "schema": 1} == {**declared, "schema": 1} | {"start": told["start"]}
    assert (told["start"] is None) == ("start" not in given)
    lose_records(dataset)
    rebuild_records(dataset, **WHO)
    assert dataset.backfill(until(12), client=client).variables_done == 0


@pytest.mark.parametrize("damage", [b"", b'{"schema": 1, "dataset', b"[]"])
def test_a_damaged_declaration_is_told_by_the_store(tmp_path, client, provider, damage):
    """It is written anew, and the records stay."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    path = Path(f"{dataset.store.url}.gridmill") / "declaration.json"
    before, declared = dataset.store.progress(), path.read_bytes()
    path.write_bytes(damage)
    rebuild_records(dataset, **WHO)
    assert json.loads(path.read_bytes()) == json.loads(declared)
    assert dataset.store.progress() == before
    assert dataset.backfill(until(12), client=client).variables_done == 0


def test_the_declaration_of_a_later_gridmill_is_no_damage(tmp_path, client, provider):
    """It means something that this one does not know: nothing is written over it."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client=client)
    path = Path(f"{dataset.store.url}.gridmill") / "declaration.json"
    newer = json.dumps(json.loads(path.read_bytes()) | {"schema": 99})
    path.write_text(newer)
    with pytest.raises(NewerSchema):
        rebuild_records(dataset, **WHO)
    assert path.read_text() == newer


def test_there_is_nothing_to_rebuild_where_readers_see_nothing(tmp_path, provider):
    """A mistyped address is no archive."""
    with pytest.raises(ValueError, match="readers see nothing"):
        rebuild_records(make(tmp_path), **WHO)


def test_the_command_says_what_it_did(tmp_path, client, provider):
    """It asks first, and is content where nothing is lost."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client=client)
    lose_records(dataset)
    args = ["tiny:Tiny", "--store", str(tmp_path / "a"), "--source-base", str(tmp_path / "source")]
    done = CliRunner().invoke(cli, ["rebuild-records", *args, "--yes", "--who", "me"])
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "me rebuilt the records of 2 regions" in done.output


def test_what_somebody_said_is_taken_from_a_replica(tmp_path, provider):
    """What was withdrawn does not come back, and what was accepted stays closed."""
    archive = make(tmp_path, dataset_of(job=Punctual), replicas=[str(tmp_path / "b.zarr")])
    provider.withdraw(hours(12)[6])
    archive.backfill(until(12), client="none", now=until(20))
    span = {"start": hours(12)[1].isoformat(), "end": hours(12)[3].isoformat()}
    word = {"who": "me", "why": "wrong units", "now": until(20)}
    withdraw(archive, **span, variables=["a", "b"], **word)
    accept_files(archive, [url_of(hours(12)[6])], **word)
    shown = archive.store.open_dataset().a.values
    before = archive.store.tracker.read(Region(0, 4))
    shutil.rmtree(tmp_path / "a.gridmill")
    report = rebuild_records(archive, now=until(20), **WHO)
    assert not any("nobody knows" in note for note in report.notes)
    after = archive.store.tracker.read(Region(0, 4))
    assert after.groups[0][1].withdrawn == before.groups[0][1].withdrawn
    for redo in (False, True):
        archive.backfill(until(12), client="none", now=until(20), redo=redo)
        np.testing.assert_array_equal(archive.store.open_dataset().a.values, shown)
    assert archive.status(now=until(20)).pending == 0


@pytest.mark.parametrize("kind", FORMATS)
def test_what_nobody_can_know_is_said(tmp_path, provider, kind):
    """Icechunk's history still names what was withdrawn."""
    archive = make(tmp_path, format=kind)
    archive.backfill(until(12), client="none", now=until(20))
    span = {"start": hours(12)[1].isoformat(), "end": hours(12)[3].isoformat()}
    withdraw(archive, **span, variables=["a"], who="me", why="wrong units", now=until(20))
    shutil.rmtree(tmp_path / "a.gridmill")
    notes = rebuild_records(archive, now=until(20), **WHO).notes
    assert any("of 3 regions it is not known what was accepted" in note for note in notes)
    told = [note for note in notes if note.startswith("its history says: Withdraw a from ")]
    assert len(told) == (kind == "icechunk")
