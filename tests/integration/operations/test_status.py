"""What is due, what is late, and what a monitor is told."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.operations.accept import accept_files
from tiny import Provider, Tiny, TinyJob, dataset_of, hours, until


class PunctualJob(TinyJob):
    """A file is there three hours after its label."""

    publication_delay = timedelta(hours=3)


Punctual = dataset_of(job=PunctualJob)
HOUR = timedelta(hours=1)


@pytest.fixture
def archive(client, tmp_path) -> DynamicalDataset:
    """Six hours are published of an archive that says when files are due."""
    Provider(tmp_path / "source").publish(hours(6))
    dataset = Punctual(tmp_path / "a", source_base=str(tmp_path / "source"))
    dataset.backfill(until(6), client=client, now=until(6))
    return dataset


def run(tmp_path: Path, *args: str, spec: str = "test_status:Punctual") -> Result:
    """Ask for the status, in this process."""
    return CliRunner().invoke(cli, ["status", spec, "--store", str(tmp_path / "a"), *args])


@pytest.mark.parametrize(
    ("now", "grace", "late", "last"),
    [
        (6, 0, 0, 5),
        (8, 0, 0, 5),  # the file of 06:00 is due at 09:00
        (9, 0, 1, 6),
        (9, 1, 0, 5),
        (10, 1, 1, 6),
        (30, 0, 22, 27),
        (30, 12, 10, 15),
    ],
)
def test_what_is_due_is_told_to_the_position(archive, now, grace, late, last):
    """The last position whose files are all expected, and how many are missing up to it."""
    status = archive.status(now=until(now), grace=grace * HOUR)
    assert (status.late, status.expected_last) == (late, str(hours(28)[last]))
    assert status.is_behind() == bool(late)
    assert status.age_s == (now - 5) * 3600


def test_a_dataset_that_promises_nothing_is_behind_only_by_age(client, tmp_path):
    """Without a publication delay nothing is due; a monitor may say what is too old."""
    Provider(tmp_path / "source").publish(hours(6))
    dataset = Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    assert dataset.status(now=until(30)).is_behind(HOUR)
    dataset.backfill(until(6), client=client)
    status = dataset.status(now=until(30))
    assert (status.late, status.expected_last) == (None, None)
    assert not status.is_behind()
    assert not status.is_behind(25 * HOUR)
    assert status.is_behind(24 * HOUR)


def test_an_author_may_say_what_is_expected_in_another_way(client, tmp_path):
    """Whatever `expected` says counts, with or without a delay."""

    class EvenJob(TinyJob):
        def expected(self, coord, now):
            """Say that only files of even hours ever come."""
            return coord.label.hour % 2 == 0 and coord.label <= now

    Provider(tmp_path / "source").publish(hours(4))
    dataset = dataset_of(job=EvenJob)(tmp_path / "a", source_base=str(tmp_path / "source"))
    dataset.backfill(until(4), client=client, now=until(4))
    assert dataset.status(now=until(7)).expected_last == str(hours(8)[6])


def test_what_was_given_up_for_is_counted(client, tmp_path):
    """Gaps of the provider and accepted files, each once."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    provider.withdraw(hours(8)[1])
    provider.withdraw(hours(8)[6])
    dataset = Punctual(tmp_path / "a", source_base=str(provider.root))
    dataset.backfill(until(8), client=client, now=until(8))
    assert dataset.status(now=until(8)).gaps == 1
    accept_files(dataset, ["20200101T06.npy"], who="me", why="lost", now=until(8))
    status = dataset.status(now=until(8))
    assert (status.gaps, status.incomplete, status.positions) == (2, (), 8)


def test_a_monitor_sees_it_in_the_exit_code(archive, tmp_path):
    """Only when it asks; people who look are not told that their looking failed."""
    late = ["--now", until(30), "--grace", "0h"]
    assert run(tmp_path, *late).exit_code == ExitCode.SUCCESS
    checked = run(tmp_path, *late, "--check")
    assert checked.exit_code == ExitCode.LATE
    assert "22 positions late, up to 2020-01-02 03:00 is due" in checked.stdout
    assert run(tmp_path, *late, "--check", "--grace", "2d").exit_code == ExitCode.SUCCESS
    content = json.loads(run(tmp_path, *late, "--json").stdout)
    assert content["is_behind"] is True
    assert content["late"] == 22
    old = ["--now", until(8), "--check", "--max-age"]
    assert run(tmp_path, *old, "2h").exit_code == ExitCode.LATE
    assert run(tmp_path, *old, "4h").exit_code == ExitCode.SUCCESS


def test_missing_files_are_named(client, tmp_path):
    """By region, the first few on screen, more in JSON."""
    Provider(tmp_path / "source").publish(hours(6))
    dataset = Tiny(tmp_path / "a", source_base=str(tmp_path / "source"))
    dataset.backfill(until(12), client=client)
    shown = run(tmp_path, "--now", until(12), spec="tiny:Tiny").stdout
    assert "2020-01-01 08:00" in shown
    assert "2020/20200101T08.npy (not yet available)" in shown
    assert "… 1 more" in shown
    content = json.loads(run(tmp_path, "--now", until(12), "--json", spec="tiny:Tiny").stdout)
    assert [region["missing"] for region in content["incomplete"]] == [2, 4]


@pytest.mark.parametrize("duration", ["soon", "7", "-1h"])
def test_a_duration_that_means_nothing_is_one_line(archive, tmp_path, duration):
    """A number without a unit is none."""
    done = run(tmp_path, f"--grace={duration}")
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "--grace" in done.stderr
