"""Tests of `gridmill.planning.source_files.footprint`: what of a region is not fetched again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from gridmill import DataVar, Encoding, RegionJob, SourceFileCoord
from gridmill.pipeline.values import SourceFile
from gridmill.planning.source_files.footprint import files_to_keep

N = 8
VAR = DataVar(
    name="a",
    dims=("time", "x"),
    encoding=Encoding(chunks=(N, 4)),
    attrs={"units": "1", "long_name": "A"},
)


@dataclass(frozen=True, kw_only=True)
class File(SourceFileCoord):
    """A file of one time."""

    time: int


class Job(RegionJob[DataVar, File]):
    """Leaves values as they are."""


class Differences(Job):
    """Each value is the difference to the one before, but at every third time."""

    whole_dims = ()

    def apply_data_transformations(self, data_array: xr.DataArray, data_var: DataVar) -> None:
        raise AssertionError("not called here")

    def provenance(self, filled: Any, data_var: DataVar) -> Any:
        before = np.roll(filled, 1, axis=0)
        before[::3] = True
        return filled & before


class Secretive(Differences):
    """Transforms, and does not say what rests on what."""

    provenance = RegionJob.provenance


class SecretiveOfValues(Job):
    """The same, without coordinates."""

    def transform_values_inplace(self, values: Any, data_var: DataVar) -> None:
        raise AssertionError("not called here")


def keep(job_class: type[Job], stored: list[int], n_each: int = 1) -> frozenset[int]:
    """Choose among one file a time, of `n_each` times."""
    job = job_class(
        template_ds=xr.Dataset(), data_vars=(VAR,), append_dim="time", region=slice(0, N)
    )
    places = [slice(t, t + n_each) for t in range(N)]
    files = [SourceFile(File(time=t), {"time": place}) for t, place in enumerate(places)]
    return files_to_keep(job, VAR, files, {"time": N, "x": 10_000}, stored)


def test_without_a_transformation_all_that_is_stored_is_kept():
    """Each value rests on its own file."""
    assert keep(Job, [0, 1, 5]) == {0, 1, 5}


def test_what_cannot_be_told_is_fetched_again():
    """Nothing is kept of values whose origin the author hides, or of files that overlap."""
    assert keep(Secretive, [0, 1, 5]) == frozenset()
    assert keep(SecretiveOfValues, [0, 1, 5]) == frozenset()
    assert keep(Job, [0, 1, 5], n_each=2) == frozenset()


@given(st.sets(st.integers(0, N - 1)).map(sorted))
def test_what_is_kept_suffices_and_no_more_is_fetched(stored):
    """With what is fetched, all values that rest on something new can be made; no file is vain."""
    kept = keep(Differences, stored)

    fetched = set(range(N)) - kept
    makes = {t for t in range(N) if t in fetched and (t % 3 == 0 or t - 1 in fetched)}
    new = set(range(N)) - set(stored)
    rest_on_new = {t for t in range(N) if t in new or (t % 3 and t - 1 in new)}
    assert rest_on_new <= makes
    assert fetched - new == {f for t in rest_on_new for f in (t, t - (t % 3 > 0))} - new


@pytest.mark.parametrize("whole", [None, ("x",)])
def test_dims_that_are_needed_whole_are_given_whole(whole):
    """An author's rule may look along any dim that it asked for."""
    seen = []

    class Looking(Differences):
        whole_dims = whole

        def provenance(self, filled, data_var):
            seen.append(filled.shape)
            return super().provenance(filled, data_var)

    keep(Looking, [0, 1])
    assert set(seen) == {(N, 10_000)}
