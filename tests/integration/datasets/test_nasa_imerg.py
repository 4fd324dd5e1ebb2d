"""The `nasa-imerg-*` datasets against files such as NASA makes, small, behind a login."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill import BearerToken, Encoding, Login
from gridmill.authoring.grids import WGS84, RegionalGrid
from gridmill.datasets.nasa.imerg import (
    NasaImergEarly,
    NasaImergFinal,
    NasaImergLate,
    NasaImergLateTemplate,
)
from gridmill.testing import DatasetContract
from guarded import LoginServer
from imerg import NO_VALUE, Gesdisc, millimetres, path_of, quality, write_half_hour

TIMES = pd.date_range("1998-01-01", periods=6, freq="30min")
END, LATE = "1998-01-01T03:00", "1998-01-04"
# As many latitudes as longitudes: only the labels tell which is which.
CELLS = (12, 12)


class SmallTemplate(NasaImergLateTemplate):
    """The north-western corner of the grid."""

    grid: ClassVar = RegionalGrid(
        first_latitude=89.95,
        first_longitude=-179.95,
        step_degrees=(-0.1, 0.1),
        shape=CELLS,
        mapping=WGS84,
    )
    data_vars = tuple(
        replace(var, encoding=Encoding(chunks=(4, *CELLS)))
        for var in NasaImergLateTemplate.data_vars
    )


class SmallImerg(NasaImergLate):
    """The Late Run on a small grid, in regions of two hours."""

    template_config = SmallTemplate


LABELS = SmallTemplate().dimension_coordinates()
PLACE = (LABELS["latitude"], LABELS["longitude"])


def write_all(root: Path) -> None:
    """Write every half hour."""
    for time in TIMES:
        write_half_hour(root / path_of(time), time, LABELS)


def rates() -> np.ndarray:
    """Return by plain numpy what is to be published."""
    rain = np.stack([millimetres(time, *PLACE) for time in TIMES]).astype("float64")
    return np.where(rain == NO_VALUE, np.nan, rain / 3600)


def check(folder: Path) -> xr.Dataset:
    """Compare what readers see with plain numpy."""
    seen = xr.open_zarr(folder).load()
    np.testing.assert_allclose(seen.precipitation_surface, rates(), rtol=2**-9)
    wanted = np.stack([quality(time, *PLACE) for time in TIMES])
    np.testing.assert_allclose(seen.precipitation_quality_index, wanted, rtol=2**-7)
    return seen


@pytest.fixture
def provider(tmp_path: Path) -> Path:
    """Give a folder with every file."""
    write_all(tmp_path / "provider")
    return tmp_path / "provider"


@pytest.fixture
def server(provider: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gesdisc]:
    """Serve them to who has the token."""
    monkeypatch.setenv("EARTHDATA_TOKEN", "a-token")
    with Gesdisc(provider, "bearer", ["a-token"]) as server:
        yield server


def dataset_at(server: Gesdisc, folder: Path) -> SmallImerg:
    """Give the dataset with a token, as the page says."""
    token = BearerToken(server.url, env="EARTHDATA_TOKEN")
    return SmallImerg(folder / "a.zarr", source_base=server.url, credentials=[token])


class TestContract(DatasetContract):
    """All that every dataset must do."""

    dataset = SmallImerg
    until = END

    def make_source(self, folder: Path) -> str:
        """Write all half hours."""
        write_all(folder)
        return str(folder)


@pytest.mark.parametrize(
    ("dataset", "folder", "run"),
    [
        (NasaImergEarly, "GPM_3IMERGHHE.07", "3B-HHR-E"),
        (NasaImergLate, "GPM_3IMERGHHL.07", "3B-HHR-L"),
        (NasaImergFinal, "GPM_3IMERGHH.07", "3B-HHR"),
    ],
)
def test_addresses_are_the_providers(dataset, folder, run):
    """A day's folder of each run, and names of which the listing tells the end and the version."""
    assert dataset.source_base == "https://data.gesdisc.earthdata.nasa.gov/data/GPM_L3"
    template = dataset.template_config().get_template("1998-02-01")
    job = dataset.region_job(
        template_ds=template, data_vars=(), append_dim="time", region=slice(1440, 1488)
    )
    *_, coord = job.generate_source_file_coords(job.processing_region_ds(), ())
    name = f"{run}.MS.MRG.3IMERG.19980131-S233000-E*.*.*.HDF5"
    assert coord.get_url() == f"{folder}/1998/031/{name}"


def test_a_token_opens_what_numpy_would_read(tmp_path, server, client):
    """Transposed, turned and converted; the index has no units; times have bounds."""
    dataset_at(server, tmp_path).backfill(END, client=client, now=LATE)
    seen = check(tmp_path / "a.zarr")
    assert seen.completeness.values.tolist() == [1] * 6
    np.testing.assert_array_equal(seen.time_bnds[:, 1], TIMES + pd.Timedelta("30min"))
    # A listing a region: two of one folder.
    assert sum(one.path.endswith("/") for one in server.asked) <= 2


def test_a_login_by_netrc_does_too(tmp_path, provider, client, monkeypatch):
    """As Earthdata has it: the data server sends who asks to another host and back."""
    (tmp_path / "netrc").write_text("machine localhost login me password pass-word-1\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with LoginServer(provider, ["me:pass-word-1"]) as login, Gesdisc(provider, "session") as data:
        data.login = login.url.replace("127.0.0.1", "localhost")
        login.issues_to = data
        rules = [Login(data.login)]
        dataset = SmallImerg(tmp_path / "a.zarr", source_base=data.url, credentials=rules)
        dataset.backfill(END, client=client, now=LATE)
    check(tmp_path / "a.zarr")


def test_a_half_hour_that_is_not_listed_is_a_gap_and_heals(tmp_path, server, client):
    """Its name comes with a new version, which nobody could have computed."""
    path = server.root / path_of(TIMES[2])
    path.rename(tmp_path / "late")
    dataset = dataset_at(server, tmp_path)
    report = dataset.backfill(END, client=client, now=LATE)
    assert report.new_gaps == 1
    seen = xr.open_zarr(tmp_path / "a.zarr").load()
    assert np.isnan(seen.precipitation_surface[2]).all()

    (tmp_path / "late").rename(server.root / path_of(TIMES[2], "V07C"))
    dataset_at(server, tmp_path).reformat_operational_update(client=client, now=LATE, until=END)
    check(tmp_path / "a.zarr")


def test_without_the_token_nothing_is_published(tmp_path, server, client):
    """The error names the variable, and no file is taken for absent."""
    server.valid = {"another"}
    report = dataset_at(server, tmp_path).backfill(END, client=client, now=LATE)
    assert report.positions_after == 0
    assert any("EARTHDATA_TOKEN" in str(problem.detail) for problem in report.problems)


@pytest.mark.parametrize(
    "lie",
    [
        {"says": TIMES[3] + pd.Timedelta("1h")},
        {"shift": 0.1},
        {"shift": 180.0},
    ],
)
def test_a_lying_file_is_not_published(tmp_path, server, client, lie):
    """Another half hour, a grid that moved: the place is missing, and the others are there."""
    write_half_hour(server.root / path_of(TIMES[3]), TIMES[3], LABELS, **lie)
    dataset_at(server, tmp_path).backfill(END, client=client, now=LATE)
    seen = xr.open_zarr(tmp_path / "a.zarr").load()
    assert np.isnan(seen.precipitation_surface[3]).all()
    np.testing.assert_allclose(seen.precipitation_surface[4:], rates()[4:], rtol=2**-9)
