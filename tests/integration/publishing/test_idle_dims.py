"""Archives that are narrowed to variables which leave a dim without any."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import xarray as xr

from gridmill.authoring.template import TemplateConfig
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Coordinate, DataVar, Encoding
from tiny import (
    REGION,
    SHAPE,
    Provider,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    tiny_var,
    truth,
    until,
)

LEVELS = 2
LAYERED = tiny_var(
    "b",
    1,
    dims=("time", "level", "y", "x"),
    encoding=Encoding(chunks=(2, LEVELS, *SHAPE), shards=(REGION, LEVELS, *SHAPE)),
)


class LayeredTemplate(TinyTemplate):
    """One variable on the surface, one on levels, and a coordinate that describes these."""

    coords = (*TinyTemplate.coords, Coordinate(name="level"), Coordinate(name="z", dims=("level",)))
    data_vars = (tiny_var("a"), LAYERED)

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give levels, too."""
        return {**super().dimension_coordinates(), "level": np.arange(float(LEVELS))}

    def derive_coordinates(self, ds: xr.Dataset) -> dict[str, Any]:
        """Give heights."""
        return {"z": ("level", ds.level.values * 10)}


class LayeredJob(TinyJob):
    """Reads the same values for each level."""

    def read_data(self, coord: Any, data_var: DataVar) -> np.ndarray:
        """Read one of the file's arrays."""
        found = super().read_data(coord, data_var)  # type: ignore[arg-type]
        return np.stack([found] * LEVELS) if data_var.name == "b" else found


class KeepsIdleDims(LayeredTemplate):
    """As gridmill 0.1.0 made archives."""

    def narrowed(self, **options: Any) -> Self:
        """Keep all coordinates."""
        twin = super().narrowed(**options)
        twin.idle_dims = frozenset()
        return twin


@pytest.fixture(params=["a.zarr", "a.icechunk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    """Where an archive may be, and its provider."""
    Provider(tmp_path / "provider").publish(hours(2 * REGION))
    return tmp_path / request.param, str(tmp_path / "provider")


def layered(
    place: tuple[Path, str], template: type[TemplateConfig] = LayeredTemplate
) -> DynamicalDataset:
    """Give the dataset there."""
    url, provider = place
    return dataset_of(template=template, job=LayeredJob)(url, source_base=provider)


def names_in(dataset: DynamicalDataset) -> set[str]:
    """Name what readers see, and check its values."""
    with dataset.store.open_dataset() as ds:
        length = ds.sizes["time"]
        np.testing.assert_array_equal(ds["a"].values, truth(hours(length)))
        return {str(name) for name in ds.variables}


def test_a_new_archive_has_no_coordinate_of_levels_that_no_variable_has(
    place: tuple[Path, str], client: Any
) -> None:
    """Neither the levels nor what describes them; updates and `validate` have nothing to say."""
    dataset = layered(place)
    report = dataset.backfill(until(REGION), variables=["a"], client=client)
    assert report.succeeded
    assert names_in(dataset) == {"time", "y", "x", "a"}
    report = layered(place).backfill(until(2 * REGION), client=client)
    assert report.succeeded
    assert not [note for note in report.notes if "level" in note or "z" in note.split()]
    assert names_in(dataset) == {"time", "y", "x", "a"}
    assert dataset.validate(now=until(2 * REGION)).succeeded


def test_an_archive_that_has_it_goes_on_with_it(place: tuple[Path, str], client: Any) -> None:
    """It was made so, and stays so."""
    layered(place, KeepsIdleDims).backfill(until(REGION), variables=["a"], client=client)
    dataset = layered(place)
    assert names_in(dataset) == {"time", "y", "x", "a", "level", "z"}
    assert dataset.backfill(until(2 * REGION), client=client).succeeded
    assert names_in(dataset) == {"time", "y", "x", "a", "level", "z"}


def test_all_variables_have_all_coordinates(place: tuple[Path, str], client: Any) -> None:
    """Where nothing is left out, nothing is dropped."""
    dataset = layered(place)
    dataset.backfill(until(REGION), client=client)
    assert names_in(dataset) == {"time", "y", "x", "a", "b", "level", "z"}
