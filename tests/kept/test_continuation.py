"""Archives that earlier releases made are continued: nothing that was done is done again.

See Also
--------
kept.make : made them, and says in their manifest how each is to be continued.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from distributed import Client

from clusters import one_worker
from gridmill.model.records import ProgressRecord
from gridmill.testing import ArchiveServer, Request, S3Server, Status
from gridmill.validation import (
    AllReadable,
    CoordinatesAsDeclared,
    MetadataAsDeclared,
    ObjectsIntact,
    Opens,
    ReplicasEqual,
)
from kept.datasets import LEADS, STATIC_FILE, Provider, field_of, labels_of, path_of, places_of
from kept.restore import (
    BUCKET,
    Home,
    Kept,
    NoFixedPlace,
    Objects,
    Relay,
    fixed_place,
    home_of,
    kept_archives,
    open_kept,
    serving,
    unpack,
)

# Another run of tests may have the fixed place; a run takes minutes on a busy machine.
pytestmark = pytest.mark.timeout(1200)

READABLE = [kept for kept in kept_archives() if kept.is_readable]
FROM_SCRATCH = [kept for kept in READABLE if kept.about["name"].endswith("sharded-complete")]
VALIDATORS = (
    Opens(),
    MetadataAsDeclared(),
    CoordinatesAsDeclared(),
    ObjectsIntact(),
    ReplicasEqual(),
    AllReadable(),
)
# Of an Icechunk repository, what is never written twice.
IMMUTABLE = ("chunks", "manifests", "snapshots", "transactions")


@dataclass(frozen=True)
class Moment:
    """What had happened by a moment of a continuation.

    Parameters
    ----------
    objects
        By store (the archive, its replicas), its objects.
    requests
        What the source was asked since the moment before.
    """

    objects: Mapping[str, Objects]
    requests: tuple[Request, ...]


@dataclass(frozen=True)
class Continued:
    """A kept archive that was restored, read, backfilled to its end, and updated.

    Parameters
    ----------
    about
        What its manifest says.
    pending
        Places that its release settled for good without a value, which are tried once more: by
        variable and number of the region, the paths of those that it could not read, which are
        fetched anew.
    absent
        The paths of those that were not there: where their region is not made anyway it is only
        asked whether they are by now.
    restored, was_read, backfilled, updated
        The moments after each.
    plan
        What a backfill would do, before it did.
    status, status_after
        Before and after.
    found
        By validator, what was found before.
    backfill, update
        The runs' reports.
    redo
        Orders to make something again that are left.
    seen
        By store, what readers see in the end.
    """

    about: Mapping[str, Any]
    pending: Mapping[tuple[str, int], Sequence[str]]
    absent: Set[str]
    restored: Moment
    was_read: Moment
    backfilled: Moment
    updated: Moment
    plan: Mapping[str, Any]
    status: Any
    status_after: Any
    found: Mapping[str, Any]
    backfill: Any
    update: Any
    redo: tuple[str, ...]
    seen: Mapping[str, xr.Dataset]

    @property
    def todo(self) -> list[Sequence[Any]]:
        """The chains that are made: those that were open, and those that read a file once more."""
        again = [list(chain) for chain, paths in self.pending.items() if paths]
        return [*self.about["todo"], *(c for c in again if c not in self.about["todo"])]

    @property
    def fetched(self) -> Counter[str]:
        """What is fetched, and how often."""
        paths = {path for paths in self.pending.values() for path in paths}
        return Counter(self.about["fetched"]) | Counter(paths)


class Places:
    """Gives archives the places where they are restored; the fixed ones when first needed."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path, stack: ExitStack) -> None:
        self.request = request
        self.folder = folder
        self.stack = stack
        self._is_fixed = False
        self._options: dict[str, Any] | None = None
        self._relayed: dict[str, Any] | None = None

    def home_of(self, about: Mapping[str, Any]) -> Home:
        """Return the place of one archive; skip its tests where this machine does not have it."""
        try:
            if about["icechunk"] is not None and not self._is_fixed:
                self.stack.enter_context(fixed_place())
                self._is_fixed = True
            options = self._s3(about) if about["store"] == "s3" else None
        except NoFixedPlace as why:
            pytest.skip(str(why))
        return home_of(about, self.folder, options)

    def _s3(self, about: Mapping[str, Any]) -> dict[str, Any]:
        if self._options is None:
            server: S3Server = self.request.getfixturevalue("s3_server")
            server.create_bucket(BUCKET)
            self._options = server.storage_options
        if about["icechunk"] is None:
            return self._options
        if self._relayed is None:
            relay = self.stack.enter_context(Relay(self._options["endpoint_url"]))
            self._relayed = {**self._options, "endpoint_url": relay.url}
        return self._relayed


