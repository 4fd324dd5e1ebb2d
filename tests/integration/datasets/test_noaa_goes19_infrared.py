"""The `noaa-goes19-conus-infrared` dataset against scenes such as NOAA has, small, on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import Encoding
from gridmill.authoring.grids import ScanningGrid
from gridmill.datasets.noaa.goes_infrared import (
    GoesInfraredTemplate,
    NoaaGoes19Infrared,
    folder_of,
)
from gridmill.testing import ArchiveServer, DatasetContract

START = pd.Timestamp("2025-04-07T16:01:18.6")
# Mode 6 has a scene every five minutes; one is left out, and one comes 1.3 s late.
TIMES = pd.DatetimeIndex(
    [START + pd.Timedelta(f"{5 * n}min") + pd.Timedelta("1.3s") * int(n == 4) for n in range(14)]
).delete(6)
END, NOW = "2025-04-07T17:20", "2025-04-07T18:00"
SIZE = (6, 8)


class SmallTemplate(GoesInfraredTemplate):
    """A few rows and columns of the middle of the sector."""

    grid: ClassVar = ScanningGrid(
        mapping=GoesInfraredTemplate.grid.mapping,
        first=(0.0953, -0.02405),
        step=(-5.6e-5, 5.6e-5),
        shape=SIZE,
    )
    data_vars = (replace(GoesInfraredTemplate.data_vars[0], encoding=Encoding(chunks=(4, *SIZE))),)


class SmallGoes(NoaaGoes19Infrared):
    """The dataset on a small grid, in regions of four scenes."""

    template_config = SmallTemplate


def counts(time: pd.Timestamp) -> np.ndarray:
    """Return what a scene's file stores: whole numbers of 12 bits; one pixel has none."""
    draw = np.random.default_rng(time.minute)
    packed = draw.integers(0, 4096, SIZE).astype("int16")
    packed[2, 3] = -1
    return packed


def kelvins(time: pd.Timestamp) -> np.ndarray:
    """Return by plain numpy what a reader is to see."""
    packed = counts(time)
    return np.where(packed == -1, np.nan, packed * np.float32(0.06145332) + np.float32(89.62))


def path_of(time: pd.Timestamp, created: str = "00") -> str:
    """Return where a scene is; its name has tenths of a second, and when it was made."""
    tenth = f"{time:%Y%j%H%M%S}{time.microsecond // 100_000}"
    end = f"{time + pd.Timedelta('2min37s'):%Y%j%H%M%S}3"
    made = f"{time + pd.Timedelta('3min'):%Y%j%H%M}{created}7"
    return f"{folder_of(time)}OR_ABI-L2-CMIPC-M6C13_G19_s{tenth}_e{end}_c{made}.nc"


