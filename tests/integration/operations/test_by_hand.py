"""What an operator does by hand: accepted files, truncated archives, changed attributes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result

import tiny
from gridmill.cli import ExitCode, cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.region import Region
from gridmill.model.variables import Coordinate, Encoding
from gridmill.operations import migrate, restore
from gridmill.operations.accept import accept_files
from gridmill.operations.maintenance import EVERYTHING
from gridmill.operations.migrate import migrate_metadata
from gridmill.operations.restore import restore_metadata
from gridmill.operations.truncate import truncate
from gridmill.stores.state.claims import claim_key, current_claims
from gridmill.stores.state.leases import Lease, LeaseHeld, LeaseLost
from gridmill.stores.structure import StructureMismatch
from gridmill.stores.zarr_store import ZarrStore
from tiny import (
    HOUR,
    REGION,
    SHAPE,
    START,
    Tiny,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    make,
    snapshot,
    time_coordinate,
    tiny_var,
    truth,
    until,
)

WHO = {"who": "operator"}
FORMATS = ["zarr", "icechunk"]


def run(*args: str) -> Result:
    """Run the command line in this process, without a terminal."""
    return CliRunner().invoke(cli, list(args))


def values(dataset: DynamicalDataset, name: str = "a") -> np.ndarray:
    return dataset.store.open_dataset()[name].values


# -- accept -----------------------------------------------------------------------------------


def test_an_accepted_file_holds_nothing_back(client, provider, tmp_path):
    """What lies behind it is published at once; who and why are in the record and the report."""
    provider.withdraw(hours(12)[5])
    dataset = make(tmp_path)
    assert dataset.backfill(until(12), client=client).positions_after == 5
    done = accept_files(dataset, ["20200101T05.npy"], why="lost, ticket 7", now=until(12), **WHO)
    assert done.report.positions_after == 12
    got = values(dataset)
    assert np.isnan(got[5]).all()
    np.testing.assert_array_equal(np.delete(got, 5, 0), np.delete(truth(hours(12)), 5, 0))
    record = dataset.store.tracker.read(Region(4, 8))
    (file,) = [file for group in record.groups for file in group if file.accepted]
    assert file.accepted.startswith("operator, 20")
    assert file.accepted.endswith("UTC: lost, ticket 7")
    last = dataset.status().last_run
    assert last["kind"] == "accept"
    assert "ticket 7" in last["notes"][0]


def test_an_accepted_file_that_arrives_is_taken_in(client, provider, tmp_path):
    """Acceptance settles the present; it does not forbid the future."""
    provider.withdraw(hours(12)[5])
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    accept_files(dataset, ["20200101T05.npy"], why="lost", now=until(12), **WHO)
    provider.publish([hours(12)[5]])
    dataset.reformat_operational_update(client=client, now=until(12))
    np.testing.assert_array_equal(values(dataset), truth(hours(12)))
    record = dataset.store.tracker.read(Region(4, 8))
    assert not [file for group in record.groups for file in group if file.accepted]


def test_acceptance_outlives_a_run_that_makes_the_region_again(client, provider, tmp_path):
    """Another file of the region arrives: the accepted one still holds nothing back."""
    for missing in (5, 6):
        provider.withdraw(hours(12)[missing])
    dataset = make(tmp_path)
    assert dataset.backfill(until(12), client=client).positions_after == 5
    accept_files(dataset, ["20200101T05.npy"], why="lost", now=until(12), **WHO)
    provider.publish([hours(12)[6]])
    report = dataset.backfill(until(12), client=client)
    assert report.positions_after == 12
    record = dataset.store.tracker.read(Region(4, 8))
    assert [file.url[-7:] for group in record.groups for file in group if file.accepted]


def test_an_unreadable_file_is_accepted_for_its_variables(client, provider, tmp_path):
    """Broken is settled as absent is; another version that can be read is taken in later."""
    provider.break_file(hours(12)[5], b"no array, whatever its name says")
    dataset = make(tmp_path)
    assert dataset.backfill(until(12), client=client).positions_after == 5
    done = accept_files(dataset, ["20200101T05.npy"], why="broken", now=until(12), **WHO)
    assert done.files[0][1] == "read failed for a, b"
    assert done.report.positions_after == 12


def test_what_is_not_there_or_settled_is_told_and_nothing_is_written(client, provider, tmp_path):
    """A mistyped name does not look like a success."""
    provider.withdraw(hours(12)[5])
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    before = snapshot(tmp_path)
    for name, message in {"T04.npy": "no record", "20200101T04.npy": "settled already"}.items():
        with pytest.raises(ValueError, match=message):
            accept_files(dataset, ["20200101T05.npy", name], why="x", now=until(12), **WHO)
    with pytest.raises(ValueError, match="say why"):
        accept_files(dataset, ["20200101T05.npy"], why=" ", now=until(12), **WHO)
    assert snapshot(tmp_path) == before


KILLED = """
import os, signal, sys
from gridmill.operations.accept import accept_files
from gridmill.publishing.publisher import Publisher
from tiny import Tiny, until

