"""How much of each position arrived: readers are told, and never more than is there."""

from __future__ import annotations

import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pytest
import zarr
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from arrivals import (
    LEADS,
    MEMBERS,
    Arriving,
    ArrivingJob,
    ArrivingTemplate,
    ForecastJob,
    ForecastProvider,
    Forecasts,
    ForecastTemplate,
    claimed_and_there,
    inits,
    places,
    url_of,
)
from clusters import one_worker
from gridmill.dataset import DynamicalDataset
from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import Completeness
from gridmill.operations.migrate import migrate_metadata
from gridmill.operations.restore import restore_metadata
from gridmill.operations.truncate import truncate
from gridmill.planning.belief import nothing_missing
from gridmill.planning.prepare import prepare_region
from gridmill.publishing.publisher import Publisher
from gridmill.publishing.shares import recorded_completeness
from gridmill.stores.icechunk import publication
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.state.records import UpdateProgressTracker
from gridmill.validation import CoordinatesAsDeclared
from stored_structure import root_metadata
from tiny import HOUR, START, Provider, TinyTemplate, dataset_of, hours, snapshot, until

FORMATS = ("zarr", "icechunk")
OK = SourceFileStatus.SUCCEEDED
ABSENT = SourceFileStatus.NOT_YET_AVAILABLE
N = 8
UNREADABLE = b"no array"
# All that the provider lacks is a gap by then.
LATER = START + HOUR * 100


client = one_worker()


