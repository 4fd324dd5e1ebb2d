"""Coordinates of text, from the declaration to a reader."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from gridmill.model.variables import Coordinate, Encoding
from gridmill.operations.migrate import migration_of
from gridmill.operations.restore import restore_metadata
from gridmill.sources.netcdf import read_netcdf
from gridmill.sources.opened import read_h5py, read_xarray
from tiny import (
    NAMES,
    Provider,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    tiny_var,
    until,
)

FORMATS = ["zarr", "icechunk"]
EXPERIMENTS = ["historical", "ssp126", "ssp585 – high"]
ALONG = Encoding(chunks=(2, 1, 2, 3), shards=(4, 3, 2, 3))


class NamedTemplate(TinyTemplate):
    """A dim of names, with another name for each."""

    dims = ("time", "experiment", "y", "x")
    coords = (
        *TinyTemplate.coords,
        Coordinate(name="experiment", dtype="str"),
        Coordinate(name="title", dims=("experiment",), dtype="str"),
    )
    data_vars = tuple(tiny_var(name, at, encoding=ALONG) for at, name in enumerate(NAMES))

    def dimension_coordinates(self):
        """Give the names, as NumPy's strings."""
        return {**super().dimension_coordinates(), "experiment": np.array(EXPERIMENTS)}

    def derive_coordinates(self, ds):
        """Give titles, as Python's."""
        return {"title": ("experiment", [name.upper() for name in EXPERIMENTS])}


@dataclass(frozen=True, kw_only=True)
class NamedFile(TinyCoord):
    """The file of a label, for one experiment."""

    experiment: str

    def out_loc(self):
        """Give both labels."""
        return {"time": self.label, "experiment": self.experiment}


class NamedJob(TinyJob):
    """Reads a file a label and experiment."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give the two of three that there are."""
        times = processing_region_ds.get_index("time")
        return [NamedFile(label=at, experiment=name) for at in times for name in EXPERIMENTS[1:]]


Named = dataset_of(template=NamedTemplate, job=NamedJob)


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Twelve files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(12))
    return str(tmp_path / "source")


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_of_text_reach_readers_without_a_warning(kind, source, tmp_path):
    """After a backfill and an update by another process's code; nothing seems to have changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="Consolidated metadata is")
        warnings.simplefilter("error", FutureWarning)
        for end in (6, 11):
            dataset = Named(tmp_path / "a", source_base=source, format=kind)
            assert dataset.backfill(until(end), client="none").succeeded
        with dataset.store.open_dataset(chunks=None) as ds:
            ds.load()
    assert list(ds.experiment.values) == EXPERIMENTS
    assert list(ds.title.values) == [name.upper() for name in EXPERIMENTS]
    one = ds.a.sel(experiment="ssp126")
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, ds.a.sel(experiment="ssp585 – high"))
    assert np.isnan(ds.a.sel(experiment="historical")).all()
    validation = dataset.validate(now=until(11))
    assert not [finding for finding in validation.findings if finding.severity == "error"]
    assert migration_of(dataset, now=until(24)).permitted == ()


def test_they_are_stored_as_the_specification_has_them(source, tmp_path):
    """Of any length each, checked, and without NumPy's fixed ones."""
    Named(tmp_path / "a", source_base=source).backfill(until(4), client="none")
    array = json.loads((tmp_path / "a" / "experiment" / "zarr.json").read_text())
    assert array["data_type"] == "string"
    assert [codec["name"] for codec in array["codecs"]] == ["vlen-utf8", "zstd", "crc32c"]
    assert array["attributes"] == {}


@pytest.mark.parametrize("kind", FORMATS)
def test_an_update_with_other_labels_is_refused(kind, source, tmp_path):
    """By name, and nothing is written."""
    Named(tmp_path / "a", source_base=source, format=kind).backfill(until(4), client="none")

    class Other(NamedTemplate):
        def dimension_coordinates(self):
            given = super().dimension_coordinates()
            return {**given, "experiment": np.array(["historical", "ssp126", "ssp370"])}

    other = dataset_of(template=Other, job=NamedJob)(
        tmp_path / "a", source_base=source, format=kind
    )
    with pytest.raises(ValueError, match="experiment"):
        other.backfill(until(8), client="none")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([1, 2, 3], r"'experiment' is declared as text .* holds 1"),
        (["a", "", "c"], r"holds ''"),
        (["a", None, "c"], r"holds nan"),
    ],
)
def test_what_is_no_text_is_refused(labels, told):
    """When it is declared."""

    class Wrong(NamedTemplate):
        def dimension_coordinates(self):
            return {**super().dimension_coordinates(), "experiment": np.array(labels, object)}

    with pytest.raises(ValueError, match=told):
        Wrong().structure(pd.Timestamp("2020-01-02"))


def test_nothing_along_the_append_dim_is_text():
    """It would be rewritten with each publication, at a length that nobody knows."""

    class Wrong(NamedTemplate):
        coords = (*NamedTemplate.coords, Coordinate(name="remark", dims=("time",), dtype="str"))

        def derive_coordinates(self, ds):
            remarks = ("time", ["x"] * ds.sizes["time"])
            return {**super().derive_coordinates(ds), "remark": remarks}

    with pytest.raises(ValueError, match="text along the append dim 'time'"):
        Wrong().structure(pd.Timestamp("2020-01-02"))


FORMS = ["string", "NETCDF4", "NETCDF3_CLASSIC", "blanks", "beside"]


