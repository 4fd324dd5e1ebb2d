"""Provisional files are published, told, and asked for until they are final; then they stay so."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import preliminary
from clusters import one_worker
from gridmill import Encoding
from gridmill.cli import cli
from gridmill.dataset import DynamicalDataset
from gridmill.operations.accept import accept_files
from gridmill.operations.follow import follow_cycle
from gridmill.operations.restore import restore_metadata
from gridmill.testing import ArchiveServer
from gridmill.validation import Context, CoordinatesAsDeclared
from gridmill.validation.checks.due import Complete
from gridmill.validation.checks.gaps import find_gaps, find_provisional
from preliminary import FINAL, PRELIMINARY, WHY, MarkedJob, PrelimCoord, PrelimJob, Told, TwoFolders
from repository import ROOT
from tiny import (
    HOUR,
    START,
    Provider,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    tiny_var,
    truth,
    until,
    url_of,
    values_at,
)

N = 8
DAY = timedelta(days=1)
# All that the provider lacks is a gap by then.
NOW = START + HOUR * 30

client = one_worker()


@pytest.fixture(params=["zarr", "icechunk"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each format of a final store."""
    return str(request.param)


@pytest.fixture
def provider(tmp_path: Path) -> TwoFolders:
    """A provider with five final and three preliminary files."""
    provider = TwoFolders(tmp_path / "provider")
    provider.finish(hours(5))
    provider.preliminary(hours(3, 5))
    return provider


def made(tmp_path: Path, provider: TwoFolders, kind: str = "zarr", job: Any = PrelimJob) -> Any:
    """Return the dataset."""
    options = {"source_base": str(provider.root), "format": kind}
    return dataset_of(job=job)(tmp_path / "a", **options)


def seen(dataset: DynamicalDataset) -> list[int]:
    """Return by position which version of its file readers see."""
    with dataset.store.open_dataset() as ds:
        found = ds["a"].values
    return [
        version_of(values, label) for values, label in zip(found, hours(len(found)), strict=True)
    ]


def version_of(values: np.ndarray, label: Any) -> int:
    for version in (FINAL, PRELIMINARY, 2):
        if np.array_equal(values, truth([label], "a", version)[0]):
            return version
    return -1


def backfilled(dataset: Any, client: Any) -> Any:
    """Backfill."""
    dataset.backfill(until(N), client=client, now=NOW)
    return dataset


def update(dataset: Any, client: Any, now: Any) -> Any:
    """Update up to what there is."""
    return dataset.reformat_operational_update(client=client, now=now, until=until(N))


def provisional_of(dataset: Any) -> list[tuple[str, str]]:
    """Return what status tells, checked against what gaps and the validator tell."""
    status = dataset.status(now=NOW)
    context = Context(dataset, now=NOW, beyond=True)
    listed = {gap.url: gap for gap in find_provisional(context)}
    assert {file.url for file in status.provisional_files} == listed.keys()
    assert status.provisional == len(listed)
    assert all(gap.status == "provisional" and gap.is_provisional for gap in listed.values())
    if listed:
        assert f"{len(listed)} of them provisional" in Complete().check(context).examined
    return [(file.url, file.since) for file in status.provisional_files]


def test_readers_see_what_is_preliminary_until_it_is_final(tmp_path, client, provider, kind):
    """It holds nothing back, is listed since when, and becomes final however old it is."""
    dataset = backfilled(made(tmp_path, provider, kind), client)
    assert seen(dataset) == [FINAL] * 5 + [PRELIMINARY] * 3
    listed = provisional_of(dataset)
    assert [url for url, _ in listed] == [f"final/{url_of(label)}" for label in hours(3, 5)]
    assert {since for _, since in listed} == {NOW.isoformat(timespec="minutes")}
    context = Context(dataset, now=NOW, beyond=True)
    assert list(find_gaps(context)) == []
    assert Complete().check(context).findings == ()
    status = dataset.status(now=NOW)
    assert (status.gaps, status.pending) == (0, 0)
    provider.finish(hours(1, 6))
    report = update(dataset, client, NOW + 40 * DAY)
    assert report.published_anything
    (revision,) = report.revised
    assert (revision.first, revision.last) == (str(hours(1, 6)[0]),) * 2
    assert revision.final
    assert any("provisional before, and final now" in note for note in report.notes)
    assert seen(dataset) == [FINAL] * 5 + [PRELIMINARY, FINAL, PRELIMINARY]
    assert len(provisional_of(dataset)) == 2
    provider.finish(hours(N))
    update(dataset, client, NOW + 400 * DAY)
    assert seen(dataset) == [FINAL] * N
    assert provisional_of(dataset) == []
    assert dataset.store.tracker.marks.due("9999", lambda: "") == []


