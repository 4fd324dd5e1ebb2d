"""Sharded archives where nobody can ask for the last bytes of an object, as with adlfs."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
from fsspec.implementations.memory import MemoryFileSystem

from azurite import Azurite, azurite_script
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Encoding
from gridmill.operations.catalogue.opening import Way
from gridmill.stores.final_store import FinalStore
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.opening import open_store
from gridmill.testing import ObjectsContract, StoreContract
from gridmill.validation import validate
from tiny import REGION, SHAPE, Provider, TinyTemplate, dataset_of, hours, tiny_var, truth, until

CONTAINER = Azurite.container


class Forward(MemoryFileSystem):
    """A file system in memory that serves no range from an object's end."""

    protocol = "forward"
    store: dict[str, Any] = {}
    pseudo_dirs = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("forward://", "memory://"))

    def cat_file(self, path: str, start: Any = None, end: Any = None, **kwargs: Any) -> bytes:
        """Read a part that begins where it is said."""
        if start is not None and start < 0:
            raise ValueError("Invalid range")
        return super().cat_file(path, start, end, **kwargs)


fsspec.register_implementation("forward", Forward, clobber=True)


def sharded(location: str) -> type[DynamicalDataset]:
    """Give a dataset whose shards have their index there."""
    encoding = Encoding(chunks=(2, *SHAPE), shards=(REGION, *SHAPE), index_location=location)
    variables = tuple(tiny_var(name, n, encoding=encoding) for n, name in enumerate("ab"))
    return dataset_of(template=type("Located", (TinyTemplate,), {"data_vars": variables}))


@pytest.fixture(scope="module")
def blobs() -> Iterator[dict[str, Any]]:
    """Azure's blobs, as adlfs reaches them."""
    if azurite_script() is None:
        pytest.skip("no Azurite: npm install azurite, and GRIDMILL_AZURITE names it")
    with Azurite() as server:
        yield server.storage_options


@pytest.fixture(params=["forward", "abfs"])
def place(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Give an address of a file system without suffix ranges, and its options."""
    folder = f"{uuid.uuid4().hex}/a.zarr"
    if request.param == "forward":
        return f"forward://{folder}", {}
    return f"abfs://{CONTAINER}/{folder}", request.getfixturevalue("blobs")


@pytest.mark.parametrize("location", ["end", "start"])
def test_a_sharded_archive_grows_is_merged_and_validated(
    location: str, place: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    """A shard that is filled by two updates, one made again, and every check pass."""
    url, options = place
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(6))
    made = {"source_base": str(provider.root), "storage_options": options}
    dataset = sharded(location)(url, **made)
    assert dataset.backfill(until(6), client="none").succeeded
    provider.publish(hours(7))
    assert dataset.reformat_operational_update(now=until(7), client="none").succeeded
    assert dataset.backfill(until(7), start=until(4), redo=True, client="none").succeeded
    ds = dataset.store.open_dataset()
    for name in "ab":
        np.testing.assert_array_equal(ds[name].values, truth(hours(7), name))
    found = validate(dataset, now=until(7))
    assert not [finding for finding in found.findings if finding.severity == "error"], found


@pytest.mark.parametrize("location", ["end", "start"])
def test_readers_open_what_has_its_index_first(
    location: str, place: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    """xarray over the file system itself reads the one, and fails at the other."""
    url, options = place
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(6))
    made = {"source_base": str(provider.root), "storage_options": options}
    sharded(location)(url, **made).backfill(until(6), client="none")

    def read() -> np.ndarray:
        return xr.open_zarr(url, storage_options=options)["a"].values

    if location == "start":
        np.testing.assert_array_equal(read(), truth(hours(6), "a"))
    else:
        with pytest.raises(Exception, match=r"(?i)invalid|range|negative|offset"):
            read()


@pytest.mark.skipif(azurite_script() is None, reason="no Azurite: GRIDMILL_AZURITE names it")
@pytest.mark.parametrize("kind", ["zarr", "icechunk"])
def test_what_a_catalogue_says_opens_an_archive_on_azure(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards with their index at the end, too; who may read is found in the environment."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(6))
    with Azurite() as server:
        reached = server.options_through(server.url)
        url = f"az://{CONTAINER}/{uuid.uuid4().hex}/a.{kind}"
        made = sharded("end")(url, source_base=str(provider.root), storage_options=reached)
        made.backfill(until(6), client="none")
        way = Way(kind, url, kind, {"account_name": reached["account_name"]})
        for name in ("account_key", "endpoint"):
            monkeypatch.setenv(f"AZURE_STORAGE_{name.upper()}", reached[name])
        monkeypatch.setenv("AZURE_ALLOW_HTTP", "true")
        found: dict[str, Any] = {}
        exec(way.python, found)
        np.testing.assert_array_equal(found["ds"]["a"].values, truth(hours(6), "a"))


def test_an_archive_keeps_the_place_of_its_index(tmp_path: Path) -> None:
    """A changed default in the code is named, and the archive goes on as it was made."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(8))
    options = {"store": tmp_path / "a.zarr", "source_base": str(provider.root)}
    sharded("end")(**options).backfill(until(6), client="none")
    now = sharded("start")(**options)
    report = now.reformat_operational_update(now=until(8), client="none")
    assert report.succeeded
    assert any("index_location" in note for note in report.notes)
    codec = (now.store.metadata() or {})["consolidated_metadata"]["metadata"]["a"]["codecs"][0]
    assert codec["configuration"]["index_location"] == "end"
    np.testing.assert_array_equal(now.store.open_dataset()["a"].values, truth(hours(8), "a"))


def test_a_place_for_an_index_that_there_is_none_is_refused() -> None:
    """By name."""
    with pytest.raises(ValueError, match="index_location 'middle' is neither 'end' nor 'start'"):
        Encoding(chunks=(1,), shards=(2,), index_location="middle")


class TestForwardObjects(ObjectsContract):
    """Objects without ranges from their end."""

    puts_if_absent_atomically = False

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a folder."""
        return open_objects(f"forward://{uuid.uuid4().hex}/objects")

    def test_instances_are_small_and_work_in_another_process(self, tmp_path: Path) -> None:
        """Another process knows nothing of this file system."""


class TestAzureObjects(ObjectsContract):
    """A container of Azure's emulator."""

    @pytest.fixture(autouse=True)
    def _blobs(self, blobs: dict[str, Any]) -> None:
        self.options = blobs

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give a folder in the container."""
        url = f"abfs://{CONTAINER}/{uuid.uuid4().hex}"
        return open_objects(url, storage_options=self.options)

    def test_objects_say_what_caches_may_do(self, tmp_path: Path) -> None:
        """By their properties."""
        from azure.storage.blob import BlobServiceClient

        self.make_objects(tmp_path).put("zarr.json", b"{}")
        with BlobServiceClient.from_connection_string(self.options["connection_string"]) as service:
            blobs = service.get_container_client(CONTAINER).list_blobs()
            said = [b.content_settings for b in blobs if b.name.endswith("zarr.json")]
        assert {(s.cache_control, s.content_type) for s in said} == {
            ("no-cache", "application/json")
        }


class TestAzureZarr(StoreContract):
    """Plain Zarr in a container."""

    @pytest.fixture(autouse=True)
    def _blobs(self, blobs: dict[str, Any]) -> None:
        self.options = blobs

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a store in the container."""
        url = f"abfs://{CONTAINER}/{uuid.uuid4().hex}"
        return open_store(url, "contract", storage_options=self.options)
