"""What a place was made of, when readers saw it and what it was before; and the feed of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from gridmill.cli import cli
from gridmill.dataset import DynamicalDataset
from gridmill.model.files.versions import checksum_of_file
from gridmill.model.region import Region
from gridmill.operations.history.history import read_history
from gridmill.operations.truncate import truncate
from gridmill.stores.state.beside import feed as feeds
from killed import kill_while_making
from tiny import HOUR, START, TinyJob, dataset_of, hours, make, until

FORMATS = ["zarr", "icechunk"]


def place_at(dataset: DynamicalDataset, hour: int, variable: str = "a") -> Any:
    at = (START + HOUR * hour).isoformat()
    (place,) = read_history(dataset, at, [variable], now=until(24)).places
    return place


def feed_of(dataset: DynamicalDataset) -> list[Any]:
    return list(dataset.store.tracker.feed.since("2000"))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_place_names_its_file_and_when_it_arrived_and_was_seen(kind, provider, tmp_path):
    """Of a region that several runs filled, each place has its own."""
    dataset = make(tmp_path, format=kind)
    first = dataset.backfill(until(6), client="none")
    second = dataset.backfill(until(12), client="none")
    before, after = place_at(dataset, 5), place_at(dataset, 6)
    assert before.checksum == checksum_of_file(provider.path(START + 5 * HOUR))
    assert [before.arrived.run, after.arrived.run] == [first.run, second.run]
    assert before.written.run == after.written.run == second.run
    assert before.arrived.gridmill == before.written.gridmill
    assert [before.visible.run, after.visible.run] == [first.run, second.run]
    for place, run in ((before, first), (after, second)):
        assert run.started[:19] <= place.arrived.at <= place.visible.by
        assert place.visible.is_published
        assert place.before == ()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_revision_says_what_was_there_before(kind, provider, tmp_path):
    """Version, arrival and run of what it replaced; the feed names the positions."""
    dataset = make(tmp_path, format=kind)
    dataset.backfill(until(6), client="none")
    first = dataset.backfill(until(8), client="none")
    was = [place_at(dataset, hour) for hour in (5, 6)]
    provider.publish(hours(1, 6), version=1)
    second = dataset.backfill(until(8), client="none", revalidate=True)
    place = place_at(dataset, 6)
    assert place.arrived.run == place.visible.run == second.run
    (before,) = place.before
    assert (before.checksum, before.arrived) == (was[1].checksum, was[1].arrived)
    assert (before.arrived.run, before.by) == (first.run, second.run)
    assert place_at(dataset, 5).arrived == was[0].arrived
    assert place_at(dataset, 5).before == ()
    assert [line.changed for line in feed_of(dataset) if line.run == second.run] == [((6, 7),)]


def test_a_gap_that_healed_is_remembered(provider, tmp_path):
    """Readers were shown that something is missing: that is an earlier version, too."""
    job = type("Overdue", (TinyJob,), {"publication_delay": HOUR.to_pytimedelta()})
    provider.withdraw(START + 2 * HOUR)
    dataset = make(tmp_path, dataset_of(job=job))
    assert dataset.backfill(until(4), client="none", now=until(24)).positions_after == 4
    assert place_at(dataset, 2).status == "not yet available"
    provider.publish(hours(1, 2))
    dataset.backfill(until(4), client="none", now=until(48))
    place = place_at(dataset, 2)
    assert [before.status for before in place.before] == ["not yet available"]
    assert place.status == "succeeded"


def test_values_made_otherwise_of_the_same_files_are_remembered(provider, tmp_path):
    """Another declared version made them anew; no source file changed."""
    dataset = make(tmp_path)
    first = dataset.backfill(until(4), client="none")
    newer = make(tmp_path, dataset_of(job=type("Newer", (TinyJob,), {"version": 2})))
    second = newer.backfill(until(4), client="none", redo=True)
    place = place_at(newer, 1)
    assert [(b.status, b.arrived.run, b.by) for b in place.before] == [("", first.run, second.run)]
    assert place.arrived.run == first.run
    assert place.written.run == second.run


def test_what_a_killed_run_did_not_note_is_bounded_by_the_next(provider, tmp_path, monkeypatch):
    """The feed then tells no moment, but the latest by which readers saw it."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    monkeypatch.setattr(feeds.Feed, "write", lambda self, **kw: self._pending.clear())
    dataset.backfill(until(8), client="none")
    monkeypatch.undo()
    last = make(tmp_path).backfill(until(12), client="none")
    assert [(line.before, line.after) for line in feed_of(dataset)] == [(0, 4), (8, 12)]
    place = place_at(dataset, 6)
    since, by = (line.at for line in feed_of(dataset))
    assert (place.visible.by, place.visible.run) == (by, None)
    assert place.visible.since in (since, None)  # None where all was in the same second
    assert place_at(dataset, 9).visible.run == last.run


