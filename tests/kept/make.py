"""Make the kept archives with the gridmill that is installed.

    python tests/kept/make.py --to tests/kept/archives/0.1.0 [--only NAME]

Icechunk archives are made for the major version of Icechunk that is installed; those without
Icechunk where that is not 2, so that each is made once. A manifest that is there is added to.
Archives of a release that is out are not made again: each release adds a folder of its own.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from distributed import Client

from clusters import local_client
from gridmill.operations.accept import accept_files
from gridmill.runs.narration import Event
from gridmill.testing import ArchiveServer, S3Server, Status
from kept.datasets import REGION, STATIC_FILE, Provider, labels_of, path_of, places_of
from kept.restore import (
    BUCKET,
    Relay,
    fixed_place,
    home_of,
    icechunk_major,
    open_kept,
    pack,
    serving,
)

LIBRARIES = ("gridmill", "zarr", "numcodecs", "icechunk", "xarray", "dask", "numpy", "pandas")


@dataclass(frozen=True, kw_only=True)
class State:
    """A state that archives are kept in.

    Parameters
    ----------
    about
        The state in a few words.
    make
        Brings an archive into it.
    dataset
        Which of `DATASETS`.
    fetched
        Positions whose files the continuation has to fetch; None for what `plan` says.
    missing
        By variable, positions that have no value after it.
    absent, broken, cut, failing
        Positions whose files, when it is continued, are not there, cannot be read, have no
        rain, or are answered with status 503.
    positions, first
        How many positions it has after the continuation, and the first of them.
    arguments
        What `backfill` is called with to continue it, beside `until`.
    version
        Of the source files.
    """

    about: str
    make: Callable[[Site], None]
    dataset: str = "Hourly"
    fetched: Sequence[int] | None = ()
    missing: Mapping[str, Sequence[int]] = field(default_factory=dict)
    absent: Sequence[int] = ()
    broken: Sequence[int] = ()
    cut: Sequence[int] = ()
    failing: Sequence[int] = ()
    positions: int = 16
    first: int = 0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    version: int = 0

    def paths(self, at: Sequence[int]) -> list[str]:
        """Return the source files of positions."""
        labels = labels_of(self.dataset, self.positions + 1)
        return [path_of(place) for n in at for place in places_of(self.dataset, labels[n])]

    def label(self, at: int) -> str:
        """Return the label of a position, ISO 8601; that of the last one ends the archive."""
        return str(labels_of(self.dataset, at + 1)[at].isoformat())


@dataclass
class Site:
    """Where one archive is made: its dataset, its provider, and the calls so far."""

    state: State
    dataset: Any
    provider: Provider
    server: ArchiveServer
    client: Client
    calls: list[str] = field(default_factory=list)

    def backfill(self, first: int | None = None, stop: int | None = None, **more: Any) -> None:
        """Fill the archive's regions from one position to another."""
        if first is not None:
            more["start"] = self.state.label(first)
        if stop is not None:
            more["end"] = self.state.label(stop)
        until = self.state.label(self.state.positions)
        given = [f"{k}={v!r}" for k, v in more.items() if k != "listener"]
        self.calls.append(f"backfill({', '.join([repr(until), *given])}, now={until!r})")
        self.dataset.backfill(until, now=until, client=self.client, **more)

    def publish(self, *, but: Sequence[int] = (), version: int = 0) -> None:
        """Publish every source file but those of some positions."""
        chosen = [at for at in range(self.state.positions) if at not in but]
        self.provider.publish([*self.state.paths(chosen), STATIC_FILE], version)

    def fail(self, at: int) -> None:
        """Answer 503 for a position's files from now on."""
        for path in self.state.paths([at]):
            self.server.inject(path, Status(), times=None)


# -- states -----------------------------------------------------------------------------------


def complete(site: Site) -> None:
    """All is done."""
    site.publish()
    site.backfill()


def partly(site: Site) -> None:
    """The first, second and last region are done; the third is not begun."""
    site.publish()
    site.backfill(stop=8)
    site.backfill(first=12)


def gaps(site: Site) -> None:
    """Every kind of gap, see STATES."""
    site.publish(but=[1, 15])
    site.provider.break_file(site.state.paths([2])[0])
    site.provider.cut_file(site.state.paths([9])[0])
    site.backfill(stop=4)
    site.fail(5)
    site.backfill()


def accepted(site: Site) -> None:
    """A failed download and a file without rain were settled by hand."""
    site.publish()
    site.provider.cut_file(site.state.paths([9])[0])
    site.fail(5)
    site.backfill()
    names = site.state.paths([5, 9])
    until = site.state.label(site.state.positions)
    site.calls.append(f"accept_files({names!r}, who='operator', why='lost', now={until!r})")
    accept_files(site.dataset, names, who="operator", why="lost", now=until)


class Killed(BaseException):
    """Ends a run as Ctrl-C does."""


