"""Other values of what is published are news, and the report says where."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from distributed import Client

from clusters import one_worker
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.verdict import verdict_of
from gridmill.model.reports.entries import Revision
from tiny import HOUR, START, Provider, TinyJob, dataset_of, hours, truth, until

FORMATS = ("zarr", "icechunk")
LATE = START + 20 * HOUR


class Job(TinyJob):
    """Its files are due an hour after their label."""

    publication_delay = timedelta(hours=1)


client = one_worker()


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with the files of ten hours, the third of which is not there."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(10))
    provider.path(hours(10)[2]).unlink()
    return provider


@pytest.fixture(params=FORMATS)
def update(request: pytest.FixtureRequest, tmp_path: Path, provider: Provider, client: Client):
    """A function that updates the archive, and gives the report with what it says."""
    options = {"source_base": str(provider.root), "format": request.param}
    dataset = dataset_of(job=Job)(tmp_path / "a", **options)

    def update(n: int = 10):
        report = dataset.reformat_operational_update(until=until(n), now=LATE, client=client)
        with dataset.store.open_dataset() as ds:
            return report, verdict_of(report)[0], ds["a"].values

    return update


def span(first: int, last: int, *names: str) -> list[Revision]:
    """Return what a report says of positions."""
    return [Revision(str(hours(10)[first]), str(hours(10)[last]), list(names))]


def test_a_first_publication_revises_nothing(update):
    """Nor does a run that finds nothing new, or more of what there is."""
    first, code, _ = update(8)
    assert (list(first.revised), code) == ([], ExitCode.GAPS)
    second, code, _ = update(8)
    assert (list(second.revised), code) == ([], ExitCode.NOTHING_NEW)
    third, code, _ = update(10)
    assert (third.positions_after, list(third.revised), code) == (10, [], ExitCode.SUCCESS)


def test_what_a_provider_revised_is_news(update, provider):
    """Though readers see no further."""
    update()
    provider.publish(hours(10)[5:7], version=1)
    report, code, values = update()
    assert (report.positions_before, report.positions_after) == (10, 10)
    assert (report.regions_revised, code) == (1, ExitCode.SUCCESS)
    assert list(report.revised) == span(5, 6, "a", "b")
    assert not np.array_equal(values[5], truth(hours(10))[5])
    assert report.published_anything
    assert (report.brief()["regions_revised"], update()[1]) == (1, ExitCode.NOTHING_NEW)


def test_a_gap_that_is_healed_is_news(update, provider):
    """Readers see a value where there was none."""
    update()
    provider.publish([hours(10)[2]])
    report, code, values = update()
    assert (list(report.revised), code) == (span(2, 2, "a", "b"), ExitCode.SUCCESS)
    np.testing.assert_array_equal(values, truth(hours(10)))


def test_in_a_region_that_grows_what_was_there_is_told_from_what_is_new(update, provider):
    """The source files say which of its positions changed."""
    update(9)
    provider.publish([hours(10)[8]], version=1)
    report, code, _ = update(10)
    assert (report.positions_before, report.positions_after) == (9, 10)
    assert (list(report.revised), code) == (span(8, 8, "a", "b"), ExitCode.SUCCESS)


class Doubling(Job):
    """Makes other values of the same files."""

    def read_data(self, coord, data_var):
        """Read twice as much."""
        return 2 * super().read_data(coord, data_var)


@pytest.mark.parametrize("store", FORMATS)
def test_what_other_code_makes_of_the_same_files_is_news(provider, client, tmp_path, store):
    """Nothing says which of a region's positions changed: all may have."""
    provider.publish(hours(10))
    options = {"source_base": str(provider.root), "format": store}
    dataset_of(job=Job)(tmp_path / "a", **options).backfill(until(8), client=client, now=LATE)
    changed = dataset_of(job=Doubling)(tmp_path / "a", **options)
    report = changed.backfill(until(8), redo=True, client=client, now=LATE)
    # Regions are recorded as they end, the second perhaps first.
    found = sorted(report.revised, key=lambda revision: revision.first)
    assert found == [*span(0, 3, "a", "b"), *span(4, 7, "a", "b")]
    again = changed.backfill(until(8), redo=True, client=client, now=LATE)
    assert list(again.revised) == []


def test_the_same_values_again_are_no_news(update, provider):
    """A file that was put again has another time, and nothing else."""
    update()
    path = provider.path(hours(10)[5])
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)
    report, code, _ = update()
    assert (list(report.revised), code) == ([], ExitCode.NOTHING_NEW)