Publisher.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
dataset = Tiny(sys.argv[1], source_base=sys.argv[2])
accept_files(dataset, ["20200101T05.npy"], who="operator", why="lost", now=until(12))
"""


def kill_accept(dataset: DynamicalDataset, source: Path) -> None:
    """Accept a file in a process that dies between the record and the publication."""
    path = os.pathsep.join([str(Path(tiny.__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", KILLED, dataset.store.url, str(source)],
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("ends_by", ["accept", "update"])
def test_an_acceptance_that_was_killed_is_published_by_the_next(
    client, provider, tmp_path, ends_by
):
    """The record is written, readers see nothing of it: the same call, or an update, shows it."""
    provider.withdraw(hours(12)[5])
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    kill_accept(dataset, tmp_path / "source")
    assert dataset.store.published_length("time") == 5
    if ends_by == "update":
        report = dataset.reformat_operational_update(client=client, now=until(12))
    else:
        names, again = ["20200101T05.npy"], {"why": "lost", "now": until(12), **WHO}
        report = accept_files(dataset, names, **again).report
        with pytest.raises(ValueError, match="settled already"):
            accept_files(dataset, names, **again)
    assert (report.positions_before, report.positions_after) == (5, 12)


def test_an_acceptance_of_several_that_was_killed_goes_on_with_the_rest(client, provider, tmp_path):
    """What the killed call settled is no error beside what it did not reach."""
    for number in (5, 9):
        provider.withdraw(hours(12)[number])
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    kill_accept(dataset, tmp_path / "source")
    both = ["20200101T05.npy", "20200101T09.npy"]
    done = accept_files(dataset, both, why="lost", now=until(12), **WHO)
    assert [url[-15:] for url, _ in done.files] == both[1:]
    assert done.report.positions_after == 12


def test_a_run_in_the_same_region_is_not_disturbed(client, provider, tmp_path):
    """The record is that run's to write."""
    provider.withdraw(hours(12)[5])
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    with (
        Lease(dataset.store.state, run="r", kind="update", positions=[(4, 8)]),
        pytest.raises(LeaseHeld),
    ):
        accept_files(dataset, ["20200101T05.npy"], why="x", now=until(12), **WHO)


def test_accept_on_the_command_line(client, provider, tmp_path):
    """It says what was settled, how far readers see now, and what is kept."""
    provider.withdraw(hours(12)[5])
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    args = ["tiny:Tiny", "2020/20200101T05.npy", "--store", str(tmp_path / "a")]
    done = run("accept", *args, "--why", "gone", "--who", "me", "--now", until(12))
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert "not yet available" in done.stdout
    assert "2020-01-01 04:00 → 2020-01-01 11:00 (12 positions, 7 of them new)" in done.stdout
    again = run("accept", *args, "--why", "gone", "--now", until(12))
    assert again.exit_code == ExitCode.WRONG_INPUT
    assert "settled already" in again.stderr


class Punctual(TinyJob):
    """Its files are an hour late."""

    publication_delay = HOUR


class PunctualTiny(Tiny):
    """With gaps that do not hold readers back."""

    region_job = Punctual


