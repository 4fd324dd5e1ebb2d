"""Uploads of every region that is whole wait to be made visible, each under its own name."""

from __future__ import annotations

from types import SimpleNamespace

from gridmill.model.records import ProgressRecord, VariableRecord
from gridmill.model.region import Region
from gridmill.publishing.staging import Staging


def record_of(region):
    made = {"a": VariableRecord(state="done", group=0, token="token")}
    return ProgressRecord(dataset_id="tiny", start=region.start, stop=region.stop, variables=made)


def test_static_variables_are_not_taken_for_the_first_region():
    """Both start at 0: what an earlier run left of one is found though the other is known."""
    first, static = (record_of(region) for region in (Region(0, 4), Region.STATIC))
    tracker = SimpleNamespace(all_records=lambda: iter([static, first]))
    archive = SimpleNamespace(
        append_dim="time",
        index=list(range(4)),
        published=0,
        store=SimpleNamespace(shows_uploads=False, tracker=tracker),
        arrays={"a": {}},
    )
    staging = Staging(archive, SimpleNamespace(is_whole=lambda record: True))
    staging.remember(first)
    assert sorted((one.name, one.stop) for one in staging.below(4)) == [("0", 4), ("static", 0)]
