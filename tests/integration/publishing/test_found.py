"""What archives say of when and where they have data is true with each publication."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gridmill.authoring.cf import GRID_MAPPING, TIME
from gridmill.authoring.grids import RegionalGrid
from gridmill.operations.migrate import migrate_metadata
from gridmill.operations.restore import restore_metadata
from gridmill.operations.truncate import truncate
from gridmill.stores.structure import CURRENT
from gridmill.validation import CoordinatesAsDeclared, MetadataAsDeclared, ReplicasEqual
from tiny import (
    Provider,
    Tiny,
    TinyJob,
    TinyTemplate,
    dataset_of,
    hours,
    snapshot,
    truth,
    until,
)

FORMATS = ["zarr", "icechunk"]
GRID = RegionalGrid(first_latitude=50.0, first_longitude=5.0, step_degrees=0.5, shape=(2, 3))
ABOUT = {
    "dataset_id": "tiny",
    "title": "Tiny",
    "summary": "Small.",
    "keywords": "small",
    "source": "a test",
    "doi": "10.1234/tiny",
    "Conventions": "CF-1.11, ACDD-1.3",
}


class FoundTemplate(TinyTemplate):
    """Says where it is, and keeps ACDD."""

    dims = ("time", "latitude", "longitude")
    dataset_attributes = ABOUT
    coords = (TIME, *GRID.coords)
    data_vars = tuple(replace(var, dims=()) for var in TinyTemplate.data_vars)

    def dimension_coordinates(self) -> dict[str, Any]:
        """Give the grid's."""
        return dict(GRID.labels())

    def derive_coordinates(self, ds: Any) -> dict[str, Any]:
        """Give the grid mapping."""
        return GRID.auxiliary()


class SilentTemplate(FoundTemplate):
    """The same, as it was before it kept ACDD."""

    dataset_attributes = {**ABOUT, "Conventions": "CF-1.11"}


Found, Silent = dataset_of(template=FoundTemplate), dataset_of(template=SilentTemplate)


@pytest.fixture
def provider(tmp_path) -> Provider:
    """A provider with eight files."""
    provider = Provider(tmp_path / "source")
    provider.publish(hours(8))
    return provider


def make(tmp_path, kind: type = Found, **options: Any) -> Any:
    return kind(tmp_path / "a", source_base=str(tmp_path / "source"), **options)


def coverage(store: Any) -> tuple[str | None, ...]:
    return tuple(store.metadata()["attributes"].get(key) for key in CURRENT)


def covered(n: int) -> tuple[str, str, str]:
    """Return what an archive of `n` hours says."""
    length = f"PT{n - 1}H" if n > 1 else "PT0S"
    return "2020-01-01T00:00:00Z", f"2020-01-01T{n - 1:02d}:00:00Z", length


def found(dataset: Any, n: int) -> list[str]:
    checks = [MetadataAsDeclared(), CoordinatesAsDeclared(), ReplicasEqual()]
    return [finding.message for finding in dataset.validate(checks, now=until(n)).findings]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("other", FORMATS)
def test_the_coverage_is_what_readers_see(client, provider, tmp_path, kind, other):
    """After a backfill, an update, and a truncation; of the archive and of a replica."""
    source = str(tmp_path / "source")
    dataset = Found(tmp_path / f"a.{kind}", source_base=source, replicas=[tmp_path / f"b.{other}"])
    (replica,) = dataset.replicas
    done = dataset.backfill(until(8), client=client)
    assert [one.failure for one in done.replicas] == [None]
    assert coverage(dataset.store) == coverage(replica) == covered(8)
    assert found(dataset, 8) == []
    provider.publish(hours(3, 8))
    grown = dataset.reformat_operational_update(now=until(11), client=client)
    assert (grown.positions_after, grown.regions_done) == (11, 1)
    assert coverage(dataset.store) == coverage(replica) == covered(11)
    truncate(dataset, until(5), now=until(11))
    assert coverage(dataset.store) == coverage(replica) == covered(5)
    assert found(dataset, 11) == []
    truncate(dataset, until(0), now=until(11))
    assert coverage(dataset.store) == (None, None, None)


