"""What readers get of packed values, of whole numbers and of times is what the sources hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.verdict import verdict_of
from gridmill.dataset import DynamicalDataset
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import Encoding
from gridmill.pipeline.canvas import slabs_of
from gridmill.sources.netcdf import read_netcdf
from gridmill.validation import SourcesAgree
from tiny import (
    HOUR,
    REGION,
    SHAPE,
    START,
    Provider,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    time_coordinate,
    tiny_var,
    until,
)

Read = Callable[[TinyJob, Any, Any], np.ndarray]
FORMATS = ["zarr", "icechunk"]


def stored_as(**changes: Any) -> Encoding:
    """Return how a variable is stored, with changes."""
    return Encoding(chunks=(2, *SHAPE), shards=(REGION, *SHAPE), **changes)


PACKED = stored_as(dtype="int16", scale_factor=0.01, add_offset=270.0, fill_value=-32768)
COUNTED = stored_as(dtype="uint8", fill_value=255)


def dataset(
    folder: Path, encoding: Encoding, read: Read, name: str = "a.zarr", **job: Any
) -> DynamicalDataset:
    """Return a dataset of one variable, whose files are expected after two hours."""
    fields = {"read_data": read, "publication_delay": 2 * HOUR, "lookback": timedelta(days=1)}
    template = type("T", (TinyTemplate,), {"data_vars": (tiny_var("a", encoding=encoding),)})
    made = dataset_of(template=template, job=type("J", (TinyJob,), {**fields, **job}))
    return made(folder / name, source_base=str(folder / "source"))


def temperature(label: Any) -> np.ndarray:
    """Return what a file holds: with a missing value, and other values each hour."""
    values = 250 + 3 * ((label - START) / HOUR) + np.arange(6, dtype="float32").reshape(SHAPE) / 7
    values[1, 2] = np.nan
    return values


def read_temperature(job: TinyJob, coord: Any, data_var: Any) -> np.ndarray:
    """Read a temperature; a file that nobody has raises."""
    np.load(coord.downloaded_path)
    return temperature(coord.label)


def seen(folder: Path, name: str = "a.zarr") -> xr.Dataset:
    """Open an archive as any reader does."""
    return xr.open_zarr(folder / name)


def attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of the array, as they are stored."""
    return json.loads((folder / "a.zarr" / "a" / "zarr.json").read_text())["attributes"]


# -- packing --------------------------------------------------------------------------------------


def test_readers_decode_packed_values(tmp_path: Path) -> None:
    """As CF has it, without anything of gridmill: to half a step, and NaN where there is none."""
    Provider(tmp_path / "source").publish(hours(6))
    archive = dataset(tmp_path, PACKED, read_temperature)
    report = archive.backfill(until(6), client="none", now=until(6))
    assert (report.positions_after, report.succeeded) == (6, True)
    found = seen(tmp_path)["a"]
    truth = np.stack([temperature(label) for label in hours(6)])
    np.testing.assert_allclose(found.values, truth, atol=0.005 + 1e-9, rtol=0)
    stored = xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False)["a"]
    assert stored.dtype == np.dtype("int16")
    said = {key: stored.attrs[key] for key in ("scale_factor", "add_offset", "_FillValue")}
    assert said == {"scale_factor": 0.01, "add_offset": 270.0, "_FillValue": -32768}
    assert (stored.values[:, 1, 2] == -32768).all()


def test_transformations_see_values_and_not_what_is_stored(tmp_path: Path) -> None:
    """They come before packing, and so does rounding."""

    def transform_values_inplace(self: TinyJob, values: np.ndarray, data_var: Any) -> None:
        assert values.dtype.kind == "f"
        values -= 100.0

    Provider(tmp_path / "source").publish(hours(4))
    archive = dataset(
        tmp_path,
        replace(PACKED, add_offset=170.0),
        read_temperature,
        transform_values_inplace=transform_values_inplace,
    )
    assert archive.backfill(until(4), client="none", now=until(4)).succeeded
    truth = np.stack([temperature(label) for label in hours(4)]) - 100
    np.testing.assert_allclose(seen(tmp_path)["a"].values, truth, atol=0.0051, rtol=0)