def test_reviewed_gaps_are_accepted_from_their_file(client, provider, tmp_path):
    """What readers lack turns status red, until a reviewed list of it is accepted with a reason."""
    provider.withdraw(hours(12)[5])
    provider.break_file(hours(12)[7], b"no array")
    dataset = make(tmp_path, PunctualTiny)
    dataset.backfill(until(12), client=client, now=until(24))
    where = ("test_by_hand:PunctualTiny", "--store", str(tmp_path / "a"))
    red = run("status", *where, "--check", "--now", until(12))
    assert red.exit_code == ExitCode.GAPS, red.output
    assert "2 source files, since 2020-01-02T00:00, next retry 2020-01-02T01:00" in " ".join(
        red.stdout.split()
    )
    shown = run("gaps", *where, "--now", until(24))
    assert "since 2020-01-02T00:00, next retry 2020-01-02T01:00" in " ".join(shown.stdout.split())
    reviewed = tmp_path / "gaps.json"
    reviewed.write_text(run("gaps", *where, "--now", until(24), "--json").stdout)
    accept = ("accept", *where, "--from", str(reviewed), "--why", "seen", "--now", until(24))
    assert run(*accept).exit_code == ExitCode.SUCCESS
    green = run("status", *where, "--check", "--now", until(12))
    assert (green.exit_code, "2 source files accepted" in green.stdout) == (ExitCode.SUCCESS, True)


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"groups": [{}]}'])
def test_a_file_that_gaps_did_not_print_is_one_line(client, provider, tmp_path, content):
    """It is named, with what it should be, and nothing is accepted."""
    reviewed = tmp_path / "reviewed.json"
    if content is not None:
        reviewed.write_text(content)
    done = run(
        "accept", "tiny:Tiny", "--from", str(reviewed), "--store", str(tmp_path / "a"), "--why", "x"
    )
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert f"{reviewed} is not what gridmill gaps --json prints" in done.stderr


# -- truncate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("length", [0, 4, 5, 11])
def test_a_truncated_archive_ends_there_and_grows_again(client, provider, tmp_path, kind, length):
    """Readers see what is left, unchanged; objects beyond are gone; a backfill makes it whole."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(12), client=client)
    report = truncate(dataset, until(length), why="wrong from here on", now=until(12))
    assert (report.positions_before, report.positions_after) == (12, length)
    np.testing.assert_array_equal(values(dataset), truth(hours(12))[:length])
    assert [r.start for r in dataset.store.progress()] == list(range(0, length - 3, REGION))
    if kind == "zarr":
        shards = sorted(path.name for path in (tmp_path / "a" / "a" / "c").glob("[0-9]*"))
        assert shards == [str(number) for number in range(-(-length // REGION))]
    again = dataset.backfill(until(12), client=client)
    assert again.positions_after == 12
    np.testing.assert_array_equal(values(dataset), truth(hours(12)))


@pytest.mark.parametrize("end", [until(12), until(15), "2020-01-01T03:30"])
def test_only_what_readers_see_is_cut_off(client, provider, tmp_path, end):
    """A label beyond the end, or off the axis, changes nothing."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    before = {k: v for k, v in snapshot(tmp_path).items() if "/leases/" not in k}
    with pytest.raises(ValueError, match=r"nothing to cut off|not on the dataset's time axis"):
        truncate(dataset, end, now=until(20))
    assert snapshot(tmp_path) == before


