"""Series of fields as weather makes them, and as other units change them.

A field is a few hundred cells. What varies with time is a level: seasons, days, weather that comes
and goes within days (a first-order autoregression, as in von Storch and Zwiers 1999, Statistical
Analysis in Climate Research, ch. 10), and fronts, which pass within an hour. Skewed quantities are
what of a level is above a threshold: they are 0 in most cells most of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

N_CELLS = 400
Fields = np.ndarray
Rng = np.random.Generator
Kind = Callable[[Rng, int, float], Fields]


def weather(rng: Rng, n: int, step_h: float, days: float = 3.0) -> np.ndarray:
    """Give an autoregression of unit variance that forgets within some days, (n,)."""
    keeps = np.exp(-step_h / (24 * days))
    noise = rng.standard_normal(n) * np.sqrt(1 - keeps**2)
    noise[0] = rng.standard_normal()
    level = np.empty(n)
    level[0] = noise[0]
    for at in range(1, n):
        level[at] = keeps * level[at - 1] + noise[at]
    return level


def fronts(rng: Rng, n: int, step_h: float) -> np.ndarray:
    """Give air masses: a level that changes at once every five days or so, (n,)."""
    changes = rng.random(n) < step_h / 120
    masses = rng.standard_normal(n + 1)
    return masses[np.cumsum(changes)]


def season(rng: Rng, n: int, step_h: float) -> np.ndarray:
    """Give the seasons' sine from any day of the year on, (n,)."""
    return np.sin(2 * np.pi * (np.arange(n) * step_h / 8766 + rng.random()))


def day(rng: Rng, n: int, step_h: float) -> np.ndarray:
    """Give the day's sine, (n,); 0 where steps are days."""
    return np.sin(2 * np.pi * np.arange(n) * step_h / 24) if step_h < 24 else np.zeros(n)


def cells(rng: Rng, level: np.ndarray) -> Fields:
    """Give cells about a level, with a pattern that stays and one that goes, (n, cells)."""
    stays = rng.standard_normal(N_CELLS)
    return level[:, None] + stays + 0.5 * rng.standard_normal((len(level), N_CELLS))


def global_temperature(rng: Rng, n: int, step_h: float) -> Fields:
    """All of Earth, in K."""
    level = 287 + 2 * season(rng, n, step_h) + 0.3 * weather(rng, n, step_h)
    return level[:, None] + 15 * cells(rng, np.zeros(n))


def regional_temperature(rng: Rng, n: int, step_h: float) -> Fields:
    """A country, in K: seasons, days, highs and lows, fronts."""
    level = 285 + 11 * season(rng, n, step_h) + 5 * day(rng, n, step_h)
    level += 3 * weather(rng, n, step_h) + 3 * fronts(rng, n, step_h)
    return level[:, None] + 5 * cells(rng, np.zeros(n))


def local_temperature(rng: Rng, n: int, step_h: float) -> Fields:
    """A county, in K: all of it is in one air mass."""
    level = 285 + 11 * season(rng, n, step_h) + 5 * day(rng, n, step_h)
    level += 3 * weather(rng, n, step_h) + 5 * fronts(rng, n, step_h)
    return level[:, None] + cells(rng, np.zeros(n))


def pressure(rng: Rng, n: int, step_h: float) -> Fields:
    """At sea level, in Pa, of a continent."""
    return 101_300 + 500 * weather(rng, n, step_h)[:, None] + 700 * cells(rng, np.zeros(n))


def wind(rng: Rng, n: int, step_h: float) -> Fields:
    """A component, in m s-1, about a prevailing one."""
    prevailing = rng.uniform(-4, 4)
    return prevailing + 5 * cells(rng, weather(rng, n, step_h) + season(rng, n, step_h))


def heat_flux(rng: Rng, n: int, step_h: float) -> Fields:
    """Of latent heat, in W m-2, upward positive: much by day, little at night."""
    sun = np.maximum(day(rng, n, step_h), 0) if step_h < 24 else np.full(n, 0.4)
    level = sun * (1.3 + season(rng, n, step_h))
    return 15 * cells(rng, np.zeros(n)) + 150 * level[:, None] * np.exp(
        0.5 * cells(rng, np.zeros(n))
    )


def showers(rng: Rng, level: np.ndarray, threshold: float) -> Fields:
    """What of a level is above a threshold."""
    return np.maximum(cells(rng, level) - threshold, 0) ** 1.5


def global_rain(rng: Rng, n: int, step_h: float) -> Fields:
    """In kg m-2 s-1: it always rains somewhere."""
    return 1e-4 * showers(rng, 0.1 * weather(rng, n, step_h), 1.0)


