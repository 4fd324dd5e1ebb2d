"""What single situations promise beyond the pairs: refusals, neighbours, disks, real data."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore, WrapperStore

from gridmill.testing import ArchiveServer
from trust_archive import Archive
from trust_catalogue import CATALOGUE, Scenario, play
from trust_dataset import DAYS_PER_REGION, FLAT, label, source_path, truth
from trust_driver import Errand
from trust_faults import Death
from trust_harness import (
    DAMAGES,
    DAYS,
    Cluster,
    Driver,
    Lab,
    Run,
    digests,
    judge_missing,
    read_log,
)
from trust_reader import Opening, Visitor, Watch
from trust_wfde5 import Wfde5Truth

REGION_END = label(DAYS_PER_REGION)


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_reader_notices(damage: str, lab: Lab) -> None:
    """Each way to damage an archive is seen by the reader, and the undamaged one passes."""
    with Run(lab, "backfill", 0) as run:
        for store, is_damaged in ((run.stock.seeded[damage], True), (run.stock.original, False)):
            visitor = Visitor(store.opening, run.truth)
            visitor.visit()
            seen = visitor.seen
            assert bool(seen.violations or judge_missing(run, seen, seeded=True)) == is_damaged


def test_a_value_that_vanishes_is_noticed(lab: Lab, tmp_path: Path) -> None:
    """A reader that saw a value calls it a violation when it is gone, whatever the log says."""
    store = Archive("local", str(tmp_path / "a.zarr"))
    with Run(lab, "backfill", 0) as run:
        run.stock.original.copy_to(store)
        visitor = Visitor(store.opening, run.truth)
        visitor.visit()
        assert not visitor.seen.violations
        store.change(DAMAGES["lost"](store.contents()))
        visitor.visit()
        assert any("values are gone" in what for what in visitor.seen.violations)


def test_the_proof_fails_for_an_archive_that_differs(lab: Lab) -> None:
    """One object more, less or other than in an uninterrupted run is found."""
    with Run(lab, "backfill", 0) as run:
        run.drive()
        run.check_archive()
        (run.archive.path / "more").touch()
        with pytest.raises(AssertionError, match="more"):
            run.check_archive()


def test_the_proof_fails_for_work_that_is_redone(lab: Lab) -> None:
    """A rerun that fetches and puts what the records call done is found."""
    with Run(lab, "backfill", 0) as run:
        run.drive()
        lost = run.archive.path / "wind/c/3/0/0"
        lost.unlink()
        with pytest.raises(AssertionError, match="put again, though recorded as done"):
            run.recover()


class ReplacedMeanwhile(WrapperStore):
    """A store in which a shard is replaced between the two requests of a reader."""

    def __init__(self, store: LocalStore, shard: Path, content: bytes) -> None:
        super().__init__(store)
        self.shard, self.content = shard, content

    def _with_store(self, store):
        return type(self)(store, self.shard, self.content)

    async def get(self, key, prototype, byte_range=None):
        """Read; after the shard's index, put the other shard there."""
        found = await super().get(key, prototype, byte_range)
        if self.shard.as_posix().endswith(key):
            self.shard.write_bytes(self.content)
        return found


@pytest.mark.parametrize("becomes", ["longer", "shorter"])
def test_a_torn_read_is_an_error(becomes: str, lab: Lab) -> None:
    """A reader of a shard that is replaced between its two requests gets no wrong values.

    The shard is one that a run replaces, because a source file of a published day was revised
    to values that compress to almost nothing, or from such.
    """
    with Run(lab, "backfill", 10) as run:
        run.source.put("met", 0, version=FLAT if becomes == "longer" else 0)
        assert run.drive().is_complete
        shard = run.archive.path / "temperature/c/0/0/0"
        before = shard.read_bytes()
        run.source.put("met", 0, version=0 if becomes == "longer" else FLAT)
        assert run.drive(revalidate=True).is_complete
        after = shard.read_bytes()
        assert after != before
        assert len(after) >= len(before)
        shard.write_bytes(before)
        torn = zarr.open_array(
            ReplacedMeanwhile(LocalStore(run.archive.path), shard, after),
            path="temperature",
            mode="r",
        )
        # The last day's values are the same in both, at different places.
        with pytest.raises(ValueError, match="checksum"):
            torn[8:12]
        np.testing.assert_array_equal(torn[8:12], truth("temperature", 2))


def test_two_drivers_work_side_by_side(lab: Lab) -> None:
    """A backfill of early regions and one of late regions run at once; both are published."""
    with Run(lab, "backfill", 3) as run:
        # What makes the archive decides where it begins; here it dies before it does more.
        assert run.drive(death=Death("after", "state:leases/*/held")) is None
        run.switchboard.lay("compress", "gate", f"rain/{source_path('rain', 0)}")
        run.switchboard.lay("compress", "gate", f"rain/{source_path('rain', 7)}")
        early = run.start(run.errand(end=REGION_END))
        late = run.start(run.errand(start=REGION_END))

        def both_are_at_work() -> None:
            if len(run.switchboard.fired()) == 2:
                run.switchboard.open_gates()

        results = [run.finish(driver, both_are_at_work) for driver in (early, late)]
        for driver, result in zip((early, late), results, strict=True):
            assert result is not None, driver.log
            assert result.is_complete, f"{result}\n{driver.log}"
        run.prove()


def test_a_full_disk_is_never_the_fault_of_a_file(lab: Lab) -> None:
    """A read that fails twice for lack of space leaves the file unsettled, and no gap."""
    with Run(lab, "backfill", 4) as run:
        pattern = f"wind/{source_path('met', 1)}"
        laid = run.switchboard.lay("compress", "enospc", pattern, times=99)
        for _ in range(2):
            result = run.drive()
            assert result is not None
            assert not result.is_complete
            assert "No space left" in str(result.report["failures"])
            assert result.report["positions_after"] <= 4
        run.switchboard.take_away(laid)
        run.prove()


