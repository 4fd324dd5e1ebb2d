"""What the README shows is true."""

from __future__ import annotations

import re
import types
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from distributed import Client

from documented import write_weather
from gridmill.testing import ArchiveServer
from repository import README


@pytest.fixture
def example() -> types.ModuleType:
    """The complete example, as a script or notebook would have it."""
    marked = r"<!-- example: tests run this block -->\n```python\n(.*?)```"
    found = re.search(marked, README.read_text(), re.DOTALL)
    assert found is not None
    module = types.ModuleType("__main__")
    exec(compile(found[1], "README.md", "exec"), module.__dict__)
    module.__dict__["source"] = found[1]
    return module


def test_the_complete_example_is_short(example: types.ModuleType) -> None:
    """An author's whole dataset is under 150 lines."""
    assert len(example.source.splitlines()) < 150


def test_the_complete_example_runs(
    example: types.ModuleType, client: Client, tmp_path: Path
) -> None:
    """It backfills and updates, static variable included, and equals the source as rounded."""
    (tmp_path / "provider").mkdir()
    truth = write_weather(tmp_path / "provider", 40)
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
