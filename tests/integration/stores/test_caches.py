"""What caches are told of an archive's objects, and what readers behind one see."""

from __future__ import annotations

import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from gridmill.cli import cli
from gridmill.cli.exit_codes import ExitCode
from gridmill.dataset import DynamicalDataset
from gridmill.model.variables import Encoding
from gridmill.operations.objects.headers import relabel
from gridmill.stores.headers import Headers
from gridmill.stores.objects.s3.objects import S3Objects
from gridmill.stores.opening import open_store
from gridmill.stores.state.leases import Lease, LeaseHeld
from gridmill.testing import S3Server
from nginx import cache_in_front_of, nginx_missing
from quirky_s3 import QuirkyS3, as_aws, as_ceph, ignores
from tiny import REGION, SHAPE, Provider, TinyJob, TinyTemplate, dataset_of, hours, tiny_var, until

# As archives have it that were made before anything was said to caches.
SILENT = {"metadata": "", "coordinates": "", "data": ""}
BOOL = Encoding(chunks=(2, *SHAPE), shards=(REGION, *SHAPE), dtype="bool")


class Template(TinyTemplate):
    """A variable with NaN, and one that has nothing for missing."""

    data_vars = (tiny_var("a", 0), tiny_var("wet", 1, encoding=BOOL))


class Job(TinyJob):
    """Wet everywhere."""

    def read_data(self, coord: Any, data_var: Any) -> np.ndarray:
        """Read the values, or whether there are any."""
        values = super().read_data(coord, data_var)
        return np.isfinite(values) if data_var.name == "wet" else values


Wet = dataset_of(template=Template, job=Job)


@pytest.fixture
def provider(tmp_path: Path) -> Provider:
    """Six hours, which is a shard and a half."""
    provider = Provider(tmp_path / "provider")
    provider.publish(hours(6))
    return provider


@pytest.fixture
def make(s3_server: S3Server, provider: Provider) -> Callable[..., DynamicalDataset]:
    """Give the same archive in a readable bucket, with other options."""
    url = f"s3://public/{uuid.uuid4().hex}/a.zarr"

    def make(**options: Any) -> DynamicalDataset:
        options = {"storage_options": s3_server.storage_options, **options}
        return Wet(url, source_base=str(provider.root), **options)

    return make


def said(dataset: DynamicalDataset, server: S3Server) -> dict[str, tuple[str | None, str]]:
    """Return what each object says, by key: Cache-Control and Content-Type."""
    client, objects = server._client(), dataset.store.objects
    heads = {
        key: client.head_object(Bucket=objects.bucket.name, Key=f"{objects.bucket.root}{key}")
        for key in list(objects.keys())
    }
    return {key: (head.get("CacheControl"), head["ContentType"]) for key, head in heads.items()}


def expected(keys: Collection[str], data: str = "no-cache") -> dict[str, tuple[str, str]]:
    """Return what they say by the default policy, or one with another word for data."""
    kinds = {
        True: ("no-cache", "application/json"),
        False: ("no-cache", "application/octet-stream"),
    }
    of_data = (data, "application/octet-stream")
    return {
        key: of_data if key.startswith(("a/c", "wet/c")) else kinds[key.endswith(".json")]
        for key in keys
    }


# -- what is said ---------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["no-cache", "max-age=300"])
def test_every_object_says_what_caches_may_do(
    data: str, make: Callable[..., DynamicalDataset], s3_server: S3Server
) -> None:
    """By its kind; and what it is: also records, and what an update rewrites."""
    dataset = make(cache_control={"data": data})
    dataset.backfill(until(5), client="none")
    dataset.reformat_operational_update(now=until(6), client="none")
    found = said(dataset, s3_server)
    assert {"zarr.json", "a/zarr.json", "time/c/0", "a/c/1/0/0", "wet/c/0/0/0"} <= set(found)
    assert found == expected(found, data)
    state = S3Objects(f"{dataset.store.url}.gridmill", s3_server.storage_options)
    heads = {key: state.bucket.head(key) for key in list(state.keys())}
    kinds = {key: (head["CacheControl"], head["ContentType"]) for key, head in heads.items()}
    assert kinds["declaration.json"] == ("no-cache", "application/json")
    assert {control for control, _ in kinds.values()} == {"no-cache"}
    assert "text/html; charset=utf-8" in {kind for _, kind in kinds.values()}


