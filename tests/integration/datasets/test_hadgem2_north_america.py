"""The `hadgem2-north-america` dataset: a 360-day calendar and two source groups, end to end."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import cftime
import numpy as np
import pytest
import xarray as xr

from gridmill.datasets.met_office.hadgem2_north_america import HadGem2NorthAmerica, HadGem2Template
from gridmill.demo.archive import HADGEM2_SOURCES, build_hadgem2_archive, sample_file
from gridmill.testing import ArchiveServer

COORDINATES = (
    "time",
    "time_bnds",
    "forecast_period",
    "forecast_reference_time",
    "height",
    "latitude",
    "longitude",
)


@pytest.fixture(scope="module")
def sources() -> dict[str, xr.Dataset]:
    """Give the whole sources by scenario."""
    return {s: xr.load_dataset(sample_file(name)) for s, name in HADGEM2_SOURCES.items()}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the provider's archive."""
    root = tmp_path_factory.mktemp("provider")
    build_hadgem2_archive(root)
    return root


@pytest.fixture
def server(archive: Path) -> Iterator[ArchiveServer]:
    """Serve the years, all released."""
    with ArchiveServer(archive) as server:
        server.release_all()
        yield server


@pytest.mark.parametrize("scenario", HADGEM2_SOURCES)
def test_coordinates_are_those_of_the_source(sources, scenario):
    """Labels on the model's calendar, bounds and scalar coordinates are the source's own."""
    template = HadGem2Template().get_template("2100-01-01")

    for name in COORDINATES:
        np.testing.assert_array_equal(template[name].values, sources[scenario][name].values)


def test_labels_lie_on_the_models_calendar():
    """A date that only the model's calendar has, 30 February, ends a template."""
    template = HadGem2Template().get_template("1870-02-30")

    assert template.time.values[-1] == cftime.datetime(1869, 6, 1, calendar="360_day")


def test_without_an_archive_it_says_what_to_give(tmp_path):
    """Who does not say where the source files are is told so."""
    dataset = HadGem2NorthAmerica(tmp_path / "a.zarr")

    with pytest.raises(ValueError, match=r"give source_base.*gridmill demo"):
        list(dataset.plan("1900-01-01").prepared())


def test_it_is_registered():
    """The command line finds it by name."""
    points = entry_points(group="gridmill.datasets")

    assert points["hadgem2-north-america"].load() is HadGem2NorthAmerica


def test_backfill_and_update_equal_the_source(tmp_path, sources, server, client):
    """After a backfill and an update every value is its scenario's, and every label exact."""
    dataset = HadGem2NorthAmerica(tmp_path / "a.zarr", source_base=server.url)

    dataset.backfill("2071-01-01", client=client, now="2071-01-01")
    report = dataset.reformat_operational_update(client=client, now="2100-01-01")

    assert (report.positions_before, report.positions_after) == (211, 240)
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        for scenario, source in sources.items():
            stored = ds[f"air_temperature_{scenario.lower()}"]
            np.testing.assert_allclose(stored, source.air_temperature, rtol=0, atol=0.00196)
        for name in COORDINATES:
            np.testing.assert_array_equal(ds[name].values, source[name].values)
        assert ds.time.encoding["calendar"] == "360_day"


def test_one_scenario_that_is_late_holds_the_extent(tmp_path, server, client):
    """A year is published once both scenarios have it; until then the report names the file."""
    server.hold("E1/1870s/E1_1872.nc")
    dataset = HadGem2NorthAmerica(tmp_path / "a.zarr", source_base=server.url)

    report = dataset.backfill("1875-01-01", client=client, now="1875-01-01")
    assert report.published_after == "1871-06-01 00:00:00"
    assert "E1/1870s/E1_1872.nc not yet available" in (report.stops_because or "")

    server.release_all()
    report = dataset.reformat_operational_update(client=client, now="1875-01-01")
    assert (report.published_after, report.stops_because) == ("1874-06-01 00:00:00", None)


def test_the_filters_take_dates_of_the_models_calendar(tmp_path, server, client):
    """An archive may begin at a later year and hold one scenario only."""
    dataset = HadGem2NorthAmerica(tmp_path / "a.zarr", source_base=server.url)

    dataset.backfill(
        "1905-01-01",
        start="1900-06-01",
        variables=["air_temperature_e1"],
        client=client,
        now="1905-01-01",
    )

    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        assert list(ds.data_vars) == ["air_temperature_e1"]
        assert [label.year for label in ds.time.values] == [1900, 1901, 1902, 1903, 1904]
    assert dataset.status().first == "1900-06-01 00:00:00"