client = one_worker()


@pytest.fixture(scope="module")
def places(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Places]:
    """Where archives are restored."""
    with ExitStack() as stack:
        yield Places(request, tmp_path_factory.mktemp("kept"), stack)


@pytest.fixture(scope="module", params=READABLE, ids=str)
def continued(
    request: pytest.FixtureRequest, places: Places, client: Client, tmp_path_factory: Any
) -> Continued:
    """One of the kept archives, continued."""
    kept: Kept = request.param
    folder: Path = tmp_path_factory.mktemp("continued")
    home = places.home_of(kept.about)
    unpack(kept.file, folder / "archive")
    home.fill(folder / "archive")
    if home.storage_options is not None:
        time.sleep(1.1)  # S3 tells the time of an object in whole seconds
    with serving(folder / "source") as server:
        provide(kept.about, server)
        return run(kept.about, home, server, client)


def provide(about: Mapping[str, Any], server: ArchiveServer) -> None:
    """Put the source files there as they are when the archive is continued."""
    labels = labels_of(about["dataset"], about["positions"][1])
    places = [place for label in labels for place in places_of(about["dataset"], label)]
    provider = Provider(server.root)
    provider.publish([STATIC_FILE, *map(path_of, places)], about["version"])
    does: dict[str, Callable[[str], None]] = {
        "absent": provider.withdraw,
        "broken": provider.break_file,
        "cut": provider.cut_file,
        "failing": lambda path: server.inject(path, Status(), times=None),
    }
    for kind, paths in about["provider"].items():
        for path in paths:
            does[kind](path)


def run(about: Mapping[str, Any], home: Home, server: ArchiveServer, client: Client) -> Continued:
    """Continue a restored archive, and watch the source and the stores."""
    dataset = open_kept(about, home, server)
    names = [Path(store.url).name for store in (dataset.store, *dataset.replicas)]
    seen_requests = 0

    def moment() -> Moment:
        nonlocal seen_requests
        new = server.requests[seen_requests:]
        seen_requests += len(new)
        return Moment({name: home.objects(name) for name in names}, tuple(new))

    records = dataset.store.progress()
    pending = pending_in(records, dataset.declared.region_length)
    until, now, arguments = about["until"], about["now"], about["arguments"]
    restored = moment()
    plan = dataset.plan(until, now=now, **arguments).summary()
    status, found = dataset.status(now=now), dataset.validate(VALIDATORS, now=now).found_by
    was_read = moment()
    backfill = dataset.backfill(until, now=now, client=client, **arguments)
    backfilled = moment()
    update = dataset.reformat_operational_update(now=now, client=client)
    updated = moment()
    return Continued(
        about=about,
        pending=pending,
        absent={url for record in records for url in absent_in(record)},
        restored=restored,
        was_read=was_read,
        backfilled=backfilled,
        updated=updated,
        plan=plan,
        status=status,
        status_after=dataset.status(now=now),
        found=found,
        backfill=backfill,
        update=update,
        redo=tuple(dataset.store.state.keys("redo")),
        seen={
            name: loaded(store)
            for name, store in zip(names, (dataset.store, *dataset.replicas), strict=True)
        },
    )


