"""The command line, as a user meets it: real runs on a small generated archive."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

from generated import DIMS, Generated, GeneratedRegionJob, build_archive, day_url, times_of, truth
from gridmill.cli import ExitCode, cli
from gridmill.stores.state.leases import Lease
from repository import SUPPORT

DATASET = "generated:Generated"
# A cluster inside this process: what is tested here is the command line.
CLUSTER = ["--workers", "1", "--cluster-option", "processes=false"]
CLUSTER += [
    "--cluster-option",
    "protocol=tcp://",
    "--cluster-option",
    "dashboard_address=127.0.0.1:0",
]


class FaultyRegionJob(GeneratedRegionJob):
    """Has an error in its code for one variable."""

    def transform_values_inplace(self, values, data_var):
        """Fail on humidity."""
        if data_var.name == "humidity":
            raise KeyError("no such [thing]")
        super().transform_values_inplace(values, data_var)


class Faulty(Generated):
    """Fails for one variable."""

    region_job = FaultyRegionJob


@pytest.fixture(autouse=True)
def calm_logging():
    """Undo what the command line configures for its own process."""
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    root.handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """Source files of five days."""
    return build_archive(tmp_path_factory.mktemp("source"), 5)


@pytest.fixture(scope="module")
def archive(source, tmp_path_factory) -> Path:
    """An archive of the first four days; tests leave it as it is."""
    store = tmp_path_factory.mktemp("archive") / "a.zarr"
    done = run("backfill", DATASET, "--until", "2020-01-05", *on(store, source), *CLUSTER)
    assert done.exit_code == ExitCode.SUCCESS, done.output
    return store


def run(*args: str, env: dict[str, str] | None = None) -> Result:
    """Run the command line in this process."""
    return CliRunner().invoke(cli, list(args), env=env)


def on(store: Path, source: Path) -> list[str]:
    """Give the options that say where."""
    return ["--store", str(store), "--source-base", str(source)]


def files_below(folder: Path) -> dict[str, bytes]:
    """Read every file of an archive and of the records beside it."""
    paths = [p for p in folder.parent.rglob("*") if p.is_file()]
    return {str(p.relative_to(folder.parent)): p.read_bytes() for p in paths}


def assert_true(store: Path, days: int) -> None:
    """Compare every value of an archive with the formula."""
    ds = xr.open_zarr(store)
    assert ds.sizes["time"] == len(times_of(days))
    for name, dims in DIMS.items():
        wanted = truth(name, times_of(days) if "time" in dims else None)
        np.testing.assert_array_equal(ds[name].values, wanted)


# -- runs -------------------------------------------------------------------------------------


def test_backfill_builds_an_archive_and_says_what_it_did(archive):
    """Every value of the archive is the source's, and status shows its extent."""
    assert_true(archive, 4)
    shown = run("status", DATASET, "--store", str(archive))
    assert shown.exit_code == 0
    assert "2020-01-01 … 2020-01-04 18:00 (16 positions)" in shown.stdout
    assert "backfill succeeded" in shown.stdout


def test_a_summary_says_everything_that_matters(source, tmp_path):
    """Regions, files, bytes, stages, overlap, extent and report are in the summary."""
    done = run("backfill", DATASET, "--until", "2020-01-03", *on(tmp_path / "b", source), *CLUSTER)
    for fragment in (
        "✓ backfill of generated: 2 regions done",
        "2 done · 0 skipped · 0 failed",
        "3 succeeded",
        "downloaded",
        "compress",
        "two stages at once",
        "nothing → 2020-01-02 18:00 (8 positions)",
        "b.gridmill/runs/",
    ):
        assert fragment in done.stdout
    first, *dashboard = done.stderr.splitlines()
    assert first.startswith(f"backfill generated → {tmp_path / 'b'}: 2 regions")
    assert all(line.startswith("dashboard http") for line in dashboard)


