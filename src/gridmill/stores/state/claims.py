"""Claims: who wants which positions of an archive, and whether its process lives.

Death is told by what stands still, not by comparing clocks: a process of this host by its
pid, any other by a beat that does not change while it is watched, for two beats at least. Clocks
decide whether watching is worth the time, and how much of it has passed already.

See Also
--------
gridmill.stores.state.leases : how a claim becomes the right to write.
"""

from __future__ import annotations

import json
import logging
import socket
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from gridmill.model.region import Region
from gridmill.model.state_files import UnreadableState, known_fields, parse_state
from gridmill.stores.objects.protocol import Objects

__all__ = [
    "ADDING",
    "BEATS_PER_LIFE",
    "EVERYTHING",
    "PUBLISHING",
    "STATIC",
    "UPKEEP",
    "Claim",
    "Positions",
    "age_of_beat_s",
    "claim_key",
    "claimed_names",
    "claims_named",
    "current_claims",
    "is_alive",
    "machine_name",
    "merged",
    "positions_of",
    "process_started_at",
    "process_ticks",
]

log = logging.getLogger(__name__)

Positions = tuple[int, int]

# Pseudo positions, which overlap no region: what claims say of the static variables, see
# `positions_of`, of publishing, and of upkeep, beside which runs go on.
STATIC: Positions = (-1, 0)
PUBLISHING: Positions = (-3, -2)
UPKEEP: Positions = (-5, -4)
# Of adding variables, beside which runs go on, too.
ADDING: Positions = (-7, -6)
# Every position there may ever be, and the static variables.
EVERYTHING: Positions = (STATIC[0], 1 << 62)
# How often a holder beats in the time that its beat may stand still.
BEATS_PER_LIFE = 4
# What a claim must say; what a later gridmill says beside it is ignored.
CLAIM_NEEDS = {
    **dict.fromkeys(("run", "kind", "host", "machine", "since", "beat_key"), (str,)),
    **dict.fromkeys(("process_started", "time_to_live_s"), (int, float)),
    "pid": (int,),
    "positions": (list,),
}
END_CLAIM = (
    "whether its run still writes cannot be told, so no other begins; once no process of gridmill "
    "works on this archive, on any host, delete it"
)


