"""What readers see of archives: run as a program by a Python of its own, without gridmill.

``python foreign_readers.py PLACES`` takes a JSON list of places and prints a JSON line for each
reader that is meant for one: reader, version, place, and the values of variables, or the error.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

Place = Mapping[str, Any]
Values = dict[str, Any]
NAMES = ("temperature", "precipitation", "humidity", "orography")


def xarray_consolidated(place: Place) -> Values:
    """With all metadata from one object, and without Dask."""
    return _through_xarray(place, consolidated=True, chunks=None)


def xarray_unconsolidated(place: Place) -> Values:
    """With the metadata of each array, and without Dask."""
    return _through_xarray(place, consolidated=False, chunks=None)


def xarray_dask(place: Place) -> Values:
    """With consolidated metadata, and with Dask."""
    return _through_xarray(place, consolidated=True, chunks={})


def zarr_python(place: Place) -> Values:
    """zarr's own arrays."""
    import zarr

    group = zarr.open_group(_store(place), mode="r")
    return {name: group[name][...] for name in NAMES if name in group}


def zarrs(place: Place) -> Values:
    """zarr-python with the codecs of zarrs."""
    import zarr
    import zarrs  # noqa: F401

    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        return zarr_python(place)


def tensorstore(place: Place) -> Values:
    """TensorStore's driver of Zarr v3, with its own key-value stores."""
    import tensorstore as ts

    seen = {}
    for name in NAMES:
        spec = {"driver": "zarr3", "kvstore": _kvstore(place, name)}
        seen[name] = ts.open(spec, read=True).result().read().result()
    return seen


def rasterio(place: Place) -> Values:
    """GDAL's driver of Zarr, with transform and CRS."""
    import rasterio as rio

    options = {}
    where = place["url"]
    if place["store"] != "local":
        _credentials(place)
        endpoint = place["endpoint"].removeprefix("http://")
        options = {"AWS_S3_ENDPOINT": endpoint, "AWS_HTTPS": "NO", "AWS_VIRTUAL_HOSTING": "FALSE"}
        where = where.replace("s3://", "/vsis3/")
    seen: Values = {}
    with rio.Env(**options):
        for name in NAMES:
            with rio.open(f'ZARR:"{where}":/{name}') as opened:
                values = opened.read()
                seen[name] = values[0] if name == "orography" else values
                seen[f"{name} transform"] = list(opened.transform.to_gdal())
                seen[f"{name} epsg"] = opened.crs.to_epsg()
    return seen


def icechunk(place: Place) -> Values:
    """A session of Icechunk, by xarray."""
    import icechunk as ic
    import xarray as xr

    if place["store"] == "local":
        storage = ic.local_filesystem_storage(place["url"])
    else:
        bucket, _, prefix = place["url"].removeprefix("s3://").partition("/")
        storage = ic.s3_storage(
            bucket=bucket,
            prefix=prefix,
            region="us-east-1",
            endpoint_url=place["endpoint"],
            allow_http=True,
            force_path_style=True,
            access_key_id=place["options"]["key"],
            secret_access_key=place["options"]["secret"],
        )
    session = ic.Repository.open(storage).readonly_session("main")
    with xr.open_zarr(session.store, consolidated=False) as ds:
        return _values(ds)


READERS: dict[str, tuple[Callable[[Place], Values], str]] = {
    "xarray, consolidated": (xarray_consolidated, "xarray"),
    "xarray, not consolidated": (xarray_unconsolidated, "xarray"),
    "xarray with Dask": (xarray_dask, "xarray"),
    "zarr-python": (zarr_python, "zarr"),
    "zarrs": (zarrs, "zarrs"),
    "tensorstore": (tensorstore, "tensorstore"),
    "rasterio": (rasterio, "rasterio"),
    "icechunk": (icechunk, "icechunk"),
}


def _through_xarray(place: Place, **how: Any) -> Values:
    import xarray as xr

    with xr.open_zarr(_store(place), **how) as ds:
        return _values(ds)


