"""Irregular axes: late labels, and what would give values another label."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
import zarr

from gridmill.archive.axis.labels import LabelsWouldChange
from gridmill.operations.restore import restore_metadata
from gridmill.operations.truncate import truncate
from gridmill.stores.structure import StructureMismatch
from scenes import Provider, SceneTemplate, Unfrozen, scene, scenes_of
from tiny import values_at

FORMATS = ["zarr", "icechunk"]
FIRST = [scene(minutes) for minutes in (0, 10, 20, 40, 50, 60)]
NOW = scene(200)


@pytest.fixture
def provider(tmp_path):
    """Six scenes."""
    made = Provider(tmp_path / "source")
    made.publish(*FIRST)
    return made


def backfill(dataset, now=NOW):
    """Build up to now, in this process."""
    return dataset.backfill(now.isoformat(), client="none", now=now)


def update(dataset, now=NOW):
    """Update up to now, in this process."""
    return dataset.reformat_operational_update(client="none", now=now)


def assert_true(dataset, labels, missing=()):
    """Assert that readers see these labels, each with its own values."""
    ds = dataset.store.open_dataset(chunks=None)
    assert list(ds.get_index("time")) == list(labels)
    for label in labels:
        for number, name in enumerate("ab"):
            found = ds[name].sel(time=label).values
            wanted = values_at(label)[number]
            if label in missing:
                assert np.isnan(found).all(), label
            else:
                np.testing.assert_array_equal(found, wanted, err_msg=str(label))


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_younger_than_the_window_wait_and_late_ones_among_them_find_their_place(
    tmp_path, provider, kind
):
    """Readers see what is as old as the window; what comes late within it is in its order."""
    dataset = scenes_of(tmp_path, kind)
    backfill(dataset, scene(100))
    assert_true(dataset, [x for x in FIRST if x <= scene(40)])
    provider.publish(scene(45))  # late, and within the hour
    update(dataset, scene(105))
    assert_true(dataset, [*FIRST[:4], scene(45)])
    update(dataset, NOW)
    assert_true(dataset, [*FIRST[:4], scene(45), *FIRST[4:]])


@pytest.mark.parametrize("kind", FORMATS)
def test_published_labels_are_frozen(tmp_path, provider, kind):
    """A label that comes later still, or is not listed any more, changes nothing; updates go on."""
    dataset = scenes_of(tmp_path, kind)
    backfill(dataset)
    provider.publish(scene(30), scene(130))
    provider.withdraw(scene(10))
    report = update(dataset)
    assert report.succeeded
    assert_true(dataset, [*FIRST, scene(130)])


def test_without_a_window_a_late_label_stops_updates(tmp_path, provider):
    """As ever; what to declare is said."""
    dataset = scenes_of(tmp_path, dataset=Unfrozen)
    backfill(dataset)
    provider.publish(scene(30), scene(130))
    with pytest.raises(StructureMismatch, match="settling_window"):
        update(dataset)
    assert_true(dataset, FIRST)


def test_a_record_of_other_labels_is_not_believed(tmp_path, provider):
    """Of a region that is done and not published yet: its places are the same, its labels not."""
    dataset = scenes_of(tmp_path)
    provider.withdraw(FIRST[0])
    provider.publish(*[scene(minutes) for minutes in (70, 80, 90)])
    dataset.backfill(NOW.isoformat(), client="none", now=NOW, start=scene(60).isoformat())
    assert not dataset.store.published_length("time")
    provider.publish(scene(5))  # every later place is another label's
    backfill(dataset)
    assert_true(dataset, [scene(m) for m in (5, 10, 20, 40, 50, 60, 70, 80, 90)])


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("damaged", ["nothing", "time", "root"])
def test_metadata_are_not_put_back_where_values_would_get_other_labels(
    tmp_path, provider, force, damaged
):
    """Not by force either, whether the stored labels can be read or not."""
    dataset = scenes_of(tmp_path, dataset=Unfrozen)
    backfill(dataset)
    provider.publish(scene(30))
    store = tmp_path / "a"
    if damaged == "time":
        (store / "time/c/0").write_bytes(b"")
    if damaged == "root":
        (store / "zarr.json").write_text("{")
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    with pytest.raises(ValueError, match=r"time of|do not prove"):
        restore_metadata(dataset, who="me", force=force, now=NOW)
    assert {p: p.read_bytes() for p in store.rglob("*") if p.is_file()} == before
    provider.withdraw(scene(30))
    restore_metadata(dataset, who="me", force=force, now=NOW)
    assert_true(dataset, FIRST)


def test_metadata_of_a_frozen_axis_are_put_back_with_the_labels_that_it_has(tmp_path, provider):
    """Whatever the provider lists by now."""
    dataset = scenes_of(tmp_path)
    backfill(dataset)
    provider.publish(scene(30))
    (tmp_path / "a" / "a" / "zarr.json").write_text("{")
    restore_metadata(dataset, who="me", now=NOW)
    assert_true(dataset, FIRST)


class Flipped(SceneTemplate):
    """Another order of rows."""

    append_dim_frequency = None

    def dimension_coordinates(self):
        """Give them from the other end."""
        return {"y": np.arange(2.0)[::-1], "x": np.arange(3.0)}


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_are_not_labelled_anew_either(tmp_path, provider, kind):
    """The order of a grid is not changed by putting metadata back; damage is mended."""
    dataset = scenes_of(tmp_path, kind, dataset=Unfrozen)
    backfill(dataset)
    of = type("Other", (Unfrozen,), {"template_config": Flipped})
    with pytest.raises(LabelsWouldChange, match=r"y of .* under other labels"):
        restore_metadata(scenes_of(tmp_path, kind, dataset=of), who="me", force=True, now=NOW)
    assert_true(dataset, FIRST)
    if kind == "zarr":
        zarr.open_array(tmp_path / "a", path="y", mode="r+")[:] = [7.0, 8.0]
        restore_metadata(dataset, who="me", now=NOW)
        assert list(dataset.store.open_dataset().y.values) == [0.0, 1.0]


def test_a_replica_with_other_labels_is_not_labelled_anew(tmp_path, provider):
    """Cut and built anew while it was away: the replica is left alone, with the reason."""
    replica = str(tmp_path / "b")
    both = scenes_of(tmp_path, replicas=[replica])
    backfill(both)
    alone = scenes_of(tmp_path)
    provider.publish(scene(30), scene(130))
    truncate(alone, scene(40).isoformat(), now=NOW)
    update(alone)
    assert_true(alone, sorted([*FIRST, scene(30), scene(130)]))
    report = update(both)
    (outcome,) = report.replicas
    assert "time of" in (outcome.failure or "")
    ds = xr.open_zarr(replica)
    assert list(ds.get_index("time")) == FIRST
    for label in FIRST:
        np.testing.assert_array_equal(ds.a.sel(time=label), values_at(label)[0])