@pytest.fixture(params=FORMATS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each format of a final store."""
    return str(request.param)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider that lacks an hour, and has one that cannot be read."""
    provider = Provider(tmp_path / "provider")
    provider.publish(label for label in hours(N) if label != hours(N)[2])
    provider.break_file(hours(N)[5], UNREADABLE)
    return provider


WITH_GAPS = [1, 1, 0, 1, 1, 0, 1, 1]


def arriving(tmp_path: Path, provider: Provider, kind: str, **options: Any) -> DynamicalDataset:
    """Give the tiny archive."""
    url = tmp_path / f"a.{kind}"
    return Arriving(url, source_base=str(provider.root), format=kind, **options)


def shown(dataset: DynamicalDataset) -> list[float]:
    """Give what readers are told; on the way check that it is not more than there is."""
    claimed, there = read(dataset)
    assert (claimed <= there).all(), (claimed, there)
    if not dataset.store.shows_uploads:
        np.testing.assert_array_equal(claimed, there)
    return [float(value) for value in claimed.ravel()]


def read(dataset: DynamicalDataset) -> tuple[np.ndarray, np.ndarray]:
    """Read as `claimed_and_there`; again where a shard is replaced meanwhile, which is an error."""
    for _ in range(20):
        with suppress(ValueError), dataset.store.open_dataset() as ds:
            return claimed_and_there(ds)
    raise AssertionError("a shard that is replaced is torn for a moment only")


def built(dataset: DynamicalDataset, client: Client, n: int = N) -> DynamicalDataset:
    """Build the archive as far as the provider lets it: what cannot be read twice is settled."""
    dataset.backfill(until(n), client=client, now=LATER)
    dataset.backfill(until(n), client=client, now=LATER)
    return dataset


# -- what the values are ------------------------------------------------------------------------


@st.composite
def outcomes(draw: Any) -> dict[str, Any]:
    """Draw what became of each place's file, and of each variable."""
    every = places(2)
    return {
        "absent": draw(st.sets(st.sampled_from(every))),
        "unread": {name: draw(st.sets(st.sampled_from(every))) for name in ("a", "b", "rain")},
        "failed": draw(st.sets(st.sampled_from(["a", "b", "rain"]), max_size=1)),
        "dims": draw(
            st.sampled_from(
                [
                    ("init_time",),
                    ("init_time", "lead_time"),
                    ("init_time", "member", "lead_time"),
                ]
            )
        ),
    }


CONFIG = ForecastTemplate()
TEMPLATE = CONFIG.get_template(inits(3)[2])
ARRAY = root_metadata()["consolidated_metadata"]["metadata"]["a"]
ARRAYS = {var.name: ARRAY for var in CONFIG.data_vars}


def job_of(job_class: type[ForecastJob] = ForecastJob, region: slice = slice(0, 2)) -> ForecastJob:
    """Give the job of the first region."""
    return job_class(
        template_ds=TEMPLATE, data_vars=CONFIG.data_vars, append_dim="init_time", region=region
    )


def record_of(job: ForecastJob, drawn: dict[str, Any]) -> ProgressRecord:
    """Record what was drawn."""
    prepared = prepare_region(job, None, ARRAYS, nothing_missing)
    groups, variables = [], {}
    for number, group in enumerate(prepared.groups):
        keys = [(f.coord.init, f.coord.lead, f.coord.member) for f in group.files]
        groups.append(
            tuple(
                SourceFileRecord(
                    url=url_of(key),
                    start=0,
                    stop=1,
                    status=ABSENT if key in drawn["absent"] else OK,
                    settled=True,
                )
                for key in keys
            )
        )
        for var in group.variables:
            unread = {
                at: (True, "no") for at, key in enumerate(keys) if key in drawn["unread"][var.name]
            }
            state: Any = "failed" if var.name in drawn["failed"] else "done"
            variables[var.name] = VariableRecord(
                state=state, group=number, fingerprint=group.fingerprints[var.name], unread=unread
            )
    return ProgressRecord(
        dataset_id="arrivals", start=0, stop=2, groups=tuple(groups), variables=variables
    )


def counted(drawn: dict[str, Any]) -> np.ndarray:
    """Count place by place and variable by variable."""
    labels = {"init_time": inits(2), "lead_time": LEADS, "member": MEMBERS}
    shape = [len(labels[dim]) for dim in drawn["dims"]]
    expected, arrived = np.zeros(shape), np.zeros(shape)
    for place in places(2):
        of_dim = dict(zip(("init_time", "lead_time", "member"), place, strict=True))
        cell = tuple(list(labels[dim]).index(of_dim[dim]) for dim in drawn["dims"])
        for name in ("a", "b", "rain"):
            if name == "rain" and place[1] == LEADS[0]:
                continue
            is_there = place not in drawn["absent"] | drawn["unread"][name]
            expected[cell] += 1
            arrived[cell] += is_there and name not in drawn["failed"]
    return (arrived / expected).astype("float32")


@settings(max_examples=60)
@given(outcomes())
def test_it_is_the_share_of_variables_and_files_that_were_read(drawn):
    """Files that are absent, unreadable for a variable, or of a variable that failed count as 0.

    A lead for which the job lists no file of a variable is not expected of it.
    """
    job = job_of()
    coordinate = Completeness(dims=drawn["dims"])
    found = recorded_completeness(job, record_of(job, drawn), coordinate, ARRAYS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, counted(drawn), rtol=1e-6)
    assert ((found == 1) == (counted(drawn) == 1)).all()


NOTHING_WRONG: dict[str, Any] = {
    "absent": set(),
    "unread": {name: set() for name in ("a", "b", "rain")},
    "failed": set(),
}


class Deaccumulating(ForecastJob):
    """Makes each lead's rain from it and the one before."""

    whole_dims = ("lead_time",)

    def provenance(self, filled, data_var):
        """A rate needs two sums."""
        if data_var.name != "rain":
            return filled
        before = filled.copy()
        before[:, 2:] = filled[:, 1:-1]
        return filled & before


def test_a_value_that_rests_on_an_absent_file_is_not_there():
    """What a transformation makes of several files counts where all of them arrived."""
    init = inits(1)[0]
    drawn = {**NOTHING_WRONG, "absent": {(init, LEADS[1], 0)}}
    job = job_of(Deaccumulating)
    coordinate = Completeness(dims=("init_time", "lead_time", "member"))
    found = recorded_completeness(job, record_of(job, drawn), coordinate, ARRAYS)
    assert found[0, :, 0].tolist() == [1, 0, np.float32(2 / 3)]
    assert (found[0, :, 1] == 1).all()
    assert (found[1] == 1).all()


def test_what_the_provider_ended_is_not_expected():
    """From its `valid_until` on, a variable lowers nothing."""
    ended = [replace(v, valid_until="2020-01-01T06:00") for v in CONFIG.data_vars if v.name == "a"]
    drawn = {**NOTHING_WRONG, "unread": {**NOTHING_WRONG["unread"], "a": set(places(2))}}
    job = job_of()
    record = record_of(job, drawn)
    job = replace(job, data_vars=[*ended, *CONFIG.data_vars[1:]])
    found = recorded_completeness(job, record, Completeness(dims=("init_time",)), ARRAYS)
    assert found[0] < 1
    assert found[1] == 1


def test_nothing_is_there_where_nothing_is_recorded():
    """Without a record, all is 0; so is what no file is expected for."""
    job = job_of()
    nothing = ProgressRecord(dataset_id="arrivals", start=0, stop=2)
    coordinate = Completeness(dims=("init_time", "lead_time"))
    assert not recorded_completeness(job, nothing, coordinate, ARRAYS).any()

    class NoFiles(ForecastJob):
        def generate_source_file_coords(self, *_):
            return []

    assert not recorded_completeness(job_of(NoFiles), nothing, coordinate, ARRAYS).any()


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        (("y", "time"), "give 'time' first"),
        (("time", "time"), "every dim once"),
        (("time", "lead_time"), "which no variable along time has"),
    ],
)
def test_a_declaration_that_does_not_fit_is_refused(dims, message):
    """The append dim comes first; the others are dims of data variables."""

    class Wrong(TinyTemplate):
        coords = (*TinyTemplate.coords, Completeness(dims=dims))

    with pytest.raises(ValueError, match=message):
        Wrong()


