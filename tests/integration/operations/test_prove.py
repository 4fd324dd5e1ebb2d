"""Regions are made anew from their source files, each in its turn, and compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

import tiny
from gridmill.cli import ExitCode, cli
from gridmill.model.region import Region
from gridmill.operations.proving import prove as proving
from gridmill.operations.proving.known import read_proofs
from gridmill.operations.proving.prove import prove
from gridmill.operations.rebuild import rebuild_records
from tiny import HOUR, START, TinyJob, dataset_of, hours, make, snapshot, until

FORMATS = ["zarr", "icechunk"]


def verdicts(done: proving.Proving) -> list[str]:
    return [proof.verdict for proof in done.proofs]


def other_values(folder: Path) -> None:
    """Change one value of a published archive, as nothing of gridmill would."""
    array = zarr.open_group(folder, mode="r+")["a"]
    array[5, 1, 2] = 7.0


@pytest.mark.parametrize("kind", FORMATS)
def test_an_archive_as_it_was_made_is_proven_byte_by_byte(kind, provider, tmp_path):
    """Also where updates let a region grow; nothing of the archive or its records changes."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(6), client="none")
    for n in (7, 8, 9):
        dataset.backfill(until(n), client="none")
    before = snapshot(tmp_path / "a"), snapshot(tmp_path / "a.gridmill/regions")
    done = prove(dataset, 10, client="none")
    assert verdicts(done) == ["proven"] * 3
    assert {v.by for proof in done.proofs for v in proof.variables} == {"bytes"}
    assert (snapshot(tmp_path / "a"), snapshot(tmp_path / "a.gridmill/regions")) == before
    assert (done.counts.proven, done.counts.unproven, done.counts.overdue) == (3, 0, 0)
    assert not done.failed


def test_on_a_cluster_it_is_the_same(client, provider, tmp_path):
    """Each worker makes one group of variables at a time."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client=client)
    before = snapshot(tmp_path / "a")
    assert verdicts(prove(dataset, 10, client=client)) == ["proven"] * 3
    assert snapshot(tmp_path / "a") == before


def test_every_region_has_its_turn(provider, tmp_path):
    """What was never proven first, then what was proven longest ago, and what was made since."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client="none")

    def turn(n: int = 1) -> list[int]:
        return [int(proof.region) for proof in prove(dataset, n, client="none").proofs]

    assert [turn(), turn(), turn()] == [[0], [4], [8]]
    marks = dataset.store.tracker.proofs.marks()
    for region, day in (("0000000008", "20200101"), ("0000000000", "20210101")):
        mark = marks[region]
        path = tmp_path / "a.gridmill" / mark.key
        path.rename(tmp_path / "a.gridmill" / mark.key.replace(mark.at, f"{day}T000000"))
    assert turn(2) == [8, 0]
    dataset.backfill(until(12), start=until(4), end=until(8), redo=True, client="none")
    assert read_proofs(dataset.archive()).unproven == 1
    assert turn() == [4]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_value_that_its_source_file_does_not_give_fails(kind, provider, tmp_path):
    """Variable and place are named, and both values; another region stays proven."""
    changed = provider.path(START + 5 * HOUR)
    content = np.load(changed)
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(8), client="none")
    record = dataset.store.tracker.read(Region(4, 8))
    wrong = content.copy()
    wrong[0, 1, 2] = 7.0
    np.save(changed, wrong)
    # The provider's file is another one, and its record says that it is the one that was read.
    before = prove(dataset, 2, client="none")
    assert verdicts(before) == ["proven", "unprovable"]
    path = tmp_path / "a.gridmill/regions/0000000004.json"
    raw = json.loads(path.read_bytes())
    for file in raw["groups"][0]:
        for name in ("etag", "last_modified", "checksum", "nbytes"):
            file.pop(name, None)
    path.write_text(json.dumps(raw))
    done = prove(dataset, 2, client="none")
    assert sorted(verdicts(done)) == ["failed", "proven"]
    (proof,) = [proof for proof in done.proofs if proof.verdict == "failed"]
    a, b = sorted(proof.variables, key=lambda one: one.variable)
    assert (a.verdict, b.verdict) == ("failed", "proven")
    assert "a[time=2020-01-01 05:00:00, y=1, x=2]" in a.causes[0]
    assert str(content[0, 1, 2]) in a.causes[0]
    assert "7.0" in a.causes[0]
    assert record is not None
    assert done.failed
    assert done.counts.failures == ("2020-01-01 04:00:00",)


