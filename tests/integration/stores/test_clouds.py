"""Google Cloud Storage and Azure: the contracts, conditions, and what their failures say.

Azure is Azurite; Google Cloud Storage is a server of ours that plays what its XML API documents.
The real services are not asked.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from azurite import KEY, Azurite, azurite_script
from gcs_server import GcsServer
from gridmill.stores.final_store import FinalStore
from gridmill.stores.headers import Headers
from gridmill.stores.objects.clouds import bucket, cloud_objects, requests
from gridmill.stores.objects.clouds.cloud_objects import CloudObjects
from gridmill.stores.objects.opening import open_objects
from gridmill.stores.objects.patience import Patience
from gridmill.stores.objects.protocol import Objects
from gridmill.stores.opening import open_store
from gridmill.testing import FaultProxy, ObjectsContract, Reset, Status, StoreContract

PATIENCE = Patience(attempts=4, wait_initial_s=0.01, wait_max_s=0.05)
needs_azurite = pytest.mark.skipif(
    azurite_script() is None,
    reason="no Azurite: npm install azurite, and GRIDMILL_AZURITE names it",
)


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    """Azure's emulator."""
    with Azurite() as server:
        yield server


@pytest.fixture(scope="module")
def gcs() -> Iterator[GcsServer]:
    """Google Cloud Storage, as documented."""
    with GcsServer() as server:
        yield server


@pytest.fixture
def fresh(gcs: GcsServer) -> Iterator[GcsServer]:
    """The same, with nothing known of it and nothing asked of it yet."""
    requests._connections.clear()
    gcs.requests.clear()
    yield gcs
    gcs.lost_answers = gcs.damages = 0
    gcs.other_tag = None
    gcs.refused.clear()


def place() -> str:
    """Return a folder where nothing is."""
    return uuid.uuid4().hex


class OnGcs:
    """What runs on Google Cloud Storage."""

    secrets = (GcsServer.token,)

    @pytest.fixture(autouse=True)
    def _server(self, gcs: GcsServer) -> None:
        self.server = gcs


@needs_azurite
class OnAzure:
    """What runs on Azure."""

    secrets = (KEY,)

    @pytest.fixture(autouse=True)
    def _server(self, azurite: Azurite) -> None:
        self.server = azurite


class TestGcsObjects(OnGcs, ObjectsContract):
    """The contract of objects."""

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give objects below a prefix."""
        return open_objects(f"gs://bucket/{place()}", storage_options=self.server.storage_options)


class TestAzureObjects(OnAzure, ObjectsContract):
    """The contract of objects."""

    def make_objects(self, tmp_path: Path) -> Objects:
        """Give objects below a prefix."""
        url = f"abfs://container/{place()}"
        return open_objects(url, storage_options=self.server.storage_options)


class TestGcsZarr(OnGcs, StoreContract):
    """The contract of final stores, of plain Zarr."""

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a store below a prefix."""
        options = self.server.storage_options
        return open_store(f"gs://bucket/{place()}/a.zarr", "contract", storage_options=options)


class TestAzureZarr(OnAzure, StoreContract):
    """The contract of final stores, of plain Zarr."""

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a store below a prefix."""
        options = self.server.storage_options
        return open_store(f"az://container/{place()}/a.zarr", "contract", storage_options=options)


class TestGcsIcechunk(OnGcs, StoreContract):
    """The contract of final stores, of Icechunk through its own storage."""

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a repository below a prefix."""
        options = self.server.storage_options
        return open_store(f"gs://bucket/{place()}/a.icechunk", "contract", storage_options=options)


class TestAzureIcechunk(OnAzure, StoreContract):
    """The contract of final stores, of Icechunk through its own storage."""

    def make_store(self, tmp_path: Path) -> FinalStore:
        """Give a repository below a prefix."""
        options = self.server.storage_options
        url = f"abfs://container/{place()}/a.icechunk"
        return open_store(url, "contract", storage_options=options)


def on_gcs(server: GcsServer, url: str | None = None) -> CloudObjects:
    """Return objects with little patience."""
    options = {**server.storage_options, **({} if url is None else {"base_url": url})}
    return CloudObjects(f"gs://bucket/{place()}", options, patience=PATIENCE)