def test_a_final_file_that_disappears_is_not_replaced_by_the_preliminary_one(
    tmp_path, client, provider, kind
):
    """Neither by an update, nor where everything is made again; the place stays final."""
    dataset = backfilled(made(tmp_path, provider, kind), client)
    provider.finish(hours(N))
    update(dataset, client, NOW + 40 * DAY)
    provider.preliminary(hours(N))
    provider.final.withdraw(hours(1, 6)[0])
    update(dataset, client, NOW + 80 * DAY)
    for _ in range(2):
        dataset.backfill(until(N), client=client, now=NOW + 80 * DAY, redo=True)
        assert seen(dataset) == [FINAL] * N
        assert provisional_of(dataset) == []
    (gap,) = find_gaps(Context(dataset, now=NOW, beyond=True))
    assert gap.was_there
    provider.finish(hours(N))
    update(dataset, client, NOW + 160 * DAY)
    assert seen(dataset) == [FINAL] * N
    assert list(find_gaps(Context(dataset, now=NOW, beyond=True))) == []


def test_one_that_says_itself_that_it_is_preliminary(tmp_path, client, kind):
    """Under an address that stays: another version is read, final or not, and final stays final."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(N), FINAL)
    provider.publish(hours(2, 6), PRELIMINARY)
    dataset = dataset_of(job=MarkedJob)(tmp_path / "a", source_base=str(provider.root), format=kind)
    backfilled(dataset, client)
    assert seen(dataset) == [FINAL] * 6 + [PRELIMINARY] * 2
    assert len(provisional_of(dataset)) == 2
    provider.publish(hours(1, 6), 2)  # another preliminary one
    report = update(dataset, client, NOW + DAY)
    assert [revision.final for revision in report.revised] == [False]
    assert len(provisional_of(dataset)) == 2
    provider.publish(hours(1, 7), FINAL)
    report = update(dataset, client, NOW + 2 * DAY)
    assert [revision.final for revision in report.revised] == [True]
    assert seen(dataset) == [FINAL] * 6 + [2, FINAL]
    provider.publish(hours(1, 7), 2)  # it takes the final one back
    dataset.backfill(until(N), client=client, now=NOW + 3 * DAY, redo=True)
    assert seen(dataset) == [FINAL] * 6 + [2, FINAL]


def test_a_final_file_that_holds_the_same_is_news(tmp_path, client, provider):
    """Readers who want final values are told, though no value is another one."""
    dataset = backfilled(made(tmp_path, provider), client)
    provider.final.publish(hours(1, 6), PRELIMINARY)
    before = snapshot(tmp_path / "a")
    report = update(dataset, client, NOW + 40 * DAY)
    assert [(revision.first, revision.final) for revision in report.revised] == [
        (str(hours(1, 6)[0]), True)
    ]
    assert len(provisional_of(dataset)) == 2
    assert snapshot(tmp_path / "a") == before


def test_accepted_as_final(tmp_path, client, provider):
    """What never becomes final is closed by hand, and is asked for no more."""
    dataset = backfilled(made(tmp_path, provider), client)
    names = [url for url, _ in provisional_of(dataset)]
    accept_files(dataset, names, who="me", why="the provider stopped", now=NOW)
    assert provisional_of(dataset) == []
    assert dataset.status(now=NOW).gaps == 0
    idle = update(dataset, client, NOW + 40 * DAY)
    assert (idle.variables_done, provisional_of(dataset)) == (0, [])


def test_an_archive_that_was_made_without_the_word_learns_it(tmp_path, client, provider):
    """Records of earlier releases say where a file was taken from: that decides."""
    plain = type("Plain", (PrelimJob,), {"generate_source_file_coords": _plain_files})
    backfilled(made(tmp_path, provider, job=plain), client)
    dataset = made(tmp_path, provider)
    assert provisional_of(dataset) == []
    assert backfilled(dataset, client).status(now=NOW).provisional == 3
    provider.finish(hours(N))
    update(dataset, client, NOW + 40 * DAY)
    assert (seen(dataset), provisional_of(dataset)) == ([FINAL] * N, [])


def _plain_files(self: Any, ds: Any, group: Any) -> Any:
    def get_url(self: Any) -> Any:
        return [one if isinstance(one, str) else one.url for one in PrelimCoord.get_url(self)]

    plain = type("PlainCoord", (PrelimCoord,), {"get_url": get_url})
    return [plain(label=label) for label in ds.get_index("time")]


def test_the_plan_and_the_record_agree(tmp_path, client, provider):
    """A plan names no work for what is provisional and was asked for in vain."""
    dataset = backfilled(made(tmp_path, provider), client)
    assert dataset.plan(until(N), now=NOW).summary()["chains"] == 0
    provider.finish(hours(N))
    update(dataset, client, NOW + 40 * DAY)
    assert dataset.plan(until(N), now=NOW).summary()["chains"] == 0


def counted(server: Any, ask: Any) -> list[str]:
    """Return which addresses a server was asked for while something was done."""
    before = len(server.requests)
    ask()
    return sorted(request.path for request in server.requests[before:])


@pytest.mark.parametrize("asks", [True, False])
def test_what_asking_costs(tmp_path, client, provider, asks):
    """A request for each final address, at growing intervals once an update looks back less far."""
    provider.finish(hours(N + 4))
    for label in hours(2):
        provider.final.withdraw(label)
    provider.preliminary(hours(2))
    with ArchiveServer(provider.root) as server:
        server.release_all()
        job = type("Job", (PrelimJob,), {"asks_for_revisions": asks})
        dataset = dataset_of(job=job)(tmp_path / "a", source_base=server.url)
        dataset.backfill(until(N + 4), client=client, now=NOW)
        places = ("final", "prelim") if asks else ("final",)
        every = sorted(f"{place}/{url_of(label)}" for place in places for label in hours(2))

        def updated_at(now: Any) -> list[str]:
            known = {url_of(label) for label in hours(2)}
            end = until(N + 4)
            found = counted(
                server,
                lambda: dataset.reformat_operational_update(client=client, now=now, until=end),
            )
            return [path for path in found if path.partition("/")[2] in known]

        assert updated_at(NOW + timedelta(minutes=30)) == []
        assert updated_at(NOW + timedelta(minutes=61)) == every
        assert updated_at(NOW + timedelta(minutes=90)) == []
        assert updated_at(NOW + timedelta(minutes=190)) == every
        waits = [updated_at(NOW + DAY * 2 + HOUR * 6 * n) for n in range(24)]
        assert all(wait in ([], every) for wait in waits)
        assert sum(map(bool, waits[-12:])) == 3  # daily by then


def test_readers_are_told_which_positions_are_provisional(tmp_path, client, provider, kind):
    """Where finality is less than completeness; restored, and checked, as that is."""
    provider.prelim.withdraw(hours(1, 7)[0])
    dataset = Told(tmp_path / "a", source_base=str(provider.root), format=kind)
    dataset.backfill(until(N), client=client, now=NOW)
    provider.preliminary(hours(1, 7))
    update(dataset, client, NOW + DAY)
    with dataset.store.open_dataset() as ds:
        np.testing.assert_array_equal(ds["completeness"], [1] * 8)
        np.testing.assert_array_equal(ds["finality"], [1] * 5 + [0] * 3)
    provider.finish(hours(2, 5))
    report = update(dataset, client, NOW + 40 * DAY)
    assert report.regions_revised == 1
    provider.final.withdraw(hours(1, 5)[0])
    update(dataset, client, NOW + 80 * DAY)
    restore_metadata(dataset, who="me", now=NOW)
    with dataset.store.open_dataset() as ds:
        np.testing.assert_array_equal(ds["completeness"], [1] * 8)
        np.testing.assert_array_equal(ds["finality"], [1] * 7 + [0])
    context = Context(dataset, now=NOW)
    assert CoordinatesAsDeclared().check(context).findings == ()


def test_a_provisional_static_file_holds_nothing_back(tmp_path, client):
    """Everything else waits for static variables, but not for the final one of a file."""
    provider = TwoFolders(tmp_path / "provider")
    provider.finish(hours(4))
    provider.prelim.publish([STATIC], PRELIMINARY)
    told = dataset_of(template=StaticTemplate, job=StaticJob)
    dataset = told(tmp_path / "a", source_base=str(provider.root))
    report = dataset.backfill(until(4), client=client, now=NOW)
    assert report.positions_after == 4
    provider.final.publish([STATIC], FINAL)
    report = dataset.reformat_operational_update(client=client, now=NOW + DAY, until=until(4))
    assert [(one.first, one.final) for one in report.revised] == [("static", True)]
    with dataset.store.open_dataset() as ds:
        np.testing.assert_array_equal(ds["s"], values_at(STATIC, FINAL)[2])


# What its file is called.
STATIC = START + 1000 * DAY


class StaticTemplate(TinyTemplate):
    """The tiny archive, with a variable without time."""

    data_vars = (
        *TinyTemplate.data_vars,
        tiny_var("s", 2, dims=("y", "x"), encoding=Encoding(chunks=(2, 3))),
    )


@dataclass(frozen=True, kw_only=True)
class StaticCoord(PrelimCoord):
    """The file of all labels."""

    def out_loc(self) -> dict[str, Any]:
        """Give all of it."""
        return {}


class StaticJob(PrelimJob):
    """One file for what is static."""

    def source_groups(self, data_vars):
        """Give it apart."""
        static = [var for var in data_vars if var.name == "s"]
        return [[var for var in data_vars if var.name != "s"], static]

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give the files."""
        if [var.name for var in data_var_group] == ["s"]:
            return [StaticCoord(label=STATIC)]
        return super().generate_source_file_coords(processing_region_ds, data_var_group)


