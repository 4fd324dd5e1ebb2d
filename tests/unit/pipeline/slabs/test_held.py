"""A place that a gate holds is as if its file could not be read, however a region is divided."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest

from gridmill.authoring.source_file import SourceFileCoord
from gridmill.model.fields.gates import (
    Gate,
    MostJump,
    MostMissing,
    NotARepeat,
    NotConstant,
    ValidRange,
)
from gridmill.model.files.versions import Word, identity_of
from gridmill.model.variables import Encoding
from gridmill.pipeline.canvas import slabs_of
from tiny import HOUR, SHAPE, START, Provider, TinyJob, TinyTemplate, hours, tiny_var, values_at
from workplace import Workplace

IN_RANGE = ValidRange(0, 1)
BAD = START + 2 * HOUR
# Every column of chunks is a slab of its own.
DIVIDED = partial(slabs_of, most_nbytes=1)


def template(*gates: Gate, **changes) -> TinyTemplate:
    """Return the template with gates of its first variable, in chunks of one point."""
    encoding = Encoding(chunks=(2, 1, 1), shards=(4, *SHAPE), **changes)
    first = tiny_var("a", gates=gates, encoding=encoding)
    kind = type("Gated", (TinyTemplate,), {"data_vars": (first, tiny_var("b", 1))})
    made: TinyTemplate = kind()
    return made


def publish(provider: Provider, label, values: np.ndarray) -> None:
    """Let a label's file hold these values of the first variable."""
    path = provider.path(label)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.concatenate([values[None], values_at(label)[1:]]).astype("float32"))


@pytest.fixture(params=["whole", "divided"])
def slabs(request, monkeypatch) -> str:
    """A region is made at once, or slab by slab."""
    if request.param == "divided":
        monkeypatch.setattr("gridmill.pipeline.slabs.dividing.slabs_of", DIVIDED)
    return request.param


class Plain(TinyJob):
    """Nothing is mixed along the grid."""

    whole_dims = ()


class Differences(Plain):
    """What is stored rests on the position before, too."""

    def get_processing_region(self):
        return slice(self.region.start - 1, self.region.stop)

    def transform_values_inplace(self, values, data_var):
        values[1:] -= values[:-1].copy()

    def provenance(self, filled, data_var):
        ours = filled.copy()
        ours[1:] &= filled[:-1]
        ours[:1] = False
        return ours


@pytest.mark.parametrize("job", [Plain, Differences])
@pytest.mark.parametrize("published", [0, 8])
def test_what_is_held_is_as_if_it_could_not_be_read(tmp_path, slabs, job, published):
    """Object by object: nothing of it is stored, and nothing that rests on it."""
    receipts, stored = [], []
    for name in ("held", "unreadable"):
        at = Workplace(tmp_path / name, job, template(ValidRange(-100, 1)))
        at.run(region=slice(4, 8))
        at.publish()
        at.context = replace(at.context, published=published)
        if name == "held":
            publish(at.provider, hours(8)[6], np.full(SHAPE, 7.0))
        else:
            at.provider.break_file(hours(8)[6], b"no array")
        receipts.append(at.run(region=slice(4, 8)))
        stored.append(at.values())
    held, unreadable = receipts
    assert list(held.unread) == list(unreadable.unread) == [2 + (job is Differences)]
    assert next(iter(held.unread.values())).startswith("held by gate valid range: ")
    assert held.objects == unreadable.objects
    assert (held.not_read, len(unreadable.not_read)) == ({}, 1)
    np.testing.assert_array_equal(*stored)


def test_a_held_field_is_judged_as_a_whole(tmp_path, slabs):
    """Each slab alone would be constant, mostly missing, or a jump: the field is not."""
    gates = (NotConstant(), MostMissing(0.5), MostJump(5))
    at = Workplace(tmp_path, Plain, template(*gates))
    values = values_at(BAD)[0]
    values[0, :2] = np.nan
    values[1, 1] += 15
    publish(at.provider, BAD, values)
    assert at.run().unread == {}
    values[1] = np.nan
    publish(at.provider, BAD, values)
    (why,) = at.run().unread.values()
    assert why == "held by gate missing values: 83.3 % of the values are missing, more than 50 %"