def test_a_truncation_that_is_interrupted_leaves_an_archive_that_opens(
    client, provider, tmp_path, monkeypatch
):
    """At whatever put or delete it stops, what readers see is whole; a second call completes it."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    allowed = 0

    def stopping(call):
        def wrapped(self, *args):
            nonlocal allowed
            if self is not dataset.store.objects:
                return call(self, *args)
            if allowed == 0:
                raise OSError("stopped here")
            allowed -= 1
            return call(self, *args)

        return wrapped

    objects = type(dataset.store.objects)
    with monkeypatch.context() as patched:
        for name in ("put", "delete"):
            patched.setattr(objects, name, stopping(getattr(objects, name)))
        patched.setattr(ZarrStore, "check_writable", lambda self: None)
        lengths = set()
        for steps in range(40):
            allowed = steps
            try:
                truncate(dataset, until(5), now=until(12))
                break
            except (OSError, ValueError):
                got = xr.open_zarr(tmp_path / "a").a.values
                lengths.add(len(got))
                np.testing.assert_array_equal(got, truth(hours(12))[: len(got)])
                if len(got) == 5:
                    break
    assert lengths <= {5, 12}
    assert len(lengths) == 2
    dataset.backfill(until(12), client=client)
    np.testing.assert_array_equal(values(dataset), truth(hours(12)))


def test_truncate_asks_before_it_deletes(client, provider, tmp_path):
    """Without a terminal and without --yes nothing is changed."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    before = snapshot(tmp_path)
    args = ["truncate", "tiny:Tiny", "--store", str(tmp_path / "a"), "--end", until(6)]
    asked = run(*args, "--now", until(12))
    assert asked.exit_code == ExitCode.WRONG_INPUT
    assert "6 of 12 positions" in asked.stderr
    assert "give --yes" in asked.stderr
    assert snapshot(tmp_path) == before
    done = run(*args, "--now", until(12), "--yes", "--json")
    assert done.exit_code == ExitCode.SUCCESS, done.output
    assert json.loads(done.stdout)["positions_after"] == 6


def test_while_a_run_works_nothing_is_cut_off(client, provider, tmp_path):
    """Wherever in the archive it works."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    with (
        Lease(dataset.store.state, run="r", kind="update", positions=[(12, 16)]),
        pytest.raises(LeaseHeld),
    ):
        truncate(dataset, until(5), now=until(12))
    assert EVERYTHING[0] == -1


# -- migrate-metadata -------------------------------------------------------------------------


class DescribedTemplate(TinyTemplate):
    """The same values, better described."""

    dataset_attributes = {"dataset_id": "tiny", "title": "Tiny and neat", "license": "CC0"}
    coords = (
        time_coordinate(),
        Coordinate(name="y", attrs={"units": "m"}),
        Coordinate(name="x"),
    )
    data_vars = (
        tiny_var("a", 0, attrs={"long_name": "a", "units": "kg"}),
        tiny_var("b", 1, attrs={"long_name": "Bee", "units": "1"}),
    )


Described = dataset_of(template=DescribedTemplate)


class OtherwiseTemplate(DescribedTemplate):
    """Also decoded and divided otherwise."""

    coords = (
        time_coordinate(units="days since 2020-01-01", dtype="float64"),
        *DescribedTemplate.coords[1:],
    )
    data_vars = (
        DescribedTemplate.data_vars[0],
        tiny_var(
            "b",
            1,
            attrs={"long_name": "Bee", "units": "1"},
            encoding=Encoding(chunks=(1, *SHAPE), shards=(REGION, *SHAPE)),
        ),
    )


Otherwise = dataset_of(template=OtherwiseTemplate)


def test_who_was_taken_for_dead_describes_nothing(client, provider, tmp_path, monkeypatch):
    """A change of descriptions that lost its lease puts no object."""
    make(tmp_path).backfill(until(8), client=client)
    dataset = make(tmp_path, Described)
    before, compare = (tmp_path / "a" / "zarr.json").read_bytes(), migrate._compare

    def compare_too_long(store, archive):
        for claim in current_claims(dataset.store.state):
            dataset.store.state.delete(claim_key(claim.run))
        return compare(store, archive)

    monkeypatch.setattr(migrate, "_compare", compare_too_long)
    with pytest.raises(LeaseLost):
        migrate_metadata(dataset, now=until(8), **WHO)
    assert (tmp_path / "a" / "zarr.json").read_bytes() == before


def test_restoring_takes_nothing_that_was_published_meanwhile(
    client, provider, tmp_path, monkeypatch
):
    """It is proven without the lease what an archive was made with; a run may grow it then."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client=client)
    proven = restore._proven

    def prove_too_long(*args, **kwargs):
        make(tmp_path).backfill(until(12), client=client)
        return proven(*args, **kwargs)

    monkeypatch.setattr(restore, "_proven", prove_too_long)
    with pytest.raises(ValueError, match="12 positions by now, and would see only 8"):
        restore_metadata(dataset, now=until(12), **WHO)
    np.testing.assert_array_equal(values(dataset), truth(hours(12)))


