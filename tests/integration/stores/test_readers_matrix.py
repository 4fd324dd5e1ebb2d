"""The readers' matrix of the guide: who reads what, from where, in which version; every value.

Each cell is a reader of its own, without gridmill, in one of two lanes: the Python of these tests
with the lowest zarr and Icechunk 1, and Python 3.13 with the newest of each (`make test-icechunk2`
makes it). ``GRIDMILL_MATRIX=FILE`` writes what was run, with versions, as the guide's page has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from azurite import Azurite, azurite_script
from ceph_rgw import CephRgw, ceph_missing
from gcs_server import GcsServer
from generated import DIMS, START, build_archive, times_of, truth
from georeferenced import EPSG, TRANSFORM, ForGdal, Georeferenced
from gridmill.testing import S3Server
from repository import ROOT
from sshd import files_over_ssh, sshd_missing
from web_files import WebFiles
from zarrita import Zarrita, browser_missing, zarrita_missing

PROGRAM = ROOT / "tests" / "support" / "foreign_readers.py"
NEWEST = os.environ.get("GRIDMILL_READERS_PYTHON", str(ROOT / ".venv-313" / "bin" / "python"))
LANES = {"lowest": sys.executable, "newest": NEWEST}
DAYS = 2

BY_ZARR = (
    "xarray, consolidated",
    "xarray, not consolidated",
    "xarray with Dask",
    "zarr-python",
    "zarrs",
)
BUCKETS = ("SeaweedFS", "Ceph RGW")
CELLS = [
    *((r, s, "zarr") for s in ("local", *BUCKETS) for r in (*BY_ZARR, "tensorstore")),
    *((r, s, "zarr") for s in ("Azurite", "SFTP") for r in BY_ZARR),
    # The client of zarrs goes to Google alone.
    *((r, "GCS test server", "zarr") for r in BY_ZARR if r != "zarrs"),
    *((r, "local", "zarr for GDAL") for r in (*BY_ZARR, "tensorstore")),
    *(("icechunk", s, "icechunk") for s in ("local", *BUCKETS)),
]
# Of GDAL from 3.12 on alone, which rasterio's wheels for Python 3.12 and newer have.
GDAL_CELLS = [("rasterio", s, "zarr for GDAL") for s in ("local", *BUCKETS)]
NEEDS = {"zarrs": "zarrs", "tensorstore": "tensorstore", "rasterio": "rasterio"}


def missing_store(store: str) -> str:
    """Say why a store is not there; empty where it is."""
    if store == "Azurite" and azurite_script() is None:
        return "no Azurite: npm install azurite, and GRIDMILL_AZURITE names it"
    return {"Ceph RGW": ceph_missing, "SFTP": sshd_missing}.get(store, lambda: "")()


@cache
def missing_reader(lane: str, package: str) -> str:
    """Say why a lane has no such package; empty where it has."""
    if not Path(LANES[lane]).exists():
        return f"no Python of the newest readers at {LANES[lane]}: make test-icechunk2"
    found = subprocess.run([LANES[lane], "-c", f"import {package}"], capture_output=True)
    return f"{package} is not installed: gridmill[readers]" if found.returncode else ""


def needs(lane: str, reader: str, store: str) -> None:
    """Skip where a cell cannot be run, with the reason."""
    why = missing_reader(lane, NEEDS.get(reader, "xarray")) or missing_store(store)
    if why:
        pytest.skip(why)


@pytest.fixture(scope="module")
def places(
    tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server
) -> Iterator[dict[tuple[str, str], dict[str, Any]]]:
    """The same archive in every store and format, by both."""
    folder = tmp_path_factory.mktemp("matrix")
    s3 = s3_server.storage_options
    with ExitStack() as stack:
        run = uuid.uuid4().hex
        stores = {"SeaweedFS": (f"s3://public/{run}", s3, s3)}
        if not missing_store("Ceph RGW"):
            ceph = stack.enter_context(CephRgw())
            own = ceph.storage_options
            stores["Ceph RGW"] = (f"s3://{ceph.bucket}/{run}", own, own)
        if not missing_store("Azurite"):
            azurite = stack.enter_context(Azurite())
            reached = azurite.options_through(azurite.url)
            url = f"abfs://{azurite.container}/{run}"
            stores["Azurite"] = (url, azurite.storage_options, reached)
        gcs = stack.enter_context(GcsServer())
        options = gcs.storage_options
        stores["GCS test server"] = (f"gs://{gcs.bucket}/{run}", options, options)
        if not missing_store("SFTP"):
            served = stack.enter_context(files_over_ssh())
            stores["SFTP"] = (f"{served.address}/{run}", *[served.storage_options] * 2)
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for kind, name in (("zarr", "a.zarr"), ("zarr for GDAL", "g.zarr"), ("icechunk", "a.ic")):
            found["local", kind] = {"url": str(folder / name), "options": {}, "writer": {}}
            for store, (url, writer, options) in stores.items():
                if kind == "zarr" or store in BUCKETS:
                    at = {"url": f"{url}/{name}", "options": options, "writer": writer}
                    found[store, kind] = at | {"endpoint": writer.get("endpoint_url")}
        provider = str(build_archive(folder / "provider", DAYS))
        build(Georeferenced, provider, [p for (_, k), p in found.items() if k != "zarr for GDAL"])
        build(ForGdal, provider, [p for (_, k), p in found.items() if k == "zarr for GDAL"])
        yield found


def build(dataset: Any, provider: str, places: list[dict[str, Any]]) -> None:
    """Backfill one archive and its replicas."""
    primary, *others = places
    replicas = [
        {
            "url": place["url"],
            **({"storage_options": place["writer"]} if place["writer"] else {}),
            **({"format": "icechunk"} if place["url"].endswith(".ic") else {}),
        }
        for place in others
    ]
    built = dataset(primary["url"], source_base=provider, replicas=replicas)
    report = built.backfill(pd.Timestamp(START) + pd.Timedelta(days=DAYS), client="none")
    assert report.succeeded, str(report)


@pytest.fixture(scope="module")
def readings(places: dict[tuple[str, str], dict[str, Any]]) -> Iterator[Any]:
    """Every reading of a lane, by reader, store and format; a lane is read when first asked."""
    done: dict[str, dict[tuple[str, str, str], dict[str, Any]]] = {}

    def of(lane: str) -> dict[tuple[str, str, str], dict[str, Any]]:
        if lane not in done:
            cells = [*CELLS, *GDAL_CELLS, ("rasterio", "local", "zarr")]
            done[lane] = read_all(lane, places, cells)
        return done[lane]

    yield of
    if os.environ.get("GRIDMILL_MATRIX"):
        ran = [
            {"lane": lane, **{k: v for k, v in reading.items() if k != "values"}}
            for lane, cells in done.items()
            for reading in cells.values()
        ]
        Path(os.environ["GRIDMILL_MATRIX"]).write_text(json.dumps(ran, indent=1))


def read_all(
    lane: str, places: dict[tuple[str, str], dict[str, Any]], cells: list[tuple[str, str, str]]
) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Read all cells of a lane in one process of its Python."""
    asked = []
    for (store, kind), place in places.items():
        readers = [
            r
            for r, s, k in cells
            if (s, k) == (store, kind) and not missing_reader(lane, NEEDS.get(r, "xarray"))
        ]
        told = {k: v for k, v in place.items() if k != "writer"}
        asked.append({**told, "store": store, "format": kind, "readers": readers})
    secrets = {name for name in os.environ if name.startswith("AWS_")}
    environment = {k: v for k, v in os.environ.items() if k not in secrets | {"PYTHONPATH"}}
    done = subprocess.run(
        [LANES[lane], str(PROGRAM), json.dumps(asked)],
        env={**environment, "AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Icechunk warns on standard output.
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(line["reader"], line["store"], line["format"]): line for line in lines}


def assert_true(values: dict[str, Any]) -> None:
    """Compare every variable with the formula that it was made of."""
    times = times_of(DAYS)
    for name in DIMS:
        expected = truth(name, times if "time" in DIMS[name] else None)
        seen = np.array(values[name], dtype="float32").reshape(expected.shape)
        np.testing.assert_array_equal(seen, expected, err_msg=name)


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize(("reader", "store", "kind"), CELLS)
def test_a_reader_gets_every_value(
    lane: str, reader: str, store: str, kind: str, readings: Any
) -> None:
    """The values of each variable are those of the formula, bit for bit."""
    needs(lane, reader, store)
    reading = readings(lane)[reader, store, kind]
    assert "error" not in reading, reading["error"]
    assert_true(reading["values"])


def gdal_of(reading: dict[str, Any]) -> tuple[int, ...]:
    """Return the version of GDAL that a reading names."""
    return tuple(int(part) for part in reading["version"].partition("GDAL ")[2][:-1].split(".")[:2])


@pytest.mark.parametrize(("reader", "store", "kind"), GDAL_CELLS)
def test_gdal_opens_its_encoding_georeferenced(
    reader: str, store: str, kind: str, readings: Any
) -> None:
    """Values, transform and CRS of every variable, with rasterio."""
    needs("newest", reader, store)
    reading = readings("newest")[reader, store, kind]
    assert "error" not in reading, reading["error"]
    assert gdal_of(reading) >= (3, 12)
    assert_true(reading["values"])
    for name in DIMS:
        np.testing.assert_allclose(reading["values"][f"{name} transform"], TRANSFORM, rtol=1e-12)
        assert reading["values"][f"{name} epsg"] == EPSG


@pytest.mark.parametrize("lane", LANES)
def test_gdal_before_3_13_refuses_shards(lane: str, readings: Any) -> None:
    """What the guide says of older GDAL: an error that names the codec, and no value."""
    needs(lane, "rasterio", "local")
    reading = readings(lane)["rasterio", "local", "zarr"]
    if gdal_of(reading) >= (3, 13):
        pytest.skip(f"{reading['version']} reads shards")
    assert "Unsupported codec: sharding_indexed" in reading["error"]


@pytest.fixture(scope="module")
def zarrita(tmp_path_factory: pytest.TempPathFactory) -> Zarrita:
    """zarrita.js with a folder of its own."""
    if why := zarrita_missing():
        pytest.skip(why)
    return Zarrita(tmp_path_factory.mktemp("zarrita"))


@pytest.fixture(scope="module")
def web(
    zarrita: Zarrita, places: dict[tuple[str, str], dict[str, Any]]
) -> Iterator[tuple[WebFiles, dict[tuple[str, str], str]]]:
    """A web server with pages and local archives, and the address of each archive."""
    addresses = {}
    with WebFiles(zarrita.folder) as server:
        for kind, name in (("zarr", "a.zarr"), ("zarr for GDAL", "g.zarr")):
            (zarrita.folder / name).symlink_to(places["local", kind]["url"])
            addresses["local", kind] = f"{server.url}/{name}"
            place = places["SeaweedFS", kind]
            path = place["url"].removeprefix("s3://")
            addresses["SeaweedFS", kind] = f"{place['endpoint']}/{path}"
        yield server, addresses


@pytest.mark.parametrize("kind", ["zarr", "zarr for GDAL"])
@pytest.mark.parametrize("store", ["local", "SeaweedFS"])
def test_zarrita_in_node(
    store: str, kind: str, zarrita: Zarrita, web: tuple[WebFiles, dict[tuple[str, str], str]]
) -> None:
    """Over HTTP from a web server, and from a public bucket."""
    assert_seen(zarrita.in_node(web[1][store, kind], list(DIMS)))


@pytest.mark.parametrize("kind", ["zarr", "zarr for GDAL"])
@pytest.mark.parametrize("store", ["local", "SeaweedFS"])
def test_zarrita_in_a_browser(
    store: str, kind: str, zarrita: Zarrita, web: tuple[WebFiles, dict[tuple[str, str], str]]
) -> None:
    """In Chromium: from the page's own server, and from a public bucket of another origin."""
    if why := browser_missing():
        pytest.skip(why)
    assert_seen(zarrita.in_browser(web[0], web[1][store, kind], list(DIMS)))


def assert_seen(seen: dict[str, Any]) -> None:
    """Compare what JavaScript read, which has null where there is no number."""
    assert "error" not in seen, seen["error"]
    assert_true({name: np.array(one["values"], dtype="float64") for name, one in seen.items()})
