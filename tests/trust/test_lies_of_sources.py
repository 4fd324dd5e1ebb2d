"""A provider of any kind that lies publishes nothing wrong, and what it mends is healed."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import pytest
from distributed import Client

from clusters import one_worker
from liars import PROVIDERS, Provider
from lies import STAGES, STORES
from source_lies import CELLS, SourceScene, play_source

client = one_worker()

# One lie of each kind that is the kind's own, or that another reader of it has to find; all lies of
# all kinds are played by `make lies`.
CHOSEN = {
    "token": ("refused",),
    "listing": ("page_as_listing", "stale_listing"),
    "zarr": ("cut", "renamed"),
    "icechunk": ("renamed",),
    "geotiff": ("another_grid",),
    "hdf5 groups": ("the_day_before",),
    "netcdf groups": ("celsius",),
    "queue": ("page", "another_quantity"),
    "raced mirrors": ("noise",),
    "parts of a day": ("another_calendar",),
}


def scenes() -> list[SourceScene]:
    """Give each with a death and a store in turn."""
    chosen = [(name, lie) for name, lies in CHOSEN.items() for lie in lies]
    stages = list(STAGES)
    return [
        SourceScene(*cell, stages[at % len(stages)], STORES[at % len(STORES)], seed=0, days=6)
        for at, cell in enumerate(chosen)
    ]


@pytest.mark.parametrize("scene", scenes(), ids=lambda scene: scene.name)
def test_no_lie_of_any_source_is_published(scene: SourceScene, client: Client, tmp_path: Path):
    """Whoever dies on the way; and all are healed by the next update."""
    fetched, violations = play_source(scene, tmp_path, client)
    assert violations == []
    assert fetched >= 2


def test_each_kind_of_provider_is_there():
    """And tells the lies that its files can."""
    assert set(CHOSEN) == set(PROVIDERS)
    assert {(name, lie) for name, lies in CHOSEN.items() for lie in lies} <= set(CELLS)


def test_a_lie_of_a_source_that_is_believed_is_seen(client: Client, tmp_path: Path):
    """Where nothing is compared, the play says what readers see wrong."""
    scene = SourceScene("hdf5 groups", "the_day_before", "lives", "zarr", seed=0, days=6)
    with mock.patch("gridmill.pipeline.slabs.piece.compare", return_value=[]):
        assert play_source(scene, tmp_path, client)[1] != []


def test_a_source_that_goes_on_lying_is_not_called_healed(client: Client, tmp_path: Path):
    """Where the gap stays to the end, the play says so."""
    scene = SourceScene("netcdf groups", "page", "lives", "zarr", seed=0, days=6)
    tell = Provider.tell

    def goes_on(provider: Provider, days: list[int], lie: str = "") -> None:
        tell(provider, days, lie or ("page" if max(days) > 3 else ""))

    with mock.patch.object(Provider, "tell", goes_on):
        assert any("not healed" in one for one in play_source(scene, tmp_path, client)[1])
