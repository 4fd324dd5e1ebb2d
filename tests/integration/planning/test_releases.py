"""What earlier releases and versions made is not made again, unless it is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from first_release import as_first_release
from tiny import (
    REGION,
    Provider,
    Tiny,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    tiny_var,
    until,
)


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
    monkeypatch.setattr("gridmill.planning.recording.version_of", lambda name: "99.0")
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
