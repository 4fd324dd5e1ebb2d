"""Two runs never hold one region, and the dead hold nothing: with real processes."""

from __future__ import annotations

import json
import os
import pickle
import threading
import time
from dataclasses import replace

import pytest

from gridmill.model.region import Region
from gridmill.model.state_files import UnreadableState
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.state import claims
from gridmill.stores.state import leases as lease_module
from gridmill.stores.state.claims import (
    PUBLISHING,
    STATIC,
    Claim,
    current_claims,
    is_alive,
    merged,
    positions_of,
    process_ticks,
)
from gridmill.stores.state.leases import Lease, LeaseHeld, LeaseLost


@pytest.fixture
def objects(tmp_path):
    return open_objects(str(tmp_path / "state"))


def lease_of(objects, run, *positions, **options):
    return Lease(objects, run=run, kind="update", positions=positions, **options)


def test_a_second_run_is_told_who_holds_it(objects):
    """The error names run, kind, host, pid and time, and survives pickling."""
    with lease_of(objects, "first", (0, 8)):
        with pytest.raises(LeaseHeld) as caught, lease_of(objects, "second", (7, 9)):
            pass
        again = pickle.loads(pickle.dumps(caught.value))
        assert again.holder == caught.value.holder
        for told in ("first", "update", str(os.getpid()), again.holder.host, again.holder.since):
            assert told in str(again)
    with lease_of(objects, "second", (7, 9)):
        pass
    assert [c.run for c in current_claims(objects)] == []


def test_a_reused_pid_is_another_process(objects):
    """A claim of this pid that started at another time is a dead process's."""
    claim = lease_of(objects, "old", (0, 8)).claim
    assert is_alive(objects, claim)
    assert not is_alive(objects, replace(claim, process_ticks=claim.process_ticks - 100))
    # A claim of gridmill 0.1.0 has no ticks.
    before = replace(claim, process_ticks=None)
    assert is_alive(objects, before)
    assert not is_alive(objects, replace(before, process_started=claim.process_started - 100))


@pytest.mark.parametrize("step_s", [-3600.0, -2.0, 2.0, 3600.0])
def test_a_clock_that_is_set_kills_no_driver(objects, step_s):
    """The start of a process by the wall clock moves with that; ticks since the boot do not."""
    claim = lease_of(objects, "old", (0, 8)).claim
    assert is_alive(objects, replace(claim, process_started=claim.process_started + step_s))


def test_a_process_that_is_gone_has_no_ticks():
    """Nor has one that never was."""
    assert process_ticks(os.getpid()) > 0
    assert process_ticks(2**22 + 1) is None


class Foreigner:
    """A claim of another machine, whose beat the test controls."""

    def __init__(self, objects, time_to_live_s=0.4):
        claim = lease_of(objects, "foreign", (0, 8), time_to_live_s=time_to_live_s).claim
        self.claim = replace(claim, machine="another boot", pid=1)
        self.objects = objects
        self.beat(time.time())
        objects.put("leases/foreign/claim.json", self.claim.to_json())
        objects.put("leases/foreign/held", b"")

    def beat(self, at: float, number: int = 0) -> None:
        content = json.dumps({"number": number, "at": at}).encode()
        self.objects.put(self.claim.beat_key, content)

    def beat_on(self, offset_s: float, over: threading.Event) -> None:
        number = 0
        while not over.wait(self.claim.time_to_live_s / 4):
            number += 1
            self.beat(time.time() + offset_s, number)


@pytest.mark.parametrize("offset_s", [0.0, -3600.0, 3600.0], ids=["right", "behind", "ahead"])
def test_a_live_holder_elsewhere_keeps_its_lease_whatever_its_clock(objects, offset_s):
    """A beat that changes is a life, however far the other clock is off."""
    foreigner = Foreigner(objects)
    foreigner.beat(time.time() + offset_s)
    over = threading.Event()
    thread = threading.Thread(target=foreigner.beat_on, args=(offset_s, over))
    thread.start()
    try:
        for number in range(3):
            with pytest.raises(LeaseHeld), lease_of(objects, f"next{number}", (0, 1)):
                pass
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("offset_s", [-3600.0, 3600.0], ids=["behind", "ahead"])
def test_a_dead_holder_elsewhere_is_replaced_after_a_standstill(objects, offset_s):
    """A beat that stands still for its time to live ends the lease, whatever it says."""
    foreigner = Foreigner(objects)
    foreigner.beat(time.time() + offset_s)
    began = time.monotonic()
    with lease_of(objects, "next", (0, 1)):
        assert time.monotonic() - began >= foreigner.claim.time_to_live_s
        assert [claim.run for claim in current_claims(objects)] == ["next"]


