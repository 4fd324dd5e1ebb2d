"""When a run publishes: what it brings at once, and what earlier runs left when there is time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gridmill.runs.ledger import Showing


@pytest.fixture
def showing() -> Showing:
    """A run's, which has recorded nothing yet."""
    archive = SimpleNamespace(published=0, last_label=None)
    publisher = SimpleNamespace(archive=archive, replicas=(), publish=lambda lease: False)
    narrator = SimpleNamespace(note_published=lambda *of: None, note_visible=lambda *of: None)
    return Showing(publisher, None, narrator, interval_s=0.0)


def test_what_earlier_runs_left_waits_until_there_is_nothing_else_to_do(showing):
    """However long the first task of this one takes, it is no reason to publish."""
    assert not showing.is_due(is_idle=False)
    assert showing.is_due(is_idle=True)


def test_the_first_news_is_published_at_once(showing):
    """And what is not news is none, also where the run is idle."""
    showing.expect()
    assert showing.is_due(is_idle=False)
    showing.publish()
    assert not showing.is_due(is_idle=True)


def test_a_run_without_news_publishes_in_the_end_what_earlier_ones_left(showing):
    """Once."""
    published = []
    showing.publisher.publish = published.append
    showing.finish()
    showing.finish()
    assert len(published) == 1