def test_a_backfill_that_is_done_is_skipped_with_success(archive, source):
    """A second run finds everything done, says so, and changes no object of the store."""
    before = {k: v for k, v in files_below(archive).items() if k.startswith("a.zarr/")}
    args = ["backfill", DATASET, "--until", "2020-01-05", *on(archive, source), *CLUSTER]
    done = run(*args)
    assert done.exit_code == ExitCode.SUCCESS
    assert "3 regions already done, nothing to do" in done.stdout
    assert before.items() <= files_below(archive).items()


def test_updates_take_in_what_arrives(tmp_path):
    """A file that is not there yet stops the extent, with the reason; the next update goes on."""
    source = build_archive(tmp_path / "source", 3)
    store = tmp_path / "c.zarr"
    options = [*on(store, source), *CLUSTER]
    done = run("backfill", DATASET, "--until", "2020-01-05", *options)
    assert done.exit_code == ExitCode.SUCCESS
    assert "time 2020-01-04 00:00:00: " in done.stdout
    assert "20200104.nc" in done.stdout
    assert_true(store, 3)

    nothing = run("update", DATASET, "--now", "2020-01-05", *options)
    assert nothing.exit_code == ExitCode.NOTHING_NEW
    assert "nothing new to publish" in nothing.stdout

    build_archive(source, 4)
    some = run("update", DATASET, "--now", "2020-01-05", *options)
    assert some.exit_code == ExitCode.SUCCESS
    assert "2020-01-03 18:00 → 2020-01-04 18:00 (16 positions, 4 of them new)" in some.stdout
    assert_true(store, 4)


def test_a_backfill_that_finds_no_file_does_not_say_success(tmp_path):
    """A wrong --source-base, where nothing is, is no success."""
    (tmp_path / "empty").mkdir()
    options = [*on(tmp_path / "d.zarr", tmp_path / "empty"), *CLUSTER]
    done = run("backfill", DATASET, "--until", "2020-01-03", *options)
    assert done.exit_code == ExitCode.NOTHING_NEW
    assert "✓" not in done.stdout


def test_filters_choose_variables_for_good(source, tmp_path):
    """--variables takes lists and may be repeated; a new archive has these variables only."""
    store = tmp_path / "e.zarr"
    chosen = ["--variables", "temperature, orography", "--variables", "humidity"]
    options = [*on(store, source), *chosen, *CLUSTER]
    assert run("backfill", DATASET, "--until", "2020-01-03", *options).exit_code == 0
    assert set(xr.open_zarr(store).data_vars) == {"temperature", "orography", "humidity"}
    shown = run("template", DATASET, "--store", str(store), "--json")
    assert len(json.loads(shown.stdout)["data_vars"]) == 3


def test_a_variable_that_fails_is_told_as_it_fails_and_in_the_end(source, tmp_path):
    """Region, variable and cause are shown, the exit code is 1, other variables are done."""
    options = [*on(tmp_path / "f.zarr", source), *CLUSTER]
    done = run("backfill", "test_cli:Faulty", "--until", "2020-01-03", *options)
    assert done.exit_code == ExitCode.FAILED
    line = "✗ region 2020-01-01, humidity: KeyError: 'no such [thing]'"
    assert line in done.stderr
    assert line in done.stdout
    assert "1 variable failed" in done.stdout
    assert "1 done · 0 skipped · 1 failed" in done.stdout
    shown = run("status", "test_cli:Faulty", "--store", str(tmp_path / "f.zarr"))
    assert "KeyError: 'no such [thing]'" in shown.stdout


def test_a_file_that_cannot_be_read_is_a_failure_with_its_url(tmp_path):
    """A broken source file does not end in exit code 0."""
    source = build_archive(tmp_path / "source", 2)
    broken = next(source.rglob("20200102.nc"))
    broken.write_bytes(b"not netCDF, but long enough to look like a file")
    options = [*on(tmp_path / "g.zarr", source), *CLUSTER]
    done = run("backfill", DATASET, "--until", "2020-01-03", *options)
    assert done.exit_code == ExitCode.FAILED
    assert "1 source file failed" in done.stdout
    assert "20200102.nc: read failed for temperature, precipitation, humidity" in done.stdout
    assert "→ 2020-01-01 18:00" in done.stdout


