"""What an update asks a store of the regions that it looks back on is bounded; losses are found."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

from gridmill.planning.belief import OBJECTS_LOOKED_AT
from gridmill.publishing.publisher import Publisher
from gridmill.stores.zarr_store import ZarrStore
from tiny import REGION, Provider, TinyJob, dataset_of, hours, make, truth, until

REGIONS = 70
N = REGIONS * REGION


class LooksFarBack(TinyJob):
    """Looks back on all of it."""

    lookback = timedelta(days=365)


def dataset_in(folder: Path) -> Any:
    return make(folder, dataset_of(job=LooksFarBack))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    Provider(folder / "source").publish(hours(N + 10))
    dataset_in(folder).backfill(until(N), client="none", now=until(N))
    return folder


@pytest.fixture
def dataset(whole: Path, tmp_path: Path) -> Any:
    return dataset_in(shutil.copytree(whole, tmp_path / "copy"))


def lost_objects(dataset: Any) -> list[Path]:
    """Delete every object of a variable, as who takes its prefix for old does."""
    lost = [path for path in Path(dataset.store.url, "a", "c").rglob("*") if path.is_file()]
    for path in lost:
        path.unlink()
    return lost


def updated(dataset: Any, n: int, **options: Any) -> tuple[Any, int]:
    """Update; give its report, and how many objects the store was asked for."""
    looks: list[str] = []
    missing = ZarrStore.missing

    def counted(store: ZarrStore, receipts: Sequence[Any], token: str | None = None) -> list[str]:
        looks.extend(one.key for one in receipts)
        return missing(store, receipts, token)

    with mock.patch.object(ZarrStore, "missing", counted):
        report = dataset.reformat_operational_update(
            until=until(n), client="none", now=until(n), **options
        )
    return report, len(looks)


def test_what_is_looked_at_does_not_grow_with_the_lookback(dataset):
    """Seventy regions of two variables are asked for a few at a time."""
    objects = 2 * REGIONS
    assert objects > OBJECTS_LOOKED_AT
    counts = [updated(dataset, N + step)[1] for step in range(1, 4)]
    assert 0 < sum(counts) / len(counts) < OBJECTS_LOOKED_AT < objects
    assert updated(dataset, N + 4, revalidate=True)[1] >= objects


def test_a_plan_says_what_the_update_up_to_the_same_label_does(dataset):
    """Both look at the same regions."""
    lost = lost_objects(dataset)
    planned = {one.job.region.start for one in dataset.plan(now=until(N)).prepared() if one.todo}
    updated(dataset, N)
    made = [path for path in lost if path.exists()]
    assert planned == {REGION * int(path.relative_to(lost[0].parents[2]).parts[0]) for path in made}
    assert len(planned) > 0


def test_a_variable_that_was_lost_is_made_again(dataset, caplog):
    """One object that is gone lets the rest be looked at, and is told; all are by `revalidate`."""
    lost = lost_objects(dataset)
    assert len(lost) == REGIONS
    for step in range(1, 4):
        updated(dataset, N + step)
    assert sum(not path.exists() for path in lost) < REGIONS / 4
    assert "the store does not hold a/c/" in caplog.text
    updated(dataset, N + 3, revalidate=True)
    assert [path for path in lost if not path.exists()] == []


def test_what_was_lost_before_it_was_seen_is_made_again(tmp_path):
    """A run ended before it published; what the store lost since is not shown as missing."""
    Provider(tmp_path / "source").publish(hours(N))
    dataset = dataset_in(tmp_path)
    with mock.patch.object(Publisher, "publish", return_value=False):
        dataset.backfill(until(N), client="none", now=until(N))
    assert dataset.store.published_length("time") in (None, 0)
    lost = lost_objects(dataset)
    assert len(lost) == REGIONS
    updated(dataset, N)
    assert [path for path in lost if not path.exists()] == []
    with dataset.store.open_dataset() as ds:
        assert np.array_equal(ds["a"].values, truth(hours(N)))
