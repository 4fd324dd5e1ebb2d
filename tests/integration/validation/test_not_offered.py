"""Forecasts of which every other one ends earlier: what no source file fills is not missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from arrivals import (
    LEADS,
    START,
    STEP,
    ForecastJob,
    ForecastProvider,
    Forecasts,
    ForecastTemplate,
    inits,
    places,
    url_of,
)
from gridmill.dataset import DynamicalDataset
from gridmill.model.region import Region
from gridmill.testing import DatasetContract
from gridmill.validation import Context, MissingValues
from gridmill.validation.checks.values import series_of

N = 8
NOW = START + STEP * (N + 1)
LAST = LEADS[-1]


def is_short(init: pd.Timestamp) -> bool:
    """Whether a forecast starts at 06 or 18 h, and lacks the last lead."""
    return init.hour in (6, 18)


class ShortRunsTemplate(ForecastTemplate):
    """Forecasts with the metadata that readers need."""

    coords = tuple(
        coord if coord.name == "completeness" else replace(coord, attrs={"long_name": coord.name})
        for coord in ForecastTemplate.coords
    )


class ShortRunsJob(ForecastJob):
    """Lists no file of the last lead of a short forecast."""

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Leave out what is not offered."""
        files = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [file for file in files if not (is_short(file.init) and file.lead == LAST)]


class ShortRuns(Forecasts):
    """Forecasts of which every other one is shorter."""

    template_config = ShortRunsTemplate
    region_job = ShortRunsJob


def offered() -> list[Any]:
    """Return the places that the provider has files of."""
    return [place for place in places(N) if not (is_short(place[0]) and place[1] == LAST)]


def built(tmp_path: Path, empty: Any = ()) -> DynamicalDataset:
    """Build the archive, with files that hold nothing at some places."""
    provider = ForecastProvider(tmp_path / "source")
    provider.publish(offered())
    for place in empty:
        np.save(provider.root / url_of(place), np.full(2, np.nan, "float32"))
    dataset = ShortRuns(tmp_path / "a.zarr", source_base=str(provider.root))
    report = dataset.backfill(START + STEP * N, client="none", now=NOW)
    assert (report.succeeded, report.positions_after) == (True, N), report.problems
    return dataset


def test_an_archive_with_shorter_forecasts_is_right(tmp_path):
    """Nothing is found, no gap stands open, and every position is complete."""
    dataset = built(tmp_path)
    validation = dataset.validate(now=NOW)
    assert {name: found for name, found in validation.found_by.items() if found} == {}
    assert not dataset.status(now=NOW).gaps
    with dataset.store.open_dataset() as ds:
        shares = ds.completeness.load()
    assert (shares.sel(lead_time=LEADS[:2]) == 1).all()
    assert shares.sel(lead_time=LAST).values.tolist() == [[1, 1], [0, 0]] * (N // 2)


@pytest.mark.parametrize("init", [inits(N)[2], inits(N)[3]], ids=["long", "short"])
def test_what_is_offered_and_empty_is_found(tmp_path, init):
    """A field without a value is one, whichever forecasts are long; at a lead that is offered."""
    lead = LAST if not is_short(init) else LEADS[1]
    dataset = built(tmp_path, [(init, lead, member) for member in (0, 1)])
    found = dataset.validate(now=NOW).found_by["missing values"]
    at = f"{init:%Y-%m-%d}" + ("" if not init.hour else f"T{init:%H:%M}")
    assert {finding.first for finding in found} == {finding.last for finding in found} == {at}
    assert {name for finding in found for name in finding.variables} == {"a", "b", "rain"}


def test_a_selection_that_begins_inside_a_region_is_looked_at_in_its_places(tmp_path):
    """What is offered is that of the selected positions, also from the middle of a region."""
    dataset = built(tmp_path)
    for first in range(N - 1):
        context = Context(dataset, start=inits(N)[first].isoformat(), now=NOW)
        assert MissingValues().check(context).findings == ()


def test_shorter_forecasts_have_a_series_too(tmp_path):
    """The mean of a forecast is one over the leads that all have, not one that is missing."""
    context = Context(built(tmp_path), now=NOW)
    var = context.config.data_vars[0]
    assert np.isfinite(series_of(context.statistics(var), var, context, "mean")).all()


def test_what_is_offered_is_what_the_job_lists(tmp_path):
    """Leads of short forecasts and lead 0 of the rain are not; margins are cut off."""
    context = Context(built(tmp_path), now=NOW)
    found = context.offered(Region(2, 4))
    assert found["a"][:, :, 0, 0].tolist() == [[True, True, True], [True, True, False]]
    assert found["rain"][:, :, 0, 0].tolist() == [[False, True, True], [False, True, False]]


class TestShortRuns(DatasetContract):
    """The contract holds for a dataset with shorter forecasts."""

    dataset = ShortRuns
    until = str(START + STEP * 4)

    def make_source(self, folder: Path) -> str:
        """Write what is offered."""
        ForecastProvider(folder).publish(offered())
        return str(folder)