def test_a_file_that_stays_unreadable_becomes_a_gap_that_heals(lab: Lab) -> None:
    """Once it is overdue a file is passed over; when it is put right, an update fills it in."""
    with Run(lab, "backfill", 5) as run:
        run.source.put("met", 1, broken=["wind"])
        for now, published in ((label(2), 4), (label(DAYS), DAYS * 4)):
            result = run.drive(now=now)
            assert result is not None
            assert result.report["positions_after"] == published, run.drivers[-1].log
        run.source.put("met", 1)
        run.prove()


def test_an_update_whose_clock_is_behind_changes_nothing(lab: Lab) -> None:
    """An update that believes in an earlier day than is published writes nothing."""
    with Run(lab, "update", 6) as run:
        before = run.archive.digests()
        result = run.drive(now=label(2))
        assert result is not None
        assert result.error is None, result
        assert not result.report["variables_done"]
        assert result.report["positions_after"] == result.report["positions_before"]
        assert run.archive.digests() == before
        run.prove()


def test_an_update_whose_clock_is_ahead_loses_nothing(lab: Lab) -> None:
    """An update that believes in a later day publishes what there is, and later ones the rest."""
    with Run(lab, "update", 7) as run:
        for day in (6, 7):
            run.server.hold(f"*/{source_path('', day).split('/')[1]}")
        result = run.drive(now=label(DAYS + 3))
        assert result is not None
        assert result.report["positions_after"] == 6 * 4
        run.server.release_all()
        run.prove()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs the right to")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_workers_whose_disk_is_full(lab: Lab, small_disk: Path) -> None:
    """On a disk without space the run fails by itself and says why; with space it goes on."""
    with Run(lab, "backfill", 8) as run:
        cluster = Cluster(small_disk / "workers")
        try:
            ballast = small_disk / "ballast"
            ballast.write_bytes(b"")
            _fill(ballast)
            result = run.drive(scheduler=cluster.address)
            assert result is not None
            assert not result.is_complete
            assert "No space left" in str(result.report["failures"]), result
            ballast.unlink()
            result = run.drive(scheduler=cluster.address)
            assert result is not None
            assert result.is_complete, f"{result}\n{run.drivers[-1].log}"
            assert not cluster.tmp_folders()
        finally:
            cluster.close()
        run.prove()


def _fill(ballast: Path) -> None:
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_a_fault_that_never_strikes_fails_the_proof(lab: Lab, monkeypatch) -> None:
    """A scenario whose fault was not injected is no proof, and says so."""
    never = CATALOGUE["worker killed in compress"]()
    never.pattern = "nothing/*"
    monkeypatch.setattr("trust_catalogue.CATALOGUE", {"never": lambda: never})
    with pytest.raises(AssertionError, match="never struck"):
        play(lab, Scenario(("never",), "backfill", 9))


# -- real data --------------------------------------------------------------------------------


@pytest.mark.shared_data
def test_real_archive_under_kills(lab: Lab, wfde5_archive: Path, tmp_path: Path) -> None:
    """A real hourly archive survives killed workers and drivers while a reader checks it all."""
    source = Wfde5Truth(wfde5_archive)
    lab.switchboard.reset()
    with ArchiveServer(wfde5_archive) as server:
        server.release_all()
        whole, store = (
            Errand(
                folder=tmp_path / name / "driver",
                dataset="trust_wfde5:TrustWfde5",
                store=str(tmp_path / name / "a.zarr"),
                source=server.url,
                put_log=tmp_path / name / "puts.jsonl",
                kind="backfill",
                until="2017-02-01",
                now="2017-02-01",
                scheduler=lab.cluster.address,
            )
            for name in ("whole", "faulty")
        )
        result = Driver(whole).wait()
        assert result is not None
        assert result.is_complete, result
        seeded = tmp_path / "seeded.zarr"
        shutil.copytree(whole.store, seeded)
        _change_a_value(seeded)
        lab.watch(Watch(Opening(store.store), (Opening(str(seeded)),), source))
        deaths = (
            {"until": "2017-01-21", "dies_at_event": ("stage", "upload", 7)},
            {"until": "2017-01-21", "death": Death("before", "store:zarr.json")},
            {"death": Death("in", "state:regions/*", 2)},
            {"death": Death("after", "store:time/c/0")},
        )
        for number, death in enumerate(deaths):
            lab.switchboard.lay("compress", "kill", "*")
            errand = store.but(folder=store.folder.with_name(f"driver{number}"), **death)
            assert Driver(errand).wait() is None
            lab.cluster.wait_for_workers()
        lab.switchboard.clear()
        driver = Driver(store.but(folder=store.folder.with_name("last")))
        result = driver.wait()
        assert result is not None
        assert result.is_complete, driver.log
    watched = lab.end_watch()
    assert digests(Path(store.store)) == digests(Path(whole.store))
    assert not watched.live.violations
    assert not watched.live.missing
    assert watched.live.positions == 744
    assert watched.live.opens
    assert all(seen.violations for _, seen in watched.seeded)
    put = [entry["key"] for entry in read_log(store.put_log)]
    assert set(digests(Path(store.store))) <= set(put)


def _change_a_value(store: Path) -> None:
    array = zarr.open_array(store, path="wind_speed", mode="r+")
    at = tuple(np.argwhere(~np.isnan(array[100]))[0])
    array[(100, *at)] = array[(100, *at)] + 1
