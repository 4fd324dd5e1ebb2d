"""What a listing answers of the files that it shows."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridmill.sources.listings.listing import Entry, Folder, Listing
from gridmill.sources.listings.pattern import Pattern

FIRST = datetime(2025, 1, 1)
TIMES = [FIRST + n * timedelta(hours=1) for n in range(100)]


def listing_of(*names: str) -> Listing:
    """Return the listing of a folder with these files."""
    entries = tuple(Entry(name, name) for name in names)
    return Listing("d/", Pattern("{kind}_s{start:%Y%m%d%H%M}_c{created:d}.nc"), Folder(entries))


HOURLY = listing_of(*(f"{k}_s{t:%Y%m%d%H%M}_c{n}.nc" for k in "ab" for t in TIMES for n in (1, 2)))


@pytest.mark.parametrize(
    "start",
    [
        TIMES[7],
        pd.Timestamp(TIMES[7]),
        pd.Timestamp(TIMES[7]).as_unit("s"),
        pd.Timestamp(TIMES[7]).as_unit("ns"),
    ],
)
@pytest.mark.parametrize("created", [1, np.int64(1)])
def test_the_newest_has_the_fields_that_are_known(start, created):
    """However a date or a number is held."""
    assert HOURLY.newest(start=start, kind="b").address == "d/b_s202501010700_c2.nc"
    found = HOURLY.newest(created=created, kind="a", start=start)
    assert found.address == "d/a_s202501010700_c1.nc"
    assert HOURLY.newest(kind="b").fields["start"] == TIMES[-1]
    assert not HOURLY.newest(start=start + timedelta(minutes=1)).is_listed


class Counted(str):
    """A text that counts with how many it is compared."""

    compared = 0

    def __eq__(self, other: Any) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_a_file_is_found_without_looking_at_every_other():
    """So that many files of one folder are not asked for in the square of their number."""
    many = listing_of(*(f"k{n}_s202501010000_c1.nc" for n in range(100)))
    for n in range(100):
        assert many.newest(kind=Counted(f"k{n}")).is_listed
    assert Counted.compared <= 2 * 100