def test_a_value_beyond_the_range_is_a_failure_to_read_and_heals(tmp_path: Path) -> None:
    """It is named with the rule, its place is missing, its neighbours are there."""
    broken = hours(1, 2)
    mended = tmp_path / "mended"

    def read_data(self: TinyJob, coord: Any, data_var: Any) -> np.ndarray:
        wrong = coord.label in broken and not mended.exists()
        return temperature(coord.label) + (1000 if wrong else 0)

    Provider(tmp_path / "source").publish(hours(4))
    archive = dataset(tmp_path, PACKED, read_data, holds_extent=lambda *_: False)
    report = archive.backfill(until(4), client="none", now=until(10))
    (problem,) = [p for p in report.problems if "packed" in p.detail]
    assert "a: 1256.0 cannot be packed into int16 with scale_factor 0.01" in problem.detail
    assert "which takes -57.67 to 597.67, -32768 being missing" in problem.detail
    found = seen(tmp_path)["a"]
    assert np.isnan(found[2]).all()
    assert not np.isnan(found[[0, 1, 3], 0]).any()
    mended.touch()
    report = archive.reformat_operational_update(client="none", now=until(14))
    np.testing.assert_allclose(seen(tmp_path)["a"][2, 0], temperature(broken[0])[0], atol=0.006)


@pytest.mark.parametrize("slab_nbytes", [2**20, 80])
def test_a_file_with_such_a_value_takes_no_part_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slab_nbytes: int
) -> None:
    """Neither elsewhere in its field nor through a transformation, also in several slabs."""
    monkeypatch.setattr(slabs_of, "__kwdefaults__", {"most_nbytes": slab_nbytes})

    def read_data(self: TinyJob, coord: Any, data_var: Any) -> np.ndarray:
        values = np.full(SHAPE, 300.0, "float32")
        values[1, 2] = 1e5 if coord.label == hours(3)[2] else 300
        return values

    def transform_values_inplace(self: TinyJob, values: np.ndarray, data_var: Any) -> None:
        values[1:] = values[1:] - values[:-1]  # mixes what is beside each other in time

    Provider(tmp_path / "source").publish(hours(4))
    encoding = Encoding(
        chunks=(2, 1, 1), shards=(REGION, *SHAPE), dtype="int16", scale_factor=1.0, fill_value=-1
    )
    archive = dataset(
        tmp_path,
        encoding,
        read_data,
        transform_values_inplace=transform_values_inplace,
        whole_dims=("time",),
    )
    report = archive.backfill(until(4), client="none", now=until(10))
    assert any("a: 99700.0 cannot be packed" in problem.detail for problem in report.problems)
    found = seen(tmp_path)["a"].values
    assert (found[0] == 300).all()
    assert (found[1] == 0).all()
    assert np.isnan(found[2:]).all()


