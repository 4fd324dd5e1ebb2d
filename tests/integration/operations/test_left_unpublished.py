"""What a killed run uploaded and no reader sees yet, where positions are about to move.

Records are moved as far as they say what readers see. Retentions need Icechunk 2
(`make test-icechunk2`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import icechunk
import numpy as np
import pandas as pd
import pytest

from gridmill.dataset import DynamicalDataset
from gridmill.operations.axis.reindex import reindex
from gridmill.operations.retention.retain import retain
from gridmill.stores.icechunk.store import IcechunkStore
from retained import KEEP, rolling
from scenes import Provider as Scenes
from scenes import name_of, scene, scenes_of
from tiny import Provider, hours, truth, until, values_at

shifts = pytest.mark.skipif(
    not hasattr(icechunk.Session, "shift_array"),
    reason="Icechunk 2 shifts arrays: make test-icechunk2",
)
FIRST = [scene(minutes) for minutes in (0, 10, 20, 40, 50, 60)]
LATE = scene(15)
# It is in the second region, and has another version by now.
REVISED = scene(50)
NOW = scene(200)


@contextmanager
def dying(monkeypatch: pytest.MonkeyPatch, method: str, of: str = "") -> Iterator[None]:
    """Let nothing be published, or no object of a variable be uploaded."""
    was: Callable[..., Any] = getattr(IcechunkStore, method)

    def call(self: Any, folder: Any, keys: Any = (), *rest: Any, **options: Any) -> Any:
        keys = list(keys)
        if not of:
            return False
        if any(str(key).startswith(of) for key in keys):
            raise OSError("no room")
        return was(self, folder, keys, *rest, **options)

    with monkeypatch.context() as patched:
        patched.setattr(IcechunkStore, method, call)
        yield


def revise(folder: Path) -> DynamicalDataset:
    """Make an archive of scenes; then one of them has another version."""
    provider = Scenes(folder / "source")
    provider.publish(*FIRST)
    ds = scenes_of(folder, "icechunk")
    assert ds.backfill(NOW.isoformat(), client="none", now=NOW).succeeded
    np.save(provider.folder / name_of(REVISED), values_at(REVISED, version=1))
    return ds


def redo(ds: DynamicalDataset) -> Any:
    """Make the second region of an archive of scenes anew."""
    start = REVISED.isoformat()
    return ds.backfill(NOW.isoformat(), start=start, redo=True, client="none", now=NOW)


def seen(ds: DynamicalDataset, label: pd.Timestamp) -> list[np.ndarray]:
    """Read what readers see of a label."""
    return [ds.store.open_dataset(chunks=None)[name].sel(time=label).values for name in ("a", "b")]


def assert_version(ds: DynamicalDataset, version: int) -> None:
    """Compare the revised scene with a version of its file."""
    np.testing.assert_array_equal(seen(ds, REVISED), values_at(REVISED, version)[:2])


def test_reindex_publishes_it_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values move as the records have them, and not those that readers saw until then."""
    ds = revise(tmp_path)
    with dying(monkeypatch, "publish"):
        redo(ds)
    assert_version(ds, 0)
    Scenes(tmp_path / "source").publish(LATE)
    reindex(ds, who="me", now=NOW)
    assert_version(ds, 1)
    again = ds.backfill(NOW.isoformat(), client="none", now=NOW)
    assert again.succeeded
    assert_version(ds, 1)


def test_reindex_is_refused_where_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of the region is not made yet; once it is, the reindex goes on."""
    ds = revise(tmp_path)
    with dying(monkeypatch, "upload", of="b/"):
        assert not redo(ds).succeeded
    assert_version(ds, 0)
    Scenes(tmp_path / "source").publish(LATE)
    with pytest.raises(ValueError, match=r"a from .* uploaded again.* before b: .*backfill, first"):
        reindex(ds, who="me", now=NOW)
    assert_version(ds, 0)
    assert redo(ds).succeeded
    reindex(ds, who="me", now=NOW)
    assert_version(ds, 1)


@shifts
@pytest.mark.parametrize("version", [1, 2])
def test_retain_is_refused_where_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    """A variable of the region is not made yet; once it is, the retention goes on."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(24))
    ds = rolling(tmp_path, version)
    now = pd.Timestamp(until(21))
    assert ds.backfill(until(21), client="none", now=now).succeeded
    provider.publish(hours(4, 12), version=1)
    span = {"start": until(12), "end": until(16), "redo": True, "client": "none", "now": now}
    with dying(monkeypatch, "upload", of="b/"):
        assert not ds.backfill(until(21), **span).succeeded
    with pytest.raises(ValueError, match=r"a from 2020-01-01.12:00:00 on was .* before b: "):
        retain(ds, KEEP, who="me")
    np.testing.assert_array_equal(ds.store.open_dataset(chunks=None).a, truth(hours(21)))
    assert ds.backfill(until(21), **span).succeeded
    retain(ds, KEEP, who="me")
    kept = ds.store.open_dataset(chunks=None)
    np.testing.assert_array_equal(kept.a[4:8], truth(hours(4, 12), version=1))
    np.testing.assert_array_equal(kept.b[4:8], truth(hours(4, 12), "b", version=1))