def test_what_s3fs_is_told_goes_first(
    make: Callable[..., DynamicalDataset], s3_server: S3Server
) -> None:
    """`s3_additional_kwargs` mean what they meant before there was a policy."""
    kwargs = {"s3_additional_kwargs": {"CacheControl": "max-age=7"}}
    dataset = make(storage_options={**s3_server.storage_options, **kwargs})
    dataset.backfill(until(4), client="none")
    assert {control for control, _ in said(dataset, s3_server).values()} == {"max-age=7"}
    assert relabel(dataset).changed == 0


def test_an_unknown_kind_or_a_wrong_value_is_refused() -> None:
    """Before anything is touched; Icechunk has no such policy."""
    for wrong, named in [
        ({"shards": "no-cache"}, "no kind of object 'shards': give metadata, coordinates, data"),
        ({"data": "a\r\nX: y"}, "cache_control of data is a Cache-Control header"),
        ({"data": 3}, "cache_control of data is a Cache-Control header"),
    ]:
        with pytest.raises(ValueError, match=named):
            open_store("s3://bucket/a.zarr", "tiny", cache_control=wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Icechunk writes its objects itself"):
        open_store("/tmp/a.icechunk", "tiny", cache_control={"data": "no-cache"})


# -- what is there already ------------------------------------------------------------------------


def test_headers_of_existing_objects_are_set_by_a_command(
    make: Callable[..., DynamicalDataset], s3_server: S3Server, provider: Provider
) -> None:
    """A dry run counts, the command sets, and called again finds all right; bytes stay."""
    made = make(cache_control=SILENT)
    made.backfill(until(6), client="none")
    before = {key: made.store.objects.get(key) for key in list(made.store.objects.keys())}
    assert {control for control, _ in said(made, s3_server).values()} == {None}
    options = [f"--store-option={k}={v}" for k, v in s3_server.storage_options.items()]
    options[-1] = '--store-option=client_kwargs={"region_name": "us-east-1"}'
    command = ["headers", "test_caches:Wet", "--store", made.store.url, *options, "--json"]
    command += ["--cache-control", "data=max-age=300"]

    def run(*more: str) -> tuple[int, str]:
        result = CliRunner().invoke(cli, [*command, *more])
        return result.exit_code, result.stdout

    code, shown = run("--dry-run")
    assert code == ExitCode.SUCCESS
    for part in ('"metadata": 6', '"coordinates": 3', '"data": 4', '"right": 0'):
        assert part in shown
    assert {control for control, _ in said(made, s3_server).values()} == {None}
    assert run()[0] == ExitCode.SUCCESS
    found = said(made, s3_server)
    assert found == expected(found, "max-age=300")
    assert {key: made.store.objects.get(key) for key in found} == before
    code, shown = run()
    assert code == ExitCode.NOTHING_NEW
    assert f'"right": {len(found)}' in shown
    assert make().reformat_operational_update(now=until(6), client="none").succeeded


def test_an_interrupted_command_does_the_rest(
    make: Callable[..., DynamicalDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was set before it broke off is right, and is not copied again."""
    make(cache_control=SILENT).backfill(until(6), client="none")
    real, copied = S3Objects._relabel, []

    def few(self: S3Objects, key: str, *rest: Any) -> None:
        if len(copied) == 3:
            raise KeyboardInterrupt
        copied.append(key)
        real(self, key, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(S3Objects, "_relabel", few)
        patched.setattr(S3Objects, "at_once", 1)
        with pytest.raises(KeyboardInterrupt):
            relabel(make())
    done = relabel(make())
    assert done.counts["right"] == 3
    assert done.changed == 10


def test_a_run_keeps_the_command_away(make: Callable[..., DynamicalDataset]) -> None:
    """It holds the lease of everything, as other maintenance does."""
    dataset = make()
    dataset.backfill(until(4), client="none")
    with (
        Lease(dataset.store.state, run="other", kind="update", positions=[(0, 4)]),
        pytest.raises(LeaseHeld),
    ):
        relabel(dataset)


@pytest.mark.parametrize("conditions", [as_aws, as_ceph, ignores])
def test_a_copy_never_replaces_what_came_meanwhile(conditions: Any) -> None:
    """What was put after the look stays, and has headers of its own."""
    with QuirkyS3(conditions) as server:
        silent = S3Objects("s3://b/a", server.storage_options, headers=Headers("", ""))
        objects = S3Objects("s3://b/a", server.storage_options)
        silent.put("a/c/0", b"old")
        change = objects.relabel("a/c/0")
        assert change is not None
        change(lambda: objects.put("a/c/0", b"new"))
        assert objects.get("a/c/0") == b"new"
        assert objects.relabel("a/c/0") is None
        again = objects.relabel("a/c/1")
        assert again is None


def test_other_file_systems_say_how_it_is_done() -> None:
    """A file system in memory has no headers; Google's and Azure's are set by their own tools."""
    memory = open_store(f"memory://{uuid.uuid4().hex}/a.zarr", "tiny")
    memory.objects.put("zarr.json", b"{}")
    assert memory.relabel(()) == {"metadata": 0, "coordinates": 0, "data": 0, "right": 1}
    with pytest.raises(ValueError, match="is in format icechunk"):
        open_store("/tmp/a.icechunk", "tiny").relabel(())


# -- what readers see -----------------------------------------------------------------------------


@pytest.fixture
def cache(s3_server: S3Server) -> Iterator[str]:
    """A cache that keeps for an hour what nobody forbids."""
    if missing := nginx_missing():
        pytest.skip(missing)
    with cache_in_front_of(s3_server.endpoint_url) as url:
        yield url


def fetch(url: str) -> int:
    """Ask for an object as a reader does; the status."""
    try:
        with urllib.request.urlopen(url) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


# What a reader asked for before, through the cache, and what is wrong then for who asks after an
# update from 6 to 10 hours: by a cache that was told nothing, and by one that was told.
ROWS = {
    "nothing": ([], {}, {}),
    "the root": (["zarr.json"], {"length": 6}, {}),
    "times": (["time/c/0"], {"time": "NaT"}, {}),
    "a shard that is filled": (
        ["a/c/1/0/0", "wet/c/1/0/0"],
        {"a": "missing", "wet": "missing"},
        {},
    ),
    "all": (
        ["zarr.json", "time/c/0", "a/c/0/0/0", "a/c/1/0/0", "wet/c/1/0/0"],
        {"length": 6},
        {},
    ),
    "that a shard is absent": (["a/c/2/0/0"], {"a": "missing"}, {"a": "missing"}),
}


def wrong(dataset: DynamicalDataset, cache: str) -> dict[str, Any]:
    """Open an archive through a cache, and say in what it differs from what is published."""
    true = dataset.store.open_dataset().load()
    try:
        ds = xr.open_zarr(dataset.store.url.replace("s3://", f"{cache}/"))
    except (ValueError, OverflowError):
        return {"time": "error"}
    found: dict[str, Any] = {}
    if ds.sizes["time"] != true.sizes["time"]:
        found["length"] = ds.sizes["time"]
        true = true.isel(time=slice(ds.sizes["time"]))
    if not ds.get_index("time").equals(true.get_index("time")):
        found["time"] = "NaT" if ds.get_index("time").isna().any() else "wrong"
    for name, missing in (("a", np.isnan), ("wet", np.logical_not)):
        values = ds[name].values
        differs = values != true[name].values
        if differs.any():
            found[name] = "missing" if missing(values[differs]).all() else "wrong"
    return found


@pytest.mark.parametrize("row", list(ROWS))
@pytest.mark.parametrize("is_told", [False, True], ids=["silent", "told"])
def test_a_reader_behind_a_cache_sees_what_is_missing_and_nothing_wrong(
    row: str,
    is_told: bool,
    make: Callable[..., DynamicalDataset],
    provider: Provider,
    cache: str,
) -> None:
    """A stale mix shows a missing value or an error; with the headers only absences stay."""
    dataset = make(cache_control=None if is_told else SILENT)
    dataset.backfill(until(6), client="none")
    asked, silent, told = ROWS[row]
    folder = dataset.store.url.replace("s3://", f"{cache}/")
    statuses = {key: fetch(f"{folder}/{key}") for key in asked}
    assert set(statuses.values()) <= {200, 404}
    provider.publish(hours(10))
    dataset.reformat_operational_update(now=until(10), client="none")
    assert wrong(dataset, cache) == (told if is_told else silent)
