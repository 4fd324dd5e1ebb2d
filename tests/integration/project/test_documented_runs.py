"""Every command that the pages show is run, on small archives of the same names and paths."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from documented import (
    END,
    FIRST,
    LATE,
    MyForecast,
    MyScenes,
    write_forecasts,
    write_scenes,
    write_weather,
)
from gridmill.cli import ExitCode, cli
from gridmill.datasets.met_office.ostia_sst_monthly import OstiaSstMonthly
from gridmill.demo.archive import build_ostia_archive
from gridmill.operations.accept import accept_files
from gridmill.operations.versions.tags import tag_archive
from pages import COMMANDS, example_of
from repository import AUTHORS_GUIDE

# What is not run here, and why.
NOT_RUN = {
    "gridmill demo": "tests/integration/demo run it",
    "--cluster dask_jobqueue": "test_slurm.py runs such a cluster, where there is a Slurm",
    "--cluster coiled": "needs an account; test_signatures.py checks the very call",
    "KubeCluster": "needs a Kubernetes; test_signatures.py checks the very call",
    "gridmill grow": "test_grow.py runs it, on an archive that lacks members",
    "remove-variable": "test_changing_variables.py removes what a release no longer declares",
    "gaps.json": "test_by_hand.py and test_deciding.py decide on what gaps printed into a file",
    "--at 2025-06-2": "no archive of the tests is so old; test_tags.py names an earlier version",
    "--stage": "test_promoting_by_hand.py runs the recipe, one command after the other",
    "gridmill promote": "test_promoting_by_hand.py runs the recipe, one command after the other",
    "--cluster tls://": "test_namespaces.py runs one, with certificates",
}
# What a command may say beside success.
OTHERWISE = {
    "compare": {ExitCode.FAILED},
    "backfill": {ExitCode.NOTHING_NEW},
    "headers": {ExitCode.NOTHING_NEW},
    "migrate-metadata": {ExitCode.NOTHING_NEW},
    "status": {ExitCode.LATE},
    "update": {ExitCode.NOTHING_NEW, ExitCode.LATE},
    "upkeep": {ExitCode.NOTHING_NEW},
}
# Names and dates that are only examples; and nobody outside is told, nor waited for.
INSTEAD = {
    "DATASET --store a.zarr --to": "documented:MyForecast --store whole.zarr --to",
    "a.zarr b.icechunk": "a.zarr a.icechunk",
    "--store b.icechunk": "--store a.zarr",
    "theirs.zarr ours.zarr": "theirs.zarr a.zarr",
    "--store ours.zarr": "--store a.zarr",
    "DATASET": "documented:MyForecast",
    "my-forecast": "documented:MyForecast",
    "my-scenes": "documented:MyScenes",
    "2026-11-01": "2025-06-01",
    "curl -sf -d @- https://catalogue.example.org/new": "cat",
    "--deadline 2h": "--deadline 1s",
    "URL": "provider/sst",
    "demo-output/provider/ostia": "provider/sst",
    "/scratch/gridmill": "scratch",
}
# By what a dataset is called: where its source files are, and what its present is.
PLACES = {
    "documented:MyForecast": ("forecast", END),
    "documented:MyScenes": ("scenes", "2025-01-04"),
    "my_module:ExampleWeatherDaily": ("weather", "2020-02-05"),
    "ostia-sst-monthly": ("sst", "2010-02-20"),
}
# These take what another program made.
ELSEWHERE = ("adopt", "copy")
# Of these nothing is missing.
WHOLE = ("truncate", "restore-metadata", "statistics", "validate", "withdraw")


def is_run(command: str) -> bool:
    """Whether a command is complete, and can be run here."""
    is_whole = len(command.split()) > 2 and not command.endswith("…")
    return is_whole and not any(what in command for what in NOT_RUN)


SHOWN = sorted({command for _, command in COMMANDS if is_run(command)})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with providers and archives, as the pages take for granted."""
    folder = tmp_path_factory.mktemp("documented")
    source = folder / "provider"
    write_forecasts(source / "forecast")
    build_ostia_archive(source / "sst")
    (source / "weather").mkdir()
    write_weather(source / "weather", 36)
    (folder / "my_module.py").write_text(example_of(AUTHORS_GUIDE))
    late = MyForecast(folder / "a.zarr", source_base=str(source / "forecast"))
    late.backfill(END, variables=FIRST, client="none")
    with late.store.open_dataset() as made:
        made.drop_encoding().to_zarr(folder / "theirs.zarr", zarr_format=3)
    for what in ("zarr", "zarr.gridmill"):
        shutil.copytree(folder / f"a.{what}", folder / f"whole.{what}")
    whole = MyForecast(folder / "whole.zarr", source_base=str(source / "forecast"))
    accept_files(whole, LATE, who="operator", why="lost", now=END)
    kept = MyForecast(folder / "a.icechunk", source_base=str(source / "forecast"))
    kept.backfill(END, end="2025-03-12", variables=FIRST, client="none")
    for name in ("before-release-2", "release-3"):
        tag_archive(kept, name)
    write_scenes(source / "scenes", "2025-01-01T09:12", "2025-01-02T09:01", "2025-01-03T10:31")
    for kind in ("zarr", "icechunk"):
        scenes = MyScenes(folder / f"scenes.{kind}", source_base=str(source / "scenes"))
        scenes.backfill("2025-01-04", client="none", now="2025-01-04")
    write_scenes(source / "scenes", "2025-01-01T10:53")  # late
    sst = OstiaSstMonthly(folder / "sst.zarr", source_base=str(source / "sst"))
    sst.backfill("2009-01", client="none")
    return folder


