"""What is beyond a gate is neither published nor lost: somebody decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from clusters import one_worker
from gridmill.authoring.template import TemplateConfig
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.verdict import verdict_of
from gridmill.dataset import DynamicalDataset
from gridmill.model.fields.gates import Gate, MostJump, MostMissing, NotARepeat, ValidRange
from gridmill.model.region import Region
from gridmill.model.variables import Encoding
from gridmill.operations.accept import accept_files
from gridmill.operations.decisions.held import reject_files, release_files
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps, group_gaps
from tiny import (
    HOUR,
    SHAPE,
    START,
    LateJob,
    Provider,
    TinyTemplate,
    dataset_of,
    hours,
    tiny_var,
    truth,
    until,
    url_of,
    values_at,
)

FORMATS = ("zarr", "icechunk")
DAY = timedelta(days=1)
SPIKE = START + 5 * HOUR
NAME = url_of(SPIKE)
LATE = START + 10 * HOUR
WORD = {"who": "operator", "why": "a storm, ticket 7"}
IN_RANGE = ValidRange(0, 1)


class Keeping(LateJob):
    """Reads nothing twice, and tells what it fetches."""

    reads_again = False
    fetched: ClassVar[list[str]] = []

    def download_file(self, coord):
        type(self).fetched.append(coord.get_url())
        return super().download_file(coord)


def template(*gates: Gate) -> type[TemplateConfig]:
    """Return the template with gates of its first variable."""
    variables = (tiny_var("a", 0, gates=gates), tiny_var("b", 1))
    return type("Gated", (TinyTemplate,), {"data_vars": variables})


client = one_worker()


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with the files of eight hours, in one of which a variable is beyond its range."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    change(provider, SPIKE, lambda values: values + np.array([7, 0, 0, 0])[:, None, None])
    return provider


def change(provider: Provider, label, how: Callable[[np.ndarray], np.ndarray]) -> None:
    """Let a label's file hold something else."""
    np.save(provider.path(label), how(values_at(label)).astype("float32"))


@pytest.fixture(params=FORMATS)
def make(request: pytest.FixtureRequest, tmp_path: Path, provider: Provider):
    """A function that gives the dataset with gates."""

    def make(*gates: Gate, job=LateJob, template_class=None) -> DynamicalDataset:
        options = {"source_base": str(provider.root), "format": request.param}
        kind = template_class or template(*gates)
        return dataset_of(template=kind, job=job)(tmp_path / "a", **options)

    return make


def stored(dataset: DynamicalDataset) -> xr.Dataset:
    """Return what readers see, in memory."""
    with dataset.store.open_dataset() as ds:
        return ds.load()


def update(dataset: DynamicalDataset, client: Client, now=LATE, n=8):
    """Update up to some hours as if it were a certain time."""
    return dataset.reformat_operational_update(until=until(n), now=now, client=client)


def code_of(report) -> ExitCode:
    """Return what the run says to a scheduler."""
    return verdict_of(report)[0]


def with_spike(n: int = 8) -> np.ndarray:
    """Return what readers see once the spike is released."""
    expected = truth(hours(n))
    expected[5] += 7
    return expected


def test_what_is_beyond_a_gate_holds_readers_back_however_late_it_is(make, client):
    """Each run says so and fails, status and gaps name the gate, and nothing of it is stored."""
    dataset = make(IN_RANGE)
    for days in (0, 1, 400):
        report = update(dataset, client, LATE + days * DAY)
        assert (report.positions_after, code_of(report)) == (5, ExitCode.FAILED)
        (problem,) = report.problems
        assert problem.status == "held by gate for a"
        assert problem.detail.startswith("held by gate valid range: 7")
        assert "held by gate" in report.stops_because
    np.testing.assert_array_equal(stored(dataset)["b"].values, truth(hours(5), "b"))
    status = dataset.status(now=LATE)
    assert (status.held, status.pending, status.gaps) == (1, 0, 0)
    (region,) = status.incomplete
    assert "held by gate for a" in region.files[0].why
    context = Context(dataset, now=LATE, beyond=True)
    (gap,) = find_gaps(context)
    assert (gap.status, gap.variables, gap.start, gap.settled) == ("held by gate", ("a",), 5, False)
    (group,) = group_gaps(context, [gap])
    assert "gridmill release" in group.repair
    record = dataset.store.tracker.read(Region(4, 8))
    assert list(record.held()) == [("a", 1)]


