"""Statistics of fields are numpy's, however an archive is divided, and cost bounded memory."""

from __future__ import annotations

from dataclasses import dataclass

import dask
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridmill.model.variables import DataVar, Encoding
from gridmill.validation.checks.physical_ranges import RANGES, physical_range
from gridmill.validation.checks.values import spans_of
from gridmill.validation.statistics import profiles as statistics
from gridmill.validation.statistics.profiles import scan

DIMS = ("time", "lead", "y", "x")


@dataclass
class Memory:
    """A store in memory, of which a block may be broken."""

    values: np.ndarray
    broken: int | None = None

    def read(self, variable: str, selection: tuple[slice, ...]) -> np.ndarray:
        """Give a block."""
        at = selection[0]
        if self.broken is not None and at.start <= self.broken < at.stop:
            raise ValueError("the checksum does not match")
        return self.values[selection]


def variable(shape: tuple[int, ...], chunks: tuple[int, ...]) -> DataVar:
    """Declare a variable of four dims."""
    fitting = tuple(map(min, chunks, shape))
    attrs = {"units": "1", "long_name": "v"}
    return DataVar(name="v", dims=DIMS, encoding=Encoding(chunks=fitting), attrs=attrs)


def scanned(
    store: Memory, chunks: tuple[int, ...], block_nbytes: int
) -> statistics.FieldStatistics:
    """Scan all of a store in this thread, in blocks of this size."""
    shape = store.values.shape
    before, statistics.BLOCK_NBYTES = statistics.BLOCK_NBYTES, block_nbytes
    try:
        with dask.config.set(scheduler="synchronous"):
            return scan(
                store,
                variable(shape, chunks),
                dict(zip(DIMS, shape, strict=True)),
                over=("y", "x"),
                append_dim="time",
                positions=slice(0, shape[0]),
            )
    finally:
        statistics.BLOCK_NBYTES = before


@given(
    shape=st.tuples(*[st.integers(1, 5)] * 4),
    chunks=st.tuples(*[st.integers(1, 4)] * 4),
    block=st.integers(4, 400),
    missing=st.floats(0, 1),
    seed=st.integers(0, 2**32 - 1),
)
def test_statistics_are_those_of_whole_fields(shape, chunks, block, missing, seed):
    """Whatever the blocks, with missing values, and with fields that have none at all."""
    rng = np.random.default_rng(seed)
    values = (300 + 10 * rng.standard_normal(shape)).astype("float32")
    values[rng.random(shape) < missing] = np.nan
    found = scanned(Memory(values), chunks, block)
    rows = values.reshape(*shape[:2], -1).astype(float)
    valid = np.isfinite(rows)
    np.testing.assert_array_equal(found.fields["valid"], valid.sum(-1))
    there = valid.any(-1)
    for name, function in {"minimum": np.nanmin, "maximum": np.nanmax, "mean": np.nanmean}.items():
        assert np.isnan(found.fields[name].values[~there]).all()
        for place in np.argwhere(there):
            expected = function(rows[tuple(place)])
            np.testing.assert_allclose(
                found.fields[name].values[tuple(place)], expected, rtol=1e-12
            )
    spread = [np.nanstd(rows[tuple(place)]) for place in np.argwhere(there)]
    np.testing.assert_allclose(found.fields["std"].values[there], spread, rtol=1e-6, atol=1e-9)
    assert found.unreadable == ()


@given(block=st.integers(4, 400), seed=st.integers(0, 1000))
def test_equal_fields_and_only_those_have_equal_digests(block, seed):
    """At the same division, which a scan has throughout."""
    values = np.random.default_rng(seed).random((6, 1, 4, 5), dtype="float32")
    values[3] = values[2]
    digest = scanned(Memory(values), (1, 1, 2, 2), block).fields["digest"].values[:, 0]
    assert digest[3] == digest[2]
    assert len(set(digest.tolist())) == 5


def test_what_cannot_be_read_is_told_and_the_rest_is_scanned():
    """A broken block is no reason not to look at the others."""
    values = np.ones((6, 1, 4, 5), "float32")
    found = scanned(Memory(values, broken=2), (1, 1, 4, 5), 4 * 4 * 5)
    assert found.unreadable == ((slice(2, 3), "ValueError: the checksum does not match"),)
    assert found.fields["valid"].values[:, 0].tolist() == [20, 20, 0, 20, 20, 20]


def test_runs_of_findings_are_joined():
    """Neighbours are one finding; of very many, the last holds the rest."""
    marked = np.zeros((40, 2), bool)
    marked[[3, 4, 9], 1] = True
    assert spans_of(marked) == [slice(3, 5), slice(9, 10)]
    marked[::2] = True
    assert len(spans_of(marked)) == 8
    assert spans_of(marked)[-1].stop == 39


@pytest.mark.parametrize("name", RANGES)
def test_every_range_is_one(name):
    """Lowest before highest, in units that can be converted into others of their kind."""
    units, low, high = RANGES[name]
    assert low < high
    assert physical_range({"standard_name": name, "units": units}) == (low, high)


def test_ranges_are_known_in_other_units():
    """Converted as units are, offsets included; not where they do not go together."""
    low, high = physical_range({"standard_name": "air_pressure_at_mean_sea_level", "units": "hPa"})
    assert (round(low), round(high)) == (850, 1120)
    low, high = physical_range({"standard_name": "cloud_area_fraction", "units": "%"})
    assert round(high) == 100
    assert physical_range({"standard_name": "air_temperature", "units": "Pa"}) is None
    assert physical_range({"standard_name": "air_temperature", "units": "wibble"}) is None
    assert physical_range({"units": "K"}) is None