def _values(ds: Any) -> Values:
    return {name: ds[name].values for name in NAMES if name in ds}


def _store(place: Place) -> Any:
    """Open what zarr reads from: by fsspec, or by obstore for Azure and Google Cloud Storage."""
    from zarr.storage import FsspecStore, LocalStore, ObjectStore

    url, options = place["url"], place["options"]
    bucket, _, prefix = url.partition("://")[2].partition("/")
    plain = {"allow_http": True}
    if place["store"] == "local":
        return LocalStore(url, read_only=True)
    if place["store"] == "Azurite":
        from obstore.store import AzureStore

        store = AzureStore("container", prefix=prefix, client_options=plain, **options)
        return ObjectStore(store, read_only=True)
    if place["store"] == "GCS test server":
        from obstore.store import GCSStore

        config = {"base_url": options["base_url"]}
        token = {"token": options["bearer_token"], "expires_at": None}
        store = GCSStore(
            bucket,
            prefix=prefix,
            config=config,
            client_options=plain,
            credential_provider=lambda: token,
        )
        return ObjectStore(store, read_only=True)
    if place["store"] == "SFTP":
        return _over_ssh(url, options)
    return FsspecStore.from_url(url, storage_options=options, read_only=True)


def _over_ssh(url: str, options: Mapping[str, Any]) -> Any:
    """Copy an archive and open the copy: zarr itself does not read over SFTP."""
    import fsspec
    from zarr.storage import LocalStore

    folder = tempfile.mkdtemp(prefix="gridmill-copied-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    files, path = fsspec.url_to_fs(url, **options)
    files.get(path, f"{folder}/a.zarr", recursive=True)
    return LocalStore(f"{folder}/a.zarr", read_only=True)


def _kvstore(place: Place, name: str) -> dict[str, Any]:
    if place["store"] == "local":
        return {"driver": "file", "path": f"{place['url']}/{name}/"}
    _credentials(place)
    bucket, _, prefix = place["url"].removeprefix("s3://").partition("/")
    return {
        "driver": "s3",
        "bucket": bucket,
        "path": f"{prefix}/{name}/",
        "endpoint": place["endpoint"],
        "aws_region": "us-east-1",
        "aws_credentials": {"type": "environment"},
    }


def _credentials(place: Place) -> None:
    os.environ["AWS_ACCESS_KEY_ID"] = place["options"]["key"]
    os.environ["AWS_SECRET_ACCESS_KEY"] = place["options"]["secret"]
    os.environ["AWS_REGION"] = "us-east-1"


def readings(places: list[Place]) -> Iterator[dict[str, Any]]:
    """Read every place with every reader that is meant for it; a failure is a reading, too."""
    for place in places:
        for reader in place["readers"]:
            function, package = READERS[reader]
            told = {"reader": reader, "store": place["store"], "format": place["format"]}
            started = time.perf_counter()
            try:
                told["version"] = version_of(package)
                told["values"] = {k: as_json(v) for k, v in function(place).items()}
            except Exception as error:
                told["error"] = f"{type(error).__name__}: {error}"[:500]
            yield {**told, "seconds": round(time.perf_counter() - started, 2)}


def version_of(package: str) -> str:
    """Return a reader's version with what matters beside it."""
    if package == "rasterio":
        import rasterio as rio

        return f"rasterio {version(package)} (GDAL {rio.__gdal_version__})"
    with_zarr = f" on zarr {version('zarr')}" if package != "tensorstore" else ""
    return f"{package} {version(package)}{with_zarr}" if package != "zarr" else with_zarr[4:]


def as_json(value: Any) -> Any:
    """Turn an array into lists, which JSON has."""
    return value.tolist() if hasattr(value, "tolist") else value


if __name__ == "__main__":
    for reading in readings(json.loads(sys.argv[1])):
        print(json.dumps(reading), flush=True)