def test_there_is_one_at_most():
    """Two would contradict each other, and one without dims says nothing."""

    class Twice(TinyTemplate):
        coords = (
            *TinyTemplate.coords,
            Completeness(dims=("time",)),
            Completeness(name="other", dims=("time",)),
        )

    with pytest.raises(ValueError, match="more than one"):
        Twice()
    with pytest.raises(ValueError, match="needs dims"):
        Completeness()
    with pytest.raises(ValueError, match="neither chunks"):
        Completeness(dims=("time",), chunks=(4,))


def test_its_objects_stay_small():
    """An object reaches to the capacity, or as far as it has a million values."""
    coordinate = Completeness(dims=("init_time", "lead_time", "member"))
    lengths = {"init_time": 90_000, "lead_time": 181, "member": 31}
    assert coordinate.encoding(lengths).chunks == (186, 181, 31)
    assert Completeness(dims=("time",)).encoding({"time": 500_000}).chunks == (500_000,)


# -- what readers see ---------------------------------------------------------------------------


def test_readers_see_what_arrived(tmp_path, provider, kind, client):
    """A coordinate beside the others says what is missing; a file that arrives later raises it."""
    dataset = built(arriving(tmp_path, provider, kind), client)
    assert shown(dataset) == WITH_GAPS
    with dataset.store.open_dataset() as ds:
        assert "completeness" in ds.a.coords
        assert ds.a.where(ds.completeness.load() == 1, drop=True).sizes["time"] == 6
        assert ds.completeness.attrs["units"] == "1"
    assert not dataset.store.tracker.notices.all()
    provider.publish(hours(N)[2:6])
    assert dataset.reformat_operational_update(
        until=until(N), client=client, now=START + HOUR * N
    ).succeeded
    assert shown(dataset) == [1] * N
    provider.publish(hours(2, N))
    dataset.reformat_operational_update(until=until(N + 2), client=client)
    assert shown(dataset) == [1] * (N + 2)
    assert not dataset.store.tracker.notices.all()
    assert [
        f
        for result in dataset.validate(now=START + HOUR * (N + 2)).results
        for f in result.findings
    ] == []


def test_leads_and_members_are_told_apart(tmp_path, kind, client):
    """With a lead and a member missing, only their places are less than whole."""
    provider = ForecastProvider(tmp_path / "provider")
    late = (inits(1)[0], LEADS[2], 1)
    provider.publish(place for place in places(4) if place != late)
    dataset = Forecasts(tmp_path / "a", source_base=str(provider.root), format=kind)
    dataset.backfill(inits(5)[4], client=client, now=LATER)
    values = np.array(shown(dataset)).reshape(4, len(LEADS), len(MEMBERS))
    assert values[0, 2, 1] == 0
    values[0, 2, 1] = 1
    assert (values == 1).all()
    provider.publish([late])
    dataset.reformat_operational_update(until=inits(5)[4], client=client)
    assert set(shown(dataset)) == {1}