def test_what_somebody_released_is_stored(tmp_path, slabs):
    """That version of the file and no other; the others are looked at all the same."""
    at = Workplace(tmp_path, Plain, template(IN_RANGE))
    for label in (START, BAD):
        publish(at.provider, label, values_at(label)[0] + 5)
    source = at.download()
    coord = source.files[2].coord
    version = identity_of(coord.nbytes, coord.etag, coord.last_modified)
    same, other = (Word("me", version, content) for content in (coord.checksum, "whole-00000000"))
    for known, unread in (
        (same, [0]),
        (Word("me", (None, "other", None)), [0, 2]),
        (other, [0, 2]),
    ):
        at.work = lambda *args, known=known: replace(
            Workplace.work(at, *args), released={coord.get_url(): known}
        )
        assert list(at.compress(source).unread) == unread


def test_a_repeat_is_one_of_the_position_before_and_no_other(tmp_path, slabs):
    """A feed that stands still is held from its first repeat on."""
    at = Workplace(tmp_path, Plain, template(NotARepeat()))
    for label in hours(2, first=2):
        publish(at.provider, label, values_at(START + HOUR)[0])
    assert list(at.run().unread) == [2, 3]
    publish(at.provider, hours(8)[3], values_at(START)[0])
    assert list(at.run().unread) == [2]


def test_a_margin_is_compared_with_and_not_judged(tmp_path, slabs):
    """What lies before a region is that region's to hold; its values are known all the same."""

    class WithMargin(Plain):
        def get_processing_region(self):
            return slice(self.region.start - 1, self.region.stop)

    at = Workplace(tmp_path, WithMargin, template(ValidRange(0, 3), NotARepeat()))
    publish(at.provider, hours(8)[3], values_at(START)[0] + 9)
    assert at.run(region=slice(4, 8)).unread == {}
    for label in hours(2, first=3):
        publish(at.provider, label, values_at(START)[0])
    assert list(at.run(region=slice(4, 8)).unread) == [1]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_declared_fill_value_is_missing_and_beyond_no_range(tmp_path, slabs, dtype):
    """Whole numbers have no NaN: what a reader sees as missing is judged as that."""
    config = template(ValidRange(0, 9), MostMissing(0.5), dtype=dtype, fill_value=-99)
    at = Workplace(tmp_path, Plain, config)
    for label in hours(4):
        publish(at.provider, label, np.array([[1, 2, -99], [3, -99, 4]]))
    assert at.run().unread == {}
    publish(at.provider, BAD, np.array([[1, 2, -99], [-99, -99, -99]]))
    assert "missing values" in at.run().unread[2]


def test_a_static_variable_is_looked_at_too(tmp_path):
    """It has one field, and none before it."""

    @dataclass(frozen=True, kw_only=True)
    class StaticFile(SourceFileCoord):
        def get_url(self):
            return "static.npy"

        def out_loc(self):
            return {}

    class StaticJob(TinyJob):
        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            return [StaticFile()]

    encoding = Encoding(chunks=SHAPE)
    gates = (NotARepeat(), MostJump(1), NotConstant())
    static = tiny_var("z", 2, dims=("y", "x"), encoding=encoding, gates=gates)
    kind = type("Static", (TinyTemplate,), {"data_vars": (tiny_var("a"), static)})
    at = Workplace(tmp_path, StaticJob, kind())
    np.save(at.provider.root / "static.npy", np.ones((4, *SHAPE), "float32"))
    receipt = at.run("z", slice(0, 0))
    assert receipt.unread == {0: "held by gate constant field: all values are 1"}
    assert receipt.objects == ()


def test_a_position_is_named_where_a_file_fills_several(tmp_path):
    """An operator finds it in a file of a day."""

    @dataclass(frozen=True, kw_only=True)
    class Day(SourceFileCoord):
        def get_url(self):
            return "day.npy"

        def out_loc(self):
            return {"time": slice(hours(8)[0], hours(8)[7])}

    class DayJob(TinyJob):
        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            return [Day()]

        def get_processing_region(self):
            return slice(0, 8)

        def read_data(self, coord, data_var):
            return np.load(coord.downloaded_path)

    at = Workplace(tmp_path, DayJob, template(IN_RANGE))
    values = np.full((8, *SHAPE), 0.5, "float32")
    values[6] = 2
    np.save(at.provider.root / "day.npy", values)
    assert at.run(region=slice(0, 4)).unread == {}
    (why,) = at.run(region=slice(4, 8)).unread.values()
    assert why == "held by gate valid range: 2 to 2 is not within 0 to 1 (time position 6)"