def redo(site: Site) -> None:
    """All was done, and a run that was to make it again ended in its middle."""
    site.publish()
    site.backfill()
    site.publish(version=1)

    ended = iter(range(3))

    def stop(event: Event) -> None:
        if event.kind == "region" and next(ended, None) is None:
            raise Killed

    with suppress(Killed):
        site.backfill(redo=True, listener=stop)
    site.calls[-1] += "  # ended in its middle"
    assert list(site.dataset.store.state.keys("redo")), "the run came to its end"


def unpublished(site: Site) -> None:
    """A failed download holds back what was uploaded after it."""
    site.publish()
    site.fail(5)
    site.backfill()


def settled_and_awaited(site: Site) -> None:
    """A gap that is settled, and the last two files not there yet."""
    site.publish(but=[1, 14, 15])
    site.backfill()


def narrowed(site: Site) -> None:
    """One variable, from the second region on; the last region is not done."""
    site.publish()
    site.backfill(first=4, stop=12, variables=["rain"])


def limited(site: Site) -> None:
    """Forecasts up to six hours; the last region is not done."""
    site.publish()
    site.backfill(stop=12, max_lead="6h")


LAST = tuple(range(12, 16))
PARTLY = {
    "about": "regions 0, 1 and 3 done, 2 not begun; 3 is recorded and not published",
    "make": partly,
    "fetched": (8, 9, 10, 11),
}
STATES = {
    "complete": State(about="complete", make=complete),
    "unsharded-complete": State(about="complete", make=complete, dataset="Unsharded"),
    "partly": State(**PARTLY),
    "unsharded-partly": State(**PARTLY, dataset="Unsharded"),
    "irregular-partly": State(
        **{**PARTLY, "about": f"irregular time axis; {PARTLY['about']}"},
        dataset="Irregular",
        positions=15,
    ),
    "360-day-partly": State(
        **{**PARTLY, "about": f"360-day calendar; {PARTLY['about']}"}, dataset="Days360"
    ),
    "gaps": State(
        about="1 absent and settled, 2 unreadable twice and settled, 5 download failed, 9 without "
        "rain once and not settled, 15 not yet available; regions 2 and 3 not published",
        make=gaps,
        fetched=(5, 9, 15),
        missing={"temperature": (1, 2), "rain": (1, 2, 9)},
        absent=(1,),
        broken=(2,),
        cut=(9,),
    ),
    "accepted": State(
        about="5 (download failed) and 9 (without rain) accepted by an operator",
        make=accepted,
        missing={"temperature": (5,), "rain": (5, 9)},
        cut=(9,),
        failing=(5,),
    ),
    "redo": State(
        about="a redo of all was interrupted: its order is left, part of the regions made again",
        make=redo,
        fetched=None,
        positions=24,
        arguments={"redo": True},
        version=1,
    ),
    "unpublished": State(
        about="5 download failed; regions 2 and 3 uploaded, recorded and not published",
        make=unpublished,
        fetched=(5,),
    ),
    "completeness": State(
        about="with completeness; 1 absent and settled, 14 and 15 not yet available; a region "
        "that is completed is read again",
        make=settled_and_awaited,
        dataset="WithCompleteness",
        fetched=LAST,
        missing={"temperature": (1,), "rain": (1,)},
        absent=(1,),
    ),
    "narrowed": State(
        about="made with variables rain alone and a later start; region 3 not begun",
        make=narrowed,
        fetched=LAST,
        first=4,
    ),
    "lead": State(
        about="forecasts made with max_lead 6h, with completeness; region 3 not begun",
        make=limited,
        dataset="Forecasts",
        fetched=LAST,
    ),
}
# By name: the state, the store's format, local or s3, and the formats of the replicas.
PLAIN = {
    "plain-sharded-complete": ("complete", "zarr", "local", ()),
    "plain-sharded-partly": ("partly", "zarr", "local", ()),
    "plain-sharded-gaps": ("gaps", "zarr", "local", ()),
    "plain-sharded-accepted": ("accepted", "zarr", "local", ()),
    "plain-sharded-redo": ("redo", "zarr", "local", ()),
    "plain-sharded-replica-unpublished": ("unpublished", "zarr", "local", ("zarr",)),
    "plain-sharded-narrowed": ("narrowed", "zarr", "local", ()),
    "plain-unsharded-complete": ("unsharded-complete", "zarr", "local", ()),
    "plain-unsharded-partly": ("unsharded-partly", "zarr", "local", ()),
    "plain-irregular-partly": ("irregular-partly", "zarr", "local", ()),
    "plain-360-day-partly": ("360-day-partly", "zarr", "local", ()),
    "plain-completeness-gaps": ("completeness", "zarr", "local", ()),
    "plain-forecast-lead": ("lead", "zarr", "local", ()),
    "s3-plain-sharded-gaps": ("gaps", "zarr", "s3", ()),
    "s3-plain-sharded-redo": ("redo", "zarr", "s3", ()),
    "s3-plain-unsharded-replica-partly": ("unsharded-partly", "zarr", "s3", ("zarr",)),
}
ICECHUNK = {
    "icechunk{}-complete": ("complete", "icechunk", "local", ()),
    "icechunk{}-gaps": ("gaps", "icechunk", "local", ()),
    "icechunk{}-accepted": ("accepted", "icechunk", "local", ()),
    "icechunk{}-redo": ("redo", "icechunk", "local", ()),
    "icechunk{}-replica-unpublished": ("unpublished", "icechunk", "local", ("icechunk",)),
    "icechunk{}-plain-replica-partly": ("partly", "icechunk", "local", ("zarr",)),
    "icechunk{}-completeness-gaps": ("completeness", "icechunk", "local", ()),
    "icechunk{}-narrowed": ("narrowed", "icechunk", "local", ()),
    "icechunk{}-irregular-partly": ("irregular-partly", "icechunk", "local", ()),
    "icechunk{}-360-day-partly": ("360-day-partly", "icechunk", "local", ()),
    "s3-icechunk{}-unpublished": ("unpublished", "icechunk", "s3", ()),
    "s3-icechunk{}-gaps": ("gaps", "icechunk", "s3", ()),
}


