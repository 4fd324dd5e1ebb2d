"""Inventories of a whole made archive lead to its messages."""

from __future__ import annotations

import json

import pytest

from checked_messages import check_messages
from gridmill.sources.grib.inventory.message import InventoryMismatch
from made_archives import make_archive


@pytest.fixture(scope="module")
def gfs_archive(shared_data, tmp_path_factory):
    """2 inits of 7 leads in GFS's layout; four of the files have faults."""
    arguments = ["--inits", "2", "--leads", "0:18:3", "--faults"]
    root = tmp_path_factory.mktemp("gfs")
    return make_archive(shared_data, root, "make_gfs_archive.py", *arguments)


def test_a_made_archive_is_found_message_by_message(gfs_archive):
    """In a GFS-layout archive every message is at its range; each fault is an error of its file."""
    faults = json.loads((gfs_archive / "faults.json").read_text())
    truth = [json.loads(line) for line in (gfs_archive / "truth.jsonl").open()]
    checked = 0
    for name in sorted({entry["file"] for entry in truth} - set(faults.values())):
        data = (gfs_archive / name).read_bytes()
        text = (gfs_archive / f"{name}.idx").read_text()
        messages = check_messages(text, data)
        expected = [(e["offset"], e["offset"] + e["length"]) for e in truth if e["file"] == name]
        assert [m.byte_range for m in messages] == expected
        checked += len(messages)
    assert checked > 70

    for fault in ("truncated_grib", "stale_idx"):
        data = (gfs_archive / faults[fault]).read_bytes()
        text = (gfs_archive / f"{faults[fault]}.idx").read_text()
        with pytest.raises(InventoryMismatch):
            check_messages(text, data)