def test_a_stored_object_that_somebody_changed_fails(provider, tmp_path):
    """The source files are as they were, so the archive is not."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    other_values(tmp_path / "a")
    done = prove(dataset, 2, client="none")
    assert verdicts(done) == ["proven", "failed"]
    status = dataset.status()
    assert (status.proofs.proven, status.proofs.failed) == (1, 1)


def test_an_object_with_the_same_values_and_other_bytes_is_not_what_was_recorded(
    provider, tmp_path
):
    """Somebody stored it, and it was not gridmill."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    path = tmp_path / "a/a/c/1/0/0"
    array = zarr.open_group(tmp_path / "a", mode="r+")["a"]
    values, was = array[4:8], path.read_bytes()
    array[4:8] = values + 1
    array[4:8] = values
    path.write_bytes(b"\0" * 8 + path.read_bytes()) if path.read_bytes() == was else None
    assert verdicts(prove(dataset, 2, client="none")) == ["proven", "failed"]


def test_an_object_that_is_gone_fails(provider, tmp_path):
    """Readers see missing values where the source files give some."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    (tmp_path / "a/b/c/0/0/0").unlink()
    (proof,) = prove(dataset, client="none").proofs
    (failed,) = [one for one in proof.variables if one.verdict == "failed"]
    assert (failed.variable, failed.causes) == ("b", ("b/c/0/0/0 is gone from the store",))


def test_where_source_files_are_gone_the_rest_is_compared(provider, tmp_path):
    """It is not provable any more; a wrong value beside them fails all the same."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    provider.withdraw(START + 4 * HOUR)
    provider.publish(hours(1, 6), version=1)
    done = prove(dataset, 2, client="none")
    assert verdicts(done) == ["proven", "unprovable"]
    (one, _) = done.proofs[1].variables
    assert (one.files, one.gone) == (2, 2)
    assert ["is gone" in one.causes[0], "was revised since" in one.causes[1]] == [True, True]
    other_values(tmp_path / "a")
    assert verdicts(prove(dataset, 2, client="none")) == ["proven", "failed"]


def test_where_all_source_files_are_gone_nothing_is_compared(provider, tmp_path):
    """No value can be proven, and none is called wrong."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    for label in hours(4):
        provider.withdraw(label)
    assert verdicts(prove(dataset, client="none")) == ["unprovable"]


def test_a_gap_that_was_published_is_no_difference(provider, tmp_path):
    """Its file came since: an update takes it in, and what was made without it is as it was."""
    job = type("Overdue", (TinyJob,), {"publication_delay": HOUR.to_pytimedelta()})
    provider.withdraw(START + 2 * HOUR)
    dataset = make(tmp_path, dataset_of(job=job))
    dataset.backfill(until(4), client="none", now=until(24))
    provider.publish(hours(1, 2))
    assert verdicts(prove(dataset, client="none")) == ["proven"]


def test_what_was_made_under_another_version_is_not_provable(provider, tmp_path):
    """Its code meant to store other values then."""

    class Newer(TinyJob):
        version = 2

        def read_data(self, coord, data_var):
            return super().read_data(coord, data_var) + 1

    make(tmp_path).backfill(until(4), client="none")
    (proof,) = prove(make(tmp_path, dataset_of(job=Newer)), client="none").proofs
    assert proof.verdict == "unprovable"
    assert "version 1 of the dataset" in proof.variables[0].causes[0]


def test_code_that_cannot_read_a_file_any_more_fails(provider, tmp_path):
    """The file is the same, and a redo would lose what readers see."""

    class Broken(TinyJob):
        def read_data(self, coord, data_var):
            raise ValueError("no such variable")

    make(tmp_path).backfill(until(4), client="none")
    (proof,) = prove(make(tmp_path, dataset_of(job=Broken)), client="none").proofs
    assert proof.verdict == "failed"
    assert "cannot be read any more: ValueError: no such variable" in proof.variables[0].causes[0]


def test_a_region_that_a_run_makes_meanwhile_is_left_for_another_time(
    provider, tmp_path, monkeypatch
):
    """What was compared is not what is there any more."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    whole = proving._Prover.proofs

    def with_a_run(self, records, where):
        for record, proof in whole(self, records, where):
            make(tmp_path).backfill(until(4), redo=True, client="none")
            yield record, proof

    monkeypatch.setattr(proving._Prover, "proofs", with_a_run)
    done = prove(dataset, client="none")
    assert (done.proofs, done.changed) == ((), ("2020-01-01 00:00:00",))
    assert done.counts.unproven == 1