def test_a_run_in_between_lowers_nothing(tmp_path, provider, kind, client):
    """While a region is made again, and when that fails, what was shown stays."""
    dataset = built(arriving(tmp_path, provider, kind), client)
    seen: list[list[float]] = []

    class Fails(ArrivingJob):
        def transform_values_inplace(self, values, data_var):
            if data_var.name == "b":
                raise TypeError("an error in code")
            super().transform_values_inplace(values, data_var)

    broken = dataset_of(template=ArrivingTemplate, job=Fails)
    dataset = broken(dataset.store.url, source_base=str(provider.root), format=kind)
    report = dataset.backfill(
        until(N), redo=True, client=client, listener=lambda event: seen.append(shown(dataset))
    )
    assert report.failures
    assert set(map(tuple, [*seen, shown(dataset)])) == {tuple(map(float, WITH_GAPS))}
    # Its records lack a variable; the next run makes it and settles what is behind.
    assert dataset.store.tracker.notices.all()
    built(arriving(tmp_path, provider, kind), client)
    assert not dataset.store.tracker.notices.all()
    assert shown(dataset) == WITH_GAPS


def test_the_same_files_give_the_same_bytes(tmp_path, provider, client):
    """However many runs it took, the stored objects are those of a run that had every file."""
    several = built(arriving(tmp_path / "1", provider, "zarr"), client)
    provider.publish(hours(N))
    several.backfill(until(4), redo=True, client=client)
    several.backfill(until(N), redo=True, client=client)
    once = arriving(tmp_path / "2", provider, "zarr")
    once.backfill(until(N), client=client)
    key = "completeness/c/0"
    assert several.store.read_object(key) == once.store.read_object(key) is not None


def test_without_the_coordinate_nothing_is_noted(tmp_path, provider, client):
    """Who does not ask for it has no notice, no coordinate and the same objects as before."""
    plain = dataset_of(job=ArrivingJob)(tmp_path / "plain", source_base=str(provider.root))
    plain.backfill(until(N), client=client, now=LATER)
    assert not [key for key in snapshot(tmp_path / "plain.gridmill") if "behind" in key]
    assert not [key for key in snapshot(tmp_path / "plain") if "completeness" in key]


# -- whatever goes wrong ------------------------------------------------------------------------


class Killed(BaseException):
    """Ends a run as Ctrl-C does."""


