"""Path patterns and cadences that are found in the names of samples. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gridmill.operations.samples.pattern import NameFacts, NoPattern, find_pattern
from gridmill.operations.samples.proposing.cadence import Cadence, cadence_of

HOUR = timedelta(hours=1)
DATES = ("%Y%m%d", "%Y%m%d%H", "%Y/%m/%d", "%Y-%m-%dT%H", "%Y%m%d_%H%M", "%Y/%j", "%Y.%m.%d")
LEADS = (".f{:03d}", "_P{:03d}", "-{}h", "_PT{:03d}H", ".wrfsfcf{:02d}")
WORDS = ("gfs", "ps30km", "0p25", "pgrb2", "global_2d", "v2.0", "RLatLon0.0225")


@given(
    date=st.sampled_from(DATES),
    lead=st.sampled_from(LEADS),
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=3),
    first=st.datetimes(datetime(1980, 1, 1), datetime(2060, 1, 1)),
    steps=st.lists(st.integers(0, 2000), min_size=1, max_size=4, unique=True),
    leads=st.lists(st.integers(0, 99), min_size=1, max_size=4, unique=True),
)
def test_a_pattern_gives_back_every_name(date, lead, words, first, steps, leads):
    """Whatever the form of dates and leads: what was read is what is written."""
    times = [first.replace(minute=0, second=0, microsecond=0) + step * HOUR for step in steps]
    names, facts = [], []
    for time in times:
        for hours in leads:
            stem = "_".join(words)
            names.append(
                f"https://x.org/data/{time.strftime(date)}/{stem}{lead.format(hours)}.grib2"
            )
            facts.append(NameFacts(times=(time, time), lead=hours * HOUR))
    assume(len(set(names)) == len(names))
    found = find_pattern(names, facts)
    for number, (name, fact) in enumerate(zip(names, facts, strict=True)):
        assert fact.lead is not None
        path = found.render(fact.times[0], fact.lead, None, found.words[number])
        assert found.base + path == name
    assert len(leads) == 1 or found.has("lead") or found.has("word")
    assert {"Y"} <= set(found.units)


@given(time=st.datetimes(datetime(1980, 1, 1), datetime(2060, 1, 1)), date=st.sampled_from(DATES))
def test_dates_are_read_from_names_where_files_say_none(time, date):
    """To the unit that names have."""
    name = f"/data/chirps-v2.0.{time.strftime(date)}.tif"
    found = find_pattern([name], [NameFacts()])
    assert found.times[0].strftime(date) == time.strftime(date)


def test_what_is_not_known_to_be_a_lead_stays():
    """A figure that equals a lead by chance is no lead: the grid's resolution, a version."""
    at = datetime(2024, 1, 1)
    found = find_pattern(["/d/model.2.t00z.0p25.f002"], [NameFacts(times=(at, at), lead=2 * HOUR)])
    assert str(found) == "model.2.t%Hz.0p25.f{lead}"


@pytest.mark.parametrize(
    ("names", "members", "shown"),
    [
        (("/d/gec00.f003", "/d/gep01.f003"), (0, 1), "{name}.f{lead}"),
        (("/d/m00.f003", "/d/m01.f003"), (0, 1), "m{member}.f{lead}"),
    ],
)
def test_members_are_numbers_or_words(names, members, shown):
    """GEFS calls its control c00."""
    at = datetime(2024, 1, 1)
    facts = [NameFacts(times=(at, at), lead=3 * HOUR, member=member) for member in members]
    assert str(find_pattern(names, facts)) == shown


def test_words_that_are_divided_alike_are_one():
    """CMC's TMP_ISBL_850 is one, whatever is in it."""
    at = datetime(2020, 1, 25)
    names = [f"/d/CMC_{word}_ps30km.grib2" for word in ("TMP_ISBL_850", "WIND_TGL_10", "PRMSL")]
    found = find_pattern(names, [NameFacts(times=(at, at))] * 3)
    assert str(found) == "CMC_{name}_ps30km.grib2"
    assert found.words == (("TMP_ISBL_850",), ("WIND_TGL_10",), ("PRMSL",))


@given(
    first=st.datetimes(datetime(1980, 1, 1), datetime(2060, 1, 1)),
    alias=st.sampled_from(["D", "12h", "6h", "3h", "h", "30min", "15min", "5min", "min"]),
    places=st.sets(st.integers(0, 50), min_size=2, max_size=6),
)
def test_a_cadence_divides_every_difference(first, alias, places):
    """And is known where two neighbours are one step apart."""
    import pandas as pd

    step = pd.Timedelta(pd.tseries.frequencies.to_offset(alias)).to_pytimedelta()
    first = first.replace(second=0, microsecond=0)
    places = sorted({*places, max(places) + 1})
    times = [first + place * step for place in places]
    found = cadence_of(times)
    assert found == Cadence(alias, is_known=True)


def test_times_without_a_step_are_irregular():
    """They are listed, then."""
    times = [datetime(2024, 1, 1, 9, 12, 7), datetime(2024, 1, 1, 10, 53, 31)]
    assert cadence_of(times).alias is None


def test_no_pattern_is_a_wrong_input():
    """As every other of an author's mistakes."""
    assert issubclass(NoPattern, ValueError)
