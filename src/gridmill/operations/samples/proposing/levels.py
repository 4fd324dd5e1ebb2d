"""Levels of GRIB messages in words, as NOAA's inventories call them. Pure."""

from __future__ import annotations

from gridmill.sources.grib.identity import Surface

__all__ = ["PRESSURE", "level_suffix", "level_words"]

PRESSURE = 100
# GRIB2 code table 4.5, and those of GRIB1's table 3 that are written alike.
WORDS = {
    1: "surface", 2: "cloud base", 3: "cloud top", 4: "0C isotherm", 6: "max wind",
    7: "tropopause", 8: "top of atmosphere", 10: "entire atmosphere", 101: "mean sea level",
    200: "entire atmosphere (considered as a single layer)", 214: "low cloud layer",
    220: "planetary boundary layer", 224: "middle cloud layer", 234: "high cloud layer",
}  # fmt: skip
UNITS = {
    100: ("mb", 100.0, "hpa"), 102: ("m above mean sea level", 1.0, "m_above_sea_level"),
    103: ("m above ground", 1.0, "m"), 104: ("sigma level", 1.0, "sigma"),
    105: ("hybrid level", 1.0, "hybrid"), 106: ("m below ground", 1.0, "m_below_ground"),
    108: ("mb above ground", 100.0, "hpa_above_ground"), 107: ("K isentropic level", 1.0, "k"),
    150: ("generalized vertical height coordinate", 1.0, "level"),
    160: ("m below sea level", 1.0, "m_below_sea_level"),
}  # fmt: skip
SUFFIXES = {
    1: "surface", 8: "top_of_atmosphere", 10: "atmosphere", 200: "atmosphere",
    101: "mean_sea_level",
}  # fmt: skip


def level_words(first: Surface | None, second: Surface | None = None) -> str:
    """Say what a level is.

    Examples
    --------
    >>> level_words(Surface(103, 2.0)), level_words(Surface(106, 0.0), Surface(106, 0.1))
    ('2 m above ground', '0-0.1 m below ground')
    """
    if first is None:
        return "no level"
    if first.type in WORDS or first.type not in UNITS or first.value is None:
        named = WORDS.get(first.type, f"level type {first.type}")
        is_layer = second is not None and second.type == first.type
        return f"{named} {first.value:g}" if _has_number(first) and not is_layer else named
    unit, size, _ = UNITS[first.type]
    number = f"{first.value / size:g}"
    if second is not None and second.type == first.type and second.value is not None:
        number += f"-{second.value / size:g}"
    return f"{number} {unit}"


def level_suffix(first: Surface | None, second: Surface | None = None) -> str:
    """Return what a variable's name ends with: ``"2m"``, ``"500hpa"``; nothing for no level."""
    if first is None:
        return ""
    if first.type not in UNITS or first.value is None:
        return SUFFIXES.get(first.type) or WORDS.get(first.type, f"level_{first.type}")
    _, size, suffix = UNITS[first.type]
    number = f"{first.value / size:g}"
    if second is not None and second.type == first.type and second.value is not None:
        number += f"_{second.value / size:g}"
    return f"{number}{suffix}"


def _has_number(surface: Surface) -> bool:
    return surface.type not in WORDS and bool(surface.value)
