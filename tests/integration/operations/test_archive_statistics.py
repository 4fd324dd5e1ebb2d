"""Statistics of an archive are those of what readers see, and reach readers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

import changing
from gridmill.cli import cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.region import Region
from gridmill.operations.migrate import migration_of
from gridmill.operations.statistics.gathering import read_statistics
from gridmill.operations.statistics.publishing import publish_statistics, write_statistics
from gridmill.operations.truncate import truncate
from gridmill.stores.state.leases import Lease
from tiny import (
    NAMES,
    Provider,
    Tiny,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    make,
    tiny_var,
    until,
)

FORMATS = ["zarr", "icechunk"]


def agrees(dataset: DynamicalDataset) -> None:
    """Compare what the records say with what a reader computes."""
    found = read_statistics(dataset, now=until(24))
    with dataset.store.open_dataset(chunks=None) as ds:
        assert found.positions == ds.sizes["time"]
        for of in found.variables:
            values = ds[of.name].values.astype(float)
            there, known = values[np.isfinite(values)], of.statistics
            assert known is not None, of
            assert known.count == there.size
            assert known.mean == pytest.approx(there.mean(), rel=1e-6)
            assert known.deviation == pytest.approx(there.std(), rel=1e-6, abs=1e-6)
            assert (known.low, known.high) == (there.min(), there.max())


@pytest.mark.parametrize("kind", FORMATS)
def test_they_are_those_of_what_readers_see(kind, provider, tmp_path):
    """After a backfill, an update inside a region, a revision and a truncation."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(6), client="none")
    agrees(dataset)
    dataset.backfill(until(11), client="none")
    agrees(dataset)
    before = read_statistics(dataset, now=until(24))
    provider.publish(hours(1, 6), version=1)
    dataset.backfill(until(11), client="none", revalidate=True)
    agrees(dataset)
    assert read_statistics(dataset, now=until(24)) != before


@pytest.mark.parametrize("kind", FORMATS)
def test_what_readers_see_in_part_is_read(kind, provider, tmp_path):
    """A record speaks of a whole region, and a cut one has more than readers see."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(12), client="none")
    truncate(dataset, "2020-01-01T07", now=until(24))
    found = read_statistics(dataset, reads=True, now=until(24))
    assert read_statistics(dataset, now=until(24)).variables[0].lacking
    with dataset.store.open_dataset(chunks=None) as ds:
        assert ds.sizes["time"] == 7
        assert [of.statistics.count for of in found.variables] == [ds[n].size for n in "ab"]
        means = [of.statistics.mean for of in found.variables]
        assert means == pytest.approx([float(ds[n].mean()) for n in "ab"], rel=1e-6)


def without_statistics(dataset: DynamicalDataset) -> None:
    """Leave the records as an earlier gridmill wrote them."""
    tracker = dataset.store.tracker
    for record in list(tracker.all_records()):
        variables = {n: replace(v, statistics=None) for n, v in record.variables.items()}
        tracker.write(replace(record, variables=variables))


@pytest.mark.parametrize("kind", FORMATS)
def test_regions_of_an_earlier_gridmill_are_read_once(kind, provider, tmp_path):
    """They are named until then."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(11), client="none")
    known = read_statistics(dataset, now=until(24))
    without_statistics(dataset)
    lacking = read_statistics(dataset, now=until(24))
    assert [of.statistics for of in lacking.variables] == [None] * len(known.variables)
    assert all(of.lacking for of in lacking.variables)
    read = read_statistics(dataset, reads=True, now=until(24))
    for ours, theirs in zip(read.variables, known.variables, strict=True):
        assert ours.statistics.count == theirs.statistics.count
        assert ours.statistics.mean == pytest.approx(theirs.statistics.mean, rel=1e-12)
    kept = read_statistics(dataset, now=until(24))
    assert {label for of in kept.variables for label in of.lacking} <= {
        lacking.variables[0].lacking[-1]
    }


