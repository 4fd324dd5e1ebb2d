"""Leases: one driver writes a region, one at a time publishes; held by objects beside the store.

A lease is a folder of small objects beside the progress records:

- ``claim.json`` says who wants which positions of the append dim. It is written once, never
  again: deleting it ends the lease, and nothing brings it back;
- ``held`` says that the claim met no other; the right to publish, which is held for a moment, does
  without it;
- ``beat`` changes as long as the holder lives.

Who claims looks at the others *after* having put its own claim, so of two that overlap at
least one sees the other and withdraws; a claim that is held is never withdrawn. Needs only a
store that lists what was put before (local disks and S3 do), no conditional put.

See Also
--------
gridmill.stores.state.claims : what a claim says, and how death is told.
"""

from __future__ import annotations

import json
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from gridmill.stores.lookahead import lookahead
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.state.claims import (
    BEATS_PER_LIFE,
    PUBLISHING,
    Claim,
    Positions,
    age_of_beat_s,
    claim_key,
    claimed_names,
    claims_named,
    is_alive,
    machine_name,
    merged,
    process_started_at,
    process_ticks,
)

__all__ = ["Lease", "LeaseHeld", "LeaseLost", "LeaseProof"]

log = logging.getLogger(__name__)

# A beat that stood still for so long has no holder.
TIME_TO_LIVE_S = 20.0
# A worker asks whether the lease still stands at most this often.
PROOF_LASTS_S = 1.0
# Claims that meet are withdrawn and renewed within a fraction of a second.
CLAIMING_TAKES_S = 30.0


class LeaseHeld(RuntimeError):  # noqa: N818
    """Another run holds what this one wants."""

    def __init__(self, url: str, holder: Claim) -> None:
        super().__init__(url, holder)
        self.url = url
        self.holder = holder

    def __str__(self) -> str:
        h = self.holder
        return (
            f"{self.url} is held by the {h.kind} {h.run} (host {h.host}, pid {h.pid}) since "
            f"{h.since}: wait until it ends, or stop it"
        )


class LeaseLost(RuntimeError):  # noqa: N818
    """This run's lease was taken over: another run writes now."""


@dataclass(frozen=True)
class LeaseProof:
    """What a worker needs to see whether its run may still write; pickles."""

    objects: Objects
    key: str

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.key.split("/")[1]

    def check(self) -> None:
        """Raise unless the lease stands; asks at most once a second and process.

        Raises
        ------
        LeaseLost
            It was taken over or given back: a task that goes on after its driver's end.
        """
        asked = time.monotonic()  # not when the answer came: the process may have stood still
        if asked < _proved_until.get(self.key, 0.0):
            return
        if self.objects.nbytes(self.key) is None:
            raise LeaseLost(f"{self.key} is gone: another run may write now, this one must not")
        _proved_until[self.key] = asked + PROOF_LASTS_S


_proved_until: dict[str, float] = {}


