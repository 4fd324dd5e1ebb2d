"""Tells the hook for publications of each one while the run goes on."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from gridmill.runs.narration import Event

__all__ = ["Announcer"]

# Publications come up to once a second; catalogues and caches need not know of each. A run that
# ends sooner is told once, with its report.
INTERVAL_S = 5.0


class Told(Protocol):
    """What is told of publications: the hooks of a run, or what keeps a catalogue current."""

    @property
    def on_publish(self) -> str | None:
        """What is called; None if there is nothing to tell."""

    def published(self, content: Mapping[str, Any]) -> str | None:
        """Take in that readers see more; why that failed, if it did."""


class Announcer:
    """Calls the hook for publications in a thread of its own: a slow one does not hold the run up.

    Parameters
    ----------
    hooks
        Those of the run, or its catalogue.
    about
        What is told beside the extent: dataset, store, kind.
    interval_s
        Between two calls, at least. Of several publications in between the last is told.

    Notes
    -----
    A listener. What is still untold when a run ends is told with its report.
    """

    def __init__(
        self, hooks: Told, about: Mapping[str, Any], *, interval_s: float = INTERVAL_S
    ) -> None:
        self.hooks = hooks
        self.about = about
        self.interval_s = interval_s
        self._notes: list[str] = []
        self._lock = threading.Lock()
        self._untold: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="announcer", daemon=True)

    def __enter__(self) -> Self:
        if self.hooks.on_publish is not None:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def __call__(self, event: Event) -> None:
        """Take in one event of the run."""
        if event.kind == "published":
            self._untold = event.detail

    def conclude(self, content: Mapping[str, Any]) -> list[str]:
        """Tell of a run that is over, with its report; why hooks failed since the last time."""
        with self._lock:
            self._untold = None
            self._call({**content, "is_over": True})
            notes, self._notes = self._notes, []
        return notes

    def _tell(self) -> None:
        while not self._over.wait(self.interval_s):
            with self._lock:
                label, self._untold = self._untold, None
                if label is not None:
                    self._call({**self.about, "published_after": label, "is_over": False})

    def _call(self, content: Mapping[str, Any]) -> None:
        note = self.hooks.published(content)
        if note is not None:
            self._notes.append(note)
