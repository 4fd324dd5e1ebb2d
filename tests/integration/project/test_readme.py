"""The datasets that README and the authors' guide show are complete, and do what they say."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import xarray as xr
from distributed import Client

from documented import write_weather
from gridmill.testing import ArchiveServer
from pages import example_of
from repository import AUTHORS_GUIDE, README


def module_of(page: Path) -> types.ModuleType:
    """Give the example of a page, as a script or notebook would have it."""
    module = types.ModuleType("__main__")
    exec(compile(example_of(page), page.name, "exec"), module.__dict__)
    return module


def test_the_complete_example_is_short() -> None:
    """An author's whole dataset is under 150 lines, and one variable under 60."""
    assert len(example_of(AUTHORS_GUIDE).splitlines()) < 150
    assert len(example_of(README).splitlines()) < 60


def test_the_readme_is_read_in_two_minutes() -> None:
    """What is longer has its place in docs."""
    assert len(README.read_text().splitlines()) <= 150


def test_the_short_example_runs(client: Client, tmp_path: Path) -> None:
    """It backfills, and equals the source."""
    (tmp_path / "provider").mkdir()
    truth = write_weather(tmp_path / "provider", 40)
    dataset = module_of(README).ExampleTemperature(
        tmp_path / "a.zarr", source_base=str(tmp_path / "provider")
    )
    assert dataset.backfill("2020-02-10", client=client).positions_after == 40
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        np.testing.assert_array_equal(ds.temperature_2m.values, truth)


def test_the_complete_example_runs(client: Client, tmp_path: Path) -> None:
    """It backfills and updates, static variable included, and equals the source as rounded."""
    (tmp_path / "provider").mkdir()
    truth = write_weather(tmp_path / "provider", 40)
    example = module_of(AUTHORS_GUIDE)
    with ArchiveServer(tmp_path / "provider") as server:
        server.release_all()
        dataset = example.ExampleWeatherDaily(tmp_path / "a.zarr", source_base=server.url)
        assert dataset.backfill("2020-02-05", client=client).positions_after == 35
        report = dataset.reformat_operational_update(client=client, now="2020-02-10")
    assert report.positions_after == 40
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        np.testing.assert_allclose(ds.temperature_2m.values, truth, rtol=2.0**-11)
        assert ds.land_mask.dims == ("latitude", "longitude")
        assert 0 < float(ds.land_mask.mean()) < 1