@pytest.mark.parametrize("n", [5, N])
def test_whenever_a_run_dies_readers_are_told_no_more_than_is_there(
    tmp_path, provider, client, monkeypatch, n
):
    """Cut before every object that counts, and the next run corrects what is behind."""
    built(arriving(tmp_path / "made", provider, "zarr"), client, n)
    provider.publish(hours(N))
    main, put = threading.current_thread(), LocalObjects.put
    for cut in range(40):
        # Tasks of the run before may still write into its own.
        shutil.copytree(tmp_path / "made", tmp_path / f"cut{cut}")
        dataset = arriving(tmp_path / f"cut{cut}", provider, "zarr")
        left = [cut]

        def put_or_die(
            self: Any, key: str, *arguments: Any, left: list[int] = left, dataset: Any = dataset
        ) -> None:
            counts = key == "zarr.json" or key.startswith(("behind/", "regions/", "completeness/"))
            if counts and threading.current_thread() is main:
                if left[0] == 0:
                    shown(dataset)
                    raise Killed
                left[0] -= 1
            put(self, key, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(LocalObjects, "put", put_or_die)
            with suppress(Killed):
                dataset.backfill(until(N), redo=True, client=client, now=LATER)
                break
        shown(dataset)
        dataset.backfill(until(N), redo=True, client=client, now=LATER)
        assert shown(dataset) == [1] * N
        assert not dataset.store.tracker.notices.all()
    assert cut > 5
    assert shown(dataset) == [1] * N


@pytest.mark.parametrize("at", ["before", "after"])
def test_on_icechunk_it_is_always_exact(tmp_path, provider, client, monkeypatch, at):
    """Whichever commit a run dies at, the coordinate is what the snapshot's values are."""
    dataset = built(arriving(tmp_path, provider, "icechunk"), client)
    provider.publish(hours(N))
    commit, died = publication.commit, 0
    for n in range(10):
        left = [n]

        def die(*arguments: Any, left: list[int] = left) -> None:
            if at == "after":
                commit(*arguments)
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            if at == "before":
                commit(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(publication, "commit", die)
            with suppress(Killed):
                dataset.backfill(until(N), redo=True, client=client)
                break
        died += 1
        assert shown(dataset)
    assert died
    assert shown(dataset) == [1] * N
    assert not dataset.store.tracker.notices.all()


def test_the_next_run_corrects_what_is_behind_though_all_is_done(
    tmp_path, provider, kind, client, monkeypatch
):
    """A run that died between its record and its publication leaves a notice for the next."""
    dataset = built(arriving(tmp_path, provider, kind), client)
    provider.publish(hours(N))

    def die(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(dataset.store), "publish", die)
        with suppress(Killed):
            dataset.backfill(until(N), redo=True, client=client)
    while dataset.plan(until(N), redo=True).summary()["chains"]:
        with monkeypatch.context() as patch, suppress(Killed):
            patch.setattr(type(dataset.store), "publish", die)
            dataset.backfill(until(N), redo=True, client=client)
    assert shown(dataset) == WITH_GAPS
    assert dataset.store.tracker.notices.all()
    report = dataset.backfill(until(N), client=client)
    assert report.variables_done == 0
    assert shown(dataset) == [1] * N
    assert not dataset.store.tracker.notices.all()


def test_drivers_side_by_side_keep_each_others_values(tmp_path, kind, client):
    """Runs of different regions, whose values share an object, lose none of them."""
    provider = Provider(tmp_path / "provider")
    n = 24
    provider.publish(hours(n))
    dataset = arriving(tmp_path, provider, kind)
    dataset.backfill(until(n), client=client)
    for label in hours(n):
        provider.break_file(label, UNREADABLE)
    # Every value is lowered and raised by one of two runs.
    reports = []

    def redo(start: int, end: int) -> None:
        one = arriving(tmp_path, provider, kind)
        reports.append(
            one.backfill(until(n), start=until(start), end=until(end), redo=True, client=client)
        )

    for files in ("broken", "whole"):
        if files == "whole":
            provider.publish(hours(n))
        threads = [threading.Thread(target=redo, args=at) for at in ((0, 12), (12, 24))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(reports) == 4
    assert shown(dataset) == [1] * n
    assert not dataset.store.tracker.notices.all()


# -- what is done by hand -----------------------------------------------------------------------


def test_a_variable_that_is_added_changes_every_share(tmp_path, provider, kind, client):
    """With one more variable, what is complete is as complete; what lacks a file lacks it."""
    dataset = arriving(tmp_path, provider, kind)
    for _ in range(2):
        dataset.backfill(until(N), variables=["a"], client=client, now=LATER)
    assert shown(dataset) == WITH_GAPS
    provider.publish(hours(N)[2:3])  # only the new variable has it
    for _ in range(2):
        report = dataset.backfill(until(N), variables=["b"], client=client, now=LATER)
    assert report.stops_because is None
    assert shown(dataset) == [1, 1, 0.5, 1, 1, 0, 1, 1]
    assert not dataset.store.tracker.notices.all()


def test_a_shorter_archive_forgets_what_it_lost(tmp_path, provider, kind, client):
    """What is cut off and made again from less is told as less."""
    dataset = built(arriving(tmp_path, provider, kind), client)
    truncate(dataset, until(3))
    assert shown(dataset) == WITH_GAPS[:3]
    provider.withdraw(hours(N)[6])
    built(dataset, client)
    assert shown(dataset) == [1, 1, 0, 1, 1, 0, 0, 1]


def test_metadata_that_is_put_back_tells_what_is_recorded(tmp_path, provider, kind, client):
    """Restored or migrated metadata leave the values, and mend damaged ones."""
    dataset = built(arriving(tmp_path, provider, kind), client)
    migrate_metadata(dataset, who="me")
    restore_metadata(dataset, who="me")
    assert shown(dataset) == WITH_GAPS


def write_values(dataset: DynamicalDataset, values: list[float]) -> None:
    """Write the coordinate by hand."""
    if dataset.store.shows_uploads:
        zarr.open_array(dataset.store.url, path="completeness", mode="r+")[:] = values
        return
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(dataset.store.url))
    session = repository.writable_session("main")
    zarr.open_array(session.store, path="completeness", mode="r+")[:] = values
    session.commit("by hand")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1] * N, "claims more than is recorded at 1 of 4 places, first 1 instead of 0 at 2020-01"),
        ([float("nan")] * N, "claims more than is recorded at 4 of 4 places, first nan"),
        ([0] * N, "claims less than is recorded at 3 of 4 places, first 0 instead of 1"),
    ],
)
def test_a_coordinate_that_was_changed_is_found_and_mended(
    tmp_path, provider, kind, client, values, message
):
    """Validation holds it against the records; restored metadata have it as it was."""
    dataset = built(arriving(tmp_path, provider, kind), client)
    look = [CoordinatesAsDeclared()]
    assert dataset.validate(look, now=LATER).results[1].findings == ()
    write_values(dataset, values)
    findings = dataset.validate(look, now=LATER).results[1].findings
    assert [finding.variables for finding in findings] == [("completeness",)] * 2
    assert message in findings[0].message
    assert "restore-metadata" in findings[0].repair
    restore_metadata(dataset, who="me")
    assert dataset.validate(look, now=LATER).results[1].findings == ()
    assert shown(dataset) == WITH_GAPS


