"""GeoTIFF as a source, plain and gzipped, from a server on loopback; whole, lacking and lying."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gridmill import (
    DataVar,
    DownloadSettings,
    Encoding,
    RegionJob,
    SourceFileCoord,
    read_geotiff,
)
from gridmill.testing import ArchiveServer
from gridmill.testing.faults import Truncated
from tiny import GridTemplate, dataset_of

rasterio = pytest.importorskip("rasterio")

LATS, LONS = np.arange(49.75, 40, -0.5), np.arange(-9.75, 10, 0.5)
DAYS = pd.date_range("2020-01-01", periods=4, freq="D")
END, LATE = "2020-01-05", pd.Timestamp("2020-01-06")


def field(day: int) -> np.ndarray:
    """Return a day's rain in tenths of a millimetre; -9999 at sea."""
    values = np.arange(LATS.size * LONS.size, dtype="int16").reshape(LATS.size, LONS.size) + day
    values[3, 5] = -9999
    return values


def write(path: Path, values: np.ndarray, **how: Any) -> None:
    """Write a GeoTIFF, gzipped where it is named so."""
    profile = {
        "driver": "GTiff",
        "dtype": values.dtype,
        "count": 1,
        "height": values.shape[0],
        "width": values.shape[1],
        "crs": "EPSG:4326",
        "transform": rasterio.transform.from_origin(-10, 50, 0.5, 0.5),
        "nodata": -9999,
        "compress": "deflate",
        **how,
    }
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    with rasterio.open(plain, "w", **profile) as out:
        out.write(values, 1)
        out.scales, out.offsets, out.units = (0.1,), (0.0,), ("mm",)
    if plain != path:
        path.write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()


class Template(GridTemplate):
    """Daily rain on half degrees."""

    append_dim_frequency = "D"
    data_vars = (
        DataVar(
            name="rain",
            encoding=Encoding(chunks=(4, 20, 40)),
            attrs={"long_name": "Rain", "units": "mm"},
        ),
    )

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid."""
        return {"latitude": LATS, "longitude": LONS}


@dataclass(frozen=True, kw_only=True)
class Day(SourceFileCoord):
    """A day's file."""

    day: Any

    def get_url(self) -> str:
        """Give its name."""
        return f"rain-{self.day:%Y%m%d}.tif.gz"

    def out_loc(self) -> dict[str, Any]:
        """Give its day."""
        return {"time": self.day}


class Job(RegionJob[DataVar, Day]):
    """Reads as the guide shows."""

    download_settings = DownloadSettings(attempts=1)
    publication_delay = timedelta(hours=2)

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a day."""
        return [Day(day=day) for day in processing_region_ds.get_index("time")]

    def read_data(self, coord, data_var):
        """Give y × x."""
        return read_geotiff(coord.downloaded_path, crs="EPSG:4326")


RAIN = dataset_of(template=Template, job=Job)


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[ArchiveServer]:
    """A server with four days."""
    (tmp_path / "source").mkdir()
    for number, day in enumerate(DAYS):
        write(tmp_path / "source" / f"rain-{day:%Y%m%d}.tif.gz", field(number))
    with ArchiveServer(tmp_path / "source") as server:
        server.release_all()
        yield server


def expected(day: int) -> np.ndarray:
    """Return what readers should see of a day."""
    values = (field(day) * 0.1).astype("float32")
    values[3, 5] = np.nan
    return values


def test_gzipped_days_are_read_as_they_are(tmp_path, provider, client):
    """Nodata is missing, scale is applied, and nothing is left uncompared but the time."""
    dataset = RAIN(tmp_path / "a.zarr", source_base=provider.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.succeeded, report.new_gaps) == (True, 0)
    stored = dataset.store.open_dataset().rain.values
    for number in range(4):
        np.testing.assert_array_equal(stored[number], expected(number))
    assert not any("not compared with their place: read_netcdf" in n for n in report.notes)


def bad_day(provider: ArchiveServer) -> Path:
    """Return the file that lies."""
    return provider.root / f"rain-{DAYS[2]:%Y%m%d}.tif.gz"


def moved(path: Path) -> None:
    """Half a pixel to the west."""
    write(path, field(2), transform=rasterio.transform.from_origin(-10.25, 50, 0.5, 0.5))


def other_grid(path: Path) -> None:
    """A grid of another width."""
    write(path, field(2)[:, :30])


def other_crs(path: Path) -> None:
    """The same numbers on another earth."""
    write(path, field(2), crs="EPSG:4258")


def no_reference(path: Path) -> None:
    """Pixels without a place."""
    write(path, field(2), crs=None, transform=rasterio.Affine.identity())


def cut(path: Path) -> None:
    """A file that was cut before it was gzipped."""
    write(path, field(2), compress=None)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:900]))


def other_units(path: Path) -> None:
    """Kelvin, which are no rain."""
    write(path, field(2))
    plain = path.with_suffix("")
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    with rasterio.open(plain, "r+") as out:
        out.units = ("K",)
    path.write_bytes(gzip.compress(plain.read_bytes()))


@pytest.mark.parametrize("lie", [moved, other_grid, other_crs, no_reference, cut, other_units])
def test_a_file_that_lies_is_not_published(tmp_path, provider, client, lie):
    """Its day is pending, named with both sides; the others are there."""
    lie(bad_day(provider))
    dataset = RAIN(tmp_path / "a.zarr", source_base=provider.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert (report.new_gaps, report.positions_after) == (1, 4)
    stored = dataset.store.open_dataset().rain.values
    assert np.isnan(stored[2]).all()
    np.testing.assert_array_equal(stored[3], expected(3))


def test_a_flipped_file_is_turned(tmp_path, provider, client):
    """From south to north, and said."""
    write(
        bad_day(provider),
        field(2)[::-1],
        transform=rasterio.Affine(0.5, 0, -10, 0, 0.5, 40),
    )
    dataset = RAIN(tmp_path / "a.zarr", source_base=provider.url)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.new_gaps == 0
    np.testing.assert_array_equal(dataset.store.open_dataset().rain.values[2], expected(2))
    assert any("latitude in another order" in note for note in report.notes)


def test_half_a_file_is_a_failed_download(tmp_path, provider, client):
    """Cut on its way: the day is tried again by the next run."""
    provider.inject("*20200103*", Truncated(nbytes=200))
    dataset = RAIN(tmp_path / "a.zarr", source_base=provider.url)
    assert not dataset.backfill(END, client=client, now=pd.Timestamp(END)).succeeded
    assert dataset.backfill(END, client=client, now=pd.Timestamp(END)).succeeded
    np.testing.assert_array_equal(dataset.store.open_dataset().rain.values[2], expected(2))


def test_bands_and_precision(tmp_path):
    """Several bands are a dim; what float32 cannot hold stays double; a band that is not there."""
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "count": 2, "height": 2, "width": 3, "dtype": "int32"}
    place = rasterio.transform.from_origin(0, 2, 1, 1)
    values = np.arange(12, dtype="int32").reshape(2, 2, 3) + 2**25 + 1
    with rasterio.open(path, "w", crs="EPSG:3035", transform=place, **profile) as out:
        out.write(values)
    np.testing.assert_array_equal(read_geotiff(path, (1, 2)), values.astype("float64"))
    np.testing.assert_array_equal(read_geotiff(path, 2), values[1].astype("float64"))
    with pytest.raises(ValueError, match="has 2 bands, not band 3"):
        read_geotiff(path, 3)
    with pytest.raises(ValueError, match="EPSG:3035, and EPSG:4326 is wanted"):
        read_geotiff(path, crs="EPSG:4326")