@pytest.mark.parametrize("kind", FORMATS)
def test_changed_descriptions_are_applied_at_once(client, provider, tmp_path, kind):
    """Readers see them, no value changes, and no region is made again because of them."""
    make(tmp_path, format=kind).backfill(until(8), client=client)
    dataset = make(tmp_path, Described, format=kind)
    with pytest.raises(StructureMismatch, match="migrate-metadata"):
        dataset.backfill(until(12), client=client)
    report = migrate_metadata(dataset, now=until(8), **WHO)
    assert len(report.notes) == 5
    ds = dataset.store.open_dataset()
    assert ds.attrs["title"] == "Tiny and neat"
    assert ds.attrs["license"] == "CC0"
    assert ds.a.attrs["units"] == "kg"
    assert ds.y.attrs["units"] == "m"
    assert ds.b.attrs["long_name"] == "Bee"
    grown = dataset.backfill(until(12), client=client)
    assert (grown.regions_skipped, grown.regions_done) == (2, 1)
    np.testing.assert_array_equal(values(dataset), truth(hours(12)))


def test_what_values_depend_on_is_listed_and_left(client, provider, tmp_path):
    """The permitted part is applied, the rest named; runs go on as the archive was made."""
    make(tmp_path).backfill(until(8), client=client)
    spec = "test_by_hand:Otherwise"
    args = ["migrate-metadata", spec, "--store", str(tmp_path / "a"), "--now", until(8)]
    done = run(*args, "--yes")
    assert done.exit_code == ExitCode.FAILED, done.output
    assert "time units" in done.stdout
    assert "b codecs" in done.stdout
    ds = xr.open_zarr(tmp_path / "a")
    assert ds.a.attrs["units"] == "kg"
    assert ds.time.values[1] == np.datetime64("2020-01-01T01")
    left = json.loads(run(*args, "--json").stdout)
    assert left["permitted"] == []
    assert {item["where"] for item in left["refused"]} >= {"time units", "time data_type"}
    assert {item["takes"] for item in left["refused"]} == {
        "stays as it was created; a new archive follows the code"
    }
    report = make(tmp_path, Otherwise).backfill(until(12), client=client)
    assert "time dtype, time units, b chunks" in report.notes[0]
    np.testing.assert_array_equal(values(make(tmp_path), "b"), truth(hours(12), "b"))


def test_nothing_is_applied_unasked(client, provider, tmp_path):
    """Without a terminal the differences are listed, and no byte is written."""
    make(tmp_path).backfill(until(8), client=client)
    before = snapshot(tmp_path)
    args = ["migrate-metadata", "test_by_hand:Described", "--store", str(tmp_path / "a")]
    done = run(*args, "--now", until(8))
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "Tiny and neat" in done.stdout
    assert "give --yes" in done.stderr
    asked = run(*args, "--json", "--now", until(8))
    assert (asked.exit_code, asked.stdout) == (ExitCode.WRONG_INPUT, "")
    assert "Tiny and neat" in asked.stderr
    assert snapshot(tmp_path) == before


def test_where_all_agrees_there_is_nothing_to_do(client, provider, tmp_path):
    """The exit code says so."""
    make(tmp_path).backfill(until(8), client=client)
    args = ["migrate-metadata", "tiny:Tiny", "--store", str(tmp_path / "a"), "--now", until(8)]
    assert run(*args).exit_code == ExitCode.NOTHING_NEW


# -- replicas ---------------------------------------------------------------------------------

PAIRS = [("zarr", "zarr"), ("zarr", "icechunk"), ("icechunk", "zarr")]


@pytest.fixture(params=PAIRS, ids="{0[0]} and {0[1]}".format)
def mirrored(request, tmp_path) -> dict[str, Any]:
    """Where an archive and its replica are, in two formats."""
    primary, replica = request.param
    return {"format": primary, "replicas": [tmp_path / f"b.{replica}"]}