@pytest.mark.parametrize("kind", FORMATS)
def test_published_ones_are_attributes_that_publications_keep(kind, provider, tmp_path):
    """And that neither stop an update nor look like a changed declaration."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(6), client="none")
    publish_statistics(dataset, read_statistics(dataset, now=until(24)), now=until(24))
    with dataset.store.open_dataset(chunks=None) as ds:
        told = ds["a"].attrs
        assert told["statistics_mean"] == pytest.approx(float(ds["a"].mean()), rel=1e-6)
        assert told["statistics_count"] == ds["a"].size
        assert told["statistics_end"].startswith(str(ds["time"].values[-1])[:10])
    again = make(tmp_path, format=kind)
    assert migration_of(again, now=until(24)).permitted == ()
    assert again.backfill(until(11), client="none").succeeded
    with again.store.open_dataset(chunks=None) as ds:
        assert ds.sizes["time"] == 11
        assert ds["a"].attrs == told
    findings = again.validate(now=until(11)).findings
    assert not [finding for finding in findings if "statistics" in finding.message]


def test_a_replica_gets_them_too(provider, tmp_path):
    """With the same publication."""
    dataset = make(tmp_path, replicas=[str(tmp_path / "b")])
    dataset.backfill(until(6), client="none")
    publish_statistics(dataset, read_statistics(dataset, now=until(24)), now=until(24))
    ours, theirs = (xr.open_zarr(tmp_path / name) for name in "ab")
    assert "statistics_mean" in ours["a"].attrs
    assert ours["a"].attrs == theirs["a"].attrs


def test_the_group_holds_a_value_a_variable(provider, tmp_path):
    """By names that training datasets use."""
    dataset = make(tmp_path)
    dataset.backfill(until(6), client="none")
    found = read_statistics(dataset, now=until(24))
    write_statistics(found, str(tmp_path / "s.zarr"))
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    assert group.attrs["variables"] == [of.name for of in found.variables]
    assert group["mean"][:].tolist() == [of.statistics.mean for of in found.variables]
    assert group["stdev"][:].tolist() == [of.statistics.deviation for of in found.variables]
    with xr.open_zarr(tmp_path / "s.zarr", consolidated=False) as ds:
        assert ds["mean"].dims == ("variable",)
    for wrong in ("s3:/bucket/s.zarr", "s3//bucket/s.zarr"):
        with pytest.raises(ValueError, match=f"'{wrong}' is no URL: .* write s3://bucket/s.zarr"):
            write_statistics(found, wrong)


def test_the_command_shows_publishes_and_writes_them(provider, tmp_path):
    """With one call."""
    dataset = make(tmp_path)
    dataset.backfill(until(6), client="none")
    command = ["statistics", "tiny:Tiny", "--store", str(tmp_path / "a"), "--json"]
    command += ["--publish", "--to", str(tmp_path / "s.zarr"), "--now", str(until(24))]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)["variables"][0]
    with xr.open_zarr(tmp_path / "a") as ds:
        assert ds[shown["variable"]].attrs["statistics_mean"] == shown["mean"]
    assert (tmp_path / "s.zarr" / "mean").is_dir()
    shown = CliRunner().invoke(cli, [*command[:4], "--now", str(until(24))])
    assert "standard deviation" in shown.output


def test_they_are_written_with_the_options_of_a_bucket(provider, tmp_path, s3_server):
    """Those that are given, or the archive's own where it is in one, too."""
    s3_server.create_bucket("statistics")
    known = s3_server.storage_options
    options = [f"--store-option={key}={json.dumps(value)}" for key, value in known.items()]
    source = str(tmp_path / "source")
    in_bucket = Tiny("s3://statistics/a", source_base=source, storage_options=known)
    for dataset, given, to in (
        (in_bucket, options, "s3://statistics/s"),
        (make(tmp_path), [of.replace("--store", "--to") for of in options], "s3://statistics/t"),
    ):
        dataset.backfill(until(6), client="none")
        command = ["statistics", "tiny:Tiny", "--store", dataset.store.url, "--now", str(until(24))]
        result = CliRunner().invoke(cli, [*command, *given, "--to", to])
        assert result.exit_code == 0, result.output
        group = zarr.open_group(to, mode="r", storage_options=known)
        assert group.attrs["variables"] == list(NAMES)
    with dataset.store.open_dataset(chunks=None) as before:
        refused = CliRunner().invoke(cli, [*command, "--publish", "--to-option=key=a"])
        assert (refused.exit_code, "needs --to" in refused.output) == (2, True)
        with dataset.store.open_dataset(chunks=None) as after:
            assert after.a.attrs == before.a.attrs


