"""Messages, and how what is decoded of them compares."""

from __future__ import annotations

import random
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from gridmill.sources.grib.messages import (
    decode_message_into,
    message_identity,
    read_grid,
)

GRIB1 = "regular_ll_sfc_grib1"
VALUES = np.random.default_rng(1).normal(280, 15, (31, 16)).round(1)
WITH_MISSING = np.where(VALUES > 290, np.nan, VALUES)


def decode(message):
    """Give what is decoded of a message."""
    values = np.full(read_grid(message).shape, 12345.0, np.float32)
    decode_message_into(values, message)
    return values


def assert_points_agree(grid, latitudes, longitudes, atol=1e-5):
    """Compare the points of a grid with those of somebody else."""
    mine = grid.points()
    np.testing.assert_allclose(mine[0].ravel(), latitudes, rtol=0, atol=atol)
    east = (mine[1].ravel() - longitudes + 180) % 360 - 180
    np.testing.assert_allclose(east, 0, atol=atol)


def soak(messages, rounds):
    """Decode, in 8 threads and in random order, and count what differs from one thread's."""
    expected = [(zlib.crc32(decode(m).tobytes()), message_identity(m)) for m in messages]
    order = [place for _ in range(rounds) for place in range(len(messages))]
    random.Random(5).shuffle(order)

    def differs(place):
        message = messages[place]
        got = (zlib.crc32(decode(message).tobytes()), message_identity(message))
        return got != expected[place]

    with ThreadPoolExecutor(8) as pool:
        return sum(pool.map(differs, order)), len(order)