class Clock:
    """Time that passes only while somebody sleeps, or lets it."""

    def __init__(self, monkeypatch):
        self.now = time.time()
        monkeypatch.setattr(claims, "time", self)

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("asked_every_s", [1.0, 7.0, 15.0, 60.0])
def test_a_dead_holder_elsewhere_is_replaced_in_the_time_that_is_promised(
    objects, monkeypatch, asked_every_s
):
    """Who asks again and again takes over once the beat stood still for its time to live.

    Who comes later watches it for half of that at least, and never for more than all of it.
    """
    clock = Clock(monkeypatch)
    life_s = lease_module.TIME_TO_LIVE_S
    foreigner = Foreigner(objects, time_to_live_s=life_s)
    foreigner.beat(clock.now)
    died, begun = clock.now, clock.now
    while is_alive(objects, foreigner.claim):
        clock.sleep(asked_every_s)
        begun = clock.now
    stood_still_s, watched_s = clock.now - died, clock.now - begun
    assert stood_still_s >= life_s
    assert life_s / 2 <= watched_s <= life_s
    assert stood_still_s <= 1.25 * life_s or asked_every_s > life_s


@pytest.mark.parametrize("behind_s", [0.0, 6.0, 12.0, 25.0, 3600.0])
def test_a_beat_that_is_late_is_no_death(objects, monkeypatch, behind_s):
    """A holder that misses a beat keeps its lease, also where its clock is behind."""
    clock = Clock(monkeypatch)
    foreigner = Foreigner(objects, time_to_live_s=20.0)
    monkeypatch.setattr(objects, "get", lambda key, get=objects.get: beat_every(8.0, key, get))

    def beat_every(step_s, key, get):
        last = clock.now // step_s * step_s
        foreigner.beat(last - behind_s, int(last))
        return get(key)

    for _ in range(50):
        assert is_alive(objects, foreigner.claim)
        clock.sleep(1.7)


def test_a_holder_elsewhere_without_a_beat_is_dead(objects):
    """The beat is there before the claim and goes after it: without one nobody lives."""
    foreigner = Foreigner(objects)
    objects.delete(foreigner.claim.beat_key)
    with lease_of(objects, "next", (0, 1)):
        pass


def test_the_proof_fails_after_the_lease_ended(objects, monkeypatch):
    """Workers are refused once the lease is given back, and the error pickles."""
    monkeypatch.setattr(lease_module, "PROOF_LASTS_S", 0.0)
    with lease_of(objects, "one", (0, 8)) as lease:
        proof = pickle.loads(pickle.dumps(lease.proof))
        proof.check()
        proof.check()
    with pytest.raises(LeaseLost, match="must not") as caught:
        proof.check()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_proof_asks_at_most_once_in_its_time(objects, monkeypatch):
    """Each object put costs no request; a second later the store is asked again."""
    asked = []

    class Counting:
        def nbytes(self, key):
            asked.append(key)
            return objects.nbytes(key)

    with lease_of(objects, "counted", (0, 8)) as lease:
        proof = replace(lease.proof, objects=Counting())
        for _ in range(100):
            proof.check()
        assert len(asked) == 1
        later = time.monotonic() + lease_module.PROOF_LASTS_S
        monkeypatch.setattr(lease_module.time, "monotonic", lambda: later)
        proof.check()
        assert len(asked) == 2


