"""The `generated` dataset with a CRS, in the default encoding and in the one for GDAL."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyproj

from generated import Generated, GeneratedTemplate
from gridmill.authoring.encoding.gdal import for_gdal
from gridmill.model.variables import Coordinate

__all__ = ["EPSG", "TRANSFORM", "ForGdal", "Georeferenced"]

EPSG = 4326
# GDAL's: west edge, width, 0, north edge, 0, minus height; cell centres are in `generated`.
TRANSFORM = [-9.0, 2.0, 0.0, 61.0, 0.0, -2.0]


class GeoreferencedTemplate(GeneratedTemplate):
    """Six-hourly, in shards."""

    coords = (
        *GeneratedTemplate.coords,
        Coordinate(name="spatial_ref", dims=(), dtype="int32", attrs=pyproj.CRS(EPSG).to_cf()),
    )
    data_vars = tuple(
        replace(var, attrs={**var.attrs, "grid_mapping": "spatial_ref"})
        for var in GeneratedTemplate.data_vars
    )

    def derive_coordinates(self, ds):
        """Give the grid mapping's empty value."""
        return {"spatial_ref": ((), np.int32(0))}


class ForGdalTemplate(GeoreferencedTemplate):
    """The same for GDAL 3.12."""

    coords = for_gdal(GeoreferencedTemplate.coords)
    data_vars = for_gdal(GeoreferencedTemplate.data_vars)


class Georeferenced(Generated):
    """In the default encoding."""

    template_config = GeoreferencedTemplate


class ForGdal(Generated):
    """In the encoding for GDAL."""

    template_config = ForGdalTemplate