# -- conditions ---------------------------------------------------------------------------------


@pytest.fixture(params=["gcs", pytest.param("azure", marks=needs_azurite)])
def objects(request: pytest.FixtureRequest) -> CloudObjects:
    """Objects in either cloud."""
    server = request.getfixturevalue("gcs" if request.param == "gcs" else "azurite")
    url = f"gs://bucket/{place()}" if request.param == "gcs" else f"az://container/{place()}"
    return CloudObjects(url, server.storage_options, patience=PATIENCE)


def test_a_process_that_stood_still_undoes_nothing(objects: CloudObjects) -> None:
    """What another one put after the look and the check stays, and is checked against again."""
    objects.put("key", b"first")
    seen = []

    def check() -> None:
        if not seen:
            objects.put("key", b"newer")
        seen.append(objects.get("key"))
        if len(seen) > 1:
            raise PermissionError("taken over")

    for change in (objects.change("key", b"late"), None):
        seen.clear()
        with pytest.raises(PermissionError, match="taken over"):
            change(check) if change else objects.overwrite("key", b"late", check)
        assert objects.get("key") == b"newer"


def test_a_condition_that_never_holds_ends(objects: CloudObjects) -> None:
    """Somebody who writes all the time ends in an error that names the object, not in a loop."""
    numbers = iter(range(100))
    with pytest.raises(OSError, match="key was not put: the store refused") as refused:
        objects.overwrite("key", b"late", lambda: objects.put("key", b"%d" % next(numbers)))
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