def pending_in(
    records: Iterable[ProgressRecord], region_length: int
) -> dict[tuple[str, int], list[str]]:
    """Return the places that are settled without a value, see `Continued`."""
    found: dict[tuple[str, int], list[str]] = {}
    for record in records:
        for name, index in record.pending():
            paths = found.setdefault((name, record.start // region_length), [])
            if index in record.variables[name].unread:
                paths.append(record.groups[record.variables[name].group][index].url)
    return found


def absent_in(record: ProgressRecord) -> Iterator[str]:
    """Yield the paths of files that are settled and were not there."""
    for name, index in record.pending():
        if index not in record.variables[name].unread:
            yield record.groups[record.variables[name].group][index].url


def loaded(store: Any) -> xr.Dataset:
    """Return what readers of a store see, in memory."""
    with store.open_dataset() as ds:
        return ds.load()


# -- the guarantees ---------------------------------------------------------------------------


def test_plan_says_what_is_open_and_nothing_else(continued: Continued) -> None:
    """`plan` names the chains that were not done, which for a complete archive are none.

    And those of which source files are asked for once more.
    """
    chains = {tuple(chain) for chain in continued.todo} | continued.pending.keys()
    assert continued.plan["chains"] == len(chains)
    if not chains:
        assert (continued.plan["region_jobs_to_do"], continued.plan["source_files"]) == (0, 0)


def test_reading_asks_the_source_nothing_and_writes_nothing(continued: Continued) -> None:
    """`plan`, `status` and `validate` read an archive of another release and leave it as it is."""
    assert continued.was_read.requests == ()
    assert continued.was_read.objects == continued.restored.objects
    assert not set(continued.found) - expected_findings(continued.about)
    assert continued.status.positions > 0
    assert continued.status.regions > 0


def test_nothing_that_was_done_is_requested_again(continued: Continued) -> None:
    """A backfill fetches each file that is open once, and asks the source for no other."""
    requests = continued.backfilled.requests
    whole = Counter(request.path for request in requests if request.byte_range is None)
    assert {path: n for path, n in whole.items() if path not in continued.absent} == {
        path: n for path, n in continued.fetched.items() if path not in continued.absent
    }
    assert {request.path for request in requests} <= {*continued.fetched, *continued.absent}


def test_an_update_fetches_nothing_that_is_known(continued: Continued) -> None:
    """After that an update asks which versions there are, and fetches none of them."""
    assert {request.byte_range for request in continued.updated.requests} <= {"bytes=0-0"}


def test_no_object_of_what_was_done_is_rewritten(continued: Continued) -> None:
    """Only objects of chains that were open are put; nothing at all where none was."""
    todo = continued.todo
    before, after = continued.restored.objects, continued.backfilled.objects
    for store in before:
        if not todo:
            assert after[store] == before[store]
        elif any(key.startswith("snapshots/") for key in before[store]):
            assert_icechunk_is_kept(before[store], after[store], len(todo))
        else:
            assert_data_are_kept(before[store], after[store], todo)


def test_an_update_then_puts_no_object(continued: Continued) -> None:
    """An update that learns nothing new leaves every object of every store alone."""
    assert continued.updated.objects == continued.backfilled.objects


def test_what_was_done_is_skipped(continued: Continued) -> None:
    """The backfill reports as done what was open, the rest as skipped, the update all of it."""
    backfill, update, todo = continued.backfill, continued.update, len(continued.todo)
    assert (backfill.failures, backfill.interrupted, update.failures) == ([], None, [])
    assert backfill.variables_done == todo
    assert backfill.variables_skipped == continued.about["chains"] - todo
    assert (update.variables_done, update.files.total()) == (0, 0)


def test_readers_see_the_values_of_an_uninterrupted_run(continued: Continued) -> None:
    """Archive and replicas hold each label's values by formula, and NaN only in the gaps."""
    for ds in continued.seen.values():
        assert_labels(ds, continued.about)
        assert_values(ds, continued.about)
        assert_completeness(ds, continued.about)


def test_nothing_is_left_to_do(continued: Continued) -> None:
    """Afterwards nothing is late, incomplete, in hand or ordered again, and gaps are counted."""
    status = continued.status_after
    assert continued.redo == ()
    assert (status.late, status.incomplete, status.running) == (0, (), ())
    assert (status.gaps > 0) is bool(continued.about["missing"])


@pytest.mark.parametrize("kept", FROM_SCRATCH, ids=str)
def test_the_same_sources_give_the_same_bytes(
    kept: Kept, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run from scratch stores, with the same libraries, what that release stored.

    But for what stands where there is no time yet: that was 0.
    """
    monkeypatch.setattr("gridmill.model.variables.NOT_A_TIME", 0)
    if (differing := kept.differing("zarr", "numcodecs")) is not None:
        pytest.skip(differing)
    unpack(kept.file, tmp_path / "kept" / kept.about["name"])
    was = home_of(kept.about, tmp_path / "kept", None)
    new = home_of(kept.about, tmp_path / "new", None)
    with serving(tmp_path / "source") as server:
        provide(kept.about, server)
        open_kept(kept.about, new, server).backfill(kept.about["until"], client=client)
    wanted, found = (
        {key: content for key, (content, *_) in home.objects("archive").items() if "/c/" in key}
        for home in (was, new)
    )
    assert found == wanted
    assert wanted


def test_archives_of_each_kind_are_kept() -> None:
    """They cover both formats, both kinds of places, both Icechunks, and stay small."""
    kept = kept_archives()
    kinds = {(one.about["format"], one.about["store"]) for one in kept}
    assert kinds == {(f, s) for f in ("zarr", "icechunk") for s in ("local", "s3")}
    assert {one.about["icechunk"] for one in kept} == {None, 1, 2}
    nbytes: Counter[str] = Counter()
    for one in kept:
        nbytes[one.file.parent.name] += one.file.stat().st_size
    assert max(nbytes.values()) < 2_000_000


def expected_findings(about: Mapping[str, Any]) -> set[str]:
    """Return which validators find something before an archive is continued.

    On Icechunk the records of a redo that was interrupted speak of objects that wait for the
    publication, so that those which readers see are others.
    """
    return {"objects"} if about["state"] == "redo" and about["format"] == "icechunk" else set()


# -- comparisons ------------------------------------------------------------------------------


def assert_data_are_kept(before: Objects, after: Objects, todo: list[tuple[str, int]]) -> None:
    """Compare the objects of variables, but those of chains that were open."""
    data = {name for name, _ in todo} | {"temperature", "rain", "orography"}
    opened = tuple(f"{name}/c/" if at is None else f"{name}/c/{at}/" for name, at in todo)
    kept = [k for k in before if k.split("/")[0] in data and "/c/" in k]
    assert kept
    for key in kept:
        assert key.startswith(opened) or after.get(key) == before[key], f"{key} was put again"


def assert_icechunk_is_kept(before: Objects, after: Objects, most: int) -> None:
    """Compare what a repository never writes twice, and count the chunks that came."""
    for key in (key for key in before if key.split("/")[0] in IMMUTABLE):
        assert after.get(key) == before[key], f"{key} was put again"
    new = [key for key in after if key.startswith("chunks/") and key not in before]
    assert len(new) <= most


def assert_labels(ds: xr.Dataset, about: Mapping[str, Any]) -> None:
    """Compare the labels of the append dim, and the leads."""
    first, stop = about["positions"]
    labels = labels_of(about["dataset"], stop)[first:]
    dim = next(iter(ds["rain"].dims))
    assert list(ds.get_index(dim)) == labels
    if "lead_time" in ds.dims:
        assert list(pd.to_timedelta(ds["lead_time"].values)) == list(LEADS[:3])


def assert_values(ds: xr.Dataset, about: Mapping[str, Any]) -> None:
    """Compare every value with the formula."""
    first, stop = about["positions"]
    labels = labels_of(about["dataset"], stop)
    for name in ds.data_vars:
        if name == "orography":
            wanted = field_of(STATIC_FILE, "orography", about["version"])
            np.testing.assert_array_equal(ds[name].values, wanted)
            continue
        for at in range(first, stop):
            files = places_of(about["dataset"], labels[at])[: ds.sizes.get("lead_time", 1)]
            fields = [field_of(path_of(file), str(name), about["version"]) for file in files]
            wanted = np.stack(fields) if "lead_time" in ds.dims else fields[0]
            if at in about["missing"].get(name, ()):
                wanted = np.full_like(wanted, np.nan)
            np.testing.assert_array_equal(ds[name].values[at - first], wanted, f"{name} {at}")


def assert_completeness(ds: xr.Dataset, about: Mapping[str, Any]) -> None:
    """Compare how much arrived with what is missing, where that is told."""
    if "completeness" in ds:
        gone = about["missing"].get("rain", [])
        wanted = np.ones(ds["completeness"].shape, "float32")
        wanted[gone] = 0
        np.testing.assert_array_equal(ds["completeness"].values, wanted)
