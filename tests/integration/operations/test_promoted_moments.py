"""What readers saw at a moment, where another version took the place of the present one since."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from gridmill.operations.decisions.withdraw import withdraw
from gridmill.operations.versions.candidate import examine
from gridmill.operations.versions.promote import forget_previous, go_back, promote
from gridmill.operations.versions.tags import list_tags, moment_of, tag_archive
from gridmill.stores.icechunk.store import IcechunkStore
from promoted import CORRECTED, beside_of, make
from tiny import Provider, Tiny, hours, truth, until, url_of

ALL = (slice(None), slice(None), slice(None))


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """A provider with eight files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    return provider


def moment() -> datetime:
    """Give a moment that nothing else has."""
    time.sleep(0.01)
    now = datetime.now(UTC)
    time.sleep(0.01)
    return now


def advance(folder: Path) -> None:
    versions = beside_of(folder)
    promote(examine(versions.present, versions.following), versions, who="ann")


def saw(folder: Path, at: datetime) -> float:
    """Read by how much what readers saw at a moment differs from the first version's values."""
    store = make(folder).store
    values = store.read_as_of("a", ALL, at)
    (by,) = set((values - truth(hours(len(values)))).round(3).ravel().tolist())
    return float(by)


def test_a_moment_tells_what_readers_saw_then(provider, tmp_path):
    """Not the next version as it was being built; and through several promotions."""
    make(tmp_path, Tiny).backfill(until(4), client="none")
    moments = [moment()]
    make(tmp_path, staged=True).backfill(until(8), client="none")
    moments.append(moment())
    make(tmp_path, Tiny).reformat_operational_update(client="none", now=until(8))
    moments.append(moment())
    advance(tmp_path)
    moments.append(moment())
    versions = beside_of(tmp_path, Tiny)
    other = versions.way_back
    go_back(examine(versions.present, other, is_declared=False), versions, who="ann")
    moments.append(moment())
    assert [saw(tmp_path, at) for at in moments] == [0, 0, 0, CORRECTED, 0]
    store = make(tmp_path).store
    assert [len(store.read_as_of("time", ALL[:1], at)) for at in moments] == [4, 4, 8, 8, 8]
    forget_previous(beside_of(tmp_path, Tiny))
    assert saw(tmp_path, moments[1]) == 0


def test_a_tag_names_what_readers_saw(provider, tmp_path):
    """Of a moment; and its moment is one at which they saw it."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    make(tmp_path, staged=True).backfill(until(8), client="none")
    while_built = moment()
    tag_archive(make(tmp_path, Tiny), "before")
    advance(tmp_path)
    dataset = make(tmp_path)
    assert tag_archive(dataset, "then", while_built).snapshot == list_tags(dataset)[0].snapshot
    tag_archive(dataset, "promoted")
    seen = {tag.name: saw(tmp_path, moment_of(dataset, tag.name)) for tag in list_tags(dataset)}
    assert seen == {"before": 0, "then": 0, "promoted": CORRECTED}


def test_withdrawn_values_are_those_that_readers_saw(provider, tmp_path):
    """And where the version of then is forgotten, that is said."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    make(tmp_path, staged=True).backfill(until(8), client="none")
    while_built = moment()
    advance(tmp_path)
    span = {"start": until(2), "end": until(3), "variables": ["a"], "who": "me", "why": "test"}
    dataset = make(tmp_path)
    withdraw(dataset, **span, keep=while_built)
    values = dataset.store.read("a", ALL)
    np.testing.assert_array_equal(values[2], truth(hours(8))[2])
    np.testing.assert_array_equal(values[3], truth(hours(8))[3] + np.float32(CORRECTED))


def test_a_version_that_is_forgotten_is_not_told_as_another(provider, tmp_path):
    """Of its moment nothing is kept, though the next version has one of then."""
    make(tmp_path, Tiny).backfill(until(8), client="none")
    make(tmp_path, staged=True).backfill(until(8), client="none")
    while_built = moment()
    advance(tmp_path)
    forget_previous(beside_of(tmp_path))
    dataset = make(tmp_path)
    dataset.store.forget_versions(datetime.now(UTC) + timedelta(hours=3))
    with pytest.raises(ValueError, match=r"keeps no version of .* promote --forget-previous"):
        saw(tmp_path, while_built)
    with pytest.raises(ValueError, match="keeps no version of"):
        tag_archive(dataset, "then", while_built)
    assert saw(tmp_path, moment()) == CORRECTED


def test_what_a_next_version_left_unpublished_is_published_after(provider, tmp_path, monkeypatch):
    """Its run was killed before; nothing is asked of the provider again."""
    make(tmp_path, Tiny).backfill(until(4), client="none")
    staged = make(tmp_path, staged=True)
    staged.backfill(until(4), client="none")
    with monkeypatch.context() as patched:
        patched.setattr(IcechunkStore, "publish", lambda *_, **__: False)
        staged.backfill(until(8), client="none")
    assert staged.store.published_length("time") == 4
    advance(tmp_path)
    assert make(tmp_path).store.published_length("time") == 4
    for label in hours(4, 4):
        (tmp_path / "source" / url_of(label)).unlink()
    make(tmp_path).reformat_operational_update(client="none", now=until(8))
    np.testing.assert_array_equal(
        make(tmp_path).store.read("a", ALL), truth(hours(8)) + np.float32(CORRECTED)
    )
