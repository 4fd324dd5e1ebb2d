"""The `chc-chirps-daily` dataset against files such as the provider makes, small, on loopback."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import Encoding
from gridmill.authoring.grids import WGS84, RegionalGrid
from gridmill.datasets.chc.chirps_daily import (
    ChcChirpsDaily,
    ChirpsDailyFile,
    ChirpsDailyTemplate,
)
from gridmill.testing import ArchiveServer, DatasetContract

rasterio = pytest.importorskip("rasterio")

DAYS = pd.date_range("1981-01-01", periods=4)
LATE = "1981-03-01"
PIXELS = (20, 24)


class SmallTemplate(ChirpsDailyTemplate):
    """The north-western corner of the grid."""

    grid: ClassVar = RegionalGrid(
        first_latitude=49.975,
        first_longitude=-179.975,
        step_degrees=(-0.05, 0.05),
        shape=PIXELS,
        mapping=WGS84,
    )
    data_vars = (replace(ChirpsDailyTemplate.data_vars[0], encoding=Encoding(chunks=(2, *PIXELS))),)


class SmallChirps(ChcChirpsDaily):
    """The dataset on a small grid, in regions of two days."""

    template_config = SmallTemplate


def millimetres(day: pd.Timestamp, version: int = 0) -> np.ndarray:
    """Return the rain of a day; the second row is sea."""
    draw = np.random.default_rng([day.day_of_year, version])
    rain = draw.gamma(0.5, 8.0, PIXELS).astype("float32")
    rain[1] = -9999
    return rain


def write(path: Path, rain: np.ndarray, *, west: float = -180.0) -> None:
    """Write a day as the provider does: float32, -9999 where there is no land, nodata not told."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix("")
    grid = rasterio.transform.from_origin(west, 50, 0.05, 0.05)
    profile = {"driver": "GTiff", "dtype": "float32", "count": 1, "crs": "EPSG:4326"}
    height, width = rain.shape
    with rasterio.open(plain, "w", height=height, width=width, transform=grid, **profile) as out:
        out.write(rain, 1)
    path.write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()


def paths_of(day: pd.Timestamp) -> tuple[str, str]:
    """Return where the final and the preliminary file of a day are."""
    final, preliminary = ChirpsDailyFile(day=day).get_url()
    return str(final), preliminary.url  # type: ignore[union-attr]


def write_all(root: Path) -> None:
    """Write every day, preliminary and final."""
    for day in DAYS:
        for version, path in enumerate(paths_of(day)):
            write(root / path, millimetres(day, version))


def rates(day: pd.Timestamp, version: int = 0) -> np.ndarray:
    """Return by plain numpy what is to be published."""
    rain = millimetres(day, version).astype("float64")
    return np.where(rain == -9999, np.nan, rain / 86400)


def stored(folder: Path) -> xr.Dataset:
    """Read what readers see."""
    return xr.open_zarr(folder).load()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """Serve final files alone."""
    write_all(tmp_path / "provider")
    with ArchiveServer(tmp_path / "provider") as server:
        server.release("global_daily/*")
        yield server


class TestContract(DatasetContract):
    """All that every dataset must do."""

    dataset = SmallChirps
    until = "1981-01-05"

    def make_source(self, folder: Path) -> str:
        """Write all days."""
        write_all(folder)
        return str(folder)


def test_the_grid_is_that_of_the_files():
    """Centres of 2000 × 7200 pixels whose corner is 50°N, 180°W, as the files' transform has it."""
    labels = ChirpsDailyTemplate().dimension_coordinates()
    along = rasterio.transform.from_origin(-180, 50, 0.05, 0.05)
    x, y = (np.array(rasterio.transform.xy(along, *at)) for at in ((0, 0), (1999, 7199)))
    for at, (lon, lat) in ((0, x), (-1, y)):
        assert (labels["latitude"][at], labels["longitude"][at]) == pytest.approx((lat, lon))


def test_addresses_are_the_providers():
    """Final first, then what is preliminary."""
    dataset = "https://data.chc.ucsb.edu/products/CHIRPS-2.0"
    assert ChcChirpsDaily.source_base == dataset
    final, preliminary = paths_of(pd.Timestamp("2024-02-29"))
    assert final == "global_daily/tifs/p05/2024/chirps-v2.0.2024.02.29.tif.gz"
    assert preliminary == f"prelim/{final}"


def test_preliminary_days_are_read_at_once_and_become_final(tmp_path, server, client):
    """Values are those of plain numpy before and after, and readers can tell them apart."""
    server.hold(paths_of(DAYS[3])[0])
    server.release("prelim/*")
    dataset = SmallChirps(tmp_path / "a.zarr", source_base=server.url)
    dataset.backfill("1981-01-05", client=client, now="1981-01-10")
    seen = stored(tmp_path / "a.zarr")
    assert seen.finality.values.tolist() == [1, 1, 1, 0]
    assert seen.completeness.values.tolist() == [1, 1, 1, 1]
    for position, day in enumerate(DAYS):
        wanted = rates(day, version=int(position == 3))
        np.testing.assert_allclose(seen.precipitation_surface[position], wanted, rtol=2**-9)
    np.testing.assert_array_equal(seen.time_bnds[:, 1], DAYS + pd.Timedelta("1D"))

    server.release_all()
    report = dataset.reformat_operational_update(client=client, now=LATE, until="1981-01-05")
    assert [revision.final for revision in report.revised] == [True]
    seen = stored(tmp_path / "a.zarr")
    assert seen.finality.values.tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(seen.precipitation_surface[3], rates(DAYS[3]), rtol=2**-9)


def lie_by_half_a_pixel(path: Path, day: pd.Timestamp) -> None:
    """Another grid."""
    write(path, millimetres(day), west=-179.975)


def lie_by_a_page(path: Path, day: pd.Timestamp) -> None:
    """A page that says sorry."""
    path.write_bytes(b"<!DOCTYPE html><html><body>Sorry</body></html>")


def lie_by_a_cut(path: Path, day: pd.Timestamp) -> None:
    """A file without its end."""
    path.write_bytes(path.read_bytes()[:-200])


@pytest.mark.parametrize("lie", [lie_by_half_a_pixel, lie_by_a_page, lie_by_a_cut])
def test_a_lying_final_file_is_never_published(tmp_path, server, client, lie):
    """The day is missing until the provider mends its file; then its values are the final ones."""
    path = server.root / paths_of(DAYS[1])[0]
    lie(path, DAYS[1])
    dataset = SmallChirps(tmp_path / "a.zarr", source_base=server.url)
    dataset.backfill("1981-01-05", client=client, now=LATE)
    # What cannot be unpacked is a failed download, and readers do not see that far.
    assert np.isnan(stored(tmp_path / "a.zarr").precipitation_surface[1:2]).all()

    write(path, millimetres(DAYS[1]))
    dataset.reformat_operational_update(client=client, now="1981-03-09", until="1981-01-05")
    seen = stored(tmp_path / "a.zarr").precipitation_surface
    np.testing.assert_allclose(seen, [rates(day) for day in DAYS], rtol=2**-9)
