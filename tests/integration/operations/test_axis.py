"""Irregular axes: late labels, and what would give values another label."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

from gridmill.archive.archive import ReindexUnfinished
from gridmill.archive.axis.labels import LabelsWouldChange
from gridmill.archive.declaration import keep_declaration, read_declaration
from gridmill.cli import cli
from gridmill.model.variables import Completeness
from gridmill.operations.axis.reindex import TooSoon, reindex
from gridmill.operations.restore import restore_metadata
from gridmill.operations.truncate import truncate
from gridmill.operations.variables.removing import remove_variables
from gridmill.stores.structure import StructureMismatch
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps
from scenes import (
    Frozen,
    Provider,
    Scenes,
    SceneTemplate,
    Unfrozen,
    name_of,
    scene,
    scenes_of,
)
from tiny import (
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    time_coordinate,
    until,
    url_of,
    values_at,
)

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


def test_a_frozen_axis_begins_where_it_was_declared_to(tmp_path, provider):
    """Whatever else the provider lists; later runs go on with the same labels."""
    labels = [scene(minutes) for minutes in (0, 10, 20, 40, 50, 60)]
    provider.publish(*labels)
    ds, now = scenes_of(tmp_path), scene(200)
    start = scene(20).isoformat()
    ds.backfill(now.isoformat(), start=start, client="none", now=now)
    assert list(ds.store.open_dataset(chunks=None).get_index("time")) == labels[2:]
    provider.publish(scene(100))
    assert ds.reformat_operational_update(client="none", now=now).succeeded
    assert list(ds.store.open_dataset(chunks=None).get_index("time")) == [*labels[2:], scene(100)]


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
    # A run that died first: the archive begins at its start, and nothing is done.
    keep_declaration(dataset.store, read_declaration(dataset.store, dataset.coded(NOW)))
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


# -- reindex ------------------------------------------------------------------------------------

LATE = (scene(15), scene(30), scene(45))
ALL = sorted([*FIRST, *LATE])


@pytest.fixture
def built(tmp_path, provider):
    """An Icechunk archive of six scenes, of which three more are listed by now."""
    dataset = scenes_of(tmp_path, "icechunk")
    backfill(dataset)
    provider.withdraw(*FIRST)  # nothing of what is there needs its source any more
    provider.publish(*LATE)
    return dataset


def test_late_labels_are_listed_and_taken_in(tmp_path, built, provider):
    """Values move with their labels, without their sources; an update fetches what came late."""
    arguments = ["scenes:Scenes", "--store", str(tmp_path / "a"), "--format", "icechunk"]
    arguments += ["--source-base", str(tmp_path / "source"), "--now", NOW.isoformat()]
    done = CliRunner().invoke(cli, ["gaps", *arguments, "--json"])
    said = json.loads(done.stdout)
    assert said["late"]["labels"] == ["2020-01-01T00:15", "2020-01-01T00:30", "2020-01-01T00:45"]
    assert "reindex" in said["late"]["repair"]
    assert "3 labels arrived after" in CliRunner().invoke(cli, ["gaps", *arguments]).stdout
    done = CliRunner().invoke(cli, ["reindex", *arguments, "--yes"])
    assert done.exit_code == 0, done.output
    assert_true(built, ALL, missing=LATE)
    gaps = list(find_gaps(Context(built, now=NOW, beyond=True)))
    assert [gap.url[-17:] for gap in gaps if gap.is_pending] == [name_of(x) for x in LATE]
    provider.publish(*FIRST)
    assert update(built).succeeded
    assert_true(built, ALL)
    assert built.validate(now=NOW).succeeded
    provider.publish(*[scene(140), scene(70)])
    assert update(built).succeeded
    assert_true(built, [*ALL, scene(70), scene(140)])


def test_reindex_is_refused_with_the_reason(tmp_path, built, provider):
    """On plain Zarr, with a replica of it, without a late label, and twice a day."""
    zarr_too = scenes_of(tmp_path / "z", "zarr")
    Provider(tmp_path / "z" / "source").publish(*FIRST)
    backfill(zarr_too)
    Provider(tmp_path / "z" / "source").publish(*LATE)
    with pytest.raises(ValueError, match=r"plain Zarr, where no position .* gridmill truncate"):
        reindex(zarr_too, who="me", now=NOW)
    of = scenes_of(tmp_path, "icechunk", replicas=[str(tmp_path / "b")])
    with pytest.raises(ValueError, match="Leave it out of --replica"):
        reindex(of, who="me", now=NOW)
    assert_true(built, FIRST)
    reindex(built, who="me", now=NOW)
    with pytest.raises(ValueError, match=r"no label .* arrived late"):
        reindex(built, who="me", now=NOW)
    provider.publish(scene(5))
    with pytest.raises(TooSoon, match="give --soon"):
        reindex(built, who="me", now=NOW)
    assert_true(built, ALL, missing=LATE)
    reindex(built, who="me", now=NOW, soon=True)
    update(built)
    assert_true(built, sorted([*ALL, scene(5)]))


class OnlyA(Frozen):
    """The same without b."""

    data_vars = Frozen.data_vars[:1]


def test_a_variable_that_the_code_drops_is_not_left_under_other_labels(tmp_path, built):
    """No job moves its values: refused with the way, and nothing is written."""
    of = type("Other", (Scenes,), {"template_config": OnlyA})
    dropped = scenes_of(tmp_path, "icechunk", dataset=of)
    before = {k: v for k, v in snapshot(tmp_path).items() if "/leases/" not in k}
    with pytest.raises(ValueError, match=r"no longer declares b, .* remove-variable b; nothing"):
        reindex(dropped, who="me", now=NOW)
    assert {k: v for k, v in snapshot(tmp_path).items() if "/leases/" not in k} == before
    assert_true(built, FIRST)
    remove_variables(dropped, ["b"], grace_s=0, now=NOW)
    reindex(dropped, who="me", now=NOW)
    ds = built.store.open_dataset(chunks=None)
    assert list(ds.get_index("time")) == ALL
    for label in FIRST:
        np.testing.assert_array_equal(ds.a.sel(time=label), values_at(label)[0])


def test_a_reindex_that_readers_see_is_completed_whatever_the_code_declares_by_then(
    tmp_path, built
):
    """Nothing moves any more: it is refused to nobody, since runs are until then."""
    for number in range(20):
        folder = tmp_path / f"step-{number}"
        for name in ("a", "a.gridmill", "source"):
            shutil.copytree(tmp_path / name, folder / name)
        assert not killed_at(folder, number)
        if len(scenes_of(folder, "icechunk").store.open_dataset().time) == len(ALL):
            break
    of = type("Other", (Scenes,), {"template_config": OnlyA})
    dropped = scenes_of(folder, "icechunk", dataset=of)
    with pytest.raises(ReindexUnfinished):
        update(dropped)
    reindex(dropped, who="me", now=NOW)
    update(scenes_of(folder, "icechunk"))
    assert_true(scenes_of(folder, "icechunk"), ALL)


def killed_at(folder, number: int) -> bool:
    """Reindex in a process that kills itself before its `number`-th step; whether it ended."""
    return ended(["-m", "scenes", str(folder), str(number), NOW.isoformat()])


def ended(arguments: list[str]) -> bool:
    """Run Python in a process; whether it ended, and was not killed."""
    here = Path(__file__).parent
    support = [str(here), str(here.parents[1] / "support"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, support))},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    return done.returncode == 0


# -- capacity -----------------------------------------------------------------------------------


class Small(TinyTemplate):
    """Five positions in an object of a coordinate; one more coordinate, and completeness."""

    append_dim_capacity = 5
    coords = (
        *TinyTemplate.coords,
        time_coordinate(name="valid_time", dims=("time",)),
        Completeness(name="completeness", dims=("time",)),
    )

    def derive_coordinates(self, ds):
        """Give a day later."""
        return {"valid_time": ds.time + np.timedelta64(24, "h")}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_archive_outgrows_the_capacity_that_it_was_made_with(tmp_path, kind):
    """By its updates; who opened it before reads on, and what was written stays as it is."""
    source = tmp_path / "hourly"
    files = Provider(source, url_of)
    files.publish(*hours(20))
    dataset = dataset_of(template=Small)(tmp_path / "a", source_base=str(source), format=kind)
    before, objects = None, {}
    for length in (4, 5, 6, 9, 11, 20):
        dataset.backfill(until(length), client="none", now=until(length))
        ds = dataset.store.open_dataset(chunks=None)
        assert list(ds.get_index("time")) == hours(length)
        assert (ds.valid_time == ds.time + np.timedelta64(24, "h")).all()
        assert (ds.completeness == 1).all()
        for at, label in enumerate(hours(length)):
            np.testing.assert_array_equal(ds.a[at], values_at(label)[0])
        if before is not None:
            fresh = before.load()
            assert list(fresh.get_index("time")) == hours(fresh.sizes["time"])
            np.testing.assert_array_equal(fresh.a[-1], values_at(hours(fresh.sizes["time"])[-1])[0])
        before = dataset.store.open_dataset(chunks=None)
        for name in ("time", "valid_time"):
            for number in range(length // 5):  # those that are full
                key = f"{name}/c/{number}"
                assert objects.setdefault(key, dataset.store.read_object(key))
                assert dataset.store.read_object(key) == objects[key]
    assert dataset.validate(now=until(20)).succeeded
    truncate(dataset, until(7), now=until(20))
    assert list(dataset.store.open_dataset().get_index("time")) == hours(7)


def test_a_run_killed_where_an_archive_outgrows_its_capacity_leaves_it_whole(tmp_path):
    """Before every object of its structure; readers who opened before see labels and values."""
    base, number = tmp_path / "base", 0
    Provider(base / "source", url_of).publish(*hours(7))
    small(base).backfill(until(4), client="none", now=until(4))
    while True:
        folder = tmp_path / f"step-{number}"
        shutil.copytree(base, folder)
        before = small(folder).store.open_dataset(chunks=None)
        script = (
            "import sys; from pathlib import Path; from scenes import kill_at;"
            "from test_axis import small; from tiny import until;"
            "dataset = small(Path(sys.argv[1]));"
            "kill_at(int(sys.argv[2]), ('time/', 'valid_time/c', 'zarr.json'));"
            "dataset.backfill(until(7), client='none', now=until(7))"
        )
        is_done = ended(["-c", script, str(folder), str(number)])
        now = small(folder).store.open_dataset(chunks=None)
        for ds in (before, now):
            assert list(ds.get_index("time")) == hours(len(ds.time))
            np.testing.assert_array_equal(
                ds.a.values, [values_at(h)[0] for h in ds.time.to_index()]
            )
            assert (ds.valid_time == ds.time + np.timedelta64(24, "h")).all()
        small(folder).backfill(until(7), client="none", now=until(7))
        assert list(small(folder).store.open_dataset().get_index("time")) == hours(7)
        if is_done:
            break
        number += 1
    assert number > 4


def small(folder):
    """Give the archive of hourly files in a folder."""
    return dataset_of(template=Small)(folder / "a", source_base=str(folder / "source"))
