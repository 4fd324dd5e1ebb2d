"""What gridmill adds to the metadata of a dataset that says that it keeps ACDD.

``Conventions = "CF-1.11, ACDD-1.3"`` in `TemplateConfig.dataset_attributes` asks for it, beside
what only the author knows: a summary, keywords, a licence, who made the data. What is derived from
the declaration then is written when an archive is made and stays as it was made. What changes with
each publication is not declared at all, see `gridmill.stores.structure.CURRENT`.

No time of the clock is among it, neither ``date_created`` nor ``date_modified``: the same inputs
give the same bytes, of the root metadata, too. Stores tell that time themselves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import xarray as xr

from gridmill.authoring.describing.coverage import time_resolution
from gridmill.authoring.describing.crs import crs_wkt
from gridmill.authoring.describing.extents import georeference, horizontal_extent, vertical_extent
from gridmill.authoring.regridding.describing import OF_AREA
from gridmill.model.variables import Coordinate, DataVar
from gridmill.stores.structure import keeps_acdd

if TYPE_CHECKING:
    from gridmill.authoring.template import TemplateConfig

__all__ = ["DERIVED", "derived_attributes", "described_coords", "described_variables"]

# All that `derived_attributes` gives, in this or an earlier release: an archive keeps it as it is.
DERIVED = frozenset(
    {
        "cdm_data_type",
        "geospatial_bounds",
        "geospatial_bounds_crs",
        "geospatial_lat_max",
        "geospatial_lat_min",
        "geospatial_lat_resolution",
        "geospatial_lat_units",
        "geospatial_lon_max",
        "geospatial_lon_min",
        "geospatial_lon_resolution",
        "geospatial_lon_units",
        "geospatial_vertical_max",
        "geospatial_vertical_min",
        "geospatial_vertical_positive",
        "geospatial_vertical_units",
        "history",
        "id",
        "product_version",
        "proj:wkt2",
        "spatial:bbox",
        "spatial:dimensions",
        "spatial:registration",
        "spatial:shape",
        "spatial:transform",
        "time_coverage_resolution",
    }
)

CONTENT = "coverage_content_type"
# By the method of CF's cell_methods, GRIB's name of it in ecCodes.
STEP_TYPES = {
    "point": "instant",
    "mean": "avg",
    "sum": "accum",
    "maximum": "max",
    "minimum": "min",
}


def described_coords(
    coords: Sequence[Coordinate], attributes: Mapping[str, Any]
) -> tuple[Coordinate, ...]:
    """Return coordinates, grid mappings with their ``crs_wkt``."""
    return tuple(map(_placed, coords)) if keeps_acdd(attributes) else tuple(coords)


def described_variables(
    variables: Sequence[DataVar], attributes: Mapping[str, Any]
) -> tuple[DataVar, ...]:
    """Return variables with ``step_type`` and ``valid_range``, where they are declared.

    And with ``coverage_content_type`` (ISO 19115-1), where the dataset's attributes give it.
    """
    if not keeps_acdd(attributes):
        return tuple(variables)
    content = {k: v for k, v in attributes.items() if k == CONTENT}
    return tuple(_described(var, content) for var in variables)


def derived_attributes(config: TemplateConfig, ds: xr.Dataset) -> dict[str, Any]:
    """Return the global attributes that follow from a declaration and are not part of it.

    Parameters
    ----------
    config
        The declaration; empty where it does not keep ACDD. What it declares itself is left out.
    ds
        Its template with all coordinates and their attributes.
    """
    declared = config.dataset_attributes
    if not keeps_acdd(declared):
        return {}
    source = declared.get("source") or declared.get("institution")
    version = config.declared_version
    derived = {
        "id": config.dataset_id,
        **({} if version is None else {"product_version": str(version)}),
        "cdm_data_type": "Grid",
        **({"history": f"Built and kept current by gridmill from: {source}"} if source else {}),
        **horizontal_extent(ds),
        **vertical_extent(ds),
        **time_resolution(ds, config.append_dim, config.append_dim_frequency),
        **georeference(ds),
    }
    return {key: value for key, value in derived.items() if key not in declared}


def _placed(coord: Coordinate) -> Coordinate:
    wkt = crs_wkt(coord.attrs)
    more = {} if wkt is None else {"crs_wkt": wkt}
    if "standard_name" in coord.attrs:
        more[CONTENT] = "coordinate"
    more = {key: value for key, value in more.items() if key not in coord.attrs}
    return replace(coord, attrs={**coord.attrs, **more}) if more else coord


def _described(var: DataVar, content: Mapping[str, Any]) -> DataVar:
    more: dict[str, Any] = dict(content)
    # Of the time: that fields were regridded says nothing of it.
    methods = str(var.attrs.get("cell_methods", "")).replace(OF_AREA, "")
    _, _, method = methods.partition(":")
    step_type = STEP_TYPES.get(method.strip().partition(" ")[0])
    if step_type is not None:
        more["step_type"] = step_type
    # Of packed values CF's valid_range is in the numbers that are stored, and they are rounded.
    if var.valid_range is not None and not var.encoding.is_packed:
        more["valid_range"] = list(var.valid_range)
    more = {key: value for key, value in more.items() if key not in var.attrs}
    return replace(var, attrs={**var.attrs, **more}) if more else var
