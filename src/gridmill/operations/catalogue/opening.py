"""How readers open a store: the assets of a collection, and Python to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gridmill.model.urls import is_local, local_path, mask_url
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
    region = (given.get("client_kwargs") or {}).get("region_name")
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
            options = f", storage_options={dict(self.options)!r}" if self.options else ""
            return f'import xarray as xr\n\nds = xr.open_zarr("{self.url}"{options})'
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
        ways.append(Way(name, url, found.format, {} if local else options))
    return ways


def _icechunk_storage(url: str, options: Mapping[str, Any]) -> str:
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        return f'local_filesystem_storage("{rest}")'
    bucket, _, prefix = rest.partition("/")
    if scheme in ("gs", "gcs"):
        return f'gcs_storage(bucket="{bucket}", prefix="{prefix}")'
    if scheme == "s3":
        words = [f'bucket="{bucket}"', f'prefix="{prefix}"', *_s3_words(options)]
        return f"s3_storage({', '.join(words)})"
    container = bucket.partition("@")[0]
    account = options.get("account_name", bucket.partition("@")[2].partition(".")[0])
    words = [f'account="{account}"', f'container="{container}"', f'prefix="{prefix}"']
    return f"azure_storage({', '.join(words)}, from_env=True)"


def _s3_words(options: Mapping[str, Any]) -> list[str]:
    region = (options.get("client_kwargs") or {}).get("region_name")
    endpoint = options.get("endpoint_url")
    words = [f'region="{region}"'] if region else []
    words += [f'endpoint_url="{endpoint}"', "force_path_style=True"] if endpoint else []
    words += ["allow_http=True"] if str(endpoint).startswith("http://") else []
    return [*words, "anonymous=True" if options.get("anon") else "from_env=True"]