class Lease:
    """The right of one run to write some positions; a context manager.

    Parameters
    ----------
    objects
        The folder of the records.
    run, kind
        Name of the run, and what it does.
    positions
        Half-open intervals of the append dim, or `STATIC`.
    time_to_live_s
        How long others wait before they take over the lease of a holder that is dead.

    Raises
    ------
    LeaseHeld
        On entering: another run holds some of it.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        run: str,
        kind: str,
        positions: Iterable[Positions],
        time_to_live_s: float = TIME_TO_LIVE_S,
    ) -> None:
        self.objects = objects
        self.claim = Claim(
            run=run,
            kind=kind,
            host=socket.gethostname(),
            machine=machine_name(),
            pid=os.getpid(),
            process_started=process_started_at(os.getpid()) or 0.0,
            process_ticks=process_ticks(os.getpid()),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            positions=merged(positions),
            beat_key=f"leases/{run}/beat",
            time_to_live_s=time_to_live_s,
        )
        self._ended = threading.Event()

    def __enter__(self) -> Lease:
        claimed = self._beat_and_look()
        try:
            _acquire(self.objects, self.claim.run, self.claim, claimed)
            calls: tuple[Callable[[], None], ...] = (
                lambda: self.objects.put(f"leases/{self.claim.run}/held", b""),
                lambda: _delete_remains(self.objects),
                # Another one may have taken the first beat for a remain.
                lambda: self._beat(0),
            )
            list(lookahead(lambda call: call(), calls, self.objects.at_once))
        except BaseException:
            _end(self.objects, self.claim.run)
            raise
        self._beating = threading.Thread(target=self._keep_beating, daemon=True, name="lease")
        self._beating.start()
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        def end() -> None:
            self._ended.set()
            self._beating.join()
            _end(self.objects, self.claim.run)

        self._give_back(end, error)

    @property
    def proof(self) -> LeaseProof:
        """What workers check before they write."""
        return LeaseProof(self.objects, claim_key(self.claim.run))

    @contextmanager
    def publishing(self, timeout_s: float = 120.0) -> Iterator[Callable[[], None]]:
        """Hold the store-wide right to publish; waits for others, who need it for a moment.

        Yields
        ------
        callable
            To be called before every step: it raises LeaseLost once the right is gone, as it is
            for a process that stood still and was presumed dead.

        Raises
        ------
        LeaseLost
            This run may not write any more.
        LeaseHeld
            Another run kept it for longer than `timeout_s`.
        """
        name = f"{self.claim.run}-publishing"
        claim = Claim(**{**vars(self.claim), "positions": (PUBLISHING,)})
        deadline = time.monotonic() + timeout_s

        def check(claimed: Collection[str] | None = None) -> None:
            names = claimed_names(self.objects) if claimed is None else claimed
            if not {self.claim.run, name} <= set(names):
                raise LeaseLost(f"run {self.claim.run} was presumed dead: it publishes nothing")

        try:
            # At first without a look, which is a request more where there is hardly a rival.
            claimed, rivals = _try(self.objects, name, claim)
            while rivals:
                if time.monotonic() > deadline:
                    raise LeaseHeld(self.objects.url, next(iter(rivals.values())))
                time.sleep(random.uniform(0.02, 0.2))
                rivals = _rivals(self.objects, name, claim, claimed_names(self.objects))
                if not rivals:
                    claimed, rivals = _try(self.objects, name, claim)
            check(claimed)
            yield check
        except BaseException as error:
            self._give_back(lambda: self.objects.delete(claim_key(name)), error)
            raise
        self._give_back(lambda: self.objects.delete(claim_key(name)))

    def _give_back(self, call: Callable[[], None], error: object = None) -> None:
        """Call what gives something back, again where a signal interrupts it."""
        try:
            try:
                call()
            except KeyboardInterrupt:
                call()
                raise
        except Exception as reason:
            # What ended the run says why; that its lease stays follows from that.
            if error is None:
                raise
            log.warning("the lease of %s stays until it is taken over: %s", self.claim.run, reason)

    def _beat_and_look(self) -> list[str]:
        """Write the first beat, which comes before the claim, and name the claims of others."""
        calls: tuple[Callable[[], list[str] | None], ...] = (
            lambda: self._beat(0),
            lambda: claimed_names(self.objects),
        )
        _, claimed = lookahead(lambda call: call(), calls, self.objects.at_once)
        return claimed or []

    def _keep_beating(self) -> None:
        number = 0
        while not self._ended.wait(self.claim.time_to_live_s / BEATS_PER_LIFE):
            number += 1
            try:
                self._beat(number)
            except Exception as error:  # whatever it is, without a beat the holder looks dead
                log.warning("the lease's beat cannot be written: %s", error)

    def _beat(self, number: int) -> None:
        content = {"number": number, "at": time.time()}
        self.objects.put(self.claim.beat_key, json.dumps(content).encode())


def _acquire(objects: Objects, name: str, claim: Claim, claimed: Collection[str]) -> None:
    """Claim, and wait for those who claim at this moment; not for who holds by the names given."""
    _refuse_if_held(objects, _rivals(objects, name, claim, claimed))
    deadline = time.monotonic() + CLAIMING_TAKES_S
    while True:
        _, rivals = _try(objects, name, claim)
        if not rivals:
            return
        _refuse_if_held(objects, rivals)
        if time.monotonic() > deadline:
            raise LeaseHeld(objects.url, next(iter(rivals.values())))
        # Another one claims at this moment and may have seen this claim: both stepped back.
        time.sleep(random.uniform(0.02, 0.3))


def _try(objects: Objects, name: str, claim: Claim) -> tuple[Collection[str], dict[str, Claim]]:
    """Claim, and withdraw if another claim overlaps; the names of all claims, and those others."""
    objects.put(claim_key(name), claim.to_json())
    claimed = claimed_names(objects)
    rivals = _rivals(objects, name, claim, claimed)
    if rivals:
        objects.delete(claim_key(name))
    return claimed, rivals


def _rivals(
    objects: Objects, name: str, claim: Claim, claimed: Collection[str]
) -> dict[str, Claim]:
    """Return overlapping claims of processes that live; those of dead ones are ended."""
    rivals = {}
    others = [other for other in claimed if other not in (name, claim.run)]
    for other, theirs in claims_named(objects, others).items():
        if not theirs.overlaps(claim):
            continue
        if is_alive(objects, theirs):
            rivals[other] = theirs
        else:
            log.warning("taking over from the %s %s, whose process died", theirs.kind, theirs.run)
            _end(objects, other)
    return rivals


def _refuse_if_held(objects: Objects, rivals: dict[str, Claim]) -> None:
    for name, claim in rivals.items():
        if objects.nbytes(f"leases/{name}/held") is not None:
            raise LeaseHeld(objects.url, claim)


def _end(objects: Objects, name: str) -> None:
    """End a lease: the claim first, which is what counts."""
    objects.delete(claim_key(name))
    rest = [f"leases/{name}/{part}" for part in ("held", "beat")]
    list(lookahead(objects.delete, rest, objects.at_once))


def _delete_remains(objects: Objects) -> None:
    """Delete what is left of claims whose holder died while it ended them."""
    keys = [tuple(key.split("/")[1:]) for key in objects.keys("leases")]
    claimed = {folder for folder, part in keys if part == "claim.json"}
    for folder, part in keys:
        if folder in claimed:
            continue
        key = f"leases/{folder}/{part}"
        # A beat comes before its claim; nothing else does.
        if part != "beat" or _is_long_ago(objects.get(key)):
            objects.delete(key)


def _is_long_ago(beat: bytes | None) -> bool:
    age_s = None if beat is None else age_of_beat_s(beat)
    return age_s is not None and abs(age_s) > 2 * CLAIMING_TAKES_S
