"""The `ecmwf-era5-wind-daily` dataset against an archive such as ARCO-ERA5, small, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from gridmill import Encoding
from gridmill.authoring.grids import LatitudeLongitudeGrid
from gridmill.datasets.ecmwf.era5_wind_daily import (
    WINDS,
    EcmwfEra5WindDaily,
    Era5Day,
    Era5WindDailyJob,
    Era5WindDailyTemplate,
)
from gridmill.testing import ArchiveServer, DatasetContract

STORE = "ar/full_37-1h-0p25deg-chunk-1.zarr-v3"
DAYS = pd.date_range("1940-01-01", periods=4)
END, NOW, LATE = "1940-01-05", "1940-01-09", "1940-05-01"


class SmallTemplate(Era5WindDailyTemplate):
    """Every 45 degrees."""

    grid: ClassVar = LatitudeLongitudeGrid(step_degrees=45.0)
    data_vars = tuple(
        replace(var, encoding=Encoding(chunks=(2, 5, 8))) for var in Era5WindDailyTemplate.data_vars
    )


class SmallEra5(EcmwfEra5WindDaily):
    """The dataset on a small grid, in regions of two days."""

    template_config = SmallTemplate


LABELS = SmallTemplate().dimension_coordinates()


def winds() -> np.ndarray:
    """Return both components of every hour, component first."""
    draw = np.random.default_rng(7)
    return draw.normal(0, 8, (2, 24 * len(DAYS), 5, 8)).astype("float32")


def write(root: Path, values: np.ndarray, *, final: str, valid: str, shift: float = 0.0) -> None:
    """Write the archive as Google does: Zarr 2, a chunk an hour, an axis that reaches further."""
    hours = pd.date_range(DAYS[0], periods=24 * (len(DAYS) + 2), freq="h")
    padded = np.full((2, hours.size, 5, 8), np.nan, "float32")
    padded[:, : values.shape[1]] = values
    dims = ("time", "latitude", "longitude")
    arrays = {
        name: (dims, one, {"units": "m s**-1"}) for name, one in zip(WINDS, padded, strict=True)
    }
    labels = {"time": hours, **LABELS, "longitude": LABELS["longitude"] + shift}
    about = {"valid_time_start": "1940-01-01", "valid_time_stop": final}
    ds = xr.Dataset(arrays, labels, {**about, "valid_time_stop_era5t": valid})
    chunks = {name: {"chunks": (1, 5, 8)} for name in WINDS}
    ds.to_zarr(root / STORE, mode="w", zarr_format=2, encoding=chunks, consolidated=True)


def set_stop(root: Path, **attributes: str) -> None:
    """Say how far the archive is valid."""
    group = zarr.open_group(root / STORE, mode="r+", use_consolidated=False)
    group.attrs.update(attributes)
    zarr.consolidate_metadata(root / STORE, zarr_format=2)


def check(folder: Path, values: np.ndarray, days: int) -> xr.Dataset:
    """Compare what readers see with plain numpy."""
    seen = xr.open_zarr(folder).load()
    speed = np.hypot(*values.astype("float64")).reshape(-1, 24, 5, 8)[:days]
    assert seen.sizes["time"] == days
    np.testing.assert_allclose(seen.wind_speed_10m, speed.mean(axis=1), rtol=2**-9)
    np.testing.assert_allclose(seen.maximum_wind_speed_10m, speed.max(axis=1), rtol=2**-9)
    return seen


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """Serve an archive of which two days are final and one is preliminary."""
    write(tmp_path / "provider", winds(), final="1940-01-02", valid="1940-01-03")
    with ArchiveServer(tmp_path / "provider") as server:
        server.release_all()
        yield server


class TestContract(DatasetContract):
    """All that every dataset must do."""

    dataset = SmallEra5
    until = END

    def make_source(self, folder: Path) -> str:
        """Write all days, final."""
        write(folder, winds(), final="1940-01-04", valid="1940-01-04")
        return str(folder)


def test_the_address_is_the_providers():
    """The archive's, with the hours of both components."""
    assert EcmwfEra5WindDaily.source_base == (
        "https://storage.googleapis.com/gcp-public-data-arco-era5"
    )
    job = Era5WindDailyJob
    assert issubclass(EcmwfEra5WindDaily.region_job, job)
    coord = Era5Day(store=STORE, arrays=WINDS, day=pd.Timestamp("2024-02-29"))
    hours = "time=2024-02-29T00:00:00/2024-02-29T23:00:00"
    assert coord.get_url() == f"{STORE}#{'&'.join(WINDS)}&{hours}"


def test_hours_become_days_preliminary_at_first(tmp_path, server, client):
    """Values are those of plain numpy; what becomes final is read anew."""
    dataset = SmallEra5(tmp_path / "a.zarr", source_base=server.url)
    report = dataset.backfill(END, client=client, now=NOW)
    assert "valid until 1940-01-03" in str(report.problems) or report.positions_after == 3
    seen = check(tmp_path / "a.zarr", winds(), days=3)
    assert seen.finality.values.tolist() == [1, 1, 0]

    # Final: one hour is another, and only that chunk was written anew.
    values = winds()
    values[:, 50] += 1
    for name, one in zip(WINDS, values, strict=True):
        zarr.open_array(server.root / STORE / name)[50] = one[50]
    set_stop(server.root, valid_time_stop="1940-01-04", valid_time_stop_era5t="1940-01-04")
    report = dataset.reformat_operational_update(client=client, now=LATE, until=END)
    assert [revision.final for revision in report.revised] == [True]
    seen = check(tmp_path / "a.zarr", values, days=4)
    assert seen.finality.values.tolist() == [1, 1, 1, 1]


def test_a_day_becomes_final_though_no_chunk_changed(tmp_path, server, client):
    """The archive's attributes alone say so."""
    dataset = SmallEra5(tmp_path / "a.zarr", source_base=server.url)
    dataset.backfill("1940-01-04", client=client, now=NOW)
    assert check(tmp_path / "a.zarr", winds(), days=3).finality.values.tolist() == [1, 1, 0]
    set_stop(server.root, valid_time_stop="1940-01-03")
    dataset.reformat_operational_update(client=client, now=LATE, until="1940-01-04")
    assert check(tmp_path / "a.zarr", winds(), days=3).finality.values.tolist() == [1, 1, 1]


@pytest.mark.parametrize("lie", ["nan", "grid"])
def test_a_lying_archive_is_not_published(tmp_path, server, client, lie):
    """An hour of NaN inside the valid days, or a grid that moved."""
    values = winds()
    if lie == "nan":
        values[1, 30, 2, 3] = np.nan
    shift = 22.5 if lie == "grid" else 0.0
    write(server.root, values, final="1940-01-04", valid="1940-01-04", shift=shift)
    dataset = SmallEra5(tmp_path / "a.zarr", source_base=server.url)
    dataset.backfill(END, client=client, now=LATE)
    seen = xr.open_zarr(tmp_path / "a.zarr").load()
    wrong = slice(1, 2) if lie == "nan" else slice(None)
    assert np.isnan(seen.wind_speed_10m[wrong]).all()

    write(server.root, winds(), final="1940-01-04", valid="1940-01-04")
    dataset.reformat_operational_update(client=client, now="1940-05-09", until=END)
    check(tmp_path / "a.zarr", winds(), days=4)