def test_few_threads_are_told_in_one_line(archive, source):
    """A cluster whose workers have one thread each works, with a warning and its remedy."""
    few = ["--cluster-option", "threads_per_worker=1"]
    args = ["backfill", DATASET, "--until", "2020-01-05", *on(archive, source), *CLUSTER, *few]
    done = run(*args, "--redo")
    assert done.exit_code == ExitCode.SUCCESS
    assert "1 of 1 workers have fewer than 5 threads" in done.stderr
    assert "--nthreads 5" in done.stderr


def test_another_run_holds_the_archive(source, tmp_path):
    """The second run says who holds the archive and since when, and exits with 4."""
    store = tmp_path / "h.zarr"
    holder = Generated(str(store)).store.state
    with Lease(holder, run="the-first", kind="backfill", positions=[(0, 1000)]):
        options = [*on(store, source), *CLUSTER]
        done = run("backfill", DATASET, "--until", "2020-01-03", *options)
    assert done.exit_code == ExitCode.HELD
    assert done.stdout == ""
    assert "held by the backfill the-first" in done.stderr


def test_ctrl_c_keeps_what_is_done_and_the_next_run_goes_on(tmp_path):
    """An interrupted run exits with 130, without a traceback; the rerun completes the archive."""
    source = build_archive(tmp_path / "source", 24)
    store = tmp_path / "i.zarr"
    args = ["backfill", DATASET, "--until", "2020-01-25", *on(store, source), "--workers", "1"]
    records = Path(f"{store}.gridmill/regions")
    with subprocess.Popen(
        [sys.executable, "-m", "gridmill.cli", *args],
        cwd=SUPPORT,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not (records.exists() and any(records.iterdir())):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("error: interrupted: recorded work is safe")
    done = run(*args, *CLUSTER)
    assert done.exit_code == ExitCode.SUCCESS
    assert_true(store, 24)


# -- wrong input ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "fragment"),
    [
        (["plan", "generatd"], "no dataset 'generatd'"),
        (["backfill", "ostia-sst-montly", "--until", "2020"], "did you mean ostia-sst-monthly?"),
        (["status", "generated:Nothing"], "has no class Nothing"),
        (["backfill", "generated:Remeasured", "--until", "2020-01-06"], "attribute units is"),
        (["update", "generated:Remeasured", "--now", "2020-01-06"], "the template contradicts"),
        (["plan", "generated:Remeasured", "--until", "2020-01-06"], "the template contradicts"),
        (["backfill", DATASET, "--until", "2019-12-31"], "not after the archive's start"),
        (["backfill", DATASET, "--until", "yesterday"], "'yesterday' is not a date"),
        (["backfill", DATASET], "Missing option '--until'"),
        (["backfill", DATASET, "--until", "2020-01-06", "--start", "2020-01-02T01:00"], "axis"),
        (["backfill", DATASET, "--until", "2020-01-06", "--end", "2020-01-02T01:00"], "axis"),
        (["backfill", DATASET, "--until", "2020-01-06", "--start", "2020-01-06"], "not before"),
        (["backfill", DATASET, "--until", "2020-01-06", "--variables", "rain"], "rain"),
        (["backfill", DATASET, "--until", "2020-01-06", "--variables", ","], "names no variable"),
        (
            ["backfill", DATASET, "--until", "2020-01-06", "--cluster", "huge"],
            "'huge' is no cluster",
        ),
        (["update", DATASET, "--cluster-option", "x"], "'x' is not KEY=VALUE"),
        (["update", DATASET, "--workers", "0"], "0 is not in the range"),
        (["update", DATASET, "--cluster", "tcp://x:1", "--workers", "2"], "no effect"),
        (["plan", DATASET, "--start", "2020-01-02"], "give --until, too"),
        (["plan", DATASET, "--utnil", "2020-01-02"], "No such option"),
        (["bakfill", DATASET], "No such command 'bakfill'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_and_changes_nothing(archive, args, fragment):
    """Every mistake gives one line that names it and exit code 2; no byte is written."""
    before = files_below(archive)
    done = run(*args, env={"GRIDMILL_STORE": str(archive)})
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert fragment in line
    assert files_below(archive) == before


def test_a_wrong_option_of_a_cluster_is_named_when_there_is_work_for_it(archive, source):
    """The cluster's own class knows its options: no store and no record changes."""
    kept = ("a.zarr/", "a.zarr.gridmill/regions/")
    before = {k: v for k, v in files_below(archive).items() if k.startswith(kept)}
    where = on(archive, source)
    done = run("update", DATASET, *where, "--cluster-option", "x=1", "--now", "2020-01-06")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "argument 'x'" in done.stderr.splitlines()[-1]
    assert {k: v for k, v in files_below(archive).items() if k.startswith(kept)} == before


def test_wrong_input_makes_no_archive(source, tmp_path):
    """A mistake in the first backfill leaves nothing behind that later runs would inherit."""
    options = on(tmp_path / "new" / "k.zarr", source)
    for wrong in (["--end", "2020-01-02T01:00"], ["--variables", "rain"], ["--until", "2019"]):
        done = run("backfill", DATASET, "--until", "2020-01-03", *options, *wrong)
        assert done.exit_code == ExitCode.WRONG_INPUT
    assert not (tmp_path / "new").exists()


def test_a_store_that_cannot_be_written_has_its_own_exit_code(source, tmp_path):
    """A folder below a file cannot be made: exit code 5 before a cluster is started."""
    (tmp_path / "file").write_text("not a folder")
    options = [*on(tmp_path / "file" / "k.zarr", source), "--cluster", "tcp://127.0.0.1:1"]
    done = run("backfill", DATASET, "--until", "2020-01-03", *options)
    assert done.exit_code == ExitCode.UNWRITABLE
    (line,) = done.stderr.splitlines()
    assert "cannot write to" in line
    assert (tmp_path / "file").read_text() == "not a folder"


def test_status_of_nothing_is_an_error(tmp_path):
    """A mistyped --store does not look like an empty archive."""
    done = run("status", DATASET, "--store", str(tmp_path / "l.zarr"))
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "there is no archive at" in done.stderr


def test_without_a_store_the_option_and_its_variable_are_named():
    """One learns from the error what to give."""
    done = run("status", DATASET)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "--store" in done.stderr
    assert "GRIDMILL_STORE" in done.stderr


def test_debug_shows_the_traceback(archive):
    """Who asks for it sees where an error came from."""
    done = run("plan", DATASET, "--store", str(archive), "--until", "2019", "--debug")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "Traceback" in done.stderr


# -- what is beside the store and cannot be read ----------------------------------------------

COMMANDS = [
    ["status"],
    ["plan", "--now", "2020-01-06"],
    ["plan", "--until", "2020-01-06"],
    ["backfill", "--until", "2020-01-06", "--cluster", "none"],
    ["update", "--now", "2020-01-06", "--cluster", "none"],
    ["gaps"],
    ["validate"],
]
each_command = pytest.mark.parametrize("command", COMMANDS, ids=" ".join)


@pytest.fixture
def copy(archive, tmp_path) -> Path:
    """A copy of the archive, with its records, to be damaged."""
    store = tmp_path / "a.zarr"
    shutil.copytree(archive, store)
    shutil.copytree(f"{archive}.gridmill", f"{store}.gridmill")
    return store


def assert_refused(store: Path, source: Path, command: list[str], fragment: str) -> None:
    """Run a command that is to say one line, with a code of its own, and to change no archive.

    A run that began has a report, and what it shows while it runs.
    """
    before = files_below(store)
    name, *options = command
    done = run(name, DATASET, *options, *on(store, source))
    assert done.exit_code == ExitCode.UNREADABLE
    assert done.stdout == ""
    shown = done.stderr.splitlines()
    assert [line for line in shown if fragment in line] == [shown[-1]]
    assert shown[-1].startswith("error: ")
    assert len(shown) == 1 or name in ("backfill", "update")
    after = files_below(store)
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert not {key for key in changed if "/runs/" not in key}


@each_command
@pytest.mark.parametrize("content", [b"", b'{"schema": 2}'])
@pytest.mark.parametrize("file", ["declaration.json", "regions/0000000008.json"])
def test_a_file_that_cannot_be_read_is_one_line(copy, source, command, content, file):
    """Whatever asks for it names it; nothing is taken for absent, and no archive changes."""
    (Path(f"{copy}.gridmill") / file).write_bytes(content)
    fragment = f"a.zarr.gridmill/{file} {'has schema 2, this gridmill' if content else 'is empty'}"
    assert_refused(copy, source, command, fragment)


@each_command
@pytest.mark.parametrize("records", ["gone", "there"])
def test_a_store_whose_declaration_is_gone_is_one_line(copy, source, command, records):
    """What was declared is not guessed from the code: the error says what is missing and helps."""
    state = Path(f"{copy}.gridmill")
    if records == "gone":
        shutil.rmtree(state)
    else:
        (state / "declaration.json").unlink()
    found = "none of its records" if records == "gone" else "3 of its records"
    fragment = f"a.zarr.gridmill has no declaration.json and {found}, but {copy} shows readers 16"
    assert_refused(copy, source, command, fragment)
    assert_refused(copy, source, command, "nothing was written")
    assert_refused(copy, source, command, "gridmill rebuild-records")


@pytest.mark.parametrize("command", [COMMANDS[0], *COMMANDS[3:5]], ids=" ".join)
def test_a_claim_that_cannot_be_read_lets_nobody_write(copy, source, command):
    """Its run may live: the line says when the claim may be deleted."""
    claim = Path(f"{copy}.gridmill") / "leases" / "x" / "claim.json"
    claim.parent.mkdir(parents=True)
    claim.write_bytes(b"{")
    assert_refused(copy, source, command, "leases/x/claim.json is not JSON")
    assert_refused(copy, source, command, "once no process of gridmill works on this archive")


def test_a_damaged_history_stops_no_update(copy, source):
    """One warning names the report; whoever asks for that one gets the error."""
    *_, first = sorted(Path(f"{copy}.gridmill").glob("runs/*.json"))
    later = first.with_name("30000101T000000000-aaaaaa.json")
    later.write_bytes(b"{")
    for name, *options in (
        ["plan", *COMMANDS[1][1:]],
        COMMANDS[0],
        ["report"],
        ["report", "--list"],
    ):
        done = run(name, DATASET, *options, *on(copy, source)[: 2 if name == "report" else 4])
        assert done.exit_code == ExitCode.SUCCESS, done.output
        (line,) = done.stderr.splitlines()
        assert f"the report of a run is skipped: {later} is not JSON" in line
    done = run("update", DATASET, *COMMANDS[4][1:], *on(copy, source))
    assert done.exit_code == ExitCode.SUCCESS
    assert_true(copy, 5)
    done = run("report", DATASET, "3000", "--store", str(copy))
    assert done.exit_code == ExitCode.UNREADABLE
    assert f"{later} is not JSON" in done.stderr


# -- what is printed --------------------------------------------------------------------------


def test_plan_of_a_backfill_and_of_an_update(archive, source):
    """What is done is told from what is to do, with files and reasons; nothing is written."""
    before = files_below(archive)
    options = on(archive, source)
    planned = run("plan", DATASET, "--until", "2020-01-06", "--json", *options)
    content = json.loads(planned.stdout)
    assert content["region_jobs"] == 4
    assert content["region_jobs_to_do"] == 1
    assert content["source_files"] == 1
    todo = [region["todo"] for region in content["regions"] if region["todo"]]
    assert todo == [dict.fromkeys(["temperature", "precipitation", "humidity"], "not done yet")]
    shown = run("plan", DATASET, "--now", "2020-01-06", *options)
    assert "1 region, " in shown.stdout
    assert "not done yet" in shown.stdout
    assert files_below(archive) == before


def test_template_shows_the_structure():
    """Dims, region, chunks, shards, codecs and attributes are shown for every variable."""
    shown = run("template", DATASET, "--until", "2020-01-05")
    assert shown.exit_code == 0
    for fragment in (
        "time 16 · level 3 · latitude 6 · longitude 8",
        "8 positions along time: 2 regions so far",
        "blosc zstd-3 bitshuffle",
        "crc32c",
        "units: kg m-2 s-1",
        "seconds since 1970-01-01",
    ):
        assert fragment in shown.stdout


def test_template_as_json_is_strict():
    """NaN and everything else in a template is valid JSON."""
    shown = run("template", DATASET, "--until", "2020-01-05", "--json")
    content = json.loads(shown.stdout, parse_constant=pytest.fail)
    assert content["dims"] == {"time": 16, "level": 3, "latitude": 6, "longitude": 8}
    humidity = next(var for var in content["data_vars"] if var["name"] == "humidity")
    assert humidity["shards"] == [8, 3, 6, 8]
    assert humidity["fill_value"] == "NaN"
    assert [codec["name"] for codec in humidity["codecs"]] == ["blosc", "crc32c"]


def test_a_run_as_json_is_one_value(source, tmp_path):
    """The report is all that is on stdout, with the exit code and where the whole report is."""
    options = [*on(tmp_path / "m.zarr", source), *CLUSTER, "--json"]
    done = run("backfill", DATASET, "--until", "2020-01-03", *options)
    content = json.loads(done.stdout)
    assert content["exit_code"] == done.exit_code == 0
    assert content["regions_done"] == 2
    assert content["positions_after"] == 8
    assert json.loads(Path(content["report"]).read_text())["run"] == content["run"]
    listed = json.loads(run("status", DATASET, "--store", options[1], "--json").stdout)
    assert listed["positions"] == 8
    assert listed["last_run"]["run"] == content["run"]


def test_list_shows_names_and_with_details_what_they_are(tmp_path, monkeypatch):
    """One third-party dataset that cannot be imported shows its error in its row."""
    info = tmp_path / "bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[gridmill.datasets]\nbad-set = bad_module:X\n")
    monkeypatch.syspath_prepend(tmp_path)
    brief = run("list")
    assert brief.exit_code == 0
    assert "bad_module:X" in brief.stdout
    detailed = run("list", "--details")
    assert detailed.exit_code == 0
    assert "error: dataset bad-set of bad 1.0 cannot be imported" in detailed.stdout
    rows = {row["name"]: row for row in json.loads(run("list", "--details", "--json").stdout)}
    assert "No module named 'bad_module'" in rows["bad-set"]["error"]
    assert rows["ostia-sst-monthly"]["data_vars"]


def test_help_names_every_exit_code():
    """The codes that a scheduler acts on are documented where one looks first."""
    shown = run("--help")
    assert shown.exit_code == 0
    codes = {line.split()[0] for line in shown.stdout.splitlines() if line.strip()[:1].isdigit()}
    assert codes == {str(int(code)) for code in ExitCode}


def test_every_command_explains_itself():
    """Each has a help text, and its options name their environment variables."""
    for name, command in cli.commands.items():
        shown = run(name, "--help")
        assert shown.exit_code == 0
        assert command.help
    assert "GRIDMILL_CLUSTER" in run("update", "--help").stdout


def test_dataset_names_complete():
    """Shell completion offers the registered names."""
    env = {"COMP_WORDS": "gridmill status ost", "COMP_CWORD": "2"}
    done = CliRunner().invoke(
        cli, [], prog_name="gridmill", env={**env, "_GRIDMILL_COMPLETE": "bash_complete"}
    )
    assert "ostia-sst-monthly" in done.output


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("gridmill ba", "backfill"),
        ("gridmill status ostia", "ostia-sst-monthly"),
        ("gridmill backfill ostia-sst-monthly --revali", "--revalidate"),
        ("gridmill plan noaa-gfs-forecast --variables temp", "temperature_2m"),
        (
            "gridmill plan noaa-gfs-forecast --variables temperature_2m,wind_u",
            "temperature_2m,wind_u_10m",
        ),
        ("gridmill validate noaa-gfs-forecast --variables temp", "temperature_2m"),
        ("gridmill validate ostia-sst-monthly --only opens,curr", "opens,current"),
        ("gridmill plan ostia-sst-monthly --format ice", "icechunk"),
        ("gridmill update ostia-sst-monthly --cluster lo", "local"),
    ],
)
def test_bash_completes_what_was_begun(words, offered):
    """What the help says to put into a shell's start-up file works in a shell."""
    gridmill = Path(sys.executable).with_name("gridmill")
    script = f"""
        export PATH="{gridmill.parent}:$PATH"
        eval "$(_GRIDMILL_COMPLETE=bash_source gridmill)"
        COMP_WORDS=({words}) COMP_CWORD={len(words.split()) - 1}
        _gridmill_completion gridmill
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert offered in done.stdout.split()


def test_values_of_cluster_options_are_read_as_what_they_look_like():
    """Numbers, lists and constants are no strings; everything else is."""
    from gridmill.cli.options.declaring import parse_value

    given = ["3", "[1, 10]", "False", "none", "m6i.large", '"3"']
    assert [parse_value(text) for text in given] == [3, [1, 10], False, None, "m6i.large", "3"]


def test_the_generated_archive_has_the_paths_it_names(source):
    """The files that tests break are those that a run reads."""
    assert (source / day_url(times_of(1)[0])).is_file()


# -- reports ----------------------------------------------------------------------------------


def test_the_report_of_the_last_run_or_of_one_by_its_name(archive, tmp_path):
    """The last one by default; the beginning of a name will do; the page is written where asked."""
    command = ["report", DATASET, "--store", str(archive)]
    *_, first = listed = json.loads(run(*command, "--list", "--json").stdout)
    assert (first["kind"], first["succeeded"], first["positions_after"]) == ("backfill", True, 16)
    assert json.loads(run(*command, "--json").stdout)["run"] == listed[0]["run"]
    shown = run(*command, first["run"]).stdout
    assert "✓ backfill of generated: 3 regions done" in shown
    assert f"{first['run']}.html" in shown
    page = tmp_path / "run.html"
    assert run(*command, first["run"][:-3], "--html", str(page)).stdout == ""
    assert "Stages by worker" in page.read_text()


def test_runs_are_listed_a_line_each(archive):
    """With what they did, the last one first."""
    shown = run("report", DATASET, "--store", str(archive), "--list").stdout
    header, *_, line = shown.splitlines()
    assert header.split()[:2] == ["run", "what"]
    assert "backfill succeeded" in line
    assert "nothing → 2020-01-04 18:00 (16 positions)" in line


@pytest.mark.parametrize(
    ("store", "args", "said"),
    [
        ("a.zarr", ["1999"], "1999 is no run of this archive: gridmill report --list names them"),
        ("none.zarr", [], "no run has left a report at"),
        ("a.zarr", ["2", "--list"], "--list shows no single run"),
    ],
)
def test_a_report_that_is_not_there(archive, store, args, said):
    """One line, and exit code 2."""
    done = run("report", DATASET, "--store", str(archive.parent / store), *args)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert said in done.stderr
