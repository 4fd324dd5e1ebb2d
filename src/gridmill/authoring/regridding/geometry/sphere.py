"""Polygons on the sphere, many at once: as unit vectors, flat, and their areas. Pure.

Flat is a polygon whose longitudes continue beyond a turn and which goes along a pole that it holds.
Its coordinates are longitude in degrees and the sine of latitude: areas in that plane are those on
the sphere, and cells of latitudes and longitudes are rectangles.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["areas", "directions", "flat_areas", "flatten", "refined_at_poles", "turn_of"]

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TURN = 360.0
# Of a cosine of latitude: what is nearer to a pole than 6 m is there.
POLE_COSINE = 1e-6
# Degrees of longitude that an edge may cross, and from which latitude on.
WIDE = 1.0
POLAR = 75.0
MORE = 32


def directions(latitudes: Floats, longitudes: Floats) -> Floats:
    """Return unit vectors, in a last axis."""
    phi, lam = np.radians(latitudes), np.radians(longitudes)
    return np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)


def turn_of(degrees: Floats) -> Floats:
    """Return the shorter way around; half a turn either way stays, so that back is minus there."""
    return degrees - TURN * np.rint(degrees / TURN)


def flat_areas(longitudes: Floats, sines: Floats) -> Floats:
    """Return the areas of flat polygons, steradians; vertices along the last axis."""
    steps = np.roll(longitudes, -1, axis=-1) - longitudes
    return np.abs(_sums(np.radians(steps * (np.roll(sines, -1, axis=-1) + sines)))) / 2


def areas(latitudes: Floats, longitudes: Floats) -> Floats:
    """Return the areas of polygons of great circles that may hold a pole, steradians.

    Vertices lie along the last axis; a polygon is smaller than a hemisphere.
    """
    phi = np.radians(latitudes)
    known = _longitudes(longitudes, np.abs(np.cos(phi)) < POLE_COSINE)
    steps = np.radians(turn_of(np.roll(known, -1, axis=-1) - known))
    following = np.roll(phi, -1, axis=-1)
    # Between an arc and the equator: a triangle with the pole, by Napier's analogies.
    slopes = np.sin((phi + following) / 2) / np.cos((phi - following) / 2)
    found = np.abs(2 * _sums(np.arctan(np.tan(steps / 2) * slopes)))
    return np.asarray(np.where(np.abs(_sums(steps)) > np.pi, 2 * np.pi - found, found))


def _sums(values: Floats) -> Floats:
    """Return sums along the last axis, of one value after the other.

    So vertices that are repeated, as often as others have more, do not change a bit.
    """
    return np.asarray(np.cumsum(values, axis=-1)[..., -1])


def refined_at_poles(latitudes: Floats, longitudes: Floats) -> tuple[Floats, Floats, Flags]:
    """Return polygons near a pole with more vertices, and which of those that were given they are.

    There straight edges run across many meridians, and are not straight in their plane. An edge
    gets the same vertices from both sides.
    """
    steps = turn_of(np.roll(longitudes, -1, axis=1) - longitudes)
    lowest = np.minimum(np.abs(latitudes), np.abs(np.roll(latitudes, -1, axis=1)))
    are_wide = (np.abs(steps) > WIDE) & (lowest > POLAR)
    which = np.asarray(are_wide.any(axis=1))
    if not which.any():
        return latitudes[:0], longitudes[:0], which
    places = directions(latitudes[which], longitudes[which])
    shares = np.arange(MORE) / MORE * are_wide[which][..., np.newaxis]
    between = np.roll(places, -1, axis=1) - places
    x, y, z = np.moveaxis(
        places[:, :, np.newaxis] + shares[..., np.newaxis] * between[:, :, np.newaxis], -1, 0
    )
    # A vertex that is repeated is the very same: from where it was given.
    own = shares == 0
    phi = np.where(
        own, latitudes[which][..., np.newaxis], np.degrees(np.arctan2(z, np.hypot(x, y)))
    )
    lam = np.where(own, longitudes[which][..., np.newaxis], np.degrees(np.arctan2(y, x)))
    return phi.reshape(len(places), -1), lam.reshape(len(places), -1), which


def _longitudes(longitudes: Floats, is_pole: Flags) -> Floats:
    """Return longitudes, at a pole that of the vertex before it."""
    if not is_pole.any():
        return longitudes
    many = longitudes.shape[-1]
    numbers = np.where(is_pole, -1, np.arange(many))
    twice = np.concatenate([numbers, np.where(is_pole, -1, numbers + many)], axis=-1)
    last = np.maximum.accumulate(twice, axis=-1)[..., many:] % many
    return np.take_along_axis(longitudes, last, axis=-1)


def flatten(latitudes: Floats, longitudes: Floats) -> tuple[Floats, Floats]:
    """Return polygons flat: longitudes, and sines of latitudes, each ``(polygon, vertex)``.

    Those that hold a pole, or touch it, get more vertices; others repeat their last one then.
    Around a pole, where edges run across many meridians, shapes of single cells are approximate.
    """
    sines = np.sin(np.radians(latitudes))
    steps = turn_of(np.diff(longitudes, axis=1))
    first = longitudes[:, :1]
    along = np.concatenate([first, first + np.cumsum(steps, axis=1)], axis=1)
    closing = along[:, -1] + turn_of(longitudes[:, 0] - longitudes[:, -1]) - along[:, 0]
    is_pole = np.abs(np.cos(np.radians(latitudes))) < POLE_COSINE
    special = np.flatnonzero((np.abs(closing) > TURN / 2) | is_pole.any(axis=1))
    if not special.size:
        return along, sines
    made = [_around_pole(longitudes[at], sines[at], is_pole[at]) for at in special]
    most = max(len(one) for one in made)
    wide = [
        np.pad(one, ((0, 0), (0, max(0, most - one.shape[1]))), "edge") for one in (along, sines)
    ]
    for at, one in zip(special, made, strict=True):
        padded = np.pad(np.array(one), ((0, wide[0].shape[1] - len(one)), (0, 0)), "edge")
        wide[0][at], wide[1][at] = padded.T
    return wide[0], wide[1]


def _around_pole(longitudes: Floats, sines: Floats, is_pole: Flags) -> list[tuple[float, float]]:
    """Return the vertices of a polygon that holds a pole, or has it for a vertex, flat."""
    away = np.flatnonzero(~is_pole)
    if not away.size:
        return [(float(longitudes[0]), float(sines[0]))] * 3
    start, many = int(away[0]), len(longitudes)
    at = float(longitudes[start])
    found = [(at, float(sines[start]))]
    pole: float | None = None
    before = start
    for number in [(start + step) % many for step in range(1, many + 1)]:
        if is_pole[number]:
            pole = float(np.sign(sines[number]))
            continue
        following = at + float(turn_of(longitudes[number] - longitudes[before]))
        if pole is not None:
            found += [(at, pole), (following, pole)]
            pole = None
        at, before = following, number
        found.append((at, float(sines[number])))
    if abs(found[-1][0] - found[0][0]) > TURN / 2:
        side = float(np.sign(sines[start]))
        found += [(found[-1][0], side), (found[0][0], side)]
    return found
