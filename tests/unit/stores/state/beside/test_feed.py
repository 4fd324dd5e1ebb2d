"""The feed of publications: an object a day, to which lines are only added."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.reports.publication import Publication, joined_spans, parse_lines
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.state.beside.feed import Feed

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 9)).map(lambda s: (s[0], sum(s))))
TEXT = st.text(max_size=8)
PUBLICATIONS = st.builds(
    Publication,
    at=TEXT,
    since=st.none() | TEXT,
    run=TEXT,
    kind=TEXT,
    gridmill=TEXT,
    before=st.integers(0),
    after=st.integers(0),
    last=st.none() | TEXT,
    changed=SPANS.map(joined_spans),
    added=st.lists(TEXT).map(tuple),
    removed=st.lists(TEXT).map(tuple),
    dropped=st.integers(0),
)


def publication(before: int = 0, after: int = 1, **changes) -> Publication:
    """Give what a run published."""
    fields = {"at": "2026-11-29T20:00:00", "run": "r", "before": before, "after": after}
    return Publication(**{**fields, **changes})


def feed_at(folder: Path) -> Feed:
    """Open the feed in a folder."""
    return Feed(open_objects(str(folder)))


@given(st.lists(PUBLICATIONS))
def test_lines_come_back_as_they_were_written(publications):
    """Whatever text is in them, a line is a line."""
    content = b"".join(one.to_line() for one in publications)
    assert parse_lines(content) == (publications, 0)


@given(st.lists(PUBLICATIONS, max_size=4), st.binary(max_size=30), st.integers(0))
def test_a_damaged_line_hides_no_other(publications, junk, at):
    """Those that cannot be read are counted."""
    lines = [one.to_line() for one in publications]
    lines.insert(at % (len(lines) + 1), b"{" + junk.replace(b"\n", b"").replace(b"\r", b"") + b"\n")
    found, damaged = parse_lines(b"".join(lines))
    assert found == publications
    assert damaged == 1


@given(SPANS)
def test_joined_spans_cover_the_same(spans):
    """Few intervals in order, of which none touch."""
    joined = joined_spans(spans)
    assert {at for a, b in joined for at in range(a, b)} == {
        at for a, b in spans for at in range(a, b)
    }
    assert all(a[1] < b[0] for a, b in pairwise(joined))


class Busy:
    """Objects that others write between each look and put."""

    def __init__(self, objects: Any) -> None:
        self.objects, self.impatient = objects, self

    def __getattr__(self, name: str) -> Any:
        return getattr(self.objects, name)

    def nbytes(self, key: str) -> int:
        """Say another size than was read."""
        return -1


def test_a_day_that_others_keep_writing_is_left_after_a_few_attempts(tmp_path, monkeypatch, caplog):
    """With longer waits between them; what was noted is kept for the next time."""
    waits: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", waits.append)
    busy: Any = Busy(open_objects(str(tmp_path)))
    feed = Feed(busy)
    feed.note(publication())
    feed.write()
    assert feed.has_news
    assert "written by others, 5 times" in caplog.text
    assert len(waits) == 4
    assert all(wait > 0 for wait in waits)


def test_a_run_writes_its_first_publication_and_then_at_most_one_a_minute(tmp_path):
    """What lies between is one line, from the first moment to the last."""
    feed = feed_at(tmp_path)
    for n in range(4):
        feed.note(publication(n, n + 1, at=f"2026-11-29T20:00:0{n}"))
        feed.write()
    assert [(one.before, one.after) for one in feed.read("2026-11-29")] == [(0, 1)]
    feed.write(at_once=True)
    _, rest = feed.read("2026-11-29")
    assert (rest.before, rest.after) == (1, 4)
    assert (rest.since, rest.at) == ("2026-11-29T20:00:01", "2026-11-29T20:00:03")
    assert not feed.has_news


def test_each_day_has_one_object(tmp_path):
    """A publication after midnight is in the next one."""
    feed = feed_at(tmp_path)
    feed.note(publication(0, 1, at="2026-11-29T23:59:59"))
    feed.note(publication(1, 2, at="2026-11-30T00:00:00"))
    feed.write()
    assert feed.days() == ["2026-11-29", "2026-11-30"]
    assert [one.after for one in feed.since("2026-11-29T23:59:59")] == [1, 2]
    assert [one.after for one in feed.since("2026-11-30")] == [2]


def test_a_damaged_day_is_added_to(tmp_path, caplog):
    """What somebody broke by hand stays, and what follows is read."""
    (tmp_path / "feed").mkdir()
    (tmp_path / "feed/2026-11-29.jsonl").write_bytes(b"\xff not JSON\n")
    feed = feed_at(tmp_path)
    feed.note(publication())
    feed.write()
    with caplog.at_level("WARNING", "gridmill"):
        assert [one.after for one in feed.read("2026-11-29")] == [1]
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("refused"), TimeoutError()])
def test_a_feed_that_cannot_be_written_raises_nothing(tmp_path, error, caplog):
    """What it lacks is kept for the next time, and a warning names the feed."""
    caplog.set_level("WARNING", "gridmill")
    feed = feed_at(tmp_path)

    class Refusing:
        url = "memory"

        @property
        def impatient(self):
            raise error

    objects, feed.objects = feed.objects, Refusing()
    feed.note(publication())
    feed.write(at_once=True)
    assert "feed" in caplog.text
    feed.objects = objects
    feed.write(at_once=True)
    assert [one.after for one in feed.read("2026-11-29")] == [1]


def test_the_first_publication_of_a_run_is_written_at_once(tmp_path):
    """However short the time since another run of the same process wrote."""
    feed = Feed(open_objects(str(tmp_path / "a")))
    for run in ("one", "two"):
        feed.begin()
        feed.note(Publication(at="2026-11-29T20:00:00", run=run, before=0, after=1))
        feed.write()
        assert not feed.has_news


@pytest.mark.parametrize("step", [{"kind": "promote"}, {"kind": "retain", "dropped": 4}])
def test_a_step_that_is_completed_is_told_once(tmp_path, step):
    """Whoever completes it, in the same second, too; other lines of its run are no step."""
    begun = "2026-11-29T20:00:00.250000+00:00"
    feed = feed_at(tmp_path)
    if "dropped" in step:
        feed.note(publication(kind="retain", changed=((0, 1),)))
        feed.write()
    told = publication(**step)
    for _ in range(3):
        feed_at(tmp_path).write_once(told, begun)
    assert feed.read("2026-11-29").count(told) == 1
    feed_at(tmp_path).write_once(publication(**step, run="other"), begun)
    assert feed.read("2026-11-29")[-1].run == "other"
