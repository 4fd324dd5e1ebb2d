"""An archive whose variables come, go and are renamed, by processes that die at every step.

The harness is a process that never uses what it imports (threads of Icechunk and of S3 do not
survive a fork): every archive is worked on in a fork of it, which is killed at one step after the
other, while another one reads. What a fork imports on its way, the next ones have. See
`killed_at_every_step`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd

from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import SourceFileCoord
from gridmill.authoring.template import TemplateConfig
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import DataVar, Encoding
from gridmill.operations.variables.removing import check_removal, remove_variables
from gridmill.operations.variables.renaming import rename_variables
from gridmill.sources.fetch.download import DownloadSettings
from gridmill.stores.objects.local import LocalObjects
from killed_steps import forked, guarded
from tiny import SHAPE, Provider, TinyTemplate, TinyVar, hours, tiny_var, until, url_of, values_at

__all__ = [
    "BEFORE",
    "RENAMED",
    "SCENARIOS",
    "dataset",
    "declared",
    "killed_at_every_step",
    "provide",
    "rename_in",
    "renamed_in",
    "static_var",
    "truth_of",
    "wrong_with",
]

STATIC_URL = "static.npy"
# In two regions, the second of them in part.
POSITIONS = 6
# Longer than a reader of a tiny archive takes, also on a machine that is busy.
GRACE_S = 3.0
BEFORE = (tiny_var("a", 0), tiny_var("b", 1))


def static_var(name: str = "s", **changes: Any) -> TinyVar:
    """Give a variable without the append dim."""
    return tiny_var(name, 0, dims=("y", "x"), encoding=Encoding(chunks=SHAPE), **changes)


@dataclass(frozen=True, kw_only=True)
class ChangingCoord(SourceFileCoord):
    """The file of one label, or that of the static variables."""

    label: Any = None

    def get_url(self) -> str:
        """Give the path that names the label."""
        return STATIC_URL if self.label is None else url_of(self.label)

    def out_loc(self) -> dict[str, Any]:
        """Give the label."""
        return {} if self.label is None else {"time": self.label}


class ChangingJob(RegionJob[TinyVar, ChangingCoord]):
    """Reads a file a label."""

    download_settings = DownloadSettings(attempts=1)

    def generate_source_file_coords(self, ds: Any, group: Any) -> list[ChangingCoord]:
        """Give a file a label."""
        if self.is_static:
            return [ChangingCoord()]
        return [ChangingCoord(label=label) for label in ds.get_index("time")]

    def read_data(self, coord: ChangingCoord, data_var: TinyVar) -> np.ndarray:
        """Read one of the file's arrays."""
        return np.load(coord.downloaded_path)[data_var.number]


def declared(
    variables: tuple[DataVar, ...] = BEFORE, job: Any = ChangingJob, **template: Any
) -> type[DynamicalDataset]:
    """Give a dataset class with these variables."""
    parts = {"data_vars": variables, **template}
    config: type[TemplateConfig] = type("ChangingTemplate", (TinyTemplate,), parts)
    return type("Changing", (DynamicalDataset,), {"template_config": config, "region_job": job})


def dataset(
    variables: tuple[DataVar, ...], where: Mapping[str, Any], job: Any = ChangingJob
) -> DynamicalDataset:
    """Give a dataset with these variables at a place."""
    return declared(variables, job)(**where)


def provide(root: Path, positions: int = POSITIONS) -> None:
    """Write the provider's files."""
    root.mkdir(parents=True, exist_ok=True)
    np.save(root / STATIC_URL, values_at("static"))
    Provider(root).publish(hours(positions))


def truth_of(number: int, labels: Any, dims: tuple[str, ...]) -> np.ndarray:
    """Give what an archive of these labels must hold of a variable."""
    if "time" not in dims:
        return values_at("static")[number]
    return np.stack([values_at(pd.Timestamp(label))[number] for label in labels])


def wrong_with(ds: Any, numbers: Mapping[str, int]) -> str | None:
    """Say what is wrong with what a reader sees; None if nothing is."""
    for name in map(str, ds.data_vars):
        found = ds[name].values
        wanted = truth_of(numbers[name], ds["time"].values, ds[name].dims)
        if not np.array_equal(found, wanted):
            return f"{name} of {ds.sizes['time']} positions: {found.tolist()}"
    return None


@dataclass(frozen=True)
class Scenario:
    """What is killed.

    Parameters
    ----------
    before, after
        What the code declares before and after.
    numbers
        By name of a variable that readers may see, its number in the source files.
    work
        What is killed, with the dataset after.
    always, at_last
        Names of what readers see at any moment, and in the end.
    begins
        What is done before, with the dataset after.
    """

    before: tuple[DataVar, ...]
    after: tuple[DataVar, ...]
    numbers: Mapping[str, int]
    work: Callable[[DynamicalDataset], Any]
    always: frozenset[str]
    at_last: frozenset[str]
    begins: Callable[[DynamicalDataset], Any] = lambda ds: None