def write(
    path: Path, time: pd.Timestamp, *, says: pd.Timestamp | None = None, x: float = 0.0
) -> None:
    """Write a scene as NOAA does: unsigned int16, angles packed, the time of its middle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = SmallTemplate.grid.labels()
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip(("y", "x"), SIZE, strict=True):
            file.createDimension(name, size)
            angle = file.createVariable(name, "i2", (name,))
            step = 5.6e-5 if name == "x" else -5.6e-5
            first = labels[name][0] + (x if name == "x" else 0)
            angle.setncatts({"scale_factor": step, "add_offset": first, "units": "rad"})
            angle.set_auto_maskandscale(False)
            angle[:] = np.arange(size)
        middle = file.createVariable("t", "f8", ())
        middle.setncatts({"units": "seconds since 2000-01-01 12:00:00", "standard_name": "time"})
        since = (says or time) + pd.Timedelta("79s") - pd.Timestamp("2000-01-01T12:00")
        middle[...] = since / pd.Timedelta("1s")
        cmi = file.createVariable("CMI", "i2", ("y", "x"), fill_value=-1, zlib=True)
        cmi.setncatts(
            {
                "_Unsigned": "true",
                "valid_range": np.array([0, 4095], "i2"),
                "scale_factor": np.float32(0.06145332),
                "add_offset": np.float32(89.62),
                "units": "K",
                "coordinates": "band_id band_wavelength t y x",
            }
        )
        cmi.set_auto_maskandscale(False)
        cmi[:] = counts(time)
    (path.parent / path.name.replace("C13", "C02")).write_bytes(b"another band")


def check(folder: Path, times: pd.DatetimeIndex) -> xr.Dataset:
    """Compare what readers see with plain numpy."""
    seen = xr.open_zarr(folder).load()
    assert list(seen.get_index("time")) == list(times)
    wanted = np.stack([kelvins(time) for time in times])
    np.testing.assert_allclose(seen.brightness_temperature, wanted, rtol=2**-13)
    return seen


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """Serve every scene."""
    for time in TIMES:
        write(tmp_path / "provider" / path_of(time), time)
    with ArchiveServer(tmp_path / "provider", lists=True) as server:
        server.release_all()
        yield server


class TestContract(DatasetContract):
    """All that every dataset must do."""

    dataset = SmallGoes
    until = END

    def make_source(self, folder: Path) -> str:
        """Write every scene."""
        for time in TIMES:
            write(folder / path_of(time), time)
        return str(folder)


def test_the_grid_is_that_of_the_sector():
    """Centres of the pixels of the guide's image bounds; the corner sees space."""
    grid = GoesInfraredTemplate.grid
    labels, places = grid.labels(), grid.auxiliary()
    assert labels["x"][[0, -1]] == pytest.approx([-0.10136 + 2.8e-5, 0.03864 - 2.8e-5])
    assert labels["y"][[0, -1]] == pytest.approx([0.12824 - 2.8e-5, 0.04424 + 2.8e-5])
    latitudes = places["latitude"][1]
    assert np.isnan(latitudes[0, 0])
    assert 14 < np.nanmin(latitudes) < 16
    assert 52 < np.nanmax(latitudes) < 58


def test_addresses_are_the_providers():
    """An hour's folder, and a name of that bucket."""
    assert NoaaGoes19Infrared.source_base == "https://noaa-goes19.s3.amazonaws.com"
    name = "OR_ABI-L2-CMIPC-M6C13_G19_s20250971601186_e20250971603553_c20250971604007.nc"
    assert path_of(START) == f"ABI-L2-CMIPC/2025/097/16/{name}"


def test_scenes_are_where_the_listing_says(tmp_path, server, client):
    """Irregular times, to a tenth of a second; of two files of a scene the newer one is read."""
    write(server.root / path_of(TIMES[3], "59"), TIMES[3])
    (server.root / path_of(TIMES[3])).write_bytes(b"an older file that nobody reads")
    dataset = SmallGoes(tmp_path / "a.zarr", source_base=server.url)
    dataset.backfill(END, client=client, now=NOW)
    check(tmp_path / "a.zarr", TIMES)
    folders = [one.path for one in server.requests if one.path.endswith("/")]
    assert sorted(folders) == [folder_of(TIMES[0]), folder_of(TIMES[-1])]


def test_a_late_scene_takes_its_place(tmp_path, server, client):
    """It comes within the window, and readers never saw the scenes behind it without it."""
    late = server.root / path_of(TIMES[8])
    late.rename(tmp_path / "late")
    dataset = SmallGoes(tmp_path / "a.zarr", source_base=server.url)
    # The window lets scenes in up to 16:35.
    dataset.backfill(END, client=client, now="2025-04-07T17:05")
    check(tmp_path / "a.zarr", TIMES[TIMES <= "2025-04-07T16:35"])
    (tmp_path / "late").rename(late)
    dataset.reformat_operational_update(client=client, now=NOW, until=END)
    check(tmp_path / "a.zarr", TIMES)


@pytest.mark.parametrize("lie", [{"says": START - pd.Timedelta("1h")}, {"x": 2.8e-5}])
def test_a_lying_scene_is_not_published(tmp_path, server, client, lie):
    """Another time, or a grid that moved by half a pixel."""
    write(server.root / path_of(TIMES[2]), TIMES[2], **lie)
    dataset = SmallGoes(tmp_path / "a.zarr", source_base=server.url)
    dataset.backfill(END, client=client, now="2025-04-08")
    seen = xr.open_zarr(tmp_path / "a.zarr").load().brightness_temperature
    assert np.isnan(seen[2]).all()
    np.testing.assert_allclose(seen[3], kelvins(TIMES[3]), rtol=2**-13)
