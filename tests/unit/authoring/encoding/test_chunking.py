"""What a proposed cut guarantees, and what a declared one is warned about."""

from __future__ import annotations

import json
import math

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from gridmill.authoring.encoding.chunking import (
    LEAST_CHUNK_NBYTES,
    SHARD_NBYTES,
    cut_warnings,
    propose_cut,
)
from gridmill.cli import cli
from gridmill.model.variables import Encoding

DIMS = ("time", "latitude", "longitude")


@given(
    lengths=st.tuples(st.integers(1, 2000), st.integers(1, 3000), st.integers(1, 3000)),
    positions=st.integers(1, 500),
    level=st.sampled_from([(), ("level", 37), ("lead_time", 60)]),
)
def test_a_proposal_can_be_declared(lengths, positions, level):
    """Shards are whole chunks, hold one write, stay below their size, and no chunk exceeds one."""
    sizes = dict(zip(DIMS, lengths, strict=True))
    if level:
        sizes = {"time": sizes.pop("time"), level[0]: level[1], **sizes}
    cut = propose_cut(sizes, "time", positions)
    encoding = Encoding(chunks=cut.chunks, shards=cut.shards)
    written = min(positions, sizes["time"])
    assert encoding.shards is not None
    assert encoding.shards[0] == written
    assert cut.shard_nbytes <= max(SHARD_NBYTES, cut.chunk_nbytes)
    warnings = list(cut_warnings(encoding, tuple(sizes), "time", written, 4))
    assert not any("splits" in warning for warning in warnings)


@pytest.mark.parametrize("positions", [1, 24, 209])
def test_chunks_of_a_global_grid_are_worth_a_request(positions):
    """Neither too small to fetch nor too large for a point's time series."""
    cut = propose_cut(dict(zip(DIMS, (100_000, 721, 1440), strict=True)), "time", positions)
    assert 10 * LEAST_CHUNK_NBYTES < cut.chunk_nbytes < 8 * 2**20
    padded = math.prod(-(-n // c) * c for n, c in zip((721, 1440), cut.chunks[1:], strict=True))
    assert padded < 1.1 * 721 * 1440


def test_small_chunks_are_warned_about():
    """The message gives their size and the limit."""
    encoding = Encoding(chunks=(24, 17, 16), shards=(24, 374, 368))
    (warning,) = cut_warnings(encoding, DIMS, "time", 24, 4)
    assert "9 kB" in warning
    assert "50 kB" in warning


@pytest.mark.parametrize(("positions", "splits"), [(1, True), (24, False), (48, False), (36, True)])
def test_writes_that_split_a_shard_are_warned_about(positions, splits):
    """A write should end where a shard ends."""
    encoding = Encoding(chunks=(24, 121, 120), shards=(24, 363, 360))
    warnings = list(cut_warnings(encoding, DIMS, "time", positions, 4))
    assert any("splits a shard of 24" in warning for warning in warnings) == splits


def test_the_command_shows_declared_and_proposed():
    """`gridmill layout` for people and for programs."""
    shown = CliRunner().invoke(cli, ["layout", "noaa-gfs-forecast", "--json"])
    assert shown.exit_code == 0, shown.output
    content = json.loads(shown.stdout)
    assert content["positions"] == 1
    for cut in content["cuts"]:
        assert cut["declared"]["chunks"]
        assert len(cut["proposed"]["shards"]) == len(cut["dims"])
    people = CliRunner().invoke(cli, ["layout", "ostia-sst-monthly", "--positions", "1"])
    assert people.exit_code == 0, people.output
    assert "proposed" in people.stdout