def _add(ds: DynamicalDataset) -> None:
    report = ds.backfill(
        until(POSITIONS), variables=["c", "s"], client="none", now=until(POSITIONS)
    )
    assert report.succeeded, report.failures
    assert report.stops_because is None, report.stops_because


def _remove(ds: DynamicalDataset) -> None:
    with suppress(ValueError):  # all was done
        check_removal(ds, ["b"], now=until(POSITIONS))
        report = remove_variables(ds, ["b"], grace_s=GRACE_S, now=until(POSITIONS))
        assert report.succeeded, report.replicas


def _rename(ds: DynamicalDataset) -> None:
    report = rename_variables(ds, grace_s=GRACE_S, now=until(POSITIONS))
    assert report.succeeded, report.replicas


def _rename_and_keep(ds: DynamicalDataset) -> None:
    report = rename_variables(ds, keep_until="2030-01-01", now=until(POSITIONS))
    assert report.succeeded, report.replicas


RENAMED = (BEFORE[0], tiny_var("new", 1, previously="b"))
SCENARIOS = {
    "remove": Scenario(
        before=BEFORE,
        after=BEFORE[:1],
        numbers={"a": 0, "b": 1},
        work=_remove,
        always=frozenset("a"),
        at_last=frozenset("a"),
    ),
    "rename": Scenario(
        before=BEFORE,
        after=RENAMED,
        numbers={"a": 0, "b": 1, "new": 1},
        work=_rename,
        always=frozenset("a"),
        at_last=frozenset(("a", "new")),
    ),
    "rename-and-keep": Scenario(
        before=BEFORE,
        after=RENAMED,
        numbers={"a": 0, "b": 1, "new": 1},
        work=_rename_and_keep,
        always=frozenset("ab"),
        at_last=frozenset(("a", "b", "new")),
    ),
    "add": Scenario(
        before=BEFORE,
        after=(*BEFORE, tiny_var("c", 2), static_var()),
        numbers={"a": 0, "b": 1, "c": 2, "s": 0},
        work=_add,
        always=frozenset("ab"),
        at_last=frozenset("abcs"),
    ),
}


def renamed_in(folder: str) -> DynamicalDataset:
    """Give a dataset whose archive there, in Icechunk's format 2, has another name for a variable.

    With a replica on plain Zarr.
    """
    where = {
        "store": f"{folder}/a.icechunk",
        "source_base": f"{folder}/provider",
        "format_version": 2,
        "replicas": [f"{folder}/replica.zarr"],
    }
    return dataset(RENAMED, where)


def rename_in(folder: str) -> None:
    """Rename it."""
    report = rename_variables(renamed_in(folder), grace_s=0, now=until(POSITIONS))
    assert report.succeeded, report.replicas


# -- the harness ------------------------------------------------------------------------------


