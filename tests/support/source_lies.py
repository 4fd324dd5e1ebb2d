"""A provider of any kind that lies on many days, a driver that dies, and what readers see.

As in `lies`, whose deaths these are: the provider tells the truth, then one lie on all days that
follow, then the truth of them; updates run as a schedule would let them, one of them dies. After
each readers see what was measured, or nothing where a gap is listed.
"""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from distributed import Client

from daily_netcdf import DUE
from liars import PROVIDERS, Provider
from lies import MENDED, Died, dying

__all__ = ["CELLS", "SourceScene", "play_source"]

CELLS = tuple((name, lie) for name, kind in PROVIDERS.items() for lie in kind.lies)
TRUE_DAYS = 3


@dataclass(frozen=True)
class SourceScene:
    """One run through a lie of a provider of some kind."""

    provider: str
    lie: str
    stage: str
    store: str
    seed: int
    days: int

    @property
    def name(self) -> str:
        """All of it, in words."""
        return f"{self.provider}, {self.lie}, {self.stage}, {self.store}, {self.seed}"


def play_source(scene: SourceScene, folder: Path, client: Client) -> tuple[int, list[str]]:
    """Play; how often a file that lies was fetched, and what readers saw wrong."""
    draw = random.Random(scene.name)
    provider = PROVIDERS[scene.provider](folder, scene.days, draw)
    with provider.serving():
        return _Play(scene, provider, folder, client, draw).play()


class _Play:
    def __init__(
        self,
        scene: SourceScene,
        provider: Provider,
        folder: Path,
        client: Client,
        draw: random.Random,
    ) -> None:
        self.scene, self.provider, self.client = scene, provider, client
        self.dies_at = draw.choice(["lie", "late", "mended"])
        self.dataset = provider.dataset(folder / "a", scene.store)
        self.lied = range(TRUE_DAYS, scene.days - 1)
        self.may_gap = scene.lie not in provider.converted
        self.violations: list[str] = []

    def play(self) -> tuple[int, list[str]]:
        """Go through the provider's weeks."""
        labels, last = self.provider.labels, self.scene.days - 1
        self.provider.tell(range(TRUE_DAYS))
        self._update(labels[TRUE_DAYS - 1] + DUE)
        before = self.provider.fetched(self.lied)
        self.provider.tell(self.lied, self.scene.lie)
        self._update(labels[TRUE_DAYS], dies="lie")
        late = labels[last - 1] + DUE + pd.Timedelta(hours=1)
        self._update(late, dies="late")
        fetched = self.provider.fetched(self.lied) - before
        self.provider.tell([*self.lied, last])
        self._update(labels[last] + MENDED, dies="mended")
        self.may_gap = False
        self._look()
        status = self.dataset.status(now=labels[last] + MENDED)
        if status.positions != self.scene.days or status.pending or status.incomplete:
            self._say(f"not healed: {status.positions} positions, {status.pending} pending")
        return fetched, self.violations

    def _update(self, now: pd.Timestamp, dies: str = "") -> None:
        until = min(now, self.provider.labels[-1] + pd.Timedelta(hours=1)).isoformat()
        options = {"until": until, "now": now, "client": self.client}
        if dies and dies == self.dies_at:
            with suppress(Died), dying(self.scene.stage):
                self.dataset.reformat_operational_update(**options)
            self._look()
        self.dataset.reformat_operational_update(**options)
        self._look()

    def _look(self) -> None:
        """Read as a reader does, and compare with what was measured."""
        if self.dataset.store.published_length("time") is None:
            return
        with self.dataset.store.open_dataset() as ds:
            self._compare(ds.load())

    def _compare(self, ds: Any) -> None:
        grid = self.provider.template().dimension_coordinates()
        if not (
            (ds["time"].values == self.provider.labels[: ds.sizes["time"]].values).all()
            and all(np.array_equal(ds[name], labels) for name, labels in grid.items())
            and ds["t2m"].attrs["units"] == "K"
        ):
            self._say("other coordinates or units")
        for day, found in enumerate(ds["t2m"].values):
            measured = self.provider.measured(day)
            is_gap = np.isnan(found).all() and self.may_gap and day in self.lied
            if not is_gap and not np.allclose(found, measured, rtol=1e-6):
                self._say(f"day {day} is {found.ravel()[0]}, not {measured.ravel()[0]}")

    def _say(self, what: str) -> None:
        self.violations.append(f"{self.scene.name}: {what}")