def test_large_objects_go_in_parts(objects: CloudObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    """They arrive whole, whichever call puts them."""
    monkeypatch.setattr(cloud_objects, "MULTIPART_FROM_NBYTES", 1 << 20)
    monkeypatch.setattr(bucket, "PART_NBYTES", 5 << 20)
    content = bytes(range(256)) * (46 << 10)
    objects.put("put", content)
    objects.overwrite("over", content, lambda: None)
    assert objects.get("put") == objects.get("over") == content


def test_headers_are_given_and_changed_in_place(objects: CloudObjects) -> None:
    """New objects have theirs; those that have others get them, on condition, and stay the same."""
    objects.put("a/zarr.json", b"{}")
    assert objects.relabel("a/zarr.json") is None
    assert objects.relabel("nothing") is None
    other = CloudObjects(objects.url, objects.storage_options, headers=Headers("max-age=9"))
    change = other.relabel("a/zarr.json")
    assert change is not None
    change(lambda: None)
    assert other.relabel("a/zarr.json") is None
    assert objects.relabel("a/zarr.json") is not None
    assert objects.get("a/zarr.json") == b"{}"


# -- failures -------------------------------------------------------------------------------------


def test_an_answer_that_got_lost_is_no_rival(fresh: GcsServer) -> None:
    """Whoever was the first is told so, though the second attempt met its own object."""
    objects = on_gcs(fresh)
    fresh.lost_answers = 1
    assert objects.put_if_absent("key", b"mine")
    fresh.lost_answers = 1
    objects.overwrite("key", b"mine again", lambda: None)
    assert objects.get("key") == b"mine again"


@pytest.mark.parametrize("fault", [Status(status=503), Status(status=429), Reset()])
def test_refusals_are_outlived_and_bounded(fresh: GcsServer, fault: Status | Reset) -> None:
    """A burst delays; what does not end is an error of one line that says where."""
    with FaultProxy(fresh.url) as proxy:
        objects = on_gcs(fresh, proxy.url)
        proxy.inject("*/key", fault, method="PUT", times=2)
        objects.put("key", b"content")
        assert objects.get("key") == b"content"
        proxy.inject("*/other", fault, method="PUT", times=1000)
        with pytest.raises(OSError, match=r"127\.0\.0\.1") as failed:
            objects.put("other", b"content")
    assert "\n" not in str(failed.value)
    assert str(pickle.loads(pickle.dumps(failed.value))) == str(failed.value)


def test_what_was_damaged_on_its_way_is_put_again(fresh: GcsServer) -> None:
    """By the MD5 that the service computed, also where a condition was to hold."""
    objects = on_gcs(fresh)
    for put in (objects.put, objects.put_if_absent):
        fresh.damages = 1
        put(f"key-{put.__name__}", b"content")
        assert objects.get(f"key-{put.__name__}") == b"content"


def test_tags_that_are_no_checksums_are_found_out_once(fresh: GcsServer) -> None:
    """With a customer's key an ETag is none: one object is read back, and none after it."""
    objects = on_gcs(fresh)
    fresh.other_tag = f'"{"0" * 32}"'
    for number in range(3):
        objects.put(f"key-{number}", b"content")
    assert [method for method, _, _ in fresh.requests].count("GET") == 1


def test_refusals_say_what_to_do(fresh: GcsServer) -> None:
    """Wrong credentials and a missing bucket are told apart from a missing key."""
    wrong = CloudObjects("gs://bucket/a", {**fresh.storage_options, "bearer_token": "wrong"})
    with pytest.raises(PermissionError, match="may not do that in bucket"):
        wrong.put("key", b"x")
    nowhere = CloudObjects("gs://nowhere/a", fresh.storage_options)
    for ask in (lambda: nowhere.put("key", b"x"), lambda: nowhere.get("key")):
        with pytest.raises(OSError, match="there is no bucket or container nowhere"):
            ask()
    assert on_gcs(fresh).get("key") is None


MISSING = [
    ("GET", lambda o: o.get("key"), "objects.get, and storage.objects.list where", "blobs/read"),
    ("HEAD", lambda o: o.nbytes("key"), "objects.get, and storage.objects.list", "blobs/read"),
    ("PUT", lambda o: o.put("key", b"x"), "objects.create, and storage.objects.delete", "write"),
    ("DELETE", lambda o: o.delete("key"), "storage.objects.delete", "blobs/delete"),
    ("list", lambda o: list(o.keys()), "storage.objects.list", "blobs/read for the container"),
    ("list", lambda o: o.folders(), "storage.objects.list", "blobs/read for the container"),
]


@pytest.mark.parametrize("cloud", ["gcs", "azure"])
@pytest.mark.parametrize(("asked", "call", "of_gcs", "of_azure"), MISSING)
def test_an_error_names_the_missing_permission(
    asked: str,
    call: Callable[[CloudObjects], object],
    of_gcs: str,
    of_azure: str,
    cloud: str,
    fresh: GcsServer,
) -> None:
    """And the request that needs it, a listing's too; wrong credentials need no permission."""
    fresh.refused.add(asked)
    azure = {"account_name": "a", "account_key": KEY, "endpoint": f"{fresh.url}/a"}
    objects = on_gcs(fresh)
    if cloud == "azure":
        objects = CloudObjects("az://container/a", azure, patience=PATIENCE)
    wanted = of_gcs if cloud == "gcs" else of_azure
    told = rf"may not do that in .*: (?i:{asked}) needs .*{wanted}"
    with pytest.raises(PermissionError, match=told):
        call(objects)
    fresh.refused.clear()
    wrong = CloudObjects("gs://bucket/a", {**fresh.storage_options, "bearer_token": "wrong"})
    with pytest.raises(PermissionError, match=r"may not do that in [^ ]+ at [^ ]+$"):
        call(wrong)


@needs_azurite
def test_azure_says_what_to_do(azurite: Azurite) -> None:
    """The same of Azure; a container that is missing is no empty place."""
    nowhere = CloudObjects("az://nowhere/a", azurite.storage_options)
    for ask in (lambda: nowhere.put("key", b"x"), lambda: nowhere.get("key")):
        with pytest.raises(OSError, match="there is no bucket or container nowhere"):
            ask()
    options = {**azurite.options_through(azurite.url), "account_key": KEY[:-4] + "AA=="}
    with pytest.raises(PermissionError, match="may not do that in container"):
        CloudObjects("az://container/a", options).put("key", b"x")


# -- connections ----------------------------------------------------------------------------------


def test_one_client_serves_a_process(fresh: GcsServer) -> None:
    """A store, its records and whatever is unpickled of them share it."""
    store = open_store("gs://bucket/a.zarr", "x", storage_options=fresh.storage_options)
    for one in (store, pickle.loads(pickle.dumps(store))):
        one.metadata()
        one.progress()
    assert len(requests._connections) == 1
