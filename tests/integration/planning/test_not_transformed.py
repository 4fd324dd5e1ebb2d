"""A transformation that fails is a failure to read where files are to blame; else it waits."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

from clusters import one_worker
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.verdict import verdict_of
from gridmill.dataset import DynamicalDataset
from tiny import HOUR, START, LateJob, Provider, dataset_of, hours, truth, until, url_of, values_at

DAY = timedelta(days=1)
BROKEN = START + HOUR
IN_TIME, LATE = START + 2 * HOUR, START + 10 * HOUR


class Careful(LateJob):
    """Refuses what cannot be."""

    def transform_values_inplace(self, values, data_var):
        if np.nanmax(values, initial=0) > 100:
            raise ArithmeticError("more than everything")
        super().transform_values_inplace(values, data_var)


class NeedsOne(LateJob):
    """Refuses what cannot be, and cannot do without any value."""

    def transform_values_inplace(self, values, data_var):
        if values[~np.isnan(values)].max() > 100:
            raise ArithmeticError("more than everything")
        super().transform_values_inplace(values, data_var)


class NeedsAll(LateJob):
    """Refuses what cannot be, a missing value among it."""

    def transform_values_inplace(self, values, data_var):
        if not (values <= 100).all():
            raise ArithmeticError("more than everything, or nothing")
        super().transform_values_inplace(values, data_var)


class Wrong(LateJob):
    """Never works for one variable."""

    def transform_values_inplace(self, values, data_var):
        if data_var.name == "b":
            raise AttributeError("no such thing")
        super().transform_values_inplace(values, data_var)


client = one_worker()


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with the files of eight hours."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    return provider


@pytest.fixture(params=["zarr", "icechunk"])
def make(request: pytest.FixtureRequest, tmp_path: Path, provider: Provider):
    """A function that gives the dataset with a region job."""

    def make(job) -> DynamicalDataset:
        options = {"source_base": str(provider.root), "format": request.param}
        return dataset_of(job=job)(tmp_path / "a", **options)

    return make


def update(dataset: DynamicalDataset, client: Client, now):
    """Update up to eight hours as if it were a certain time."""
    return dataset.reformat_operational_update(until=until(8), now=now, client=client)


def seen(dataset: DynamicalDataset, name: str = "a") -> np.ndarray:
    """Return what readers see of a variable."""
    with dataset.store.open_dataset() as ds:
        return ds[name].values


@pytest.fixture
def wild(provider: Provider) -> None:
    """One of the files holds what cannot be."""
    values = values_at(BROKEN)
    values[0] = 1e6
    np.save(provider.path(BROKEN), values)


@pytest.mark.usefixtures("wild")
@pytest.mark.parametrize("job", [Careful, NeedsOne])
def test_a_file_that_cannot_be_transformed_is_one_that_cannot_be_read(make, client, provider, job):
    """Readers wait until its time; past it its place alone is missing, named, and heals."""
    dataset = make(job)
    early = update(dataset, client, IN_TIME)
    assert (early.positions_after, verdict_of(early)[0]) == (1, ExitCode.FAILED)
    assert url_of(BROKEN) in early.stops_because

    late = update(dataset, client, LATE)
    assert (late.positions_after, verdict_of(late)[0]) == (8, ExitCode.GAPS)
    assert [(gap.url.endswith(url_of(BROKEN)), gap.variables) for gap in late.gaps] == [
        (True, ["a"])
    ]
    (problem,) = {problem.detail for problem in late.problems}
    assert problem == "the transformation fails with it: ArithmeticError: more than everything"
    expected = truth(hours(8))
    expected[1] = np.nan
    np.testing.assert_array_equal(seen(dataset), expected)
    np.testing.assert_array_equal(seen(dataset, "b"), truth(hours(8), "b"))

    provider.publish([BROKEN])
    update(dataset, client, LATE + DAY)
    np.testing.assert_array_equal(seen(dataset), truth(hours(8)))
    assert dataset.status(now=LATE + DAY).pending == 0


@pytest.mark.usefixtures("wild")
def test_one_that_takes_no_missing_value_waits_and_says_so(make, client, provider):
    """The failure says what it must take, names the file, and is over when that is mended."""
    dataset = make(NeedsAll)
    report = update(dataset, client, LATE)
    assert (report.positions_after, verdict_of(report)[0]) == (0, ExitCode.FAILED)
    (failure,) = report.failures
    assert failure.variable == "a"
    for said in ("takes missing values (NaN)", "of whole files it fails with", url_of(BROKEN)):
        assert said in failure.cause
    assert url_of(START) not in failure.cause
    provider.publish([BROKEN])
    assert update(dataset, client, LATE + DAY).positions_after == 8
    np.testing.assert_array_equal(seen(dataset), truth(hours(8)))


def test_of_no_file_it_is_said_that_it_is_to_blame(make, client, provider):
    """Where a file is absent and all others are right, the failure names none."""
    provider.withdraw(BROKEN)
    causes = [failure.cause for failure in update(make(NeedsAll), client, LATE).failures]
    assert len(causes) == 2
    assert all("takes missing values (NaN)" in cause for cause in causes)
    assert not [cause for cause in causes if "of whole files" in cause]


def test_a_transformation_that_always_fails_waits_for_its_code(make, client):
    """The run says that the variable waits, and the next update with mended code fills it."""
    report = update(make(Wrong), client, LATE)
    assert (report.positions_after, verdict_of(report)[0]) == (0, ExitCode.FAILED)
    assert {failure.variable for failure in report.failures} == {"b"}
    assert all("b of this region waits" in failure.cause for failure in report.failures)
    dataset = make(LateJob)
    assert update(dataset, client, LATE + timedelta(minutes=5)).positions_after == 8
    np.testing.assert_array_equal(seen(dataset, "b"), truth(hours(8), "b"))


def test_what_failed_far_behind_is_looked_at_by_every_update(make, client, provider):
    """Readers keep what they have, and a variable that failed there is made when its code can."""
    provider.publish(hours(16))
    dataset = make(LateJob)
    dataset.backfill(until(16), now=LATE + DAY, client=client)
    again = {"start": START.isoformat(), "end": until(4), "redo": True}
    report = make(Wrong).backfill(until(16), now=LATE + DAY, client=client, **again)
    assert {failure.variable for failure in report.failures} == {"b"}
    np.testing.assert_array_equal(seen(dataset, "b"), truth(hours(16), "b"))
    dataset.reformat_operational_update(until=until(16), now=LATE + 2 * DAY, client=client)
    status = dataset.status(now=LATE + 2 * DAY)
    assert (status.incomplete, status.pending) == ((), 0)
    assert list(dataset.store.state.keys("pending")) == ["pending/complete"]
