"""Coordinates of text, from the declaration to a reader."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridmill.model.variables import Coordinate, Encoding
from gridmill.operations.migrate import migration_of
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
