"""The operating guide's recipe for an archive that was made with to_zarr, run as it is written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from documented import FIRST, LEADS, START, MyForecast, write_forecasts
from gridmill.cli import ExitCode, cli
from repository import ROOT

SECTION = "### An archive that was made with `to_zarr` is taken over"
NOW = "2025-03-20"


def commands() -> list[list[str]]:
    """Give the commands of the recipe, in their order."""
    text = (ROOT / "docs/operating.md").read_text().partition(SECTION)[2].partition("\n### ")[0]
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line.replace("my-forecast", "documented:MyForecast")) for line in lines]


def values(inits: int) -> dict[str, np.ndarray]:
    """Give what the provider's files hold, by variable."""
    number = np.repeat(np.arange(inits, dtype="float32")[:, None, None], len(LEADS), axis=1)
    return {FIRST[0]: number, FIRST[1]: -number}


def write_theirs(path: Path, **how: object) -> None:
    """Write what a maintainer had: twenty forecasts, without the last lead of one."""
    data = values(20)
    data[FIRST[0]][7, 1] = np.nan
    data[FIRST[1]][7, 1] = np.nan
    xr.Dataset(
        {
            name: (("init_time", "lead_time", "y"), of, {"long_name": name, "units": "1"})
            for name, of in data.items()
        },
        {
            "init_time": xr.date_range(START, periods=20, freq="6h"),
            "lead_time": ("lead_time", np.array(LEADS), {"units": "hours"}),
            "y": np.arange(1.0),
        },
        {"title": "Theirs"},
    ).drop_encoding().to_zarr(path, **how)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [{"zarr_format": 3}, {"zarr_format": 2}])
def test_the_recipe_takes_over_an_archive(tmp_path, monkeypatch, how):
    """Adopted where it fits, copied where not; in the end readers have all that there is."""
    monkeypatch.chdir(tmp_path)
    write_forecasts(tmp_path / "provider", late=())
    write_theirs(tmp_path / "theirs.zarr", **how)
    env = {
        "GRIDMILL_STORE": "theirs.zarr",
        "GRIDMILL_SOURCE_BASE": str(tmp_path / "provider"),
        "GRIDMILL_CLUSTER": "none",
    }
    fits, codes = how["zarr_format"] == 3, {}
    steps = commands()
    assert [step[1] for step in steps] == [
        *("adopt", "adopt", "gaps", "update"),
        *("copy", "compare", "update"),
    ]
    for number, (_, name, *args) in enumerate(steps[:4] if fits else [steps[0], *steps[4:]]):
        given = {option.name for option in cli.commands[name].params}
        args += ["--now", NOW] if "now" in given else []
        args += ["--yes"] if "yes" in given else []
        args += ["--json"] if name == "compare" else []
        done = CliRunner().invoke(cli, [name, *args], env=env)
        codes[number, name] = done.exit_code
        if name == "compare":
            compared = json.loads(done.stdout)
            assert [one["differing"] for one in compared["variables"]] == [0, 0]
            assert (compared["structure"], compared["extent"]) == ([], [])
    wrong = {ExitCode.WRONG_INPUT, ExitCode.FAILED}
    assert {key for key, code in codes.items() if code in wrong} == (
        set() if fits else {(0, "adopt"), (2, "compare")}
    )
    dataset = MyForecast(tmp_path / ("theirs.zarr" if fits else "ours.zarr"))
    with dataset.store.open_dataset() as ds:
        n = ds.sizes["init_time"]
        assert n == 4 * 22  # all that the provider has by now
        for name, wanted in values(n).items():
            np.testing.assert_array_equal(ds[name].values, wanted)