@pytest.fixture
def here(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of the prepared folder, to work in."""
    here = tmp_path / "here"
    shutil.copytree(prepared, here, ignore=shutil.ignore_patterns("provider"))
    (here / "provider").symlink_to(prepared / "provider")
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("command", SHOWN)
def test_a_command_that_is_shown_does_what_it_says(here, command):
    """It ends as the pages say it would: with success, or what a scheduler is content with."""
    for example, real in INSTEAD.items():
        command = command.replace(example, real)
    name, *args = shlex.split(command)[1:]
    place, now = PLACES.get(args[0], ("", END))
    store = "whole.zarr" if name in WHOLE else "a.zarr"
    store = "theirs.zarr" if name in ELSEWHERE else store
    if args[0] == "documented:MyForecast":
        args = [store if arg in ("a.zarr", "sst.zarr") else arg for arg in args]
    elif args[0] == "documented:MyScenes":
        store = "scenes.zarr" if name == "truncate" else "scenes.icechunk"
        args = [store if arg.startswith("scenes.") else arg for arg in args]
    elif args[0] == "my_module:ExampleWeatherDaily":
        store = "weather.zarr"
        args = [store if arg == "a.zarr" else arg for arg in args]
    given = {option.name for option in cli.commands[name].params}
    args += ["--now", now] if "now" in given else []
    args += ["--yes"] if "yes" in given else []
    settings = {"STORE": store, "SOURCE_BASE": str(here / "provider" / place), "CLUSTER": "none"}
    if args[0] == "ostia-sst-monthly":
        settings = {"CLUSTER": "none"}  # the pages give the rest where it is needed
    env = {f"GRIDMILL_{key}": value for key, value in settings.items()}
    done = CliRunner().invoke(cli, [name, *args], env=env)
    assert done.exit_code in {ExitCode.SUCCESS} | OTHERWISE.get(name, set()), done.output


def test_what_is_not_run_is_shown():
    """A reason for what no page shows any more is to go."""
    every = [command for _, command in COMMANDS]
    assert not [what for what in NOT_RUN if not any(what in command for command in every)]
