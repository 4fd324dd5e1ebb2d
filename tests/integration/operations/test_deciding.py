"""What an operator decides on what a gate holds, from the command line."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.fields.gates import ValidRange
from tiny import (
    HOUR,
    START,
    Provider,
    TinyJob,
    TinyTemplate,
    hours,
    tiny_var,
    truth,
    until,
    url_of,
    values_at,
)

SPIKE, BROKEN = START + 5 * HOUR, START + 6 * HOUR
NOW = ("--now", until(24))


class GatedTemplate(TinyTemplate):
    """Its first variable lies between 0 and 1."""

    data_vars = (tiny_var("a", 0, gates=(ValidRange(0, 1),)), tiny_var("b", 1))


class PunctualJob(TinyJob):
    """Every file is due two hours after its label."""

    publication_delay = timedelta(hours=2)


class Gated(DynamicalDataset):
    """Hourly, two variables, one with a gate."""

    template_config = GatedTemplate
    region_job = PunctualJob


@pytest.fixture
def where(client: Any, tmp_path: Path) -> tuple[str, ...]:
    """Options that name an archive of eight hours: one is held, and one cannot be read."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    np.save(provider.path(SPIKE), values_at(SPIKE) + 7)
    provider.break_file(BROKEN, b"no array")
    options = {"source_base": str(provider.root)}
    report = Gated(tmp_path / "a", **options).backfill(until(8), client=client, now=until(24))
    assert report.positions_after == 5
    return (
        "test_deciding:Gated",
        "--store",
        str(tmp_path / "a"),
        "--source-base",
        str(provider.root),
    )


def run(*args: str) -> Result:
    """Run the command line in this process, without a terminal."""
    return CliRunner().invoke(cli, list(args))


def values(where: tuple[str, ...], name: str = "a") -> np.ndarray:
    """Return what readers see."""
    return Gated(where[2]).store.open_dataset()[name].values


def reviewed(where: tuple[str, ...], tmp_path: Path) -> str:
    """Keep what `gaps` prints in a file."""
    path = tmp_path / "gaps.json"
    path.write_text(run("gaps", *where, *NOW, "--json").stdout)
    return str(path)


def test_what_is_held_is_shown_and_turns_status_red(where):
    """Not behind and without gaps that readers see: the check fails all the same."""
    shown = run("status", *where, "--now", until(8))
    assert "held by gate for a" in shown.stdout
    assert "1 source file: gridmill release, or gridmill reject" in " ".join(shown.stdout.split())
    assert run("status", *where, "--check", "--now", until(6)).exit_code == ExitCode.GAPS
    gaps = " ".join(run("gaps", *where, *NOW).stdout.split())
    assert "until gridmill release or gridmill reject" in gaps
    assert "held by gate valid range" in gaps


def test_a_reviewed_list_is_released(where, tmp_path):
    """What gates hold of it, and nothing else: the file that cannot be read stays open."""
    why = ("--why", "a storm", "--who", "me")
    done = run("release", *where, "--from", reviewed(where, tmp_path), *why, *NOW, "--json")
    assert done.exit_code == ExitCode.SUCCESS, done.output
    (released,) = json.loads(done.stdout)["released"]
    assert (released["url"].endswith(url_of(SPIKE)), released["was"]) == (True, "held for a")
    assert len(values(where)) == 5
    after = run("backfill", *where, "--until", until(8), "--cluster", "none", *NOW)
    assert after.exit_code == ExitCode.SUCCESS, after.output
    expected = truth(hours(8))
    expected[5] += 7
    expected[6] = np.nan
    np.testing.assert_array_equal(values(where), expected)
    record = next(r for r in Gated(where[2]).store.tracker.records() if r.start == 4)
    (said,) = {r.note for group in record.groups for f in group for r in f.released.values()}
    assert said.startswith("me, 20")
    assert said.endswith("UTC: a storm")


def test_a_reviewed_list_is_rejected(where, tmp_path):
    """Readers see the rest at once, and nobody decides again by mistake."""
    gaps = reviewed(where, tmp_path)
    done = run("reject", *where, "--from", gaps, "--why", "a sensor", *NOW)
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "rejected" in done.stdout
    found = values(where)
    assert len(found) == 8
    assert np.isnan(found[5:7]).all()
    np.testing.assert_array_equal(values(where, "b")[5], truth([SPIKE], "b")[0] + 7)
    for command in ("release", "reject"):
        again = run(command, *where, "--from", reviewed(where, tmp_path), "--why", "x", *NOW)
        assert (again.exit_code, "held by gate" in again.stderr) == (ExitCode.WRONG_INPUT, True)


@pytest.mark.parametrize("command", ["release", "reject"])
def test_a_file_that_no_gate_holds_is_one_line(where, command):
    """It is named, with what to do instead."""
    done = run(command, *where, url_of(BROKEN), "--why", "x", *NOW)
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "gridmill accept" in done.stderr