def test_a_driver_that_is_killed_leaves_a_feed_that_is_read(provider, tmp_path):
    """Whatever the moment, each line is whole, and the next run goes on with it."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    url = "2020/20200101T05.npy"
    kill_while_making(tmp_path / "a", tmp_path / "source", url, until=until(8), now=until(24))
    before = feed_of(dataset)
    dataset.backfill(until(12), client="none", redo=True)
    assert feed_of(dataset)[: len(before)] == before
    assert feed_of(dataset)[-1].after == 12
    assert place_at(dataset, 5).visible.is_published


def test_a_feed_that_cannot_be_written_fails_no_publication(provider, tmp_path, caplog):
    """Readers see what was made, and a warning says what is missing."""
    caplog.set_level("WARNING", "gridmill")
    (tmp_path / "a.gridmill").mkdir()
    (tmp_path / "a.gridmill/feed").write_text("in the way")
    dataset = make(tmp_path)
    report = dataset.backfill(until(4), client="none")
    assert report.succeeded
    assert report.positions_after == 4
    assert "feed" in caplog.text
    assert place_at(dataset, 1).visible.by is None


def test_a_truncation_is_in_the_feed(provider, tmp_path):
    """Only named commands take anything from readers, and the feed says which did."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client="none")
    truncate(dataset, until(4))
    *built, cut = feed_of(dataset)
    assert (built[0].before, built[-1].after) == (0, 8)
    assert (cut.kind, cut.before, cut.after) == ("truncate", 8, 4)


def test_a_record_that_an_earlier_gridmill_rewrote_is_still_read(provider, tmp_path):
    """It keeps what it does not know, but for files that it recorded anew."""
    dataset = make(tmp_path)
    dataset.backfill(until(4), client="none")
    provider.publish(hours(1, 1), version=1)
    second = dataset.backfill(until(4), client="none", revalidate=True)
    path = tmp_path / "a.gridmill/regions/0000000000.json"
    raw = json.loads(path.read_bytes())
    for file in raw["groups"][0]:
        file.pop("came")
    path.write_text(json.dumps(raw))
    place = place_at(dataset, 1)
    assert (place.arrived.at, place.arrived.run) == (None, None)
    assert [before.by for before in place.before] == [second.run]
    assert place.visible.is_published
    provider.publish(hours(1, 1), version=2)
    dataset.backfill(until(4), client="none", revalidate=True)
    assert len(place_at(dataset, 1).before) == 2


def test_the_command_shows_a_place_and_the_feed(provider, tmp_path):
    """For people and as JSON; what does not go together is named."""
    make(tmp_path).backfill(until(8), client="none")
    archive = ["history", "tiny_cli:Tiny", "--store", str(tmp_path / "a")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "tiny_cli", __import__("tiny"))

        def run(*args: str) -> Any:
            return CliRunner().invoke(cli, [*archive, *args])

        shown = run("--at", "2020-01-01T05", "--variable", "a")
        assert shown.exit_code == 0, shown.output
        assert "20200101T05.npy" in shown.output
        told = json.loads(run("--at", "2020-01-01T05", "--json").stdout)
        (place,) = told["places"]
        assert place["variables"] == ["a", "b"]
        assert place["visible"]["is_published"]
        feed = json.loads(run("--feed", "--since", "1d", "--json").stdout)
        seen = [line["positions"] for line in feed["publications"]]
        assert (seen[0][0], seen[-1][1]) == (0, 8)
        assert f"0 → {seen[0][1]}" in run("--feed").output
        assert run("--feed", "--since", "2100-01-01").output.endswith("since then\n")
        assert run().exit_code == 2
        assert run("--at", "2020-01-01T05", "--since", "1d").exit_code == 2
        wrong = run("--at", "2020-01-01T05:30")
        assert wrong.exit_code == 2
        assert "axis" in wrong.output
        assert "readers see up to" in run("--at", "2020-01-02T05").output


def test_a_region_that_is_not_published_is_told_so(provider, tmp_path):
    """What is stored beyond a gap is recorded, and nobody sees it yet."""
    provider.withdraw(START + 2 * HOUR)
    dataset = make(tmp_path)
    assert dataset.backfill(until(8), client="none", now=until(4)).positions_after == 2
    assert dataset.store.tracker.read(Region(4, 8)) is not None
    place = place_at(dataset, 5)
    assert place.arrived.at is not None
    assert not place.visible.is_published
