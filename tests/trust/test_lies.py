"""A provider that lies publishes nothing wrong, and what it mends on day 10 is healed by itself."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from distributed import Client

import daily_grib
import lies
from clusters import one_worker
from lies import DEATHS, KILLED, LIES, SOURCES, STORES, Play, play

client = one_worker()


def plays() -> list[Play]:
    """Give every lie where nobody dies, and with one death; deaths, stores and sources in turn.

    Few drivers are killed in a process of their own, which takes its time.
    """
    killed = [
        Play(lie=lie, stage=KILLED, store=store, source="http", seed=0)
        for lie, store in (("cut", "zarr"), ("swapped_index", "icechunk"))
    ]
    return killed + [
        Play(
            lie=lie,
            stage=stage,
            store=STORES[(number + other) % len(STORES)],
            source=SOURCES[(number + other) // 2 % len(SOURCES)],
            seed=0,
        )
        for number, lie in enumerate(LIES)
        for other, stage in enumerate(("lives", DEATHS[number % len(DEATHS)]))
        # Of GRIB each lie once: with or without a death.
        if lie not in daily_grib.LIES or number % 2 == other
    ]


@pytest.mark.parametrize("scene", plays(), ids=lambda scene: scene.name)
def test_no_lie_is_published_and_each_is_healed(scene: Play, client: Client, tmp_path: Path):
    """Whoever dies on the way."""
    assert play(scene, tmp_path, client) == []


def test_a_lie_that_is_believed_is_seen(client: Client, tmp_path: Path):
    """The play has eyes: where nothing is compared, it says what readers see wrong."""
    scene = Play(lie="the_day_before", stage="lives", store="zarr", source="http", seed=0)
    with mock.patch("gridmill.pipeline.slabs.piece.compare", return_value=[]):
        assert play(scene, tmp_path, client) != []


def test_a_lie_that_is_not_mended_is_not_called_healed(client: Client, tmp_path: Path):
    """Where a gap stays to the end, the play says so."""
    scene = Play(lie="page", stage="lives", store="zarr", source="http", seed=0)
    publish = lies.Stage.publish

    def never_mends(stage: lies.Stage, day: int, lie: str = "") -> None:
        if day != stage.day or lie:
            publish(stage, day, lie)

    with mock.patch.object(lies.Stage, "publish", never_mends):
        found = play(scene, tmp_path, client)
    assert any("not healed" in violation for violation in found)