def killed_at_every_step(
    scenario: str,
    folder: Path,
    kind: str,
    *,
    endpoint: Mapping[str, Any] | None = None,
    every: int = 1,
) -> dict[str, Any]:
    """Kill a scenario's work at each of its steps in turn; what came of it.

    Parameters
    ----------
    scenario
        One of `SCENARIOS`.
    folder
        An empty one.
    kind
        ``zarr``, ``icechunk``, or ``primary replica`` of these.
    endpoint
        Storage options and ``bucket`` of an S3 server; None keeps all in the folder.
    every
        Only every so manieth step.

    Returns
    -------
    dict
        ``steps``: how many there were; ``wrong``: what was wrong, by step; ``looks``: how often
        somebody read.
    """
    support = str(Path(__file__).parent)
    path = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    code = "import sys, changing; changing.main(*sys.argv[1:])"
    arguments = [scenario, str(folder), kind, json.dumps(endpoint), str(every)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"the harness ended with {done.returncode}: {done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(scenario: str, folder: str, kind: str, endpoint: str, every: str = "1") -> None:
    """Kill, and print what came of it."""
    import xarray  # noqa: F401

    import gridmill.runs.dask.on_cluster
    import gridmill.runs.workplaces.here
    import gridmill.stores.icechunk.store
    import gridmill.stores.objects.s3.objects  # noqa: F401

    options = json.loads(endpoint)
    root = Path(folder)
    provide(root / "provider")
    wrong: dict[str, list[str]] = {}
    step, looks = 0, 0
    while True:
        places = _places(root, kind, options, step)
        found, is_over, seen = _kill_once(SCENARIOS[scenario], places, step, root)
        looks += seen
        print(step, found, file=sys.stderr, flush=True)
        if found:
            wrong[str(step)] = found
        if is_over or len(wrong) > 3:
            break
        step += int(every)
    print(json.dumps({"steps": step, "wrong": wrong, "looks": looks}))


def _places(root: Path, kind: str, options: Mapping[str, Any] | None, step: int) -> dict[str, Any]:
    base = (
        str(root / f"{step}") if options is None else f"s3://{options['bucket']}/{root.name}/{step}"
    )
    storage = {} if options is None else {"storage_options": options["storage_options"]}
    primary, *replicas = (f"{base}/{i}.{of}" for i, of in enumerate(kind.split()))
    if options is None:
        (root / f"{step}").mkdir()
    return {
        "store": primary,
        "replicas": replicas,
        "source_base": str(root / "provider"),
        **storage,
    }


def _kill_once(
    scenario: Scenario, where: Mapping[str, Any], step: int, root: Path
) -> tuple[list[str], bool, int]:
    said = root / f"said-{step}"
    stop = root / f"stop-{step}"

    def build() -> None:
        ds = dataset(scenario.before, where)
        assert ds.backfill(until(POSITIONS), client="none", now=until(POSITIONS)).succeeded
        scenario.begins(dataset(scenario.after, where))

    def work() -> None:
        with _dying_at(step):
            scenario.work(dataset(scenario.after, where))

    def finish() -> None:
        ds = dataset(scenario.after, where)
        if step % 2:
            report = ds.reformat_operational_update(client="none", now=until(POSITIONS))
            if report.failures:
                _say(said, f"an update fails: {report.failures}")
        scenario.work(dataset(scenario.after, where))
        _check_last(scenario, where, said)

    _build(build, root, step, said, is_local="storage_options" not in where)
    reader = os.fork()
    if reader == 0:
        guarded(lambda: _read(scenario, where, said, stop))
    status = forked(work)
    is_over = status == 0
    if not is_over and status != -signal.SIGKILL:
        _say(said, f"the work ended with {status}")
    _must(forked(finish), said, "finish")
    stop.touch()
    os.waitpid(reader, 0)
    found = said.read_text().splitlines() if said.exists() else []
    return found, is_over, int(stop.read_text() or 0)


def _build(build: Callable[[], None], root: Path, step: int, said: Path, *, is_local: bool) -> None:
    """Build the archive before; local ones are copied, which takes less."""
    kept = root / "built"
    if is_local and kept.exists():
        shutil.copytree(kept, root / f"{step}", dirs_exist_ok=True)
        return
    _must(forked(build), said, "build")
    if is_local:
        shutil.copytree(root / f"{step}", kept)


def _check_last(scenario: Scenario, where: Mapping[str, Any], said: Path) -> None:
    """Look at what readers see in the end, and that nothing is left to do."""
    ds = dataset(scenario.after, where)
    for store in (ds.store, *ds.replicas):
        with store.open_dataset(chunks=None) as opened:
            if set(opened.data_vars) != scenario.at_last:
                _say(said, f"in the end readers of {store.url} see {sorted(opened.data_vars)}")
            if (wrong := wrong_with(opened, scenario.numbers)) is not None:
                _say(said, f"in the end {wrong}")
        if left := list(store.tracker.adding.objects.keys()):
            _say(said, f"left in {store.url}: {left}")
    report = ds.backfill(until(POSITIONS), client="none", now=until(POSITIONS))
    if report.variables_done or report.failures or any(r.failure for r in report.replicas):
        _say(said, f"something was left to do: {report.variables_done} {report.replicas}")


def _read(scenario: Scenario, where: Mapping[str, Any], said: Path, stop: Path) -> None:
    """Read again and again, as one does who knows nothing of gridmill."""
    ds = dataset(scenario.after, where)
    looks = 0
    while not stop.exists():
        for store in (ds.store, *ds.replicas):
            began = time.monotonic()
            with store.open_dataset(chunks=None) as opened:
                names = set(opened.data_vars)
                if not scenario.always <= names <= scenario.numbers.keys():
                    _say(said, f"a reader of {store.url} sees {sorted(names)}")
                wrong = wrong_with(opened, scenario.numbers)
                # Who reads for longer than objects are left is promised nothing.
                if wrong is not None and time.monotonic() - began < GRACE_S:
                    _say(said, f"a reader of {store.url} finds {wrong}")
            looks += 1
        time.sleep(0.1)
    stop.write_text(str(looks))


class _dying_at:  # noqa: N801
    """Kills this process before one of the changes that it makes to what lasts."""

    def __init__(self, step: int) -> None:
        self.left = step
        self.patches: list[Any] = []

    def __enter__(self) -> None:
        from gridmill.stores.icechunk import publication
        from gridmill.stores.objects.s3.objects import S3Objects

        for kind in (LocalObjects, S3Objects):
            for name in ("put", "put_if_absent", "overwrite", "delete"):
                self._patch(kind, name)
        self._patch(publication, "commit")

    def __exit__(self, *args: object) -> None:
        for patch in self.patches:
            patch.stop()

    def _patch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def dies(*args: Any, **options: Any) -> Any:
            # Of a lease's beats nobody knows how many there are.
            if not any(str(given).endswith("/beat") for given in args[1:2]):
                if self.left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                self.left -= 1
            return original(*args, **options)

        patch = mock.patch.object(owner, name, dies)
        patch.start()
        self.patches.append(patch)


def _say(said: Path, what: str) -> None:
    with said.open("a") as file:
        file.write(what.replace("\n", " ") + "\n")


def _must(status: int, said: Path, what: str) -> None:
    if status:
        _say(said, f"{what} ended with {status}")
