"""The hook for publications is called while a run goes on, and at its end with the report."""

from __future__ import annotations

import threading
from typing import Any

from gridmill.cli.output.announcing import Announcer
from gridmill.cli.output.hooks import Hooks
from gridmill.runs.narration import Event

told: list[dict[str, Any]] = []
heard = threading.Semaphore(0)


def listen(content: dict[str, Any]) -> None:
    """Keep what the hook is told."""
    told.append(content)
    heard.release()


def refuse(content: dict[str, Any]) -> None:
    """Fail at the first call only."""
    listen(content)
    if not content["is_over"]:
        raise KeyError("closed")


def announcer(hook: str) -> Announcer:
    told.clear()
    while heard.acquire(blocking=False):
        pass
    hooks = Hooks(on_publish=f"test_announcing:{hook}")
    return Announcer(hooks, {"dataset_id": "tiny"}, interval_s=0.01)


def test_publications_are_told_while_the_run_goes_on():
    """Each that is not overtaken by the next, and the run's report at the end."""
    with announcer("listen") as announce:
        announce(Event("region", "a"))
        announce(Event("published", "a", "2020-01-01"))
        assert heard.acquire(timeout=10)
        announce(Event("published", "b", "2020-01-02"))
        assert heard.acquire(timeout=10)
        assert announce.conclude({"dataset_id": "tiny", "run": "r"}) == []
    labels = [content.get("published_after") for content in told]
    assert labels == ["2020-01-01", "2020-01-02", None]
    assert [content["is_over"] for content in told] == [False, False, True]
    assert told[-1]["run"] == "r"


def test_a_short_run_is_told_once():
    """What was published a moment before the end is told with the report."""
    announce = announcer("listen")
    announce.interval_s = 60.0
    with announce:
        announce(Event("published", "a", "2020-01-01"))
        announce.conclude({"run": "r"})
    assert [content["is_over"] for content in told] == [True]


def test_a_hook_that_fails_meanwhile_is_noted_with_the_report():
    """The run goes on, and its report says why the hook failed."""
    with announcer("refuse") as announce:
        announce(Event("published", "a", "2020-01-01"))
        assert heard.acquire(timeout=10)
        (note,) = announce.conclude({"run": "r"})
    assert "closed" in note


def test_without_a_hook_nothing_is_started():
    """No thread, and no call."""
    before = threading.active_count()
    with Announcer(Hooks(), {}) as announce:
        announce(Event("published", "a", "2020-01-01"))
        assert threading.active_count() == before
        assert announce.conclude({}) == []
