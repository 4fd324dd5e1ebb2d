"""The contract for datasets holds for good ones, and finds what is wrong with others."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generated import Generated, build_archive
from gridmill.model.variables import Coordinate
from gridmill.registry import dataset_names, find_dataset
from gridmill.testing import DatasetContract
from tiny import (
    Provider,
    TinyCoord,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    time_coordinate,
    until,
)


class TestGenerated(DatasetContract):
    """Levels, a static variable, missing values, shards of two days."""

    dataset = Generated
    until = "2020-01-05"

    def make_source(self, folder: Path) -> str:
        """Write four days."""
        return str(build_archive(folder, 4))


class _NamedTemplate(TinyTemplate):
    """Tiny, with coordinates that say what they are."""

    coords = (
        time_coordinate(),
        *(Coordinate(name=name, attrs={"units": "m"}) for name in ("y", "x")),
    )


class _TinyContract(DatasetContract):
    dataset = dataset_of(template=_NamedTemplate)
    until = until(10)

    def make_source(self, folder: Path) -> str:
        """Write ten hours."""
        Provider(folder).publish(hours(10))
        return str(folder)


class TestTiny(_TinyContract):
    """Some variables from some label on."""

    start = "2020-01-01T04"
    variables = ("b",)


class _Gap(TinyJob):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Forget the last file."""
        return super().generate_source_file_coords(processing_region_ds, data_var_group)[:-1]


class _CountedTemplate(_NamedTemplate):
    """Whole numbers, in which nothing says missing."""

    data_vars = tuple(
        replace(var, encoding=replace(var.encoding, dtype="int16"))
        for var in _NamedTemplate.data_vars
    )


@dataclass(frozen=True, kw_only=True)
class _HalfCoord(TinyCoord):
    def out_loc(self) -> dict[str, Any]:
        """Leave out a row."""
        return {**super().out_loc(), "y": slice(0.0, 0.0)}


class _Unfilled(TinyJob):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Fill a row of two."""
        return [_HalfCoord(label=label) for label in processing_region_ds.get_index("time")]


class _Twice(TinyJob):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Name the first file twice."""
        found = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [found[0], *found]


class _Flat(TinyJob):
    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Give the wrong shape."""
        return super().read_data(coord, data_var).ravel()


class _TwoMinds(TinyJob):
    def read_data_into(self, coord: Any, data_var: Any, out: Any) -> None:
        """Give other values than `read_data`."""
        out[...] = 1


class _Empty(TinyJob):
    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Give nothing."""
        return np.full_like(super().read_data(coord, data_var), np.nan)


class _NeedsAll(TinyJob):
    def transform_values_inplace(self, values: Any, data_var: Any) -> None:
        """Refuse missing values."""
        if np.isnan(values).any():
            raise ArithmeticError("not a number")


class _Fickle(TinyJob):
    publication_delay = timedelta(0)

    def expected(self, coord: Any, now: Any) -> bool:
        """Change one's mind."""
        return not super().expected(coord, now + timedelta(days=-300))


@dataclass(frozen=True, kw_only=True)
class _CountingCoord(TinyCoord):
    def get_url(self) -> str:
        """Give another address each time."""
        _CALLS.append(1)
        return f"{len(_CALLS)}.npy"


_CALLS: list[int] = []


class _Counting(TinyJob):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give coordinates whose address changes."""
        return [_CountingCoord(label=label) for label in processing_region_ds.get_index("time")]


class _Unpicklable(TinyJob):
    def for_worker(self, data_vars: Any) -> Any:
        """Take something along that cannot travel."""
        twin = super().for_worker(data_vars)
        vars(twin)["lock"] = threading.Lock()
        return twin


class _Impure(TinyJob):
    def apply_data_transformations(self, data_array: Any, data_var: Any) -> None:
        """Depend on what was done before."""
        _CALLS.append(1)
        data_array.values[...] += len(_CALLS)


class _Untitled(_NamedTemplate):
    dataset_attributes = {"dataset_id": "tiny"}


class _Undeclared(_NamedTemplate):
    coords = _NamedTemplate.coords[:-1]


class _Often(_NamedTemplate):
    append_dim_frequency = "hourly"


class _Backwards(_NamedTemplate):
    def append_dim_coordinates(self, end: Any) -> Any:
        """Give the latest first."""
        return super().append_dim_coordinates(end)[::-1]


class _Listing(TinyJob):
    # Changes each file that is listed.
    changes: Any = staticmethod(lambda coord: coord)

    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give a file a label, with a mistake."""
        listed = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [self.changes(coord) for coord in listed]


@dataclass(frozen=True, kw_only=True)
class _Misspelt(TinyCoord):
    def out_loc(self) -> dict[str, Any]:
        """Name a dim that is none."""
        return {"tiem": self.label}


class _NoDim(_Listing):
    changes = staticmethod(lambda coord: _Misspelt(label=coord.label))


class _OffTheAxis(_Listing):
    changes = staticmethod(lambda coord: replace(coord, label=coord.label + timedelta(minutes=7)))


