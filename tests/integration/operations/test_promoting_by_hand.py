"""The operating guide's recipe for a next version, run as it is written; what promote refuses."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

from documented import END, ForecastJob, MyForecast, write_forecasts
from gridmill.cli import ExitCode, cli
from repository import ROOT

icechunk = pytest.importorskip("icechunk")

SECTION = "### A new version is built beside the old one and promoted"


class CorrectedJob(ForecastJob):
    """A release that stores other values."""

    version = 2

    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Read what the file holds, corrected."""
        return super().read_data(coord, data_var) + 1000


class Corrected(MyForecast):
    """The later release."""

    region_job = CorrectedJob


def commands() -> list[list[str]]:
    """Give the commands of the recipe, in their order."""
    text = (ROOT / "docs/operating.md").read_text().partition(SECTION)[2].partition("\n### ")[0]
    blocks = re.findall(r"```\n(gridmill.*?)```", text, re.DOTALL)
    return [shlex.split(line)[1:] for block in blocks for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a provider."""
    monkeypatch.chdir(tmp_path)
    write_forecasts(tmp_path / "provider", late=())
    return tmp_path


def call(args: list[str], kind: str = "Corrected") -> Result:
    module = "documented" if kind == "MyForecast" else __name__
    name, dataset, *rest = args
    assert dataset == "my-forecast"
    given = {option.name for option in cli.commands[name].params}
    rest += ["--now", END] if "now" in given else []
    env = {"GRIDMILL_SOURCE_BASE": "provider", "GRIDMILL_CLUSTER": "none"}
    return CliRunner().invoke(cli, [name, f"{module}:{kind}", *rest], env=env)


def first(branch: str = "main", of: str = "a.icechunk") -> float:
    """Give the first value that readers see."""
    storage = icechunk.local_filesystem_storage(of)
    session = icechunk.Repository.open(storage).readonly_session(branch)
    ds = xr.open_zarr(session.store, chunks=None, consolidated=False)
    return float(ds["temperature_2m"][0, 0, 0])


BACKFILL = ["backfill", "my-forecast", "--until", END]


def test_the_recipe_promotes_a_version_and_goes_back(folder):
    """Each command succeeds, and readers see what the page says after it."""
    store = ["--store", "a.icechunk"]
    assert call([*BACKFILL, *store], "MyForecast").exit_code == 0
    seen = []
    for args in commands():
        done = call(args, "Corrected")
        allowed = {0, ExitCode.NOTHING_NEW} if args[0] == "update" else {0}
        assert done.exit_code in allowed, (args, done.output)
        seen.append(first())
    #                backfill, validate, status, dry run, promote, update, back, forget
    assert seen == [0, 0, 0, 0, 1000, 1000, 0, 0]


def test_promote_says_what_it_compared_and_did_as_json(folder):
    """One document: for a monitor, and for who asks later."""
    store = ["--store", "a.icechunk"]
    call([*BACKFILL, *store], "MyForecast")
    call([*BACKFILL, *store, "--stage"])
    told = json.loads(call(["promote", "my-forecast", *store, "--yes", "--json"]).stdout)
    assert told["promoted"]
    assert told["losses"] == []
    assert told["comparison"]["variables"]
    assert all(not r["findings"] for r in told["validation"]["results"])
    assert "promoted version 2" in told["notes"][0]


def test_replicas_follow_and_a_next_version_leaves_them_alone(folder):
    """Also where every command gets them, from settings; a line says so of each."""
    store = ["--store", "a.icechunk", "--replica", "b.icechunk"]
    assert call([*BACKFILL, *store], "MyForecast").exit_code == 0
    assert call([*BACKFILL, *store, "--stage"]).exit_code == 0
    assert (first(), first(of="b.icechunk")) == (0, 0)
    done = call(["promote", "my-forecast", *store, "--yes"])
    assert done.exit_code == 0, done.output
    assert "b.icechunk shows it, too" in done.output
    assert (first(), first(of="b.icechunk")) == (1000, 1000)
    assert call(["update", "my-forecast", *store]).exit_code in (0, ExitCode.NOTHING_NEW)
    told = json.loads(call(["promote", "my-forecast", *store, "--back", "--yes", "--json"]).stdout)
    assert [r["failure"] for r in told["replicas"]] == [None]
    assert (first(), first(of="b.icechunk")) == (0, 0)


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (["--store", "a.icechunk"], "There is no terminal to ask: give --yes"),
        (["--store", "a.icechunk", "--stage"], "leave --stage out"),
        (["--store", "a.icechunk", "--back", "--discard"], "give one of"),
        (["--store", "a.icechunk", "--back"], "there is no way back"),
        (["--store", "a.icechunk", "--replica", "r.zarr", "--yes"], "a mix of both versions"),
        (["--store", "a.icechunk", "--forget-previous", "--yes"], "has no version previous"),
        (["--store", "none.icechunk"], "there is no archive"),
        (["--store", "a.zarr"], "cannot be exchanged in one step"),
    ],
)
def test_what_is_refused_changes_nothing(folder, args, what):
    """With exit code 2, and the next step."""
    for store in ("a.icechunk", "a.zarr"):
        short = [*BACKFILL[:-1], "2025-03-20", "--store", store]
        assert call(short, "MyForecast").exit_code == 0
        assert call([*short, "--stage"]).exit_code == 0
    done = call(["promote", "my-forecast", "--allow-errors", *args])
    assert done.exit_code == ExitCode.WRONG_INPUT, done.output
    assert what in done.output
    assert first() == 0
    assert float(xr.open_zarr("a.zarr")["temperature_2m"][0, 0, 0]) == 0
    assert float(xr.open_zarr("a.v2.zarr")["temperature_2m"][0, 0, 0]) == 1000