def test_published_values_stay_as_they_are_stored(tmp_path: Path) -> None:
    """Where a source file is gone by now; merged with what came, in the same shard."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(3))
    archive = dataset(tmp_path, PACKED, read_temperature)
    archive.backfill(until(3), client="none", now=until(3))
    before = xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False)["a"].load()
    provider.withdraw(hours(1)[0])
    provider.publish(hours(1, 3))
    archive.backfill(until(4), client="none", now=until(4), redo=True)
    after = xr.open_zarr(tmp_path / "a.zarr", mask_and_scale=False)["a"].load()
    assert after.sizes["time"] == 4
    np.testing.assert_array_equal(after[:3], before)
    np.testing.assert_allclose(seen(tmp_path)["a"][3, 0], temperature(hours(4)[3])[0], atol=0.006)


def test_validation_looks_at_unpacked_values(tmp_path: Path) -> None:
    """27,000 is no temperature, and 270 is one."""
    Provider(tmp_path / "source").publish(hours(8))
    archive = dataset(tmp_path, PACKED, read_temperature)
    (var,) = archive.declared.data_vars
    for low, complaints in ((200.0, 0), (252.0, 1)):
        ranged = replace(var, valid_range=(low, 330.0))
        template = type("T", (TinyTemplate,), {"data_vars": (ranged,)})
        other = dataset_of(template=template, job=type(archive).region_job)
        checked = other(tmp_path / "a.zarr", source_base=str(tmp_path / "source"))
        checked.backfill(until(8), client="none", now=until(8))
        found = checked.validate(now=until(8))
        assert not [f for f in found.findings if f.severity == "error"][complaints:], found
        named = [f.message for f in found.findings if "outside of" in f.message]
        assert len(named) == complaints
    assert "250" in named[0]


def test_an_archive_keeps_its_packing(tmp_path: Path) -> None:
    """Though the code packs otherwise by now, or not at all; stored objects are as they were."""
    Provider(tmp_path / "source").publish(hours(12))
    made = dataset(tmp_path, PACKED, read_temperature)
    made.backfill(until(4), client="none", now=until(4))
    first = snapshot(tmp_path / "a.zarr" / "a" / "c" / "0")
    finer, plain = replace(PACKED, scale_factor=0.001, add_offset=250.0), stored_as()
    for n, encoding in ((8, finer), (12, plain)):
        later = dataset(tmp_path, encoding, read_temperature)
        report = later.backfill(until(n), client="none", now=until(n))
        assert report.positions_after == n
        assert any("a scale_factor" in note for note in report.notes)
    assert snapshot(tmp_path / "a.zarr" / "a" / "c" / "0") == first
    assert attributes(tmp_path)["scale_factor"] == 0.01
    truth = np.stack([temperature(label) for label in hours(12)])
    np.testing.assert_allclose(seen(tmp_path)["a"].values, truth, atol=0.0051, rtol=0)


def test_a_sample_made_again_is_compared_as_it_is_stored(tmp_path: Path) -> None:
    """And told in the units of the variable."""
    Provider(tmp_path / "source").publish(hours(4))
    archive = dataset(tmp_path, PACKED, read_temperature)
    archive.backfill(until(4), client="none", now=until(4))
    sample = [SourcesAgree(size=1, seed=0)]
    assert archive.validate(now=until(4), validators=sample).findings == ()
    zarr.open_array(tmp_path / "a.zarr", path="a", mode="r+")[0, 0, 0] = 1000
    (wrong,) = archive.validate(now=until(4), validators=sample).findings
    assert "1 values differ" in wrong.message
    assert "first 280 where they give 250" in wrong.message


def test_an_archive_whose_author_packed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By attributes, as was once taken: what is read is stored as it is, and decoded by them."""
    attrs = {"long_name": "a", "units": "1", "scale_factor": 0.5, "_FillValue": -1}
    var = tiny_var("a", encoding=stored_as(dtype="int16", fill_value=-1), attrs=attrs)
    older = replace(var, encoding=replace(var.encoding, fill_is_missing=False))
    Provider(tmp_path / "source").publish(hours(8))

    def make(var: Any) -> DynamicalDataset:
        template = type("T", (TinyTemplate,), {"data_vars": (var,)})
        read = type("J", (TinyJob,), {"read_data": lambda *_: np.full(SHAPE, 7, "int16")})
        made = dataset_of(template=template, job=read)
        return made(tmp_path / "a.zarr", source_base=str(tmp_path / "source"))

    with monkeypatch.context() as patched:
        patched.setattr("gridmill.archive.archive.check_new", lambda config: None)
        make(older).backfill(until(4), client="none", now=until(4))
    report = make(var).backfill(until(8), client="none", now=until(8))
    assert report.positions_after == 8
    assert (seen(tmp_path)["a"] == 3.5).all()


