"""Published values that turned out to be wrong are taken from readers, and do not come back."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Completeness, Encoding
from gridmill.operations.decisions import withdraw as withdrawing
from gridmill.operations.decisions.withdraw import withdraw
from gridmill.validation import Context, SourcesAgree
from gridmill.validation.checks.gaps import find_gaps
from tiny import (
    HOUR,
    SHAPE,
    START,
    Provider,
    Tiny,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    tiny_var,
    truth,
    until,
)

WORD = {"who": "operator", "why": "wrong units, ticket 7"}
# The last position of one region and the first two of the next.
SOME = {"start": (START + 3 * HOUR).isoformat(), "end": (START + 6 * HOUR).isoformat()}


class Complete(TinyTemplate):
    """Says how much of each position arrived."""

    coords = (*TinyTemplate.coords, Completeness(dims=("time",)))


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with ten files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(10))
    return provider


@pytest.fixture(params=["zarr", "icechunk"])
def make(request, client: Any, tmp_path: Path, provider: Provider):
    """A function that gives an archive of ten hours, published."""

    def make(kind: type[DynamicalDataset] = Tiny, **options: Any) -> DynamicalDataset:
        dataset = kind(
            tmp_path / "a", source_base=str(provider.root), format=request.param, **options
        )
        assert dataset.backfill(until(10), client=client, now=until(10)).positions_after == 10
        return dataset

    return make


def stored(dataset: DynamicalDataset) -> xr.Dataset:
    """Return what readers see, in memory."""
    with dataset.store.open_dataset() as ds:
        return ds.load()


def expected() -> np.ndarray:
    """Return what readers see of the first variable afterwards."""
    values = truth(hours(10))
    values[3:6] = np.nan
    return values


def take(dataset: DynamicalDataset, **changes: Any):
    """Withdraw some values of the first variable."""
    return withdraw(dataset, **{**SOME, "variables": ["a"], "now": until(10), **WORD, **changes})


def test_readers_see_missing_values_there_and_all_else_as_before(make):
    """The extent stays; who and why are in the records and the report."""
    dataset = make()
    done = take(dataset)
    np.testing.assert_array_equal(stored(dataset)["a"].values, expected())
    np.testing.assert_array_equal(stored(dataset)["b"].values, truth(hours(10), "b"))
    assert (done.positions, len(done.files), done.report.positions_after) == (3, 3, 10)
    status = dataset.status(now=until(10))
    assert (status.last_run["kind"], status.pending, status.gaps) == ("withdraw", 0, 3)
    assert "wrong units" in status.last_run["notes"][0]
    gaps = list(find_gaps(Context(dataset, now=until(10))))
    assert {(gap.status, gap.variables, gap.accepted) for gap in gaps} == {
        ("withdrawn", ("a",), True)
    }
    assert all("wrong units" in gap.detail for gap in gaps)
    assert [f for f in dataset.validate(now=until(10)).findings if f.severity == "error"] == []


def test_the_same_values_do_not_come_back(make, client):
    """Neither by an update, nor by a redo; another version of a file heals its place."""
    dataset = make()
    take(dataset)
    for run in (
        lambda: dataset.reformat_operational_update(client=client, now=until(10)),
        lambda: dataset.backfill(until(10), client=client, redo=True, now=until(10)),
        lambda: dataset.backfill(until(10), client=client, revalidate=True, now=until(10)),
    ):
        assert run().succeeded
        np.testing.assert_array_equal(stored(dataset)["a"].values, expected())


def test_what_is_withdrawn_is_not_made_again_to_be_compared(make):
    """A sample of all regions agrees: as a run, it does not read what was withdrawn."""
    dataset = make()
    take(dataset)
    found = dataset.validate([SourcesAgree(size=100)], now=until(10))
    assert found.findings == ()
    assert "a 2020-01-01: 3 of 4 source files read again" in found.results[-1].examined


def test_a_body_that_a_cache_had_flipped_is_another_version(make, client, provider):
    """Size, ETag and time are as they were: what the file holds decides."""
    dataset = make()
    take(dataset)
    label = hours(10)[4]
    was = provider.path(label).stat()
    provider.publish([label], version=1)
    os.utime(provider.path(label), ns=(was.st_atime_ns, was.st_mtime_ns))
    dataset.backfill(until(10), client=client, redo=True, now=until(10))
    healed = expected()
    healed[4] = truth([label], version=1)[0]
    np.testing.assert_array_equal(stored(dataset)["a"].values, healed)


def test_another_version_heals(make, client, provider):
    """An update that asks for revisions takes it in; the rest stays withdrawn."""
    dataset = make()
    take(dataset)
    provider.publish([hours(10)[4]], version=1)
    dataset.reformat_operational_update(client=client, now=until(10))
    healed = expected()
    healed[4] = truth([hours(10)[4]], version=1)[0]
    np.testing.assert_array_equal(stored(dataset)["a"].values, healed)
    assert dataset.status(now=until(10)).gaps == 2


def test_on_icechunk_it_is_one_commit(make):
    """However many regions: a reader meets all of it or nothing."""
    dataset = make(dataset_of(template=Complete))
    if dataset.store.format != "icechunk":
        return
    ancestry = lambda: list(dataset.store.repository.open().ancestry(branch="main"))  # noqa: E731
    before = len(ancestry())
    take(dataset)
    after = ancestry()
    assert len(after) == before + 1
    assert after[0].message.startswith("Withdraw a from ")
    assert after[0].message.endswith("wrong units, ticket 7")


def test_what_readers_saw_before_is_shown_again_where_it_is_kept(make, client, provider):
    """On Icechunk; plain Zarr keeps nothing, and says so before anything is written."""
    dataset = make()
    before = datetime.now(UTC)
    provider.publish(hours(10)[4:6], version=1)
    dataset.reformat_operational_update(client=client, now=until(10))
    revised = stored(dataset)["a"].values
    assert not np.array_equal(revised, truth(hours(10)))
    if dataset.store.format != "icechunk":
        with pytest.raises(ValueError, match="plain Zarr, which keeps nothing"):
            take(dataset, keep=before)
        np.testing.assert_array_equal(stored(dataset)["a"].values, revised)
        return
    with pytest.raises(ValueError, match="keeps no version of 2001"):
        take(dataset, keep=datetime(2001, 1, 1, tzinfo=UTC))
    take(dataset, keep=before)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(10)))
    dataset.backfill(until(10), client=client, redo=True, now=until(10))
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(10)))


def test_an_icechunk_replica_shows_it_with_one_commit(make, tmp_path):
    """However many regions, as the archive does."""
    dataset = make(replicas=[str(tmp_path / "b.icechunk")])
    if dataset.store.format != "icechunk":
        return
    (replica,) = dataset.replicas
    ancestry = lambda: list(replica.repository.open().ancestry(branch="main"))  # noqa: E731
    before = len(ancestry())
    take(dataset)
    after = ancestry()
    assert len(after) == before + 1
    assert after[0].message.startswith("Withdraw a from ")
    with replica.open_dataset() as ds:
        np.testing.assert_array_equal(ds["a"].values, expected())
        np.testing.assert_array_equal(ds["b"].values, truth(hours(10), "b"))


def test_completeness_says_what_is_left(make):
    """Half of the places of these positions have values."""
    dataset = make(dataset_of(template=Complete))
    take(dataset)
    shares = stored(dataset)["completeness"].values
    np.testing.assert_array_equal(shares, [1, 1, 1, 0.5, 0.5, 0.5, 1, 1, 1, 1])


def test_replicas_show_the_same(make, tmp_path, provider):
    """They are brought what the primary holds, whatever its format."""
    dataset = make(replicas=[str(tmp_path / "copy")])
    done = take(dataset)
    assert [replica.failure for replica in done.report.replicas] == [None]
    twin = Tiny(tmp_path / "copy")
    np.testing.assert_array_equal(stored(twin)["a"].values, expected())


def test_interrupted_it_is_completed_by_the_same_call(make, client, monkeypatch):
    """No run in between brings the values back, or takes more."""
    dataset = make()
    upload, calls = withdrawing._upload, []

    def dies(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return upload(*args)

    with monkeypatch.context() as patched:
        patched.setattr(withdrawing, "_upload", dies)
        with pytest.raises(KeyboardInterrupt):
            take(dataset)
    dataset.backfill(until(10), client=client, redo=True, now=until(10))
    take(dataset)
    np.testing.assert_array_equal(stored(dataset)["a"].values, expected())
    np.testing.assert_array_equal(stored(dataset)["b"].values, truth(hours(10), "b"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variables": ["x"]}, "unknown variables"),
        ({"variables": []}, "no variable is named"),
        ({"start": until(11), "end": until(12)}, "nothing from"),
        ({"why": " "}, "say why"),
    ],
)
def test_what_cannot_be_withdrawn_is_refused_and_nothing_is_written(make, changes, message):
    """A mistyped name takes nothing from anybody."""
    dataset = make()
    before = [record.to_json() for record in dataset.store.tracker.records()]
    with pytest.raises(ValueError, match=message):
        take(dataset, **changes)
    assert [record.to_json() for record in dataset.store.tracker.records()] == before
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(10)))


class Whole(TinyTemplate):
    """Of its variable nothing says missing."""

    data_vars = (
        tiny_var("a", encoding=Encoding(chunks=(2, *SHAPE), shards=(4, *SHAPE), dtype="int16")),
    )


class Rounds(TinyJob):
    """Reads whole numbers."""

    def read_data(self, coord, data_var):
        """Count thousandths."""
        return np.round(1000 * super().read_data(coord, data_var))


def test_of_what_nothing_says_missing_nothing_is_withdrawn(make):
    """Readers would see a number that nobody measured."""
    dataset = make(dataset_of(template=Whole, job=Rounds))
    with pytest.raises(ValueError, match=r"nothing says missing in a \(int16\).* would see 0"):
        take(dataset)


def test_the_command_asks_and_tells_the_hook(make, tmp_path):
    """Whoever follows the archive hears that it changed."""
    dataset = make()
    told = tmp_path / "told.json"
    where = ("tiny:Tiny", "--store", str(tmp_path / "a"), "--format", dataset.store.format)
    args = ("withdraw", *where, "--start", SOME["start"], "--end", SOME["end"], "--variables", "a")
    options = ("--why", "wrong", "--on-publish", f"tee {told}", "--now", until(10))
    asked = CliRunner().invoke(cli, [*args, *options])
    assert (asked.exit_code, told.exists()) == (ExitCode.WRONG_INPUT, False)
    done = CliRunner().invoke(cli, [*args, *options, "--yes"])
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "3 positions" in " ".join(done.stdout.split())
    content = json.loads(told.read_text())
    assert (content["event"], content["withdrawn"]["variables"]) == ("publish", ["a"])
    np.testing.assert_array_equal(stored(dataset)["a"].values, expected())