def regional_rain(rng: Rng, n: int, step_h: float) -> Fields:
    """In kg m-2 s-1: dry days, and storms."""
    return 1e-4 * showers(rng, weather(rng, n, step_h) + fronts(rng, n, step_h), 2.0)


def monsoon(rng: Rng, n: int, step_h: float) -> Fields:
    """In kg m-2 s-1: months of drought, and then rain every day."""
    level = 3 * season(rng, n, step_h) + weather(rng, n, step_h)
    return 1e-4 * showers(rng, level, 1.5)


def snow(rng: Rng, n: int, step_h: float) -> Fields:
    """Lying, in m: it falls in storms, and melts in spring."""
    cold = season(rng, n, step_h)
    falls = 0.02 * showers(rng, weather(rng, n, step_h) + 2 * cold, 2.0) * step_h / 24
    melts = np.clip(-cold, 0, None) * 0.02 * step_h / 24
    lying = np.zeros((n, N_CELLS))
    for at in range(1, n):
        lying[at] = np.maximum(lying[at - 1] + falls[at] - melts[at], 0)
    return lying


def sea_ice(rng: Rng, n: int, step_h: float) -> Fields:
    """As a fraction of a sea that is free in summer."""
    return np.clip(cells(rng, 3 * season(rng, n, step_h)) - 1, 0, 1)


def sunshine(rng: Rng, n: int, step_h: float) -> Fields:
    """Reaching the ground, in W m-2, at 75 degrees north: a night of months."""
    declination = 23.4 * np.pi / 180 * season(rng, n, step_h)
    latitude = np.linspace(70, 80, N_CELLS) * np.pi / 180
    hour = 2 * np.pi * np.arange(n) * (step_h if step_h < 24 else 0) / 24
    height = np.sin(latitude) * np.sin(declination)[:, None]
    height = height + np.cos(latitude) * np.cos(declination)[:, None] * np.cos(hour)[:, None]
    clouds = 1 / (1 + np.exp(cells(rng, weather(rng, n, step_h))))
    return 1100 * np.maximum(height, 0) * (0.2 + 0.8 * clouds)


def clouds(rng: Rng, n: int, step_h: float) -> Fields:
    """Cover, in %."""
    return 100 / (1 + np.exp(-2 * cells(rng, 0.7 * weather(rng, n, step_h))))


def freezing_rain(rng: Rng, n: int, step_h: float) -> Fields:
    """Whether there is any: 0 or 1, and seldom."""
    return (cells(rng, weather(rng, n, step_h) + fronts(rng, n, step_h)) > 3.5).astype(float)


KINDS: Mapping[str, Kind] = {
    kind.__name__: kind
    for kind in (
        global_temperature,
        regional_temperature,
        local_temperature,
        pressure,
        wind,
        heat_flux,
        global_rain,
        regional_rain,
        monsoon,
        snow,
        sea_ice,
        sunshine,
        clouds,
        freezing_rain,
    )
}

# Cadences in hours, and how many positions an archive, or what an update looks at, may have.
CADENCES: Mapping[float, tuple[int, ...]] = {
    1: (24, 60, 200, 2000),
    6: (8, 28, 120, 1460),
    24: (30, 100, 730),
    730.5: (12, 60, 240),
}

# What may go wrong with a kind, in the order of KINDS.
CHANGES: Mapping[str, Callable[[Fields], Fields]] = {
    "K in degC": lambda x: x - 273.15,
    "degC in K": lambda x: x + 273.15,
    "K in degF": lambda x: x * 1.8 - 459.67,
    "a hundredth": lambda x: x / 100,
    "a hundredfold": lambda x: x * 100,
    "a thousandth": lambda x: x / 1000,
    "a thousandfold": lambda x: x * 1000,
    "per hour": lambda x: x * 3600,
    "per day": lambda x: x * 86_400,
    "geopotential": lambda x: x * 9.80665,
    "sign": lambda x: -x,
    "a tenth more": lambda x: x * 1.1,
    "a tenth less": lambda x: x * 0.9,
}
TEMPERATURES = ("global_temperature", "regional_temperature", "local_temperature")


def damages_of(kind: str) -> tuple[str, ...]:
    """Name the changes that a kind may suffer."""
    scale = ("a hundredth", "a hundredfold", "a thousandth", "a thousandfold")
    always = (*scale, "sign", "a tenth more", "a tenth less")
    if kind in TEMPERATURES:
        return ("K in degC", "K in degF", *always)
    return (*always, "per hour", "per day") if "rain" in kind or kind == "monsoon" else always