def test_doubles_of_a_file_keep_their_digits(tmp_path: Path) -> None:
    """By the recipe's reader, as its author wrote it."""

    def read_data(self: TinyJob, coord: Any, data_var: Any) -> np.ndarray:
        return read_netcdf(coord.downloaded_path, "a")

    for label in hours(2):
        path = Provider(tmp_path / "source").path(label)
        path.parent.mkdir(parents=True, exist_ok=True)
        values = xr.DataArray(np.full(SHAPE, 1 / 3), dims=("y", "x"))
        xr.Dataset({"a": values}).to_netcdf(path, engine="netcdf4")
    archive = dataset(tmp_path, stored_as(dtype="float64"), read_data)
    archive.backfill(until(2), client="none", now=until(2))
    assert (seen(tmp_path)["a"].values == 1 / 3).all()


# -- whole numbers --------------------------------------------------------------------------------


def read_counts(job: TinyJob, coord: Any, data_var: Any) -> np.ndarray:
    """Read counts from 0 on, one of them missing."""
    np.load(coord.downloaded_path)
    counts = np.full(SHAPE, (coord.label - START) / HOUR)
    counts[0, 1] = np.nan
    return counts


def test_a_gap_of_whole_numbers_is_missing_for_readers(tmp_path: Path) -> None:
    """And a real 0 is 0."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(4))
    provider.withdraw(hours(4)[2])
    archive = dataset(tmp_path, COUNTED, read_counts)
    report = archive.backfill(until(4), client="none", now=until(10))
    assert report.positions_after == 4
    found = seen(tmp_path)["a"]
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 0, 1]).all()
    assert found[[0, 1, 3], 0, 0].values.tolist() == [0, 1, 3]


def test_a_gap_of_what_nothing_says_missing_is_not_published_as_zero(tmp_path: Path) -> None:
    """Readers wait, the reason and the next step are named, and what comes is taken in."""

    def read_data(self: TinyJob, coord: Any, data_var: Any) -> np.ndarray:
        return np.full(SHAPE, 1 + (coord.label - START) / HOUR)

    provider = Provider(tmp_path / "source")
    provider.publish(hours(4))
    provider.withdraw(hours(4)[2])
    archive = dataset(tmp_path, stored_as(dtype="uint8"), read_data)
    report = archive.backfill(until(4), client="none", now=until(10))
    assert report.positions_after == 2
    assert verdict_of(report)[0] is ExitCode.FAILED
    _, problem = report.problems  # of the file, and of the variable
    assert problem.outcome == f"{SourceFileStatus.NOT_YET_AVAILABLE} for a"
    assert "readers would see 0 there, as nothing says missing in uint8" in problem.detail
    assert "gridmill accept" in problem.detail
    assert archive.backfill(until(4), client="none", now=until(11)).positions_after == 2
    provider.publish(hours(1, 2))
    archive.reformat_operational_update(client="none", now=until(12))
    assert archive.backfill(until(4), client="none", now=until(12)).positions_after == 4
    assert seen(tmp_path)["a"][:, 0, 0].values.tolist() == [1, 2, 3, 4]


def but_the_third(job: TinyJob, processing_region_ds: Any, data_var_group: Any) -> Any:
    """List a file a label, but for one."""
    found = TinyJob.generate_source_file_coords(job, processing_region_ds, data_var_group)
    return [coord for coord in found if coord.label != START + 2 * HOUR]


def test_what_no_file_is_listed_for_is_no_zero_of_a_new_archive(tmp_path: Path) -> None:
    """It is refused before anything is written; an archive that exists goes on, and says so."""
    Provider(tmp_path / "source").publish(hours(8))

    def of(encoding: Encoding, **job: Any) -> DynamicalDataset:
        return dataset(tmp_path, encoding, lambda *_: np.ones(SHAPE), **job)

    fewer = {"generate_source_file_coords": but_the_third}
    for dtype in ("uint8", "bool"):
        with pytest.raises(ValueError, match=rf"fills a at .*T?02:00.* in {dtype} nothing says"):
            of(stored_as(dtype=dtype), **fewer).backfill(until(8), client="none", now=until(8))
    assert snapshot(tmp_path / "a.zarr") == {}
    of(stored_as(dtype="uint8")).backfill(until(4), client="none", now=until(8))
    report = of(stored_as(dtype="uint8"), **fewer).backfill(until(8), client="none", now=until(8))
    assert report.positions_after == 8
    (note,) = (note for note in report.notes if note.startswith("a: readers see 0"))
    assert "in 1 region where no source file is listed" in note


def test_with_a_missing_value_files_need_not_be_listed(tmp_path: Path) -> None:
    """Readers see NaN there, and the run says so."""
    Provider(tmp_path / "source").publish(hours(4))
    fewer = {"generate_source_file_coords": but_the_third}
    made = dataset(tmp_path, COUNTED, lambda *_: np.ones(SHAPE), **fewer)
    report = made.backfill(until(4), client="none", now=until(4))
    assert report.positions_after == 4
    (note,) = report.notes
    assert (
        "a: no source file is listed for some labels of 1 region, first for 2020-01-01 02" in note
    )
    assert np.isnan(seen(tmp_path)["a"][2]).all()


def test_an_archive_whose_whole_numbers_had_no_missing_value_keeps_that(tmp_path: Path) -> None:
    """No attribute comes to it that would make NaN of what its readers see as numbers."""
    Provider(tmp_path / "source").publish(hours(8))
    made = dataset(tmp_path, replace(COUNTED, fill_is_missing=False), lambda *_: np.ones(SHAPE))
    made.backfill(until(4), client="none", now=until(4))
    later = dataset(tmp_path, COUNTED, lambda *_: np.ones(SHAPE))
    report = later.backfill(until(8), client="none", now=until(8))
    assert report.positions_after == 8
    assert any("a missing value" in note for note in report.notes)
    assert "_FillValue" not in attributes(tmp_path)
    assert seen(tmp_path)["a"].dtype == np.dtype("uint8")


# -- times ----------------------------------------------------------------------------------------


def test_a_reader_that_misses_the_times_does_not_see_1970(tmp_path: Path) -> None:
    """An array whose chunk is not there shows NaT, and no attribute is needed for that."""
    Provider(tmp_path / "source").publish(hours(4))
    archive = dataset(tmp_path, stored_as(), read_temperature)
    archive.backfill(until(4), client="none", now=until(4))
    assert list(seen(tmp_path)["time"].values) == list(np.array(hours(4), "datetime64[ns]"))
    for path in (tmp_path / "a.zarr" / "time" / "c").rglob("*"):
        if path.is_file():
            path.unlink()
    times = seen(tmp_path)["time"]
    assert pd.isna(times.values).all()
    assert "_FillValue" not in times.encoding


@pytest.mark.parametrize("kind", FORMATS)
def test_an_archive_keeps_the_fill_of_its_times(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was 0, and its metadata stay as they are; nobody need do anything about it."""
    Provider(tmp_path / "source").publish(hours(8))
    made = dataset_of()(tmp_path / "a", source_base=str(tmp_path / "source"), format=kind)
    with monkeypatch.context() as patched:
        patched.setattr("gridmill.model.variables.NOT_A_TIME", 0)
        made.backfill(until(4), client="none", now=until(4))
    report = made.backfill(until(8), client="none", now=until(8))
    assert report.positions_after == 8
    arrays = made.store.metadata()["consolidated_metadata"]["metadata"]
    assert arrays["time"]["fill_value"] == 0
    assert report.notes == []
    assert made.validate(now=until(8)).findings == ()