def recipes() -> dict[str, tuple[str, str, str, tuple[str, ...]]]:
    """Return what is to be made with the libraries that are installed, by name."""
    major = icechunk_major()
    with_icechunk = {name.format(major): recipe for name, recipe in ICECHUNK.items()}
    return {**(PLAIN if major != 2 else {}), **(with_icechunk if major else {})}


# -- making -----------------------------------------------------------------------------------


def make(name: str, to: Path, client: Client, storage_options: Mapping[str, Any]) -> dict[str, Any]:
    """Make one archive, pack it, and return what is known of it."""
    state_name, store_format, store, replicas = recipes()[name]
    state = STATES[state_name]
    is_icechunk = "icechunk" in (store_format, *replicas)
    about = {
        "name": name,
        "about": state.about,
        "state": state_name,
        "dataset": state.dataset,
        "format": store_format,
        "store": store,
        "replicas": list(replicas),
        "icechunk": icechunk_major() if is_icechunk else None,
    }
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder, "source")) as server:
        home = home_of(about, Path(folder), storage_options)
        site = Site(state, open_kept(about, home, server), Provider(server.root), server, client)
        state.make(site)
        about |= continuation(site)
        home.take(Path(folder, "taken"))
        pack(Path(folder, "taken"), to / f"{name}.tar.xz")
        if store == "local":
            shutil.rmtree(home.root)
    return {**about, "calls": site.calls, "libraries": libraries()}


def continuation(site: Site) -> dict[str, Any]:
    """Return how the archive is continued, and what that may touch."""
    state = site.state
    until = state.label(state.positions)
    plan = site.dataset.plan(until, now=until, **state.arguments)
    fetched, todo = set(), []
    for region in plan.prepared():
        for group in (group for group in region.groups if group.todo):
            number = None if region.job.is_static else region.job.region.start // REGION
            todo += [(name, number) for name in group.todo]
            new = [file for at, file in enumerate(group.files) if at not in group.kept]
            fetched |= {file.coord.get_url() for file in new}
    if state.fetched is None:
        assert 0 < len(fetched) < state.positions, f"{len(fetched)} files are left"
    else:
        wanted = {path for path in state.paths(state.fetched) if "f009" not in path}
        assert fetched == wanted, f"{sorted(fetched)} are to be fetched, not {sorted(wanted)}"
    return {
        "until": until,
        "now": until,
        "arguments": dict(state.arguments),
        "version": state.version,
        "positions": [state.first, state.positions],
        "missing": {name: list(at) for name, at in state.missing.items()},
        "provider": {
            kind: state.paths(getattr(state, kind))
            for kind in ("absent", "broken", "cut", "failing")
        },
        "fetched": sorted(fetched),
        "todo": todo,
        "chains": sum(len(job.data_vars) for job in plan.jobs),
    }


def libraries() -> dict[str, str]:
    """Return the versions of what makes archives."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def main() -> None:
    """Make the archives, and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--only", action="append", choices=sorted(recipes()))
    given = parser.parse_args()
    manifest = given.to / "manifest.json"
    there = json.loads(manifest.read_text())["archives"] if manifest.exists() else []
    archives = {about["name"]: about for about in there}
    with ExitStack() as stack:
        stack.enter_context(fixed_place())
        s3 = stack.enter_context(S3Server())
        relay = stack.enter_context(Relay(s3.endpoint_url))
        s3.create_bucket(BUCKET)
        client = stack.enter_context(local_client(n_workers=1, processes=False))
        for name in given.only or recipes():
            options = {**s3.storage_options, "endpoint_url": relay.url}
            archives[name] = make(name, given.to, client, options)
            size = (given.to / f"{name}.tar.xz").stat().st_size
            print(f"{name}: {size / 1000:.1f} kB, {archives[name]['about']}", flush=True)
    ordered = [archives[name] for name in sorted(archives)]
    manifest.write_text(json.dumps({"archives": ordered}, indent=1) + "\n")


if __name__ == "__main__":
    main()
