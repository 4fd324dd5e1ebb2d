"""What regridding should give, by plain NumPy and loops that know nothing of matrices."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from gridmill.authoring.regridding.axes import cells_of
from gridmill.authoring.regridding.geometry.targets import Target

__all__ = ["areas", "by_interp", "cell_by_cell", "places"]


def places(grid: Any) -> tuple[np.ndarray, ...]:
    """Return a grid's rows and columns."""
    return tuple(np.asarray(of, "float64") for of in grid.labels().values())


def areas(latitudes: Any, longitudes: Any) -> np.ndarray:
    """Return the areas of cells on the unit sphere, plainly."""
    zones = np.sin(np.radians(cells_of(latitudes, is_longitude=False)))
    widths = np.radians(cells_of(longitudes, is_longitude=True))
    return np.outer(zones[:, 1] - zones[:, 0], widths[:, 1] - widths[:, 0])


def cell_by_cell(values: Any, grid: Any, target: Target, at_least: float = 1.0) -> np.ndarray:
    """Return means by area, one pair of cells after the other, in plain Python."""
    rows, columns = places(grid)
    found = np.full(target.shape, np.nan)
    south = cells_of(rows, is_longitude=False)
    west = cells_of(columns, is_longitude=True)
    ours = cells_of(target.rows, is_longitude=False)
    our_west = cells_of(target.columns, is_longitude=True)
    for i, j in itertools.product(*map(range, target.shape)):
        total = known = weighted = 0.0
        sines = np.sin(np.radians(ours[i]))
        total = (sines[1] - sines[0]) * (our_west[j, 1] - our_west[j, 0])
        for k, m, turn in itertools.product(range(rows.size), range(columns.size), range(-2, 3)):
            low, high = max(ours[i, 0], south[k, 0]), min(ours[i, 1], south[k, 1])
            left = max(our_west[j, 0], west[m, 0] + 360 * turn)
            right = min(our_west[j, 1], west[m, 1] + 360 * turn)
            if low >= high or left >= right or np.isnan(values[k, m]):
                continue
            area = (np.sin(np.radians(high)) - np.sin(np.radians(low))) * (right - left)
            known += area
            weighted += area * float(values[k, m])
        if known > 0 and known / total >= at_least - 1e-9:
            found[i, j] = weighted / known
    return found


def by_interp(values: Any, rows: Any, columns: Any, target: Target) -> np.ndarray:
    """Interpolate along rows and then along columns by NumPy, around the globe."""
    around = np.concatenate([columns, columns[:1] + 360])
    rising = np.argsort(rows)
    wide = np.concatenate([values, values[:, :1]], axis=1).astype("f8")
    inside = (target.columns - columns[0]) % 360 + columns[0]
    along = np.stack([np.interp(inside, around, row) for row in wide])
    return np.stack([np.interp(target.rows, rows[rising], one) for one in along[rising].T], axis=1)