def test_following_a_cycle_does_not_wait_for_final_files(tmp_path, client, provider):
    """What is provisional arrived: the final one may take weeks."""
    dataset = made(tmp_path, provider)
    dataset.backfill(until(4), client=client, now=START + HOUR * 4)
    now = START + HOUR * 7
    reports = list(follow_cycle(dataset, deadline_s=20, client=client, now=now))
    assert reports[-1].positions_after == 7
    assert dataset.status(now=now).provisional == 2


def test_kills_while_files_become_final(tmp_path, kind):
    """A driver dies at each of its steps in turn: no reader takes a provisional value for final."""
    (tmp_path / "log").touch()
    _in_process("build", tmp_path, kind).communicate()
    with (
        _in_process("read", tmp_path, kind),
        _in_process("drive", tmp_path, kind, "0", "3") as drive,
    ):
        try:
            drive.wait()
        finally:  # both end with the test, also where its time is up
            drive.kill()
            (tmp_path / "stop").touch()
    times, violations = json.loads((tmp_path / "seen").read_text())
    assert violations == []
    assert times > 1
    assert int((tmp_path / "killed").read_text()) > 5
    dataset = Told(tmp_path / "a", source_base=str(tmp_path / "provider"), format=kind)
    assert provisional_of(dataset)


