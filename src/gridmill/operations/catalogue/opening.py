"""How readers open a store: the assets of a collection, and Python to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridmill.model.urls import AZURE_SCHEMES, is_local, is_same_kind, local_path, mask_url
from gridmill.stores.final_store import FinalStore

__all__ = ["Way", "reader_options", "ways_in"]

# What xpystac, which lets xarray open assets, compares literally: with a parameter for the version
# it opens nothing. Icechunk's is not registered.
ZARR = "application/vnd.zarr"
ICECHUNK = "application/vnd.zarr+icechunk"
# Options of a writer that tell how a store is reached, and nothing of who may.
PUBLIC_OPTIONS = ("anon", "endpoint_url", "requester_pays", "account_name")


def reader_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what readers need of a writer's storage options; no credential is among it.

    Examples
    --------
    >>> reader_options({"key": "id", "secret": "s", "endpoint_url": "https://s3.example.org"})
    {'endpoint_url': 'https://s3.example.org'}
    """
    options = {name: given[name] for name in PUBLIC_OPTIONS if name in given}
    client = given.get("client_kwargs") or {}
    # Said in either place, it means the same.
    if "endpoint_url" in client:
        options.setdefault("endpoint_url", client["endpoint_url"])
    region = client.get("region_name")
    return {**options, **({"client_kwargs": {"region_name": region}} if region else {})}


@dataclass(frozen=True)
class Way:
    """One way to open an archive.

    Parameters
    ----------
    name
        Of the asset.
    url
        What readers are given, without credentials.
    format
        ``"zarr"`` or ``"icechunk"``.
    options
        Of the store's file system.
    """

    name: str
    url: str
    format: str
    options: Mapping[str, Any]

    @property
    def asset(self) -> dict[str, Any]:
        """The asset of a STAC collection, with the zarr and xarray-assets extensions.

        Xarray-assets is deprecated, and what most readers still go by.
        """
        is_zarr = self.format == "zarr"
        asset = {
            "href": self.url,
            "type": ZARR if is_zarr else ICECHUNK,
            "title": f"{'Zarr' if is_zarr else 'Icechunk'} archive",
            "description": f"Open it in Python:\n\n```python\n{self.python}\n```",
            "roles": ["data"],
            "zarr:node_type": "group",
            "zarr:zarr_format": 3,
            "zarr:consolidated": is_zarr,
            "xarray:open_kwargs": {"engine": "zarr", "zarr_format": 3, "consolidated": is_zarr},
        }
        if is_zarr and self.options:
            asset["xarray:storage_options"] = dict(self.options)
        if not is_zarr:
            asset["version"] = "main"  # the branch, as xpystac has it
        return asset

    @property
    def python(self) -> str:
        """Python that opens it as `ds`."""
        if self.format == "zarr":
            return _python_of_zarr(self.url, self.options)
        return "\n".join(
            [
                "import icechunk",
                "import xarray as xr",
                "",
                f"storage = icechunk.{_icechunk_storage(self.url, self.options)}",
                "repository = icechunk.Repository.open(storage)",
                'store = repository.readonly_session("main").store',
                "ds = xr.open_zarr(store, consolidated=False)",
            ]
        )


def ways_in(
    store: FinalStore, replicas: Sequence[FinalStore], options: Mapping[str, Any]
) -> list[Way]:
    """Return how an archive is opened: the store first, then its replicas.

    Parameters
    ----------
    store, replicas
        The archive.
    options
        What readers need to reach remote stores, see `reader_options`.
    """
    ways: list[Way] = []
    for found in (store, *replicas):
        same = sum(way.format == found.format for way in ways)
        name = f"{found.format}-{same + 1}" if same else found.format
        local = is_local(found.url)
        url = local_path(found.url).as_uri() if local else mask_url(found.url)
        # They are those of the archive's file system; of a local one they can only mean replicas.
        are_meant = is_local(store.url) or is_same_kind(found.url, store.url)
        ways.append(Way(name, url, found.format, options if are_meant and not local else {}))
    return ways


def _python_of_zarr(url: str, options: Mapping[str, Any]) -> str:
    scheme = url.partition("://")[0]
    if scheme == "file":
        return f'import xarray as xr\n\nds = xr.open_zarr("{url}")'
    # Whoever may not list a bucket is refused what is absent: other formats are not looked for.
    found = "zarr_format=3, consolidated=True"
    if scheme not in AZURE_SCHEMES:
        given = f", storage_options={dict(options)!r}" if options else ""
        return f'import xarray as xr\n\nds = xr.open_zarr("{url}"{given}, {found})'
    # adlfs serves no range from an object's end, which is where the index of a shard is.
    container, account, prefix = _azure_place(url, options)
    words = [f'"{container}"', f'prefix="{prefix}"']
    words += [f'account_name="{account}"'] if account else []
    words += ["skip_signature=True"] if options.get("anon") else []
    return "\n".join(
        [
            "import xarray as xr",
            "from obstore.store import AzureStore",
            "from zarr.storage import ObjectStore",
            "",
            f"objects = AzureStore({', '.join(words)})",
            f"ds = xr.open_zarr(ObjectStore(objects, read_only=True), {found})",
        ]
    )


def _azure_place(url: str, options: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return container, account and prefix, by what is public alone."""
    where, _, prefix = url.partition("://")[2].partition("/")
    container, _, host = where.partition("@")
    return container, str(options.get("account_name", host.partition(".")[0])), prefix


def _icechunk_storage(url: str, options: Mapping[str, Any]) -> str:
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        return f'local_filesystem_storage("{rest}")'
    bucket, _, prefix = rest.partition("/")
    if scheme in ("gs", "gcs"):
        is_public = options.get("anon") or options.get("token") == "anon"
        who = "anonymous=True" if is_public else "from_env=True"
        return f'gcs_storage(bucket="{bucket}", prefix="{prefix}", {who})'
    if scheme == "s3":
        words = [f'bucket="{bucket}"', f'prefix="{prefix}"', *_s3_words(options)]
        return f"s3_storage({', '.join(words)})"
    container, account, prefix = _azure_place(url, options)
    words = [f'account="{account}"', f'container="{container}"', f'prefix="{prefix}"']
    words += ['config={"skip_signature": "true"}'] if options.get("anon") else ["from_env=True"]
    return f"azure_storage({', '.join(words)})"


def _s3_words(options: Mapping[str, Any]) -> list[str]:
    region = (options.get("client_kwargs") or {}).get("region_name")
    endpoint = options.get("endpoint_url")
    words = [f'region="{region}"'] if region else []
    words += [f'endpoint_url="{endpoint}"', "force_path_style=True"] if endpoint else []
    words += ["allow_http=True"] if str(endpoint).startswith("http://") else []
    return [*words, "anonymous=True" if options.get("anon") else "from_env=True"]