def write_named(path, form, names, values):
    """Write a file whose labels are strings, or rows of characters, filled up with NUL or blanks.

    Where they are beside, their variable is not called as their dim, as CF prefers it.
    """
    kind = form if form in FORMS[1:3] else "NETCDF4" if form == "string" else "NETCDF3_CLASSIC"
    with netCDF4.Dataset(path, "w", format=kind) as file:
        for dim, length in (("experiment", len(names)), ("y", 2), ("x", 3), ("length", 20)):
            file.createDimension(dim, length)
        called = "experiment_id" if form == "beside" else "experiment"
        if form == "string":
            file.createVariable(called, str, ("experiment",))[:] = np.array(names, object)
        else:
            fill = b" " if form == "blanks" else b"\0"
            rows = [list(name.encode().ljust(20, fill)) for name in names]
            stored = file.createVariable(called, "S1", ("experiment", "length"))
            stored[:] = np.array(rows, "u1").view("S1")
        for name in NAMES:
            array = file.createVariable(name, "f8", ("experiment", "y", "x"))
            array.coordinates = called
            array[:] = values


def told_by_file(read, order, path, form="string"):
    """Give a dataset of files with all experiments, in an order of their own, by their labels."""
    names = [EXPERIMENTS[at] if isinstance(at, int) else at for at in order]
    numbers = [float(at) if isinstance(at, int) else 9.0 for at in order]
    values = np.ones((len(names), 2, 3)) * np.array(numbers)[:, None, None]
    write_named(path, form, names, values)

    class WholeJob(TinyJob):
        """Reads the same file for each label."""

        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            return [TinyCoord(label=at) for at in processing_region_ds.get_index("time")]

        def download_file(self, coord):
            return shutil.copy(path, self.download_path(coord).with_suffix(".nc"))

        def read_data(self, coord, data_var):
            return np.asarray(read(coord.downloaded_path, data_var.name), "float32")

    return dataset_of(template=NamedTemplate, job=WholeJob)


def by_h5py(path, name):
    """Read as who opens the file does."""
    with h5py.File(path) as file:
        return read_h5py(file[name])


def by_xarray(path, name):
    """Likewise."""
    with xr.open_dataset(path, engine="netcdf4") as ds:
        return read_xarray(ds, name)


READERS = {"netcdf": read_netcdf, "xarray": by_xarray, "h5py": by_h5py}
READ = [
    (reader, form)
    for reader in READERS
    for form in FORMS
    if reader != "h5py" or form in ("string", "NETCDF4")
]


@pytest.mark.parametrize(("reader", "form"), READ)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_a_files_own_labels_say_where_its_values_are(reader, form, order, source, tmp_path):
    """In whatever order, and form, the file has them."""
    kind = told_by_file(READERS[reader], order, tmp_path / "f.nc", form)
    dataset = kind(tmp_path / "a", source_base=source)
    assert dataset.backfill(until(4), client="none").succeeded
    with dataset.store.open_dataset(chunks=None) as ds:
        for at, name in enumerate(EXPERIMENTS):
            assert (ds.a.sel(experiment=name) == at).all()


@pytest.mark.parametrize(("reader", "form"), READ)
def test_other_labels_of_a_file_are_a_failure_to_read(reader, form, source, tmp_path):
    """That names both."""
    kind = told_by_file(READERS[reader], (0, 1, "ssp370"), tmp_path / "f.nc", form)
    report = kind(tmp_path / "a", source_base=source).backfill(until(4), client="none")
    assert not report.succeeded
    told = str(report.problems)
    assert "ssp370" in told
    assert "ssp585" in told


@pytest.mark.parametrize("reader", ["netcdf", "xarray"])
def test_other_names_of_the_same_beside_a_dim_are_no_contradiction(reader, source, tmp_path):
    """None of them is a label of the archive: a title, say, of each."""
    kind = told_by_file(READERS[reader], ("one", "two", "three"), tmp_path / "f.nc", "beside")
    assert kind(tmp_path / "a", source_base=source).backfill(until(4), client="none").succeeded


def one_by_position(path, name):
    """Read a file of one experiment, which it says by a label of no dim."""
    return read_netcdf(path, name, index={"experiment": 0})


def one_by_xarray(path, name):
    """Likewise."""
    with xr.open_dataset(path, engine="netcdf4") as ds:
        return read_xarray(ds.isel(experiment=0), name)


@pytest.mark.parametrize("read", [one_by_position, one_by_xarray, read_netcdf])
@pytest.mark.parametrize("label", EXPERIMENTS[:2])
def test_the_label_of_a_file_of_one_is_compared_with_its_place(read, label, source, tmp_path):
    """Also where its dim is there, and has this label alone."""
    path = tmp_path / "f.nc"
    kind = told_by_file(read, (0,), path, "NETCDF3_CLASSIC")

    class Job(kind.region_job):
        def generate_source_file_coords(self, processing_region_ds, data_var_group):
            labels = processing_region_ds.get_index("time")
            return [NamedFile(label=at, experiment=label) for at in labels]

        def read_data(self, coord, data_var):
            return super().read_data(coord, data_var).reshape(2, 3)

    dataset = dataset_of(template=NamedTemplate, job=Job)(tmp_path / "a", source_base=source)
    report = dataset.backfill(until(4), client="none")
    assert report.succeeded == (label == "historical")
    if not report.succeeded:
        assert "experiment is historical, and" in str(report.problems)
        assert "ssp126" in str(report.problems)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_labels_are_restored(kind, source, tmp_path):
    """From the declaration."""
    dataset = Named(tmp_path / "a", source_base=source, format=kind)
    dataset.backfill(until(4), client="none")
    if kind == "zarr":
        (tmp_path / "a" / "experiment" / "c" / "0").unlink()
        again = Named(tmp_path / "a", source_base=source, format=kind)
        restore_metadata(again, who="me", now=until(24))
    with dataset.store.open_dataset(chunks=None) as ds:
        assert list(ds.experiment.values) == EXPERIMENTS
