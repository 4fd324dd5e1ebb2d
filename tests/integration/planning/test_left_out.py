"""A label for which an author's code lists no file is reported: nothing retries it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gridmill.model.files.offering import Offering
from tiny import Provider, TinyJob, dataset_of, hours, until

(SKIPPED,) = hours(1, first=5)


class Skipping(TinyJob):
    """Lists no file of one hour."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a label, but for one."""
        coords = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [coord for coord in coords if coord.label != SKIPPED]


class Knowing(Skipping):
    """Says that the provider lacks it."""

    offerings = (Offering(hours=(SKIPPED.hour,), since="2021-01-01"),)


class Beginning(TinyJob):
    """Lists the first six hours only, as of a listing that ends there."""

    def generate_source_file_coords(self, processing_region_ds, data_var_group):
        """Give a file a label up to that."""
        coords = super().generate_source_file_coords(processing_region_ds, data_var_group)
        return [coord for coord in coords if coord.label <= SKIPPED]


@pytest.mark.parametrize("fmt", ["zarr", "icechunk"])
def test_a_label_that_no_file_fills_is_no_silent_success(tmp_path: Path, fmt: str) -> None:
    """It is named, for each variable."""
    Provider(tmp_path / "source").publish(hours(8))
    base = str(tmp_path / "source")
    dataset = dataset_of(job=Skipping)(tmp_path / "a", source_base=base, format=fmt)
    report = dataset.backfill(until(8), client="none")
    assert report.positions_after == 8
    for note, name in zip(report.notes, "ab", strict=True):
        assert note.startswith(f"{name}: no source file is listed for some labels of 1 region")
        assert f"first for {SKIPPED}" in note


@pytest.mark.parametrize("job", [TinyJob, Knowing, Beginning])
def test_what_is_declared_and_what_is_not_there_yet_is_not_told(tmp_path: Path, job) -> None:
    """The end of a listing is what comes next."""
    Provider(tmp_path / "source").publish(hours(8))
    base = str(tmp_path / "source")
    report = dataset_of(job=job)(tmp_path / "a", source_base=base).backfill(until(8), client="none")
    assert report.notes == []