def test_an_archive_keeps_times_of_int32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on, and says that it would not be made so today."""
    Provider(tmp_path / "source").publish(hours(8))
    coords = (time_coordinate(dtype="int32"), *TinyTemplate.coords[1:])
    kind = dataset_of(template=type("Short", (TinyTemplate,), {"coords": coords}))
    made = kind(tmp_path / "a", source_base=str(tmp_path / "source"))
    with pytest.raises(ValueError, match="no number of dtype int32 is read as no time"):
        made.backfill(until(4), client="none", now=until(4))
    with monkeypatch.context() as patched:
        patched.setattr("gridmill.archive.archive.check_new", lambda *_: None)
        made.backfill(until(4), client="none", now=until(4))
    report = made.backfill(until(8), client="none", now=until(8))
    assert report.positions_after == 8
    assert any("no number of dtype int32" in note for note in report.notes)


class Sparse(TinyJob):
    """Lists no file for one hour, as of what is offered less often."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        every = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [coord for coord in every if coord.label.hour != 1]

    def read_data(self, coord, data_var):
        return np.full(SHAPE, coord.label.hour, "int16")


def test_where_no_file_fills_whole_numbers_the_declared_missing_value_is(tmp_path: Path) -> None:
    """And readers see NaN there."""
    Provider(tmp_path / "source").publish(hours(4))
    var = tiny_var("a", encoding=stored_as(dtype="int16", fill_value=-1))
    kind = dataset_of(template=type("One", (TinyTemplate,), {"data_vars": (var,)}), job=Sparse)
    made = kind(tmp_path / "a", source_base=str(tmp_path / "source"))
    assert made.backfill(until(4), client="none", now=until(4)).positions_after == 4
    np.testing.assert_array_equal(seen(tmp_path, "a")["a"].values[:, 0, 0], [0, np.nan, 2, 3])
    with xr.open_zarr(tmp_path / "a", mask_and_scale=False) as raw:
        assert raw["a"].values[:, 0, 0].tolist() == [0, -1, 2, 3]