def assert_equal(dataset: DynamicalDataset, length: int) -> None:
    """Compare what readers of all stores see with the truth."""
    for store in (dataset.store, *dataset.replicas):
        got = store.open_dataset()
        np.testing.assert_array_equal(got.a.values, truth(hours(12))[:length])
        assert got.sizes["time"] == length


def test_replicas_are_truncated_with_the_archive(client, provider, tmp_path, mirrored):
    """And grow again with it."""
    dataset = make(tmp_path, **mirrored)
    dataset.backfill(until(12), client=client)
    (outcome,) = truncate(dataset, until(5), now=until(12)).replicas
    assert (outcome.positions, outcome.failure) == (5, None)
    assert_equal(dataset, 5)
    assert [r.start for r in dataset.replicas[0].progress()] == [0]
    assert dataset.backfill(until(12), client=client).succeeded
    assert_equal(dataset, 12)


def test_descriptions_of_replicas_change_with_the_archives(client, provider, tmp_path, mirrored):
    """The next run finds all of them as its template wants."""
    make(tmp_path, **mirrored).backfill(until(8), client=client)
    dataset = make(tmp_path, Described, **mirrored)
    report = migrate_metadata(dataset, now=until(8), **WHO)
    assert [outcome.failure for outcome in report.replicas] == [None]
    assert len(report.notes) == 5
    for store in (dataset.store, *dataset.replicas):
        assert store.open_dataset().attrs["title"] == "Tiny and neat"
    assert dataset.backfill(until(12), client=client).succeeded
    assert_equal(dataset, 12)


def test_metadata_of_replicas_are_restored_with_the_archives(client, provider, tmp_path, mirrored):
    """Where a replica does not even say how far it goes, its records do."""
    dataset = make(tmp_path, **mirrored)
    dataset.backfill(until(12), client=client)
    (replica,) = dataset.replicas
    root = tmp_path / "b.zarr" / "zarr.json"
    if replica.format == "zarr":
        root.write_bytes(root.read_bytes()[:200])
    (outcome,) = restore_metadata(dataset, now=until(12), **WHO).replicas
    assert (outcome.positions, outcome.failure) == (12, None)
    assert_equal(dataset, 12)


def test_a_replica_that_is_not_reached_is_told_and_left_to_the_next_call(
    client, provider, tmp_path
):
    """The archive is changed all the same, and the exit code says that not all is done."""
    replica = tmp_path / "b.zarr"
    make(tmp_path, replicas=[replica]).backfill(until(12), client=client)
    away = tmp_path / "away"
    calls = {
        "migrate-metadata": ["--yes"],
        "truncate": ["--end", until(5), "--yes"],
        "restore-metadata": ["--yes"],
    }
    for command, options in calls.items():
        Path(f"{replica}.gridmill").rename(away)
        Path(f"{replica}.gridmill").write_text("not a folder")
        args = [command, "test_by_hand:Described", *options, "--store", str(tmp_path / "a")]
        args += ["--replica", str(replica), "--now", until(12)]
        lame = run(*args)
        assert lame.exit_code == ExitCode.FAILED, lame.output
        assert f"✗ replica {replica}: " in lame.stdout
        Path(f"{replica}.gridmill").unlink()
        away.rename(f"{replica}.gridmill")
        done = run(*args)
        assert done.exit_code == ExitCode.SUCCESS, done.output
    dataset = make(tmp_path, Described, replicas=[replica])
    assert_equal(dataset, 5)
    assert xr.open_zarr(replica).attrs["title"] == "Tiny and neat"


@pytest.mark.parametrize("command", ["accept x --why y", "truncate --end 2020", "migrate-metadata"])
def test_what_is_not_there_is_not_made(tmp_path, command):
    """A mistyped --store is an error, and leaves nothing."""
    name, *rest = command.split()
    done = run(name, "tiny:Tiny", *rest, "--store", str(tmp_path / "typo"), "--now", until(8))
    assert done.exit_code == ExitCode.WRONG_INPUT
    assert "there is no archive" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_every_label_of_these_tests_is_on_the_axis():
    """The archive begins where the tests count from."""
    assert TinyTemplate().label(until(0)) == START
    assert hours(2)[1] - START == HOUR
    assert TinyJob.publication_delay is None
