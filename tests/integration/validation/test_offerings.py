"""A provider that adds cycles, members and leads on a day: not missing before, expected after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_not_offered import ShortRunsTemplate

from arrivals import (
    LEADS,
    START,
    STEP,
    ForecastJob,
    ForecastProvider,
    Forecasts,
    inits,
    places,
)
from gridmill import Offering
from gridmill.archive.archive import Archive
from gridmill.planning.source_files.declared import positions_not_offered
from gridmill.testing import DatasetContract
from gridmill.validation import Context
from gridmill.validation.checks.gaps import find_gaps

N = 8
NOW = START + STEP * (N + 1)
SINCE = START + STEP * 4
LAST = LEADS[-1]


class GrowingTemplate(ShortRunsTemplate):
    """Each member has fields of its own."""

    coords = tuple(
        replace(coord, attrs={"long_name": "x", "axis": "X"}) if coord.name == "x" else coord
        for coord in ShortRunsTemplate.coords
    )


class GrowingJob(ForecastJob):
    """From the fifth forecast on there are two more cycles, one more member and one more lead."""

    offerings = (
        Offering(hours=(6, 18), since=str(SINCE)),
        Offering(dim="member", labels=[1], since=str(SINCE)),
        Offering(dim="lead_time", labels=slice("6h", None), since=str(SINCE)),
    )


class Growing(Forecasts):
    """Forecasts of a provider that grows."""

    template_config = GrowingTemplate
    region_job = GrowingJob


def is_offered(place: Any) -> bool:
    """Whether the provider makes a file."""
    init, lead, member = place
    return init >= SINCE or (init.hour in (0, 12) and member == 0 and lead != LAST)


def built(tmp_path: Path, without: Any = (), job: Any = GrowingJob) -> Growing:
    """Build the archive, without the files of some places."""
    provider = ForecastProvider(tmp_path / "source")
    provider.publish([p for p in places(N) if is_offered(p) and p not in without])
    of = type("Of", (Growing,), {"region_job": job})
    dataset = of(tmp_path / "a.zarr", source_base=str(provider.root))
    dataset.backfill(START + STEP * N, client="none", now=NOW)
    return dataset


def test_what_comes_on_a_day_is_not_missing_before(tmp_path):
    """No file is asked for, no gap stands open, nothing is found, and completeness says so."""
    dataset = built(tmp_path)
    assert dataset.store.published_length("init_time") == N
    (report,) = dataset.store.tracker.reports.past(1)
    assert report.succeeded
    assert set(report.files) == {"succeeded"}
    assert list(find_gaps(Context(dataset, now=NOW, beyond=True))) == []
    found = dataset.validate(now=NOW).found_by
    assert found == {}, found
    assert not dataset.status(now=NOW).gaps
    with dataset.store.open_dataset() as ds:
        shares = ds.completeness.load()
        values = ds.a.load()
    for place in places(N):
        init, lead, member = place
        at = {"init_time": init, "lead_time": lead, "member": member}
        assert shares.sel(at).item() == is_offered(place), place
        assert np.isfinite(values.sel(at)).all() == is_offered(place), place


def test_after_the_day_it_is_expected(tmp_path):
    """What is not there is a gap from then on, and only from then on."""
    init = inits(N)[5]
    dataset = built(tmp_path, without=[(init, LAST, 1)])
    (gap, *others) = find_gaps(Context(dataset, now=NOW, beyond=True))
    assert not [g for g in others if g.url != gap.url]
    assert "lead_time 6 h" in gap.place
    assert gap.start == 5


def test_a_later_day_reprocesses_nothing(tmp_path):
    """What is declared for the future leaves the records of what is done as they are."""

    class LaterJob(GrowingJob):
        offerings = (
            *GrowingJob.offerings,
            Offering(dim="member", labels=[1], until=str(START + STEP * N)),
        )

    built(tmp_path)
    again = built(tmp_path, job=LaterJob)
    (report,) = again.store.tracker.reports.past(1)
    assert (report.regions_done, report.regions_skipped) == (0, N // 2)


def test_positions_without_any_offer(tmp_path):
    """Cycles that are added later leave whole positions without a source file."""
    archive: Archive = built(tmp_path).archive(NOW)
    job = archive.job(archive.region_at(0))
    assert positions_not_offered(job).tolist() == [False, True]
    assert not positions_not_offered(archive.job(archive.region_at(4))).any()


def test_an_offering_says_when_and_what():
    """Without a date, or with labels of no dim, it says nothing."""
    with pytest.raises(ValueError, match="no date"):
        Offering(dim="member", labels=[1])
    with pytest.raises(ValueError, match="together"):
        Offering(labels=[1], since="2020-01-01")
    assert pd.Timestamp(Offering(hours=(6,), until="2020-01-01").until) == START


class TestGrowing(DatasetContract):
    """The contract holds for a provider that grows."""

    dataset = Growing
    until = str(START + STEP * N)

    def make_source(self, folder: Path) -> str:
        """Write what is offered."""
        ForecastProvider(folder).publish([p for p in places(N) if is_offered(p)])
        return str(folder)
