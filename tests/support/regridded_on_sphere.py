"""Regridding of curved grids by slow ways that share nothing with the fast ones.

Means over cells by many sample points, each looked up in the source; bilinear values by Newton's
method in three dimensions, one point after the other, from every quadrangle in turn.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from pyproj import CRS, Transformer

__all__ = ["by_newton", "by_samples", "to_plane", "unit"]


def unit(latitudes: Any, longitudes: Any) -> np.ndarray:
    """Return unit vectors."""
    phi, lam = np.radians(latitudes), np.radians(longitudes)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def to_plane(proj: str) -> tuple[Any, Any]:
    """Return functions from latitudes and longitudes to x and y, and back, by PROJ."""
    crs = CRS(proj)
    to = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True)
    back = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True)
    return (
        lambda lat, lon: to.transform(lon, lat),
        lambda x, y: back.transform(x, y)[::-1],
    )


def by_newton(values: Any, latitudes: Any, longitudes: Any, places: Any) -> np.ndarray:
    """Interpolate at unit vectors; NaN in no quadrangle."""
    vectors = unit(latitudes, longitudes)
    height, width = values.shape
    found = np.full(len(places), np.nan)
    for number, place in enumerate(places):
        near = vectors @ place
        for i, j in itertools.product(range(height - 1), range(width - 1)):
            right = j + 1
            if near[i, j] < 0.9:
                continue
            corners = [(i, j), (i, right), (i + 1, right), (i + 1, j)]
            share = _solve(np.array([vectors[at] for at in corners]), place)
            if share is not None:
                s, t = share
                weights = [(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t]
                found[number] = sum(w * values[at] for w, at in zip(weights, corners, strict=True))
                break
    return found


def _solve(corners: np.ndarray, place: np.ndarray) -> tuple[float, float] | None:
    # In the plane that touches the sphere in the place, as a map's gnomonic projection.
    flat = corners / (corners @ place)[:, None] - place
    s = t = 0.5
    for _ in range(30):
        value = (1 - s) * (1 - t) * flat[0] + s * (1 - t) * flat[1]
        value = value + s * t * flat[2] + (1 - s) * t * flat[3]
        by_s = (1 - t) * (flat[1] - flat[0]) + t * (flat[2] - flat[3])
        by_t = (1 - s) * (flat[3] - flat[0]) + s * (flat[2] - flat[1])
        matrix = np.stack([by_s, by_t], axis=1)
        step = np.linalg.lstsq(matrix, -value, rcond=None)[0]
        s, t = s + step[0], t + step[1]
    residual = np.abs(value).max()
    is_in = -1e-9 <= s <= 1 + 1e-9 and -1e-9 <= t <= 1 + 1e-9 and residual < 1e-9
    return (s, t) if is_in else None


def by_samples(cells: Any, weights: Any, find: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return means of a field over cells, and which share of each lies in the source.

    Parameters
    ----------
    cells
        Latitudes and longitudes of many places in each cell, ``(cell, place)``.
    weights
        The area that each place stands for.
    find
        Returns rows and columns of the source by latitudes and longitudes; -1 outside.
    values
        The source's.
    """
    rows, columns = find(*cells)
    there = (rows >= 0) & (columns >= 0)
    field = np.where(there, values[rows, columns], 0.0)
    known = (weights * there).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (weights * field).sum(axis=1) / known, known / weights.sum(axis=1)
