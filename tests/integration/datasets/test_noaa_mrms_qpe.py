"""The `noaa-mrms-qpe` dataset: a real file of NOAA's, and its fallbacks on a small grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import eccodes
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.authoring.grids import RegionalGrid
from gridmill.datasets.noaa.mrms_qpe import (
    GRID,
    NoaaMrmsQpe,
    NoaaMrmsQpeFile,
    NoaaMrmsQpeJob,
    NoaaMrmsQpeTemplate,
)
from gridmill.testing import ArchiveServer, DatasetContract
from made_providers import made, twin, write_provider

SMALL_GRID = RegionalGrid(
    first_latitude=54.995,
    first_longitude=-129.995,
    step_degrees=(-0.01, 0.01),
    shape=(5, 7),
    mapping=GRID.mapping,
)
Small = twin(NoaaMrmsQpe, SMALL_GRID)
START, END = pd.Timestamp("2020-10-15"), "2020-10-15T04"
RATES = pd.date_range(START, periods=4, freq="h")


def rate(time: pd.Timestamp) -> np.ndarray:
    """Return what the provider's Pass 2 has at a time, in the archive's units."""
    coord = NoaaMrmsQpeFile(init_time=time, lead_time=pd.Timedelta(0))
    values = made("precipitation_surface", coord, 0.0, SMALL_GRID.shape)
    return values * np.float32(1 / 3600)


class TestSmall(DatasetContract):
    """All of the contract, on a few cells."""

    dataset = Small
    until = END

    def make_source(self, folder: Path) -> str:
        """Write four hours of Pass 2."""
        return str(write_provider(Small, folder, END))


def addressed(folder: Path, product: str, time: pd.Timestamp) -> Path:
    """Return where a product's file of an hour is."""
    coord = NoaaMrmsQpeFile(init_time=time, lead_time=pd.Timedelta(0))
    found = [one if isinstance(one, str) else one.url for one in coord.get_url()]
    return folder / next(path for path in found if product in path)


def test_an_hour_is_the_best_estimate_that_there_is_until_pass_2_replaces_it(tmp_path):
    """Pass 1 and radars stand in as provisional; a later update reads Pass 2 in their place."""
    root = write_provider(Small, tmp_path / "source", END)
    kept = {}
    for time, product in zip(RATES[1:3], ("Pass1", "RadarOnly"), strict=True):
        final = addressed(root, "Pass2", time)
        kept[final] = final.read_bytes()
        other = addressed(root, product, time)
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(addressed(root, "Pass2", RATES[0]).read_bytes())
        other.write_bytes(redated(other.read_bytes(), time))
        final.unlink()
    with ArchiveServer(root) as server:
        server.release_all()
        dataset = Small(tmp_path / "a.zarr", source_base=server.url)
        dataset.backfill(END, client="none", now=END)
        with dataset.store.open_dataset() as ds:
            assert ds.finality.values.tolist() == [1, 0, 0, 1]
            assert ds.completeness.values.tolist() == [1, 1, 1, 1]
            np.testing.assert_array_equal(ds.precipitation_surface.values[1], rate(RATES[0]))
        for path, content in kept.items():
            path.write_bytes(content)
        server.release_all()
        dataset.reformat_operational_update(until=END, client="none", now=END)
        with dataset.store.open_dataset() as ds:
            assert ds.finality.values.tolist() == [1, 1, 1, 1]
            for n, time in enumerate(RATES):
                np.testing.assert_array_equal(ds.precipitation_surface.values[n], rate(time))


def redated(packed: bytes, time: pd.Timestamp) -> bytes:
    """Return a file under another hour."""
    import gzip

    from grib_messages import changed

    return gzip.compress(changed(gzip.decompress(packed), {"dataTime": time.hour * 100}))


@pytest.mark.parametrize(("told", "seen"), [(-3.0, np.nan), (-1.0, np.nan), (0.0, 0.0)])
def test_what_radars_do_not_see_is_missing(told, seen):
    """Negative figures are words of the provider's, not rain."""
    job = make_job()
    values = np.array([told, 3600.0], dtype="float32")
    job.transform_values_inplace(values, job.data_vars[0])
    np.testing.assert_array_equal(values, np.array([seen, 1.0], dtype="float32"))


def make_job(**settings) -> NoaaMrmsQpeJob:
    """Make a job of the real grid."""
    options = {"data_vars": NoaaMrmsQpeTemplate().data_vars, **settings}
    return NoaaMrmsQpeJob(
        template_ds=xr.Dataset(), append_dim="time", region=slice(0, 1), **options
    )


def test_a_real_file_has_the_values_that_eccodes_reads(shared_data, tmp_path):
    """NOAA's Pass 2 passes the checks of parameter, level, time and grid."""
    (sample,) = shared_data.rglob("CONUS/MRMS_MultiSensor_QPE_01H_Pass2*.grib2.gz")
    coord = NoaaMrmsQpeFile(
        init_time=pd.Timestamp("2022-06-02T12"), lead_time=pd.Timedelta(hours=0)
    )
    path = addressed(tmp_path / "source", "Pass2", coord.init_time)
    path.parent.mkdir(parents=True)
    path.write_bytes(sample.read_bytes())
    assert path.name == sample.name
    (tmp_path / "local").mkdir()
    job = make_job(source_base=(str(tmp_path / "source"),), download_dir=tmp_path / "local")
    local = job.download_file(coord)
    values = job.read_data(replace(coord, downloaded_path=local.path), job.data_vars[0])
    with local.path.open("rb") as file:
        handle = eccodes.codes_grib_new_from_file(file)
    expected = eccodes.codes_get_values(handle).reshape(3500, 7000)
    eccodes.codes_release(handle)
    np.testing.assert_array_equal(values, expected.astype("float32"))