def test_what_is_released_is_published_by_the_next_run(make, client):
    """Bit for bit, and remembered: neither a redo nor another run holds this version again."""
    dataset = make(IN_RANGE)
    update(dataset, client)
    done = release_files(dataset, [NAME], now=LATE, **WORD)
    assert [was for _, was in done.files] == ["held for a"]
    assert dataset.status(now=LATE).last_run["kind"] == "release"
    report = update(dataset, client)
    assert (report.positions_after, code_of(report)) == (8, ExitCode.SUCCESS)
    np.testing.assert_array_equal(stored(dataset)["a"].values, with_spike())
    assert dataset.status(now=LATE).held == 0
    assert list(dataset.store.state.keys("pending")) == ["pending/complete"]
    again = dataset.backfill(until(8), redo=True, client=client, now=LATE)
    assert (again.succeeded, again.variables_done) == (True, 4)
    np.testing.assert_array_equal(stored(dataset)["a"].values, with_spike())


def test_a_released_file_that_is_revised_is_looked_at_again(make, client, provider):
    """Somebody spoke of that version, not of the next one; what is published stays meanwhile."""
    dataset = make(IN_RANGE)
    update(dataset, client)
    release_files(dataset, [NAME], now=LATE, **WORD)
    update(dataset, client)
    change(provider, SPIKE, lambda values: values + 9)
    report = dataset.backfill(until(8), redo=True, client=client, now=LATE)
    assert (report.positions_after, code_of(report)) == (8, ExitCode.FAILED)
    np.testing.assert_array_equal(stored(dataset)["a"].values, with_spike())
    assert dataset.status(now=LATE).held == 1
    provider.publish([SPIKE])
    update(dataset, client, LATE + 100 * DAY)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(8)))
    assert dataset.status(now=LATE).held == 0


def test_a_release_outlives_a_run_that_cannot_fetch_the_file(make, client, provider):
    """An outage of the provider between word and run makes nobody say it again."""
    dataset = make(IN_RANGE)
    update(dataset, client)
    release_files(dataset, [NAME], now=LATE, **WORD)
    path = provider.path(SPIKE)
    path.rename(path.with_suffix(".away"))
    update(dataset, client)
    path.with_suffix(".away").rename(path)
    update(dataset, client, LATE + 2 * DAY)
    np.testing.assert_array_equal(stored(dataset)["a"].values, with_spike())


def test_what_is_rejected_is_missing_for_good(make, client, provider):
    """Readers see the rest at once; a revised file that is within the gates heals it."""
    dataset = make(IN_RANGE)
    update(dataset, client)
    done = reject_files(dataset, [NAME], now=LATE, who="operator", why="a broken sensor")
    assert done.report.positions_after == 8
    assert [was for _, was in done.files] == ["held by gate for a"]
    expected = truth(hours(8))
    expected[5] = np.nan
    np.testing.assert_array_equal(stored(dataset)["a"].values, expected)
    np.testing.assert_array_equal(stored(dataset)["b"].values, truth(hours(8), "b"))
    report = update(dataset, client, LATE + 100 * DAY)
    assert (report.variables_done, code_of(report)) == (0, ExitCode.NOTHING_NEW)
    status = dataset.status(now=LATE)
    assert (status.held, status.pending, status.gaps) == (0, 0, 1)
    redone = dataset.backfill(until(8), redo=True, client=client, now=LATE)
    assert (code_of(redone), list(redone.problems)) == (ExitCode.SUCCESS, [])
    provider.publish([SPIKE])
    dataset.backfill(until(8), redo=True, client=client, now=LATE)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(8)))


def test_the_last_word_counts(make, client):
    """What was rejected can be released, and what was released rejected before a run came."""
    dataset = make(IN_RANGE)
    update(dataset, client)
    release_files(dataset, [NAME], now=LATE, **WORD)
    reject_files(dataset, [NAME], now=LATE, **WORD)
    update(dataset, client)
    assert np.isnan(stored(dataset)["a"].values[5]).all()
    release_files(dataset, [NAME], now=LATE, **WORD)
    update(dataset, client, LATE + 100 * DAY)
    np.testing.assert_array_equal(stored(dataset)["a"].values, with_spike())


def test_what_nobody_can_decide_is_refused_and_nothing_is_written(make, client, provider):
    """A mistyped name, and what no gate holds, does not look like a success."""
    dataset = make(IN_RANGE)
    provider.withdraw(hours(8)[6])
    update(dataset, client, START + HOUR)
    before = [record.to_json() for record in dataset.store.tracker.records()]
    for decide in (release_files, reject_files):
        for name, message in {"x.npy": "no record", url_of(hours(8)[6]): "no gate holds"}.items():
            with pytest.raises(ValueError, match=message):
                decide(dataset, [NAME, name], now=LATE, **WORD)
        with pytest.raises(ValueError, match="say why"):
            decide(dataset, [NAME], now=LATE, who="me", why=" ")
    assert [record.to_json() for record in dataset.store.tracker.records()] == before
    release_files(dataset, [NAME], now=LATE, **WORD)
    with pytest.raises(ValueError, match="released already"):
        release_files(dataset, [NAME], now=LATE, **WORD)
    accept_files(dataset, [NAME], now=LATE, **WORD)
    with pytest.raises(ValueError, match="settled already"):
        reject_files(dataset, [NAME], now=LATE, **WORD)