@pytest.mark.parametrize("what", ["archive", "folder", "statistics"])
def test_only_statistics_are_written_over(what, provider, tmp_path):
    """Whatever else is at the address stays."""
    dataset = make(tmp_path)
    dataset.backfill(until(6), client="none")
    found = read_statistics(dataset, now=until(24))
    to = tmp_path / ("a" if what == "archive" else "there")
    if what == "folder":
        to.mkdir()
        (to / "thesis.txt").write_text("mine")
    if what == "statistics":
        write_statistics(found, str(to))
        write_statistics(found, str(to))
        return
    before = {path: path.read_bytes() for path in to.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds something else than statistics"):
        write_statistics(found, str(to))
    assert {path: path.read_bytes() for path in to.rglob("*") if path.is_file()} == before


def test_nothing_known_is_no_success(provider, tmp_path):
    """The line says how it becomes known."""
    dataset = make(tmp_path)
    dataset.backfill(until(6), client="none")
    without_statistics(dataset)
    with pytest.raises(ValueError, match="--read reads them"):
        publish_statistics(dataset, read_statistics(dataset, now=until(24)), now=until(24))


def test_a_replica_that_was_not_reached_is_told(provider, tmp_path):
    """By the exit code, and by name."""
    dataset = make(tmp_path, replicas=[str(tmp_path / "b")])
    dataset.backfill(until(6), client="none")
    for path in (tmp_path / "b").rglob("zarr.json"):
        path.write_text("{}")
    command = ["statistics", "tiny:Tiny", "--store", str(tmp_path / "a"), "--publish"]
    command += ["--replica", str(tmp_path / "b"), "--now", str(until(24))]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 1, result.output
    assert str(tmp_path / "b") in result.output.replace("\n", "")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_truncated_archive_says_nothing_of_what_was_taken_away(kind, provider, tmp_path):
    """Nor once it is filled again."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(8), client="none")
    publish_statistics(dataset, read_statistics(dataset, now=until(24)), now=until(24))
    again = make(tmp_path, format=kind)
    truncate(again, "2020-01-01T04", now=until(24))
    last = make(tmp_path, format=kind)
    last.backfill(until(8), client="none")
    with last.store.open_dataset(chunks=None) as ds:
        assert ds.sizes["time"] == 8
        assert not [key for key in ds["a"].attrs if key.startswith("statistics")]


def test_what_cannot_be_kept_is_told_all_the_same(provider, tmp_path, caplog):
    """While a run works on the archive."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    known = read_statistics(dataset, now=until(24))
    without_statistics(dataset)
    state = dataset.store.state
    with Lease(state, run="other", kind="update", positions=[(0, 8)]):
        found = read_statistics(dataset, reads=True, now=until(24))
    assert [of.statistics.count for of in found.variables] == [
        of.statistics.count for of in known.variables
    ]
    assert "are not kept" in caplog.text
    assert read_statistics(dataset, now=until(24)).variables[0].lacking


class WholeJob(TinyJob):
    """Gives whole numbers from 5 on."""

    def read_data(self, coord, data_var):
        return np.round(100 * super().read_data(coord, data_var)) + 5


class WholeTemplate(TinyTemplate):
    """Of a dtype in which nothing says missing."""

    data_vars = tuple(
        tiny_var(name, at, encoding=replace(tiny_var(name, at).encoding, dtype="int16"))
        for at, name in enumerate(NAMES)
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_what_is_not_filled_yet_does_not_count(kind, tmp_path):
    """Also where nothing in a region's values says so."""
    provider = Provider(tmp_path / "source")
    whole = dataset_of(template=WholeTemplate, job=WholeJob)
    for first, many in ((0, 6), (6, 7)):
        provider.publish(hours(many - first, first))
        dataset = make(tmp_path, whole, format=kind)
        dataset.backfill(until(8), client="none")
        assert dataset.store.published_length("time") == many
        agrees(dataset)
    lows = [of.statistics.low for of in read_statistics(dataset, now=until(24)).variables]
    assert min(lows) >= 5


def test_a_static_variable_without_a_record_is_unknown(tmp_path):
    """And not without values; with one it is known."""
    changing.provide(tmp_path / "source")
    where = {"store": tmp_path / "a", "source_base": str(tmp_path / "source")}
    dataset = changing.dataset((*changing.BEFORE, changing.static_var()), where)
    dataset.backfill(until(6), client="none")
    agrees(dataset)
    dataset.store.tracker.delete(Region.STATIC)
    found = {of.name: of for of in read_statistics(dataset, now=until(24)).variables}
    assert found["s"].statistics is None
    assert found["s"].lacking == ("static",)
    assert found["a"].statistics is not None


def test_threads_change_no_digit():
    """What BLAS gives depends on how many it takes, as many as the machine has cores."""
    script = (
        "import numpy as np\n"
        "from gridmill.model.fields.statistics import ValueStatistics\n"
        "print(ValueStatistics.of(np.random.default_rng(0).random(1 << 20, dtype='float32')))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "OPENBLAS_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in (1, 2)
    }
    assert len(told) == 1
