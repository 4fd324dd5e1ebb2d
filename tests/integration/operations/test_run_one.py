"""One chain in this process makes what a run makes, and leaves the archive alone."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from generated import Generated, build_archive, times_of, truth
from gridmill.cli import ExitCode, cli
from gridmill.operations.run_one import run_one_chain
from tiny import Provider, Tiny, TinyJob, dataset_of, hours, snapshot, until
from tiny import truth as tiny_truth

DATASET = "generated:Generated"


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Source files of four days."""
    return build_archive(tmp_path_factory.mktemp("source"), 4)


def run(*args: str):
    """Run the command line in this process."""
    return CliRunner().invoke(cli, list(args))


def test_a_chain_into_a_folder_is_an_archive_of_that_region(source, tmp_path):
    """What one looks at afterwards is what readers would see of this region."""
    folder = tmp_path / "one.zarr"
    args = [DATASET, "2020-01-03T06", "humidity", "--source-base", str(source), "--into"]
    done = run("run-one", *args, str(folder), "--json")
    assert done.exit_code == ExitCode.SUCCESS, done.output
    content = json.loads(done.stdout)
    assert content["region"] == "2020-01-03 00:00:00"
    assert [file["status"] for file in content["files"]] == ["succeeded", "succeeded"]
    ds = xr.open_zarr(folder)
    assert list(ds.data_vars) == ["humidity"]
    wanted = truth("humidity", times_of(4)[8:])
    np.testing.assert_array_equal(ds.humidity.values[8:], wanted)
    assert (content["minimum"], content["maximum"]) == (wanted.min(), wanted.max())


def test_a_static_variable_is_a_chain_too(source, tmp_path):
    """Its region is named static."""
    folder = tmp_path / "static.zarr"
    outcome = run_one_chain(
        Generated(tmp_path / "none", source_base=str(source)), "static", "orography", folder=folder
    )
    assert outcome.missing == 0
    np.testing.assert_array_equal(xr.open_zarr(folder).orography.values, truth("orography"))


def test_a_dry_chain_leaves_nothing(source, tmp_path):
    """Neither beside a store that is given, nor where one would be."""
    before = snapshot(tmp_path)
    options = ["--source-base", str(source), "--store", str(tmp_path / "a.zarr")]
    done = run("run-one", DATASET, "2020-01-01", "precipitation", *options)
    assert done.exit_code == ExitCode.SUCCESS
    assert "8 × 6 × 8" in done.stdout
    assert "not kept" in done.stdout
    assert snapshot(tmp_path) == before


def test_published_values_stay_where_a_file_is_missing(client, tmp_path):
    """As in a run: what a debugger shows is what a repair would write."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(4))
    dataset = Tiny(tmp_path / "a.zarr", source_base=str(provider.root))
    dataset.backfill(until(4), client=client)
    provider.withdraw(hours(4)[1])
    provider.publish(hours(1), version=1)
    before = snapshot(tmp_path / "a.zarr")
    outcome = run_one_chain(dataset, "2020-01-01", "a", folder=tmp_path / "one", now=until(4))
    assert [file.status for file in outcome.files].count("not yet available") == 1
    values = xr.open_zarr(tmp_path / "one").a.values
    np.testing.assert_array_equal(values[0], tiny_truth(hours(1), version=1)[0])
    np.testing.assert_array_equal(values[1:], tiny_truth(hours(4))[1:])
    assert snapshot(tmp_path / "a.zarr") == before


def test_a_file_that_cannot_be_read_is_named_with_its_cause(source, tmp_path):
    """The exit code is 1, and the table says which file and why."""
    broken = tmp_path / "broken"
    build_archive(broken, 2)
    next(broken.rglob("20200102.nc")).write_bytes(b"not netCDF at all")
    done = run("run-one", DATASET, "2020-01-01", "temperature", "--source-base", str(broken))
    assert done.exit_code == ExitCode.FAILED
    assert "20200102.nc" in done.stdout
    assert "read failed" in done.stdout


class _ErrorInCode(TinyJob):
    def read_data(self, coord, data_var):
        """Say where one is."""
        raise KeyError(threading.current_thread().name)


def test_an_error_in_code_comes_as_it_was_raised_in_this_thread(tmp_path):
    """A debugger stops where the author's code fails."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(4))
    dataset = dataset_of(job=_ErrorInCode)(tmp_path / "a.zarr", source_base=str(provider.root))
    with pytest.raises(KeyError, match=threading.current_thread().name):
        run_one_chain(dataset, "2020-01-01", "a", now=until(4))


@pytest.mark.parametrize(
    ("region", "variable", "fragment"),
    [
        ("2020-01-01", "rain", "unknown variables"),
        ("2020-01-01", "orography", "give static as its region"),
        ("static", "humidity", "give a label as its region"),
        ("2020-01-01T01", "humidity", "is not on the dataset's time axis"),
        ("2101-01-01", "humidity", "is beyond the template's end"),
    ],
)
def test_what_is_not_there_is_one_line(region, variable, fragment):
    """Region and variable are checked before anything is fetched."""
    done = run("run-one", DATASET, region, variable)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert fragment in done.stderr


def test_a_folder_that_exists_is_left_alone(tmp_path):
    """It may be an archive."""
    done = run("run-one", DATASET, "2020-01-01", "humidity", "--into", str(tmp_path))
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "exists already" in done.stderr


def test_without_a_cluster_everything_is_in_this_process(source, tmp_path):
    """--cluster none backfills with the same driver; but for uploads, one thread is at work."""
    store = tmp_path / "a.zarr"
    options = ["--store", str(store), "--source-base", str(source), "--cluster", "none"]
    done = run("backfill", DATASET, "--until", "2020-01-05", *options, "--json")
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert done.stderr.splitlines()[1:] == []
    with xr.open_zarr(store) as ds:
        np.testing.assert_array_equal(ds.humidity.values, truth("humidity", times_of(4)))
    report = json.loads(Path(json.loads(done.stdout)["report"]).read_text())
    here = [span for span in report["spans"] if span["stage"] != "upload"]
    assert {span["stage"] for span in here} == {"download", "compress"}
    ends = sorted((span["started"], span["ended"]) for span in here)
    assert all(first[1] <= then[0] for first, then in pairwise(ends))


def test_without_a_cluster_there_is_nothing_to_size():
    """Options for workers that are not started are refused."""
    done = run("update", DATASET, "--store", "x", "--cluster", "none", "--workers", "2")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "no effect" in done.stderr