@dataclass(frozen=True, kw_only=True)
class Claim:
    """Who claims what.

    Parameters
    ----------
    run, kind
        Name of the run, and what it does.
    host
        Name of the driver's host, for people.
    machine
        What must be equal for `pid` to mean the same process: boot and pid namespace.
    pid, process_started
        The driver's process; its start (seconds since 1970) tells it from a later one of the
        same pid, where nothing better does.
    process_ticks
        Its start in ticks since the machine was booted, which no clock that is set can move; None
        where the system does not tell, and in a claim of gridmill 0.1.0.
    since
        ISO 8601, UTC.
    positions
        Half-open intervals of the append dim.
    beat_key
        The object that changes while the holder lives.
    time_to_live_s
        How long it may stand still.
    """

    run: str
    kind: str
    host: str
    machine: str
    pid: int
    process_started: float
    since: str
    positions: tuple[Positions, ...]
    beat_key: str
    time_to_live_s: float
    process_ticks: int | None = None

    def overlaps(self, other: Claim) -> bool:
        """Whether both want a position."""
        return any(
            max(a[0], b[0]) < min(a[1], b[1]) for a in self.positions for b in other.positions
        )

    @property
    def has_static(self) -> bool:
        """Whether the static variables are among what is claimed."""
        return any(start <= STATIC[0] < stop for start, stop in self.positions)

    def to_json(self) -> bytes:
        """Serialise, in schema 1, which needs no number: gridmill 0.1.0 refuses what it lacks."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, content: bytes, address: str = "a claim") -> Claim:
        """Read what `to_json` wrote, also a later gridmill's of the same schema.

        Raises
        ------
        UnreadableState
            It is damaged, or of a later schema; `address` says which.
        """
        raw = known_fields(cls, parse_state(content, address, END_CLAIM, needs=CLAIM_NEEDS))
        try:
            positions = tuple((int(a), int(b)) for a, b in raw["positions"])
        except (TypeError, ValueError) as error:
            raise UnreadableState(address, f"has no positions ({error})", END_CLAIM) from error
        return cls(**{**raw, "positions": positions})


def current_claims(objects: Objects) -> list[Claim]:
    """Read all claims, of holders that live and of dead ones.

    Raises
    ------
    UnreadableState
        One cannot be read: its holder may live and write.
    """
    return list(claims_named(objects, claimed_names(objects)).values())


def positions_of(region: Region) -> Positions:
    """Return what a claim says of a region.

    Examples
    --------
    >>> positions_of(Region(4, 8)), positions_of(Region.STATIC)
    ((4, 8), (-1, 0))
    """
    return STATIC if region.is_static else (region.start, region.stop)


def merged(positions: Iterable[Positions]) -> tuple[Positions, ...]:
    """Join intervals that touch.

    Examples
    --------
    >>> merged([(4, 8), (0, 4), (12, 16)])
    ((0, 8), (12, 16))
    """
    # Those of millions of regions come in order: as they are joined first, few are sorted.
    return tuple(_joined(sorted(_joined(positions))))


def _joined(positions: Iterable[Positions]) -> Iterator[Positions]:
    """Join each interval with the one before it, if that holds or meets its start."""
    held: Positions | None = None
    for start, stop in positions:
        if held is not None and held[0] <= start <= held[1]:
            held = (held[0], max(stop, held[1]))
            continue
        if held is not None:
            yield held
        held = (start, stop)
    if held is not None:
        yield held


def is_alive(objects: Objects, claim: Claim) -> bool:
    """Whether a claim's process lives; watches its beat where that is the only way to tell.

    Notes
    -----
    A beat of another host that is half as old as it may be is late, and is watched from then on:
    when it has stood still for its time to live, by the clocks of both hosts and for the last two
    beats as seen here, its holder counts as dead. A beat whose age says nothing, because the
    clocks disagree or its holder died long ago, is watched for all of that time.
    """
    if claim.machine == machine_name():
        ticks = process_ticks(claim.pid)
        if claim.process_ticks is not None and ticks is not None:
            return ticks == claim.process_ticks and process_started_at(claim.pid) is not None
        started = process_started_at(claim.pid)
        return started is not None and abs(started - claim.process_started) < 1.0
    first = objects.get(claim.beat_key)
    if first is None:
        return False
    life_s, age_s = claim.time_to_live_s, age_of_beat_s(first)
    if age_s is not None and 0 <= age_s < life_s / 2:
        return True
    log.warning("watching whether the %s %s on %s still lives", claim.kind, claim.run, claim.host)
    known_s = age_s if age_s is not None and 0 <= age_s < 2 * life_s else 0.0
    deadline = time.monotonic() + max(life_s / 2, life_s - known_s)
    while (left_s := deadline - time.monotonic()) > 0:
        time.sleep(min(left_s, life_s / BEATS_PER_LIFE))
        if objects.get(claim.beat_key) != first:
            return True
    return False


def claims_named(objects: Objects, names: Iterable[str]) -> dict[str, Claim]:
    """Read claims by their names; those that ended meanwhile are left out."""
    contents = {name: objects.get(claim_key(name)) for name in names}
    return {
        name: Claim.from_json(content, f"{objects.url}/{claim_key(name)}")
        for name, content in contents.items()
        if content is not None
    }


def claimed_names(objects: Objects) -> list[str]:
    """Name all claims."""
    keys = objects.keys("leases")
    return [key.split("/")[1] for key in keys if key.endswith("/claim.json")]


def claim_key(name: str) -> str:
    """Return the key of a claim."""
    return f"leases/{name}/claim.json"


def machine_name() -> str:
    """Name this boot and pid namespace; a name of its own where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{socket.gethostname()} {uuid.getnode()} {psutil.boot_time():.0f}"


def process_started_at(pid: int) -> float | None:
    """When a process began, in seconds since 1970; None if there is none that lives."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def process_ticks(pid: int) -> int | None:
    """Return when a process began, in ticks since the machine was booted.

    None if there is none, or the system does not tell. Source: proc_pid_stat(5), field 22.
    """
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The second field, the program's name in parentheses, may hold anything.
    return int(told.rpartition(")")[2].split()[19])


def age_of_beat_s(beat: bytes) -> float | None:
    """Return the age of a beat by the clocks; None if it says none, and only watching it tells."""
    try:
        return time.time() - float(json.loads(beat)["at"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
