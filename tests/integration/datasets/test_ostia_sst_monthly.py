"""The `ostia-sst-monthly` dataset against the file that its source files are split from."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.authoring.transforms.rounding import round_mantissa_inplace
from gridmill.datasets.met_office.ostia_sst_monthly import OstiaSstMonthly, OstiaSstMonthlyTemplate
from gridmill.demo.archive import OSTIA_SOURCE, build_ostia_archive, sample_file
from gridmill.testing import ArchiveServer


@pytest.fixture(scope="module")
def source() -> Iterator[xr.Dataset]:
    """Give the whole source."""
    with xr.open_dataset(sample_file(OSTIA_SOURCE)) as ds:
        yield ds.load()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ArchiveServer]:
    """Serve the months, all released."""
    build_ostia_archive(tmp_path / "provider")
    with ArchiveServer(tmp_path / "provider") as server:
        server.release_all()
        yield server


def test_coordinates_are_those_of_the_source_bit_for_bit(source):
    """Labels, bounds, latitudes and longitudes are the source's own numbers."""
    template = OstiaSstMonthlyTemplate().get_template("2010-10-01")

    for name in ("time", "time_bnds", "latitude", "longitude"):
        np.testing.assert_array_equal(template[name].values, source[name].values)
    assert template.latitude.dtype == source.latitude.dtype == "float32"


@pytest.mark.parametrize("end", ["2006-04-16T01", "2008-02-15T12", "2008-02-15T13", "2030-01-01"])
def test_labels_never_change_with_the_end(source, end):
    """A longer template has the labels of a shorter one first, and none at or after its end."""
    longest = OstiaSstMonthlyTemplate().append_dim_coordinates("2040-01-01")
    labels = OstiaSstMonthlyTemplate().append_dim_coordinates(end)

    assert labels.equals(longest[: len(labels)])
    assert labels[-1] < pd.Timestamp(end) <= longest[len(labels)]


def test_an_archive_may_begin_later(source):
    """A narrowed template begins at any month, with that month's label."""
    template = OstiaSstMonthlyTemplate().narrowed(start="2007-01-16T12").get_template("2007-04-01")

    np.testing.assert_array_equal(template.time.values, source.time.values[9:12])


def test_rounding_moves_no_value_by_a_thousandth_of_a_kelvin(source):
    """The declared mantissa bits keep every value of the source within 0.001 K."""
    values = source.surface_temperature.values
    rounded = values.copy()

    (variable,) = OstiaSstMonthlyTemplate.data_vars
    round_mantissa_inplace(rounded, variable.keep_mantissa_bits)

    assert 0 < np.nanmax(np.abs(rounded - values)) < 0.001


def test_an_object_is_read_with_one_request():
    """No read can be torn by the replacement of the last year: objects have no inner chunks."""
    (variable,) = OstiaSstMonthlyTemplate.data_vars

    assert variable.encoding.object_shape == variable.encoding.chunks


def test_source_files_are_those_of_the_archive(tmp_path):
    """A plan asks for each month's file at the dated path at which the provider has it."""
    dataset = OstiaSstMonthly(tmp_path / "a.zarr", source_base="http://127.0.0.1:9")

    asked = [
        file.coord.get_url()
        for region in dataset.plan("2010-10-01").prepared()
        for group in region.groups
        for file in group.files
    ]

    offered = build_ostia_archive(tmp_path / "provider")
    assert asked == [path.as_posix() for path in offered]


def test_a_month_is_expected_a_month_after_its_end(tmp_path):
    """A file that is absent holds the archive back for a month, and is a gap after that."""
    dataset = OstiaSstMonthly(tmp_path / "a.zarr", source_base="http://127.0.0.1:9")
    region = next(iter(dataset.plan("2006-05-01").prepared()))
    (coord,) = [file.coord for group in region.groups for file in group.files]

    assert not region.job.expected(coord, pd.Timestamp("2006-05-28"))
    assert region.job.expected(coord, pd.Timestamp("2006-06-01"))


def test_without_an_archive_it_says_what_to_give(tmp_path):
    """Who does not say where the source files are is told so, and no store is made."""
    dataset = OstiaSstMonthly(tmp_path / "a.zarr")

    with pytest.raises(ValueError, match=r"give source_base.*gridmill demo"):
        list(dataset.plan("2010-10-01").prepared())
    assert not (tmp_path / "a.zarr").exists()


def test_it_is_registered():
    """The command line finds it by name."""
    points = entry_points(group="gridmill.datasets")

    assert points["ostia-sst-monthly"].load() is OstiaSstMonthly


def test_a_month_lands_inside_a_published_object(tmp_path, source, server, client):
    """A late month stops the extent; an update takes it in, and all values are the source's."""
    server.hold("2010/ostia_sst_201007.nc")
    dataset = OstiaSstMonthly(tmp_path / "a.zarr", source_base=server.url)

    report = dataset.backfill("2010-10-01", client=client, now="2010-08-02")
    assert report.positions_after == 51
    assert "2010/ostia_sst_201007.nc not yet available" in (report.stops_because or "")

    server.release_all()
    report = dataset.reformat_operational_update(client=client, now="2010-10-01")
    assert (report.positions_after, report.stops_because) == (54, None)
    with xr.open_zarr(tmp_path / "a.zarr") as ds:
        stored, expected = ds.surface_temperature.values, source.surface_temperature.values
        np.testing.assert_array_equal(np.isnan(stored), np.isnan(expected))
        np.testing.assert_allclose(stored, expected, rtol=0, atol=0.001)
        np.testing.assert_array_equal(ds.time_bnds.values, source.time_bnds.values)


def test_the_store_carries_cf_metadata(tmp_path, server, client):
    """A reader finds standard names, bounds and the grid mapping where CF puts them."""
    dataset = OstiaSstMonthly(tmp_path / "a.zarr", source_base=server.url)
    dataset.backfill("2006-07-01", client=client, now="2006-07-01")

    with xr.open_zarr(tmp_path / "a.zarr", decode_coords="all") as ds:
        assert ds.surface_temperature.attrs["standard_name"] == "surface_temperature"
        assert ds.surface_temperature.attrs["units"] == "K"
        assert ds.surface_temperature.encoding["grid_mapping"] == "latitude_longitude"
        assert ds.time.encoding["bounds"] == "time_bnds"
        assert {"time_bnds", "latitude_longitude"} <= set(ds.coords)
        assert ds.latitude_longitude.attrs["earth_radius"] == 6371229.0
