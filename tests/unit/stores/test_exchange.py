"""What lies beside a store moves to another version's place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.archive.declaration import refuse_under_way
from gridmill.stores.objects.local import LocalObjects
from gridmill.stores.state.beside import exchange
from gridmill.stores.zarr_store import ZarrStore

MOVING = ("regions/0.json", "regions/4.json", "pending/0-now-", "variables.json", "seeds/a.json")
KEPT = ("leases/x/claim.json", "staging/unfinished")
STAYING = (*KEPT, "feed/2026-11-30.jsonl", "copied-from.json", "probe")
JOINING = ("runs/1.json", "runs/2.json", "runs/3.json")

places = st.dictionaries(st.sampled_from(MOVING + STAYING + JOINING), st.binary(max_size=3))


def filled(folder: Path, content: dict[str, bytes]) -> LocalObjects:
    objects = LocalObjects(folder, folder / "staging")
    for key in objects.keys(""):
        objects.delete(key)
    for key, value in content.items():
        objects.put(key, value)
    return objects


def held(objects: LocalObjects) -> dict[str, bytes]:
    return {key: objects.get(key) or b"" for key in objects.keys("")}


@given(places, places)
def test_a_place_has_then_what_the_other_one_has(tmp_path_factory, ours, theirs):
    """But for what belongs to the place and its readers; reports of both are there."""
    folder = tmp_path_factory.mktemp("places")
    source, target = filled(folder / "a", theirs), filled(folder / "b", ours)
    wanted = {key: value for key, value in ours.items() if key in STAYING}
    wanted |= {key: value for key, value in ours.items() if key in JOINING}
    wanted |= {key: value for key, value in theirs.items() if key not in STAYING}
    for _ in range(2):  # the same again changes nothing
        exchange.take_over(source, target)
        assert held(target) == wanted
    assert held(source) == theirs


def test_a_place_that_is_cleared_says_so_to_the_last(tmp_path):
    """Leases, and what is being written, stay; the declaration goes when nothing else is left."""
    objects = filled(tmp_path, dict.fromkeys((*MOVING, *STAYING, *JOINING), b"x"))
    exchange.mark(objects, {"dataset_id": "tiny"}, {"what": "deleting"})
    left = []
    exchange.clear(objects, lambda: left.extend(held(objects)))
    assert left == ["declaration.json", *KEPT]
    assert list(held(objects)) == list(KEPT)


def test_what_is_under_way_stops_a_run_until_it_is_settled(tmp_path):
    """What a declaration says otherwise stays."""
    store = ZarrStore(str(tmp_path / "a"), "tiny")
    objects = store.state
    exchange.mark(objects, {"dataset_id": "tiny", "start": None}, {"to": "x"})
    declared = json.loads(objects.get("declaration.json"))
    assert exchange.mark_of(declared) == {"to": "x"}
    with pytest.raises(ValueError, match="gridmill promote completes it"):
        refuse_under_way(store, declared)
    exchange.settle(objects, declared)
    declared = json.loads(objects.get("declaration.json"))
    refuse_under_way(store, declared)
    assert declared == {"schema": declared["schema"], "dataset_id": "tiny", "start": None}