def test_a_run_that_was_taken_for_dead_publishes_nothing(objects):
    """Where its claim is gone, publishing raises before the body runs, and is not blocked."""
    with lease_of(objects, "one", (0, 8)) as lease:
        objects.delete("leases/one/claim.json")
        with pytest.raises(LeaseLost), lease.publishing():
            raise AssertionError("must not publish")
    with lease_of(objects, "two", (0, 8)) as lease, lease.publishing():
        pass


def test_a_run_that_is_overtaken_while_it_publishes_stops(objects):
    """Before its next step it notices that its right, or the right to publish, is gone."""
    for lost in ("one", "one-publishing"):
        with lease_of(objects, "one", (0, 8)) as lease, lease.publishing() as check:
            check()
            objects.delete(f"leases/{lost}/claim.json")
            with pytest.raises(LeaseLost):
                check()


def test_publishing_that_cannot_look_leaves_no_claim(objects, monkeypatch):
    """A store that fails between claim and look does not keep others from publishing."""
    with lease_of(objects, "one", (0, 1)) as one, lease_of(objects, "two", (1, 2)) as two:
        with monkeypatch.context() as patched:
            patched.setattr(objects, "keys", lambda *at: (_ for _ in ()).throw(OSError("lost")))
            with pytest.raises(OSError, match="lost"), one.publishing():
                pass
        with two.publishing(0.1):
            pass


@pytest.mark.parametrize("number", range(4))
def test_a_signal_while_a_lease_is_given_back_leaves_nothing_of_it(objects, monkeypatch, number):
    """Whichever of the deletes it interrupts: the right to publish, the claim, and its parts."""
    interrupted = iter([False] * number + [True])

    def delete(key: str, delete=objects.delete) -> None:
        if next(interrupted, False):
            raise KeyboardInterrupt
        delete(key)

    monkeypatch.setattr(objects, "delete", delete)
    with (
        pytest.raises(KeyboardInterrupt),
        lease_of(objects, "one", (0, 8)) as lease,
        lease.publishing(),
    ):
        pass
    assert list(objects.keys("leases")) == []


def test_publishing_waits_only_so_long(objects):
    """A run that keeps the right to publish is named after the timeout."""
    with lease_of(objects, "one", (0, 1)) as one, lease_of(objects, "two", (1, 2)) as two:
        with one.publishing() as check:
            before = list(objects.keys("leases"))
            with pytest.raises(LeaseHeld, match="one"), two.publishing(0.1):
                pass
            assert list(objects.keys("leases")) == before
            check()
        with two.publishing(0.1):
            pass


def test_the_beat_goes_on_while_the_lease_is_held(objects):
    """Others elsewhere see a changing beat, until the lease ends and nothing of it is left."""
    with lease_of(objects, "one", (0, 8), time_to_live_s=0.2) as lease:
        first = objects.get(lease.claim.beat_key)
        deadline = time.monotonic() + 10
        while objects.get(lease.claim.beat_key) == first:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    assert list(objects.keys("leases")) == []


def test_ended_leases_leave_nothing_to_list(tmp_path):
    """An archive's thousandth run lists as little as its first."""
    objects = open_objects(str(tmp_path))
    for number in range(5):
        with lease_of(objects, f"run{number}", (0, 8)) as lease, lease.publishing():
            pass
    assert [path for path in tmp_path.rglob("*") if path.name.startswith("run")] == []


def test_a_beat_that_cannot_be_written_once_does_not_end_the_beating(objects, monkeypatch):
    """A store that refuses for a moment does not make the holder look dead."""
    put, refusals = objects.put, iter([OSError("refused"), ValueError("nonsense")])

    def flaky_put(key, content):
        is_later_beat = key.endswith("beat") and b'"number": 0' not in content
        error = next(refusals, None) if is_later_beat else None
        if error is not None:
            raise error
        put(key, content)

    monkeypatch.setattr(objects, "put", flaky_put)
    with lease_of(objects, "one", (0, 8), time_to_live_s=0.2) as lease:
        deadline = time.monotonic() + 10
        while json.loads(objects.get(lease.claim.beat_key))["number"] < 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def claim(*positions):
    return Claim(
        run="r",
        kind="k",
        host="h",
        machine="m",
        pid=1,
        process_started=0.0,
        since="",
        positions=merged(positions),
        beat_key="",
        time_to_live_s=1.0,
    )


