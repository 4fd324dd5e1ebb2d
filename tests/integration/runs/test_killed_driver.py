"""What a kill of the driver costs: what was in hand, counted by the provider's server."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from gridmill.model.region import Region
from gridmill.stores.state.records import UpdateProgressTracker
from gridmill.testing import ArchiveServer
from grouped import GROUPS, Grouped, backfill_and_die, publish
from tiny import REGION, hours, snapshot, until, url_of

POSITIONS = 3 * REGION
# Variables of a region that one thread may have in hand: one that it makes, one that is uploaded
# while the driver has not taken it, one that it takes, and one that is downloaded for the next.
IN_HAND = 4


def url(name: str, position: int) -> str:
    """Name a source file."""
    return f"{name}/{url_of(hours(1, position)[0])}"


# At the last variable of the first region, the middle of the second, and where readers see it.
ARROWS = (
    f"download:{url('h', 0)}",
    f"compress:{url('h', 3)}",
    "before store:h/c/0/0/0",
    "after store:h/c/0/0/0",
    "before state:regions/0000000000.json",
    "after state:regions/0000000004.json",
    f"compress:{url('e', REGION + 1)}",
    "after store:e/c/1/0/0",
    "before store:zarr.json",
    "after store:time/zarr.json",
    "after store:zarr.json",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an uninterrupted backfill makes."""
    folder = tmp_path_factory.mktemp("whole")
    publish(folder / "provider", POSITIONS)
    dataset = Grouped(folder / "a.zarr", source_base=str(folder / "provider"))
    dataset.backfill(until(POSITIONS), client="none")
    return snapshot(folder / "a.zarr")


@pytest.mark.parametrize("arrow", ARROWS)
def test_a_kill_costs_what_was_in_hand(arrow, whole, tmp_path):
    """The rerun asks for no file of what is recorded, and few were fetched and not recorded."""
    publish(tmp_path / "provider", POSITIONS)
    store = tmp_path / "a.zarr"
    with ArchiveServer(tmp_path / "provider") as server:
        server.release_all()
        backfill_and_die(store, server.url, POSITIONS, at=arrow)
        before = {request.path for request in server.requests}
        dataset = Grouped(store, source_base=server.url)
        recorded = recorded_files(dataset.store.tracker)
        report = dataset.backfill(until(POSITIONS), client="none")
        asked = Counter(request.path for request in server.requests)
    assert report.succeeded
    assert snapshot(store) == whole
    again = {path for path, times in asked.items() if times > 1}
    assert again == before - recorded
    assert len(again) <= IN_HAND * REGION
    assert not [path for path, times in asked.items() if times > 2]


def recorded_files(tracker: UpdateProgressTracker) -> set[str]:
    """Name the source files of the variables that are recorded as done."""
    found = set()
    for start in range(0, POSITIONS, REGION):
        record = tracker.read(Region(start, start + REGION))
        for name in record.variables if record else ():
            found |= {url(name, position) for position in range(start, start + REGION)}
    assert len(found) % REGION == 0
    assert {path[0] for path in found} <= set(GROUPS)
    return found


def test_what_the_arrows_name_is_there(whole):
    """An arrow that nobody passes would prove nothing."""
    for arrow in ARROWS:
        place, _, key = arrow.partition(":")
        assert "store" not in place or key in whole, Path(key)
