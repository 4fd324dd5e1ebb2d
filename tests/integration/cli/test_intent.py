"""What an operator writes wrong is refused with the next step, never guessed or ignored."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gridmill.cli import cli
from gridmill.cli.exit_codes import ExitCode
from tiny import Provider, hours, snapshot, until

DATASET = "tiny:Tiny"
WITH_NOW = sorted(
    name for name, command in cli.commands.items() if any(p.name == "now" for p in command.params)
)
# What each needs beside the archive.
NEEDS = {
    "accept": ["20200101T05.npy", "--why", "gone"],
    "backfill": ["--until", until(8), "--cluster", "none"],
    "plan": ["--until", until(8)],
    "reject": ["20200101T05.npy", "--why", "wrong"],
    "release": ["20200101T05.npy", "--why", "right"],
    "rebuild-records": ["--yes"],
    "restore-metadata": ["--yes"],
    "run-one": ["2020-01-01", "a"],
    "truncate": ["--end", until(4), "--yes"],
    "update": ["--cluster", "none"],
    "withdraw": [
        *("--start", "2020-01-01", "--end", until(2)),
        *("--variables", "a", "--why", "x", "--yes"),
    ],
}


def run(*args: str) -> Result:
    """Run the command line in this process, without a terminal."""
    return CliRunner().invoke(cli, list(args))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, beside a provider with eight files."""
    Provider(tmp_path / "source").publish(hours(8))
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def archive_options(store: str) -> list[str]:
    """Return the options for an archive of the provider's files."""
    return [DATASET, "--store", store, "--source-base", "../source"]


@pytest.fixture
def archive(here: Path) -> str:
    """An archive of eight hours, published."""
    made = run("backfill", *archive_options("a.zarr"), *NEEDS["backfill"])
    assert made.exit_code == ExitCode.SUCCESS, made.output
    return "a.zarr"


@pytest.mark.parametrize("command", [name for name in WITH_NOW if name != "update"])
def test_every_command_knows_what_time_it_is(archive, command):
    """Without the hidden --now of tests nothing crashes: the clock's time has a zone."""
    done = run(command, *archive_options(archive), *NEEDS.get(command, []))
    assert not re.search(r"error: \w*Error", done.output), done.output
    assert done.exit_code in set(ExitCode)
    assert done.exception is None or isinstance(done.exception, SystemExit)


def test_metadata_are_put_back_from_the_command_line(archive):
    """As `validate` and the guide send operators there."""
    before = snapshot(Path(archive))
    Path(archive, "a", "zarr.json").write_text("{}")
    done = run("restore-metadata", *archive_options(archive), "--yes")
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert snapshot(Path(archive)) == before


@pytest.mark.parametrize("date", ["01/10/2024", "10-01-2024", "Jan 10 2024", "2024/01/10", "now"])
def test_a_date_whose_day_and_month_would_be_guessed_is_refused(here, date):
    """It is told how one is written."""
    done = run("plan", *archive_options("a.zarr"), "--until", date)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert f"{date!r} is not a date" in done.stderr
    assert "2017-01-21T06:00" in done.stderr


@pytest.mark.parametrize("option", ["--store", "--state", "--source-base", "--replica"])
@pytest.mark.parametrize(
    "address", ["s3:/b/x", "s3:b/x", "file:/x", "gs:/b", "S3://b/x", "s3//b/x"]
)
def test_a_url_that_is_written_wrong_is_no_local_folder(here, option, address):
    """Nothing is made, and the right one is told."""
    options = [DATASET, "--store", "a.zarr", option, address]
    if option == "--store":
        options = [DATASET, option, address]
    done = run("plan", *options, "--until", until(4))
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert f"{address!r} is no URL" in done.stderr
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("option", [("--deadline", "2h"), ("--pause", "1min")])
def test_how_to_wait_is_for_who_waits(here, option):
    """A deadline that nothing holds to is refused."""
    done = run("update", *archive_options("a.zarr"), *option)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert f"{option[0]} says how to wait: add --wait" in done.stderr


def test_settings_of_a_dataset_that_is_none_are_refused(here):
    """A table with a misspelt name would never hold."""
    (here / "gridmill.toml").write_text('[datasets.ostia-sst-monthy]\nstore = "a.zarr"\n')
    done = run("plan", "ostia-sst-monthly", "--until", "2008-01")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "datasets.ostia-sst-monthy is no registered dataset" in done.stderr
    assert "did you mean ostia-sst-monthly?" in done.stderr


def test_an_update_says_that_it_makes_an_archive(here):
    """With the number of regions; --no-create makes none."""
    now = ["--now", until(8), *NEEDS["update"]]
    refused = run("update", *archive_options("a.zarr"), *now, "--no-create")
    assert refused.exit_code == ExitCode.WRONG_INPUT
    assert "--no-create forbids creating one" in refused.stderr
    made = run("update", *archive_options("a.zarr"), *now)
    assert made.exit_code == ExitCode.SUCCESS, made.output
    assert "there is no archive at" in made.stderr
    assert "creating it, 2 regions" in made.stderr
    assert "creating it" not in run("update", *archive_options("a.zarr"), *now).stderr


def test_an_update_of_an_address_that_looks_misspelt_stops(here):
    """It names the archive beside it; of archives that only numbers tell apart it makes another."""
    options = ["--now", until(8), *NEEDS["update"]]
    run("update", *archive_options("forecast-1.zarr"), *options)
    done = run("update", *archive_options("forcast-1.zarr"), *options)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "forecast-1.zarr: is that the one?" in done.stderr
    assert run("update", *archive_options("forecast-2.zarr"), *options).exit_code == 0
    forced = run("update", *archive_options("forcast-1.zarr"), *options, "--create")
    assert forced.exit_code == ExitCode.SUCCESS


def test_a_next_version_is_made_beside_the_present_one_unless_it_is_forbidden(here):
    """Its address is nearly the same by intent; the other checks are the same."""
    options = ["--now", until(8), *NEEDS["update"]]
    run("update", *archive_options("forecast.zarr"), *options)
    refused = run("update", *archive_options("forecast.zarr"), "--stage", *options, "--no-create")
    assert refused.exit_code == ExitCode.WRONG_INPUT
    assert "--no-create forbids creating one" in refused.stderr
    made = run("update", *archive_options("forecast.zarr"), "--stage", *options)
    assert made.exit_code == ExitCode.SUCCESS, made.output
    (here / "forecast.v1.zarr").rename(here / "elsewhere")
    lost = run("update", *archive_options("forecast.zarr"), "--stage", *options)
    assert lost.exit_code == ExitCode.WRONG_INPUT
    assert "its records say that readers saw 8 positions" in lost.stderr


def test_an_update_of_a_lost_archive_stops(archive, here):
    """Its records say that readers saw something; it may be elsewhere."""
    (here / archive).rename(here / "elsewhere")
    options = ["--now", until(8), *NEEDS["update"]]
    done = run("update", *archive_options(archive), *options)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "its records say that readers saw 8 positions" in done.stderr
    forced = run("update", *archive_options(archive), *options, "--create")
    assert forced.exit_code == ExitCode.SUCCESS, forced.output


def test_every_option_is_a_click_option():
    """The commands that are run above are all that know a present."""
    assert all(isinstance(cli.commands[name], click.Command) for name in WITH_NOW)
    assert "restore-metadata" in WITH_NOW