def test_a_damaged_object_of_it_is_found_and_mended(tmp_path, provider, client):
    """What cannot be decoded is put back from the records."""
    dataset = built(arriving(tmp_path, provider, "zarr"), client)
    path = Path(dataset.store.url) / "completeness/c/0"
    whole = path.read_bytes()
    for damaged in (whole[:7], b""):
        path.write_bytes(damaged)
        (finding,) = dataset.validate([CoordinatesAsDeclared()], now=LATER).results[1].findings
        assert "cannot be read" in finding.message
        restore_metadata(dataset, who="me")
        assert path.read_bytes() == whole


def test_what_the_next_run_corrects_is_no_finding(tmp_path, provider, kind, client, monkeypatch):
    """A coordinate that is behind, of which a notice tells, says too little and nothing wrong."""
    dataset = built(arriving(tmp_path, provider, kind), client)
    provider.publish(hours(N))
    monkeypatch.setattr(Publisher, "publish", lambda *_: False)
    assert dataset.backfill(until(N), redo=True, client=client).succeeded
    assert shown(dataset) == WITH_GAPS
    assert dataset.validate([CoordinatesAsDeclared()], now=LATER).results[1].findings == ()


def test_replicas_say_the_same(tmp_path, provider, client):
    """A replica of either format tells what the primary does, after every run."""
    urls = [str(tmp_path / "replica.zarr"), str(tmp_path / "replica.icechunk")]
    dataset = built(arriving(tmp_path, provider, "zarr", replicas=urls), client)

    def agree(values: list[float]) -> None:
        assert shown(dataset) == values
        for replica in dataset.replicas:
            with replica.open_dataset() as ds:
                claimed, there = claimed_and_there(ds)
            assert claimed.tolist() == there.tolist() == values
            assert not replica.tracker.notices.all()

    agree(WITH_GAPS)
    provider.publish(hours(N))
    dataset.backfill(until(N), redo=True, client=client)
    agree([1] * N)
    key = "completeness/c/0"
    assert dataset.replicas[0].read_object(key) == dataset.store.read_object(key)


def test_notices_name_region_and_run(tmp_path):
    """A notice is an object beside the records, until it is withdrawn."""
    tracker = UpdateProgressTracker(LocalObjects(tmp_path, tmp_path), "tiny")
    tracker.notices.write("behind/0000000004-20200101T000000-ab")
    assert tracker.notices.all() == ["behind/0000000004-20200101T000000-ab"]
    tracker.notices.delete(tracker.notices.all())
    assert tracker.notices.all() == []