def test_a_revision_beyond_a_gate_leaves_what_is_published(make, client, provider):
    """Wherever it is: each later update names it until somebody decides."""
    dataset = make(IN_RANGE)
    provider.publish(hours(12))
    assert update(dataset, client, n=12).positions_after == 12
    change(provider, START + HOUR, lambda values: values - 3)
    redo = {"start": START.isoformat(), "end": (START + 2 * HOUR).isoformat(), "redo": True}
    dataset.backfill(until(12), now=LATE, client=client, **redo)
    for days in (50, 100):
        report = update(dataset, client, LATE + days * DAY, n=12)
        assert (report.positions_after, code_of(report)) == (12, ExitCode.FAILED)
    np.testing.assert_array_equal(stored(dataset)["a"].values, truth(hours(12)))
    release_files(dataset, [url_of(START + HOUR)], now=LATE, **WORD)
    update(dataset, client, LATE + 101 * DAY, n=12)
    expected = truth(hours(12))
    expected[1] -= 3
    np.testing.assert_array_equal(stored(dataset)["a"].values, expected)


def test_a_held_file_alone_is_fetched_again(make, client):
    """Where source files are not read again, a look at what is held costs one file."""
    dataset = make(IN_RANGE, job=Keeping)
    Keeping.fetched.clear()
    update(dataset, client)
    assert Keeping.fetched.count(NAME) == 1
    Keeping.fetched.clear()
    report = update(dataset, client)
    assert (code_of(report), Keeping.fetched) == (ExitCode.FAILED, [NAME])
    release_files(dataset, [NAME], now=LATE, **WORD)
    update(dataset, client)
    np.testing.assert_array_equal(stored(dataset)["a"].values, with_spike())
    assert Keeping.fetched == [NAME, NAME]


def test_a_repeat_across_the_border_of_regions_is_held(make, client, provider):
    """The position before a region is what readers saw when the run began."""
    dataset = make(NotARepeat())
    update(dataset, client, n=4)
    change(provider, START + 4 * HOUR, lambda _: values_at(START + 3 * HOUR))
    report = update(dataset, client)
    assert report.positions_after == 4
    assert "repeated field" in report.stops_because


@pytest.mark.parametrize("job", [LateJob, Keeping])
def test_a_field_is_compared_with_what_earlier_runs_made(make, client, provider, job):
    """Also where its source file is kept: a position that comes alone has one before it."""
    dataset = make(MostJump(5), job=job)
    update(dataset, client, n=5)
    report = update(dataset, client)
    assert report.positions_after == 5
    held = {problem.detail.partition(":")[0] for problem in report.problems}
    assert held == {"held by gate jump"}


@pytest.mark.parametrize(
    ("gate", "held"),
    [(NotARepeat(), "the values are those"), (MostJump(0.7), "values differ by")],
)
def test_packed_fields_are_compared_as_readers_get_them(make, client, provider, gate, held):
    """Not with the whole numbers that are stored; also across the border of regions."""
    encoding = Encoding(
        chunks=(2, *SHAPE),
        shards=(4, *SHAPE),
        dtype="int16",
        scale_factor=0.001,
        fill_value=-32768,
    )
    packed = (tiny_var("a", 0, gates=(gate,), encoding=encoding), tiny_var("b", 1))
    kind = type("Packed", (TinyTemplate,), {"data_vars": packed})
    change(provider, SPIKE, lambda values: values)
    dataset = make(template_class=kind)
    dataset.backfill(until(4), client=client, now=LATE)
    last = values_at(hours(8)[3])
    wrong = {NotARepeat: last, MostJump: last + 2}[type(gate)]
    change(provider, hours(8)[4], lambda values: wrong)
    report = update(dataset, client, LATE)
    assert report.positions_after == 4
    assert {problem.url for problem in report.problems} >= {url_of(hours(8)[4])}
    assert any(held in problem.detail for problem in report.problems)
    change(provider, hours(8)[4], lambda values: values)
    assert update(dataset, client, LATE + HOUR).positions_after == 8


def test_what_lacks_too_much_is_held(make, client, provider):
    """A file that can be read and is mostly empty is no good file."""
    change(provider, SPIKE, lambda values: np.where(values < 2, np.nan, values))
    dataset = make(MostMissing(0.5))
    report = update(dataset, client)
    assert (report.positions_after, code_of(report)) == (5, ExitCode.FAILED)
    assert "100 % of the values are missing" in report.stops_because