def _in_process(*arguments: Any) -> subprocess.Popen[bytes]:
    support = str(Path(preliminary.__file__).parent)
    path = os.pathsep.join([support, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "provisional_kills", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
    )


def test_one_of_a_region_that_no_update_looks_back_to(tmp_path, client, provider, kind):
    """Its place alone is made again; what was read of the others is not fetched."""
    provider.final.withdraw(hours(2)[1])
    provider.preliminary(hours(2))
    dataset = backfilled(made(tmp_path, provider, kind), client)
    assert seen(dataset)[:4] == [FINAL, PRELIMINARY, FINAL, FINAL]
    provider.finish(hours(1, 1))
    provider.final.withdraw(hours(3)[2])  # of this region, and read before
    report = update(dataset, client, NOW + 40 * DAY)
    assert [(one.first, one.last) for one in report.revised] == [(str(hours(2)[1]),) * 2]
    assert seen(dataset)[:4] == [FINAL] * 4
    assert list(find_gaps(Context(dataset, now=NOW, beyond=True))) == []


def test_the_recipe(tmp_path, client, provider):
    """The commands of "Preliminary and final", on an archive with three preliminary files."""
    (section,) = re.findall(
        r"### Preliminary and final\n(.*?)\n### ",
        (ROOT / "docs/operating.md").read_text(),
        re.DOTALL,
    )
    status, gaps, again = re.findall(r"^gridmill .*", section, re.MULTILINE)
    backfilled(Told(tmp_path / "a", source_base=str(provider.root)), client)

    def run(command: str, *more: str) -> Any:
        at = ["--store", str(tmp_path / "a"), "--source-base", str(provider.root)]
        words = command.replace("my-forecast", "preliminary:Told")
        words = words.replace("2025-07-01", until(N)).replace("2025-06", "2020-01")
        return CliRunner().invoke(cli, [*shlex.split(words)[1:], *at, *more])

    now = ("--now", NOW.isoformat())
    told = json.loads(run(status, *now, "--json", "--check", "--grace", "3d").stdout)
    assert (told["provisional"], told["pending"], told["gaps"]) == (3, 0, 0)
    assert [file["why"] for file in told["provisional_files"]] == [WHY] * 3
    assert "3 source files, oldest since" in run(status, *now).stdout
    assert run("gridmill status my-forecast", *now, "--check", "--grace", "3d").exit_code == 0
    listed = json.loads(run(gaps, *now, "--json").stdout)
    assert listed["groups"] == []
    (group,) = listed["provisional"]
    assert [gap["status"] for gap in group["gaps"]] == ["provisional"] * 3
    shown = run(gaps, *now).stdout
    assert "nothing is missing" in shown
    assert "3 source files provisional" in shown
    provider.finish(hours(N))
    made = run(again, *now, "--json", "--cluster", "none")
    assert made.exit_code == 0, made.stderr
    (revision,) = json.loads(made.stdout)["revised"]
    assert revision["final"]
    assert json.loads(run(gaps, *now, "--json").stdout)["provisional"] == []
