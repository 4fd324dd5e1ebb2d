"""What fields of samples are called. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from gridmill.authoring.cf import WELL_KNOWN
from gridmill.operations.samples.facts import GribField
from gridmill.operations.samples.proposing.naming import names_of_field
from gridmill.sources.grib.inventory.message import Statistic

ZERO = timedelta(0)


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("10si", "wind_speed_10m"),
        ("WIND", "wind_speed_10m"),
        ("10wdir", "wind_direction_10m"),
        ("WDIR", "wind_direction_10m"),
        ("i10fg", "wind_gust_10m"),
        ("GUST", "wind_gust_10m"),
    ],
)
def test_winds_at_10_m_have_one_name_whoever_names_them(parameter, name):
    """Of ecCodes as of NOAA; what they are is well-known, so that nothing is asked."""
    names = names_of_field(
        GribField(
            parameter=parameter,
            level="10 m above ground",
            start=ZERO,
            end=ZERO,
            time=datetime(2024, 1, 1),
            statistic=Statistic.INSTANT,
        ),
        has_levels=False,
    )
    assert (names.name, names.more, names.unknown) == (name, {}, ())
    assert name in WELL_KNOWN