def test_what_is_not_published_whole_waits_for_its_turn(provider, tmp_path):
    """Its source files still come."""
    dataset = make(tmp_path)
    dataset.backfill(until(6), client="none")
    provider.withdraw(START + 6 * HOUR)
    dataset.backfill(until(8), client="none", now=until(8))
    done = prove(dataset, 5, client="none")
    assert [proof.region for proof in done.proofs] == ["0000000000"]


def test_records_that_were_rebuilt_are_proven_by_their_values(provider, tmp_path):
    """They know no checksum and no digest: what is compared is what readers see."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    for path in (tmp_path / "a.gridmill/regions").iterdir():
        path.unlink()
    rebuild_records(dataset, who="operator", now=until(24))
    assert verdicts(prove(dataset, 5, client="none")) == ["proven", "proven"]


def test_overdue_is_what_nobody_looked_at_for_so_long(provider, tmp_path):
    """A region that was just made is not, one that was made long ago and never proven is."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    archive = dataset.archive()
    archive.look()
    counts = read_proofs(archive, overdue=timedelta(days=90))
    assert (counts.unproven, counts.overdue) == (2, 0)
    assert read_proofs(archive, overdue=timedelta(days=-1)).overdue == 2
    prove(dataset, client="none")
    (mark,) = dataset.store.tracker.proofs.marks().values()
    assert mark.at[:8] == f"{datetime.now(UTC):%Y%m%d}"
    assert dataset.status(overdue=timedelta(days=90)).proofs.overdue == 0


def test_status_says_nothing_of_proofs_where_nobody_proves(provider, tmp_path):
    """It is for who calls it every night."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    assert dataset.status().proofs is None


def test_a_prove_that_is_killed_leaves_what_was_proven(provider, tmp_path):
    """The archive is as it was, and the next call goes on."""
    dataset = make(tmp_path)
    dataset.backfill(until(12), client="none")
    before = snapshot(tmp_path / "a")
    script = (
        "import os, signal, sys; from pathlib import Path; from tiny import Tiny;"
        "from gridmill.operations.proving import prove as p;"
        "remake = p.remake; calls = [];\n"
        "def dying(errand):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return remake(errand)\n"
        "p.remake = dying\n"
        "p.prove(Tiny(Path(sys.argv[1]), source_base=sys.argv[2]), 3, client='none')"
    )
    path = os.pathsep.join([str(Path(tiny.__file__).parent), os.environ.get("PYTHONPATH", "")])
    arguments = [str(tmp_path / "a"), str(tmp_path / "source")]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert snapshot(tmp_path / "a") == before
    assert len(dataset.store.tracker.proofs.marks()) == 2
    assert [proof.region for proof in prove(dataset, client="none").proofs] == ["0000000008"]


def test_the_command_says_what_differs_and_exits_with_1(provider, tmp_path, monkeypatch):
    """And `status --check` is red until the region is proven or made again."""
    monkeypatch.setitem(sys.modules, "tiny_prove", tiny)
    make(tmp_path).backfill(until(8), client="none")
    archive = ["tiny_prove:Tiny", "--store", str(tmp_path / "a")]
    archive += ["--source-base", str(tmp_path / "source")]

    def run(*args: str) -> Any:
        return CliRunner().invoke(cli, [args[0], *archive, *args[1:]])

    good = run("prove", "--regions", "2", "--cluster", "none")
    assert good.exit_code == ExitCode.SUCCESS, good.output
    assert "2 proven" in good.output
    other_values(tmp_path / "a")
    bad = run("prove", "--regions", "2", "--cluster", "none", "--json")
    assert bad.exit_code == ExitCode.FAILED
    told = json.loads(bad.stdout)
    assert told["has_failed"]
    assert told["counts"]["failed"] == 1
    status = run("status", "--check", "--now", until(8))
    assert status.exit_code == ExitCode.FAILED
    assert "1 proven, 1 failed" in status.output
    make(tmp_path).backfill(until(8), start=until(4), redo=True, client="none")
    assert run("prove", "--cluster", "none").exit_code == ExitCode.SUCCESS
    assert run("status", "--check", "--now", until(8)).exit_code == ExitCode.SUCCESS
    assert run("prove", "--regions", "0").exit_code == ExitCode.WRONG_INPUT