# -- labels ---------------------------------------------------------------------------------------

LATE = pd.Timestamp("2038-01-19")


class Overflows(TinyTemplate):
    """Seconds in int32 end at 03:14:07 of its first day."""

    append_dim_start = "2038-01-19"
    append_dim_capacity = 100
    coords = (
        time_coordinate(dtype="int32", units="seconds since 1970-01-01"),
        *TinyTemplate.coords[1:],
    )


def test_validation_finds_labels_that_were_lost_when_they_were_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The template, stored in the same way, would show the same wrong ones."""
    Provider(tmp_path / "source").publish(LATE + HOUR * n for n in range(6))
    archive = dataset_of(template=Overflows)(tmp_path / "a", source_base=str(tmp_path / "source"))
    with monkeypatch.context() as patched:
        patched.setattr("gridmill.authoring.template.check_coordinates", lambda *_: None)
        patched.setattr("gridmill.archive.archive.check_new", lambda *_: None)
        archive.backfill("2038-01-19T06:00", client="none", now="2038-01-19T06:00")
    assert str(seen(tmp_path, "a")["time"].values[4]).startswith("1901-12-13")
    found = archive.validate(now="2038-01-19T06:00").findings
    (wrong,) = [finding for finding in found if "time" in finding.variables]
    assert "2 of 6 labels are read as others, first 1901-12-13T21:31:44 where" in wrong.message
    assert "2038-01-19T04:00:00 is declared: int32 in 'seconds since" in wrong.message


def test_validation_finds_labels_that_are_stored_wrong(tmp_path: Path) -> None:
    """Whoever wrote them; the repair is named, and repairs it."""
    Provider(tmp_path / "source").publish(hours(4))
    archive = dataset(tmp_path, stored_as(), read_temperature)
    archive.backfill(until(4), client="none", now=until(4))
    zarr.open_array(tmp_path / "a.zarr", path="time", mode="r+")[3] = 7
    (wrong,) = archive.validate(now=until(4)).findings
    assert "1 of 4 values differ, first 2020-01-01T07:00:00 where" in wrong.message
    assert "restore-metadata" in wrong.repair