def test_claims_keep_regions_as_earlier_releases_do():
    """A region is its pair of positions, that of the static variables a pair that none has."""
    assert positions_of(Region(4, 8)) == (4, 8)
    assert positions_of(Region.STATIC) == STATIC == (-1, 0)
    assert claim(positions_of(Region.STATIC)).has_static
    assert claim((0, 4), positions_of(Region.STATIC)).has_static
    assert not claim((0, 4), PUBLISHING).has_static


def test_claims_overlap_where_they_share_a_position():
    """Intervals are half-open; pseudo positions overlap only themselves."""
    assert claim((0, 4)).overlaps(claim((3, 5)))
    assert not claim((0, 4), (8, 12)).overlaps(claim((4, 8)))
    assert claim(STATIC).overlaps(claim(STATIC, (0, 4)))
    assert not claim(STATIC).overlaps(claim((0, 4), PUBLISHING))
    kept = claim((0, 4), (9, 12), STATIC)
    assert Claim.from_json(kept.to_json()) == kept


def rival(run, machine):
    """Give the claim of a process that is not on this host, or cannot be seen."""
    return Claim(
        run=run,
        kind="update",
        host="elsewhere",
        machine=machine,
        pid=1,
        process_started=0.0,
        since="2020-01-01T00:00:00+00:00",
        positions=((0, 8),),
        beat_key=f"leases/{run}/beat",
        time_to_live_s=0.2,
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"schema": 2}'])
def test_a_claim_that_cannot_be_read_is_not_taken_for_absent(objects, content):
    """Nobody writes beside it, not even elsewhere: where its run writes is not known either."""
    objects.put("leases/other/claim.json", content)
    with pytest.raises(UnreadableState, match=r"leases/other/claim\.json .*delete it"):
        current_claims(objects)
    with (
        pytest.raises(UnreadableState, match="once no process of gridmill works"),
        lease_of(objects, "next", (100, 104)),
    ):
        pass
    assert list(objects.keys("leases")) == ["leases/other/claim.json"]
    objects.delete("leases/other/claim.json")
    with lease_of(objects, "next", (0, 4)):
        pass


def test_a_claim_of_a_later_gridmill_is_respected(objects):
    """What it says beside what is known is ignored; what it holds is held."""
    later = {**json.loads(rival("other", "m").to_json()), "replicas": ["a"], "schema": 1}
    objects.put("leases/other/claim.json", json.dumps(later).encode())
    objects.put("leases/other/held", b"")
    objects.put("leases/other/beat", json.dumps({"number": 0, "at": time.time() + 0.1}).encode())
    assert current_claims(objects) == [rival("other", "m")]


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"number": 1}', b'{"at": "noon"}'])
def test_a_beat_that_cannot_be_read_is_watched(objects, content):
    """Its holder is dead only if it stands still, whatever is in it."""
    claim = rival("other", "m")
    objects.put(claim.beat_key, content)
    assert not is_alive(objects, claim)

    def beat() -> None:
        time.sleep(claim.time_to_live_s / 3)
        objects.put(claim.beat_key, b"another")

    beating = threading.Thread(target=beat)
    beating.start()
    assert is_alive(objects, claim)
    beating.join()
    with lease_of(objects, "next", (100, 104)):
        assert objects.get(claim.beat_key) is not None


def test_remains_of_a_lease_are_deleted_by_the_next(objects):
    """What a holder left that died while it claimed or ended is gone with the next lease."""
    long_ago = json.dumps({"number": 0, "at": time.time() - 3600}).encode()
    objects.put("leases/died-ending/held", b"")
    objects.put("leases/died-ending/beat", long_ago)
    objects.put("leases/died-claiming/beat", long_ago)
    objects.put("leases/claims-now/beat", json.dumps({"number": 0, "at": time.time()}).encode())
    with Lease(objects, run="next", kind="update", positions=[(0, 4)]):
        left = {key.split("/")[1] for key in objects.keys("leases")}
    assert left == {"claims-now", "next"}
    assert set(objects.keys("leases")) == {"leases/claims-now/beat"}
