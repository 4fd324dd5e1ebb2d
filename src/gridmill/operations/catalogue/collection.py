"""An archive as a STAC collection: what readers see of it, in the words of its own attributes.

Everything comes from the published archive, so that the catalogue never promises what readers do
not find. STAC's field `item_assets` is not given: there are no items, whose assets it describes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from gridmill.operations.catalogue.cube import (
    bounding_box,
    cube_dimensions,
    cube_variables,
    interval,
)
from gridmill.operations.catalogue.opening import Way

__all__ = ["PAGE", "PREVIEW", "STAC_VERSION", "build_collection"]

STAC_VERSION = "1.1.0"
EXTENSIONS = {
    "cube:": "https://stac-extensions.github.io/datacube/v2.3.0/schema.json",
    "zarr:": "https://stac-extensions.github.io/zarr/v1.1.0/schema.json",
    "xarray:": "https://stac-extensions.github.io/xarray-assets/v1.0.0/schema.json",
    "version": "https://stac-extensions.github.io/version/v1.2.0/schema.json",
}
PAGE, PREVIEW = "index.html", "preview.png"
# As STAC's own schema: an SPDX identifier or expression without spaces.
SPDX = re.compile(r"[\w.+-]+")
URL = re.compile(r"https?://[^\s,;)]+")


def build_collection(
    ds: xr.Dataset,
    *,
    dataset_id: str,
    append_dim: str,
    version: str,
    ways: Sequence[Way],
    completeness: str | None = None,
    has_preview: bool = False,
) -> dict[str, Any]:
    """Return the STAC collection of an archive.

    Parameters
    ----------
    ds
        What readers see, with at least one position; no data variable is read.
    dataset_id, append_dim, version
        Of the archive. The version is the attribute ``product_version`` where it has one.
    ways
        How it is opened.
    completeness
        The coordinate that says how complete positions are, if there is one.
    has_preview
        Whether there is a picture.
    """
    attrs = ds.attrs
    title = str(attrs.get("title", dataset_id))
    licence, licence_links = _licence(attrs)
    said = {"keywords": _keywords(ds), "providers": _providers(attrs)}
    updated = {"updated": str(attrs["date_modified"])} if "date_modified" in attrs else {}
    return {
        "type": "Collection",
        "stac_version": STAC_VERSION,
        "stac_extensions": [*EXTENSIONS.values()],
        "id": dataset_id,
        "title": title,
        "description": _description(attrs, title),
        **{key: value for key, value in said.items() if value},
        "license": licence,
        "version": str(attrs.get("product_version", version)),
        **updated,
        "extent": {
            "spatial": {"bbox": [bounding_box(ds)]},
            "temporal": {"interval": [interval(ds, append_dim)]},
        },
        "cube:dimensions": cube_dimensions(ds),
        "cube:variables": cube_variables(ds),
        "gridmill:positions": ds.sizes[append_dim],
        **_completeness(ds, append_dim, completeness),
        "links": [*_links(), *licence_links],
        "assets": {**{way.name: way.asset for way in ways}, **_pictures(has_preview)},
    }


def _description(attrs: Mapping[str, Any], title: str) -> str:
    parts = [attrs.get(name) for name in ("summary", "comment", "source", "references")]
    said = "\n\n".join(dict.fromkeys(str(part) for part in parts if part))
    licence = attrs.get("license")
    is_prose = licence and not SPDX.fullmatch(str(licence))
    return "\n\n".join(filter(None, [said or title, f"Licence: {licence}" if is_prose else ""]))


def _licence(attrs: Mapping[str, Any]) -> tuple[str, list[dict[str, str]]]:
    """Return STAC's licence, and links to its text."""
    text = str(attrs.get("license", ""))
    links = [{"rel": "license", "href": url} for url in URL.findall(text)]
    return (text if SPDX.fullmatch(text) else "other"), links


def _keywords(ds: xr.Dataset) -> list[str]:
    given = ds.attrs.get("keywords", "")
    words = given.split(",") if isinstance(given, str) else [str(word) for word in given]
    names = [str(v.attrs.get("standard_name", "")).replace("_", " ") for v in ds.values()]
    return [*dict.fromkeys(word.strip() for word in (*words, *names) if word.strip())]


def _providers(attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return who made the data, and who publishes the archive, where attributes say it (ACDD)."""
    maker = attrs.get("institution") or attrs.get("creator_name")
    people = [
        (maker, attrs.get("creator_url"), "producer"),
        (attrs.get("publisher_name"), attrs.get("publisher_url"), "host"),
    ]
    return [
        {"name": str(name), "roles": [role], **({"url": str(url)} if url else {})}
        for name, url, role in people
        if name
    ]


def _completeness(ds: xr.Dataset, append_dim: str, name: str | None) -> dict[str, float]:
    """Return how complete the newest position is, from 0 to 1; nothing where the archive says it
    of none.
    """
    if name is None or name not in ds.coords:
        return {}
    newest = ds[name].isel({append_dim: -1}).values
    return {"gridmill:completeness_of_newest": round(float(np.mean(newest)), 6)}


def _links() -> list[dict[str, str]]:
    return [
        {"rel": "root", "href": "../catalog.json", "type": "application/json"},
        {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
        {"rel": "alternate", "href": f"./{PAGE}", "type": "text/html"},
    ]


def _pictures(has_preview: bool) -> dict[str, Any]:
    if not has_preview:
        return {}
    roles = ["thumbnail", "overview"]
    about = {"title": "Newest field", "roles": roles}
    return {"preview": {"href": f"./{PREVIEW}", "type": "image/png", **about}}
