"""Finds each point of a target between four points of a source whose rows are curved. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gridmill.authoring.regridding.axes import NEAR, TURN, Entries
from gridmill.authoring.regridding.geometry.clipping import PAIRS_AT_ONCE, Boxes, in_blocks
from gridmill.authoring.regridding.geometry.sources import LONG, folded, is_around
from gridmill.authoring.regridding.geometry.sphere import directions
from gridmill.authoring.regridding.geometry.targets import Plane, Target

__all__ = ["among_quads"]

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
# Of a side: by what a point may lie beyond it for rounding's sake.
ROUNDING = 1e-9
QUADS_AT_ONCE = 2**17
# Of quadrangles, from which the usual step is known.
SAMPLES = 10_000


def among_quads(latitudes: Floats, longitudes: Floats, target: Target) -> Entries:
    """Return the weights of the four points around each of the target's.

    The plane is that which touches the sphere in the target's point, where great circles are
    straight. Points in no quadrangle have no weights.

    Parameters
    ----------
    latitudes, longitudes
        Of the source's points, of two dims, degrees; NaN for none.
    target
        The archive's grid.
    """
    places = directions(latitudes, longitudes)
    corners = _quads(places)
    flat, angles = places.reshape(-1, 3), (latitudes.ravel(), longitudes.ravel())
    near = _near(flat[corners[:: len(corners) // SAMPLES + 1]])
    plane = Plane(target)
    boxes = Boxes(*plane.labels(), turn=TURN if plane.is_sphere else None, are_cells=False)
    points = directions(*target.places()).reshape(-1, 3)
    found = []
    for first in range(0, len(corners), QUADS_AT_ONCE):
        own = corners[first : first + QUADS_AT_ONCE]
        drawn = plane.flat(*(of[own] for of in angles))
        for which, at in _reached(boxes, plane, *drawn):
            along, down, inside = _inverse(flat[own[which]], points[at], near)
            found.append((at[inside], own[which[inside]], along[inside], down[inside]))
    return _weights(found)


def _reached(
    boxes: Boxes, plane: Plane, across: Floats, up: Floats
) -> Iterator[tuple[Places, Places]]:
    """Yield numbers of quadrangles, and of points that may lie in them."""
    across, up, numbers = boxes.moved(across, up, np.arange(len(across)))
    reach = boxes.reached(across, up, _margin(across, up, plane))
    for part in in_blocks(reach[1] * reach[3], PAIRS_AT_ONCE):
        which, rows, columns = boxes.pairs(tuple(one[part] for one in reach))
        yield numbers[part][which], boxes.position(rows, columns)


def _weights(found: Sequence[tuple[Places, Places, Floats, Floats]]) -> Entries:
    """Return the weights of corners; a point on a side is in the first quadrangle that has it."""
    if not found:
        nothing = np.zeros(0, "int64")
        return Entries(nothing, nothing, np.zeros(0))
    at, quads, along, down = (np.concatenate(of) for of in zip(*found, strict=True))
    at, first = np.unique(at, return_index=True)
    quads, along, down = quads[first], along[first], down[first]
    weights = [(1 - along) * (1 - down), along * (1 - down), along * down, (1 - along) * down]
    return Entries(np.tile(at, 4), quads.T.ravel(), np.concatenate(weights))


def _quads(places: Floats) -> Places:
    """Return the four corners of each quadrangle, in order around it, of those that are any."""
    height, width = places.shape[:2]
    numbers = np.arange(height * width).reshape(height, width)
    around = is_around(places)
    if around:
        numbers = np.concatenate([numbers, numbers[:, :1]], axis=1)
    parts = [_ring(numbers[:-1], numbers[1:])]
    if around:
        for row, before in ((height - 1, height - 2), (0, 1)):
            beside = folded(places[row], places[before])
            if beside is not None:
                across = numbers[row][np.append(beside, beside[0])]
                parts.append(_ring(numbers[[row]], across[np.newaxis]))
    corners = np.concatenate(parts)
    flat = places.reshape(-1, 3)
    longest = np.concatenate(
        [
            _longest(flat[part])
            for part in np.array_split(corners, len(corners) // QUADS_AT_ONCE + 1)
        ]
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(corners[longest <= LONG * np.nanmedian(longest)])


def _longest(vertices: Floats) -> Floats:
    """Return the length of each quadrangle's longest side."""
    sides = np.roll(vertices, -1, axis=1) - vertices
    return np.asarray(np.linalg.norm(sides, axis=-1).max(axis=1))


def _ring(low: Places, high: Places) -> Places:
    ring = [low[:, :-1], low[:, 1:], high[:, 1:], high[:, :-1]]
    return np.stack([one.ravel() for one in ring], axis=-1)


def _near(vertices: Floats) -> float:
    """Return which share of a step is none: that by which single precision is off."""
    step = float(np.median(np.linalg.norm(vertices[:, 1] - vertices[:, 0], axis=-1)))
    return max(NEAR, float(np.finfo("float32").eps) * np.pi / step)


def _margin(across: Floats, up: Floats, plane: Plane) -> Floats:
    """Return by how much great circles leave the box around their ends, at most."""
    if plane.is_sphere:
        # In radians, of the sagitta of an edge; near the pole in longitude the box is whole.
        wide = np.radians(np.ptp(across, axis=1))
        return np.asarray(np.minimum(wide**2 / 8, 1.0) + 1e-9)
    return np.asarray(0.25 * np.maximum(np.ptp(across, axis=1), np.ptp(up, axis=1)))


def _inverse(
    corners: Floats, points: Floats, near: float
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Return where points lie between their four corners: along, down, and whether they do.

    The bilinear map of the unit square to the corners is inverted by its quadratic equation.
    """
    a, b, c, d = _touching(corners, points)
    e, f, g = b - a, d - a, a - b + c - d
    k2, k1, k0 = _cross(g, f), _cross(e, f) - _cross(a, g), -_cross(a, e)
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(k1 * k1 - 4 * k2 * k0)
        q = -0.5 * (k1 + np.where(k1 < 0, -root, root))
        both = [q / k2, k0 / q]
        off = [np.where(np.isfinite(one), np.abs(one - 0.5), np.inf) for one in both]
        down = np.where(off[0] < off[1], *both)
        ahead, back = e + g * down[:, np.newaxis], -a - f * down[:, np.newaxis]
        along = (ahead * back).sum(axis=1) / (ahead * ahead).sum(axis=1)
        inside = (np.abs(along - 0.5) <= 0.5 + ROUNDING) & (np.abs(down - 0.5) <= 0.5 + ROUNDING)
    return _snapped(along, near), _snapped(down, near), inside


def _touching(corners: Floats, points: Floats) -> tuple[Floats, ...]:
    """Return corners in the plane that touches the sphere in each point, which is its origin."""
    other = np.where(np.abs(points[:, 2:]) < 0.9, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0])
    east = np.cross(other, points)
    east /= np.linalg.norm(east, axis=1, keepdims=True)
    north = np.cross(points, east)
    towards = np.einsum("nvk,nk->nv", corners, points)
    towards[towards <= 0] = np.nan
    x, y = (np.einsum("nvk,nk->nv", corners, axis) / towards for axis in (east, north))
    return tuple(np.stack([x[:, at], y[:, at]], axis=-1) for at in range(4))


def _cross(one: Floats, other: Floats) -> Floats:
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])


def _snapped(share: Floats, near: float) -> Floats:
    share = np.where(np.abs(share) <= near, 0.0, share)
    share = np.where(np.abs(share - 1.0) <= near, 1.0, share)
    return np.asarray(share, "float64")