def test_where_it_is_and_what_is_declared_stands_beside_it(client, provider, tmp_path):
    """The grid's extent and reference system, an id, and whatever the author says."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client=client)
    root = dataset.store.metadata()
    about = root["attributes"]
    assert about["doi"] == "10.1234/tiny"
    assert about["history"].endswith("a test")
    assert about["time_coverage_resolution"] == "PT1H"
    ends = [about[f"geospatial_{end}"] for end in ("lat_min", "lat_max", "lon_min", "lon_max")]
    assert ends == [50.0, 50.5, 5.0, 6.0]
    assert about["spatial:bbox"] == [4.75, 49.75, 6.25, 50.75]
    mapping = root["consolidated_metadata"]["metadata"][GRID_MAPPING]["attributes"]
    assert about["proj:wkt2"] == mapping["crs_wkt"]
    # The group's own object says the same as what is consolidated in it.
    assert json.loads((tmp_path / "a" / "zarr.json").read_bytes())["attributes"] == about


def test_what_only_tells_the_coverage_decides_nothing(client, provider, tmp_path):
    """A run that finds nothing to do writes nothing; one that reads it wrong makes nothing anew."""
    dataset = make(tmp_path)
    dataset.backfill(until(8), client=client)
    before = snapshot(tmp_path / "a")
    again = make(tmp_path).backfill(until(8), client=client)
    assert (again.regions_skipped, again.regions_done) == (2, 0)
    assert snapshot(tmp_path / "a") == before
    path = tmp_path / "a" / "zarr.json"
    path.write_text(path.read_text().replace("2020-01-01T07:00:00Z", "2020-01-01T09:00:00Z"))
    wrong = found(make(tmp_path), 8)
    (message,) = wrong
    assert "time_coverage_end is 2020-01-01T09:00:00Z, not 2020-01-01T07:00:00Z" in message
    assert make(tmp_path).backfill(until(8), client=client).regions_done == 0
    restore_metadata(make(tmp_path), who="operator", now=until(8))
    assert snapshot(tmp_path / "a") == before


def test_the_same_inputs_give_the_same_root(client, provider, tmp_path):
    """Also where one archive grew a region at a time, and the other was made at once."""
    make(tmp_path).backfill(until(4), client=client)
    make(tmp_path).backfill(until(8), client=client)
    once = Found(tmp_path / "b", source_base=str(tmp_path / "source"))
    once.backfill(until(8), client=client)
    assert snapshot(tmp_path / "a") == snapshot(tmp_path / "b")


@pytest.mark.parametrize("kind", FORMATS)
def test_an_archive_goes_on_as_it_was_made_until_it_is_migrated(client, provider, tmp_path, kind):
    """It says nothing new by itself, and all of it after the command; nothing is made again."""
    make(tmp_path, Silent, format=kind).backfill(until(4), client=client)
    dataset = make(tmp_path, format=kind)
    grown = dataset.backfill(until(8), client=client)
    assert (grown.regions_skipped, grown.regions_done) == (1, 1)
    assert coverage(dataset.store) == (None, None, None)
    assert "geospatial_lat_min" not in dataset.store.metadata()["attributes"]
    migrate_metadata(dataset, who="operator", now=until(8))
    assert coverage(dataset.store) == covered(8)
    assert dataset.store.metadata()["attributes"]["geospatial_lat_min"] == 50.0
    assert found(dataset, 8) == []
    assert migrate_metadata(make(tmp_path, format=kind), who="o", now=until(8)).notes == []
    provider.publish(hours(4, 8))
    grown = make(tmp_path, format=kind).backfill(until(12), client=client)
    assert (grown.regions_skipped, grown.regions_done, grown.notes) == (2, 1, [])
    assert coverage(dataset.store) == covered(12)
    np.testing.assert_array_equal(dataset.store.open_dataset()["a"].values, truth(hours(12)))


def test_what_was_derived_otherwise_stops_no_update(client, provider, tmp_path, monkeypatch):
    """A later release that derives more, or in another way, goes on with what the archive says."""
    make(tmp_path).backfill(until(4), client=client)
    before = make(tmp_path).store.metadata()["attributes"]
    name = "gridmill.authoring.template.derived_attributes"
    monkeypatch.setattr(name, lambda config, ds: {"id": "other", "cdm_data_type": "Point"})
    grown = make(tmp_path).backfill(until(8), client=client)
    assert (grown.positions_after, grown.regions_skipped) == (8, 1)
    after = make(tmp_path).store.metadata()["attributes"]
    assert {**after, **dict(zip(CURRENT, covered(4), strict=True))} == before


def test_what_an_author_declares_of_the_coverage_stays(client, provider, tmp_path):
    """It is no business of a publication then."""

    class Declared(FoundTemplate):
        dataset_attributes = {**ABOUT, "time_coverage_end": "2020-02-01T00:00:00Z"}

    dataset = make(tmp_path, dataset_of(template=Declared))
    dataset.backfill(until(8), client=client)
    assert coverage(dataset.store) == (covered(8)[0], "2020-02-01T00:00:00Z", covered(8)[2])
    assert found(dataset, 8) == []


def test_an_archive_that_does_not_keep_acdd_says_none_of_it(client, provider, tmp_path):
    """Its metadata have no byte that they did not have."""
    dataset = make(tmp_path, Tiny)
    dataset.backfill(until(8), client=client)
    assert dataset.store.metadata()["attributes"] == {"dataset_id": "tiny", "title": "Tiny"}


def test_an_archive_says_its_declared_version_until_its_metadata_are_migrated(provider, tmp_path):
    """A raised version is the next archive's; this one was made under the one that it says."""
    newer = type("Newer", (TinyJob,), {"version": 2})
    Raised = dataset_of(template=FoundTemplate, job=newer)  # noqa: N806

    def said(kind: Any, name: str = "a") -> Any:
        dataset = kind(tmp_path / name, source_base=str(provider.root))
        dataset.backfill(until(8), client="none")
        return dataset.store.open_dataset(chunks=None).attrs.get("product_version")

    assert said(Found) == "1"
    assert said(Raised) == "1"
    assert said(Raised, "b") == "2"
    assert said(Silent, "c") is None
    migrate_metadata(Raised(tmp_path / "a", source_base=str(provider.root)), who="operator")
    assert said(Raised) == "2"