class _ListsNothing(TinyJob):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Give an empty list."""
        return []


class _ForgetsToReturn(TinyJob):
    def generate_source_file_coords(self, processing_region_ds: Any, data_var_group: Any) -> Any:
        """Make a list, and keep it."""


class _ReadsAndForgets(TinyJob):
    def read_data(self, coord: Any, data_var: Any) -> Any:
        """Read, and return nothing."""
        np.load(coord.downloaded_path)


class _DownloadsAndForgets(TinyJob):
    def download_file(self, coord: Any) -> Any:
        """Download, and return nothing."""
        super().download_file(coord)


class _Misspells(TinyJob):
    def read_data(self, coord: Any, data_var: Any) -> Any:
        """Ask a variable for what it has not."""
        return np.load(coord.downloaded_path)[data_var.nmuber]


class _TransformsACopy(TinyJob):
    def transform_values_inplace(self, values: Any, data_var: Any) -> Any:
        """Return what should be stored."""
        return values * 2


class _AsksTheTemplate(TinyJob):
    def read_data(self, coord: Any, data_var: Any) -> Any:
        """Use what stays with the driver."""
        assert self.template_ds.sizes["y"]
        return super().read_data(coord, data_var)


@pytest.mark.parametrize(
    ("part", "test", "message"),
    [
        (_Untitled, "the_metadata_says_what_readers_need", r"dataset_attributes lack \['title'\]"),
        (_Undeclared, "every_dim_has_its_coordinate", "coords does not declare how they are"),
        (_Often, "the_structure_does_not_depend_on_where_it_ends", "is no frequency of pandas"),
        (_Backwards, "the_structure_does_not_depend_on_where_it_ends", "has to sort them"),
        (_NoDim, "source_files_cover_every_position", r"names dims \['tiem'\] that no variable"),
        (_OffTheAxis, "source_files_cover_every_position", "which is not in time: 2020-01-01"),
        (_ListsNothing, "one_source_file_can_be_read", "lists no source file for a, b"),
        (_ForgetsToReturn, "source_files_cover_every_position", "returns None: return the source"),
        (_ReadsAndForgets, "one_source_file_can_be_read", r"read_data\(\) returns None: return"),
        (
            _ReadsAndForgets,
            "what_is_done_is_not_done_again",
            "the backfill failed: .* returns None",
        ),
        (_DownloadsAndForgets, "one_source_file_can_be_read", "returns None: return the path"),
        (_DownloadsAndForgets, "what_is_done_is_not_done_again", "returns None: return the path"),
        (_Misspells, "one_source_file_can_be_read", "has no attribute 'nmuber'"),
        (_TransformsACopy, "one_source_file_can_be_read", "change the values in place"),
        (_AsksTheTemplate, "one_source_file_can_be_read", "template_ds stays with the driver"),
    ],
)
def test_what_an_author_must_mend_is_said_in_a_line(part, test, message, tmp_path):
    """Mistakes of a first hour: each is one line that names the hook and what it should do."""
    contract = _TinyContract()
    is_template = issubclass(part, TinyTemplate)
    parts = {"template": part} if is_template else {"template": _NamedTemplate, "job": part}
    contract.dataset = dataset_of(**parts)
    needs_folder = test.startswith(("one_", "what_is_done"))
    with pytest.raises((AssertionError, AttributeError, ValueError), match=message) as caught:
        getattr(contract, f"test_{test}")(*([tmp_path] if needs_folder else []))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "test", "message"),
    [
        ({"job": _Gap}, "source_files_cover_every_position", "no source file fills a at time"),
        (
            {"job": _Gap, "template": _CountedTemplate},
            "source_files_cover_every_position",
            "a place of a, and in int16 nothing says missing",
        ),
        ({"job": _Unfilled}, "source_files_cover_every_position", "no source file of any .* y 1"),
        ({"job": _Twice}, "source_files_cover_every_position", "two source files fill one place"),
        ({"job": _Flat}, "one_source_file_can_be_read", "has shape"),
        ({"job": _TwoMinds}, "one_source_file_can_be_read", "other values than read_data"),
        ({"job": _Empty}, "one_source_file_can_be_read", "has no value"),
        ({"job": _NeedsAll}, "one_source_file_can_be_read", "let it take missing values"),
        ({"job": _Fickle}, "what_is_expected_is_a_claim", "is expected, then no more"),
        ({"job": _Counting}, "source_files_have_stable_addresses", r"\.npy"),
        ({"job": _Unpicklable}, "what_goes_to_workers_pickles", "pickle"),
        ({"job": _Impure}, "an_archive_in_steps_is_the_archive_at_once", "Differing"),
        ({"template": TinyTemplate}, "the_metadata_says_what_readers_need", "neither units nor a"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_found(parts, test, message, tmp_path):
    """A seeded mistake fails its test, with a message that names it."""
    contract = _TinyContract()
    contract.dataset = dataset_of(**{"template": _NamedTemplate, **parts})
    needs_folder = test.startswith(("one_", "an_"))
    with pytest.raises((AssertionError, TypeError), match=message):
        getattr(contract, f"test_{test}")(*([tmp_path] if needs_folder else []))


@pytest.mark.parametrize(
    "name", [name for name in dataset_names() if name.startswith(("noaa-", "ecmwf-"))]
)
def test_the_source_files_of_built_in_forecasts_cover_them(name):
    """Totals have no value at lead 0, which is not offered."""
    contract = _TinyContract()
    contract.dataset = find_dataset(name)
    config = contract.dataset.template_config()
    contract.until = str(config.label(config.append_dim_start) + timedelta(hours=18))
    contract.test_source_files_cover_every_position()
