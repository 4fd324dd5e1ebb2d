"""Draws what the demo built: the band's anomaly, and when its months became visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gridmill.demo.reader import ReaderReport, Sighting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Release", "Run", "Timeline", "band_anomaly", "nino34", "plot_demo"]

# The picture begins and ends at Africa's coasts, so that the three oceans stay whole.
WEST, EAST = 38.0, 373.0
OCEANS = {"Indian Ocean": 72.0, "Pacific Ocean": 210.0, "Atlantic Ocean": 335.0}
# What the world's weather services called these seasons.
EPISODES = (
    ("La Niña", "2007-12-20", 195.0, 14),
    ("El Niño", "2009-12-20", 195.0, 14),
    ("La Niña", "2010-08-25", 232.0, 10),
)
NINO34 = (190.0, 240.0)
LIMIT_K = 2.4
INK, QUIET, FAINT, LAND = "#22303c", "#55636f", "#8a97a3", "#cfd3d6"
WARM, COLD, RELEASED = "#b2182b", "#2166ac", "#e08214"


@dataclass(frozen=True)
class Release:
    """When the provider released something.

    Parameters
    ----------
    name
        What.
    positions
        Length of the archive's append dim once it is all in.
    time
        Seconds since 1970.
    """

    name: str
    positions: int
    time: float


@dataclass(frozen=True)
class Run:
    """A backfill or an update: when it ran (seconds since 1970), and for which release."""

    release: str
    started: float
    ended: float
    published: bool


@dataclass(frozen=True)
class Timeline:
    """What happened during the demo, in order.

    Parameters
    ----------
    started
        Seconds since 1970 at which the picture's clock begins.
    """

    started: float
    releases: Sequence[Release]
    runs: Sequence[Run]
    reader: ReaderReport

    def sightings_of(self, release: Release) -> list[Sighting]:
        """Return the extents that the reader saw of a release; the last has all of it."""
        before = max(
            (r.positions for r in self.releases if r.positions < release.positions), default=0
        )
        return [s for s in self.reader.sightings if before < s.positions <= release.positions]


def band_anomaly(temperature: xr.DataArray) -> xr.DataArray:
    """Return the latitude mean of the departure from each calendar month's mean.

    Parameters
    ----------
    temperature
        Dims time, latitude, longitude, K; NaN over land.

    Returns
    -------
    xr.DataArray
        Dims time, longitude, K; NaN where all latitudes are land.
    """
    band = temperature.load().mean("latitude", skipna=True, keep_attrs=True)
    months = band.groupby("time.month")
    anomaly: xr.DataArray = months - months.mean("time")
    return anomaly.drop_vars("month")


def nino34(temperature: xr.DataArray) -> xr.DataArray:
    """Return the mean anomaly between 170° W and 120° W, the index of El Niño, in K along time."""
    return band_anomaly(temperature).sel(longitude=slice(*NINO34)).mean("longitude")


def plot_demo(temperature: xr.DataArray, timeline: Timeline, path: Path) -> None:
    """Draw a Hovmöller diagram of the anomaly, and below it the timeline, as a PNG.

    Parameters
    ----------
    temperature
        As of `band_anomaly`.
    timeline
        What happened.
    path
        The picture.
    """
    import matplotlib
    from matplotlib.figure import Figure

    style: Any = {
        "font.size": 10,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": FAINT,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.linewidth": 0.8,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(11, 11.5), dpi=140, facecolor="white")
        hovmoeller, index, colours, arrivals = _panels(figure)
        _draw_hovmoeller(hovmoeller, band_anomaly(temperature), colours)
        _draw_index(index, nino34(temperature))
        _mark_updates(index, temperature, timeline)
        _draw_arrivals(arrivals, timeline)
        figure.savefig(path)


def _panels(figure: Figure) -> tuple[Axes, Axes, Axes, Axes]:
    hovmoeller = figure.add_axes((0.085, 0.365, 0.68, 0.53))
    index = figure.add_axes((0.79, 0.365, 0.13, 0.53), sharey=hovmoeller)
    colours = figure.add_axes((0.085, 0.312, 0.3, 0.011))
    arrivals = figure.add_axes((0.22, 0.055, 0.7, 0.155))
    text: dict[str, Any] = {"x": 0.085, "va": "center"}
    title = "Sea surface temperature along the equator, 2006 – 2010"
    figure.text(y=0.97, s=title, fontsize=17, fontweight="bold", **text)
    told = (
        "Departure from each calendar month’s mean, averaged over 5° S – 5° N. "
        "Met Office OSTIA, read back from the archive that gridmill built."
    )
    figure.text(y=0.944, s=told, fontsize=10, color=QUIET, **text)
    title = "When each month became visible to a reader"
    figure.text(y=0.258, s=title, fontsize=14, fontweight="bold", **text)
    return hovmoeller, index, colours, arrivals


# -- the Hovmöller diagram --------------------------------------------------------------------


def _draw_hovmoeller(axes: Axes, anomaly: xr.DataArray, colours: Axes) -> None:
    rolled = anomaly.assign_coords(longitude=(anomaly.longitude - WEST) % 360 + WEST)
    rolled = rolled.sortby("longitude").sel(longitude=slice(WEST, EAST))
    axes.set_facecolor(LAND)
    shades = axes.contourf(
        rolled.longitude,
        rolled.time,
        rolled,
        levels=np.linspace(-LIMIT_K, LIMIT_K, 25),
        cmap="RdBu_r",
        extend="both",
    )
    axes.set_ylim(rolled.time.values[-1], rolled.time.values[0])
    _write_years(axes)
    axes.set_xlim(WEST, EAST)
    ticks = np.arange(60, EAST, 60)
    axes.set_xticks(ticks, [_longitude_name(t) for t in ticks.tolist()])
    for name, longitude in OCEANS.items():
        place: dict[str, Any] = {
            "transform": axes.get_xaxis_transform(),
            "ha": "center",
            "va": "bottom",
        }
        axes.text(longitude, 1.008, name, fontsize=10.5, color=QUIET, **place)
    _name_episodes(axes)
    _explain_colours(axes, colours, shades)


def _name_episodes(axes: Axes) -> None:
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=2.5, foreground="white", alpha=0.75)]
    for name, date, longitude, size in EPISODES:
        time: Any = np.datetime64(date)
        look: dict[str, Any] = {"fontweight": "bold", "path_effects": halo, "fontsize": size}
        axes.text(longitude, time, name, ha="center", va="center", **look)


def _explain_colours(axes: Axes, colours: Axes, shades: Any) -> None:
    ticks = np.arange(-2, 3)
    bar = axes.figure.colorbar(shades, cax=colours, orientation="horizontal", ticks=ticks)
    bar.set_ticklabels([f"{t:+d}".replace("-", "−") if t else "0" for t in ticks.tolist()])
    bar.outline.set_visible(False)
    text = "K   warmer or colder than usual;  grey: land"
    colours.text(1.06, 0.4, text, transform=colours.transAxes, va="center", color=QUIET)


def _write_years(axes: Axes) -> None:
    import matplotlib.dates

    dates: Any = matplotlib.dates  # its types are incomplete
    axes.yaxis.set_major_locator(dates.YearLocator())
    axes.yaxis.set_major_formatter(dates.DateFormatter("%Y"))
    axes.yaxis.set_minor_locator(dates.MonthLocator((4, 7, 10)))


def _longitude_name(degrees: float) -> str:
    """Name a longitude.

    Examples
    --------
    >>> _longitude_name(210), _longitude_name(180), _longitude_name(60)
    ('150° W', '180°', '60° E')
    """
    east = (degrees + 180) % 360 - 180
    if east in (-180, 0):
        return f"{abs(east):.0f}°"
    return f"{abs(east):.0f}° {'E' if east > 0 else 'W'}"


def _draw_index(axes: Axes, index: xr.DataArray) -> None:
    axes.fill_betweenx(index.time, 0, index.where(index > 0, 0), color=WARM, alpha=0.8, lw=0)
    axes.fill_betweenx(index.time, 0, index.where(index < 0, 0), color=COLD, alpha=0.8, lw=0)
    axes.plot(index, index.time, color=INK, lw=0.8)
    axes.axvline(0, color=INK, lw=0.6)
    limit = 1.15 * float(np.abs(index).max())
    axes.set_xlim(-limit, limit)
    axes.set_xticks((-1, 0, 1), ("−1", "0", "1 K"))
    axes.set_title("Niño 3.4\n170° – 120° W", fontsize=9.5, color=QUIET)
    axes.tick_params(axis="y", which="both", left=False, labelleft=False)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _mark_updates(axes: Axes, temperature: xr.DataArray, timeline: Timeline) -> None:
    """Bracket the months that arrived while the reader watched."""
    backfilled = timeline.releases[0].positions
    times = temperature.time.values
    half = np.timedelta64(10, "D")
    look: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "clip_on": False}
    for name, months, colour, align in (
        ("backfill", times[:backfilled], FAINT, "center"),
        ("updates", times[backfilled:], RELEASED, "bottom"),
    ):
        ends = months[0] - half, months[-1] + half
        axes.plot((1.06, 1.06), ends, color=colour, lw=3, solid_capstyle="butt", **look)
        middle = ends[1] if align == "bottom" else ends[0] + (ends[1] - ends[0]) / 2
        axes.text(1.13, middle, name, color=colour, rotation=270, va=align, fontsize=9.5, **look)


# -- the timeline -----------------------------------------------------------------------------


def _draw_arrivals(axes: Axes, timeline: Timeline) -> None:
    names = [release.name for release in timeline.releases]
    for run in timeline.runs:
        _draw_run(axes, names.index(run.release), run, timeline.started)
    for row, release in enumerate(timeline.releases):
        _draw_arrival(axes, row, release, timeline)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.6)
    ends = [run.ended for run in timeline.runs] + [s.time for s in timeline.reader.sightings]
    axes.set_xlim(0, 1.08 * (max(ends) - timeline.started))
    axes.set_xlabel("seconds since the archive opened")
    axes.tick_params(axis="y", length=0, pad=10)
    axes.grid(axis="x", color="#e6e9ec", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    _write_legend(axes, timeline)


def _draw_run(axes: Axes, row: int, run: Run, zero: float) -> None:
    started, ended = run.started - zero, run.ended - zero
    axes.barh(row, ended - started, left=started, height=0.42, color="#dbe5ee", lw=0)
    if not run.published:
        text = "nothing released yet:\nthe extent stays"
        look: dict[str, Any] = {"fontsize": 8.5, "color": QUIET, "linespacing": 1.1}
        place: dict[str, Any] = {"xytext": (-6, 0), "textcoords": "offset points"}
        axes.annotate(text, (started, row), ha="right", va="center", **place, **look)


def _draw_arrival(axes: Axes, row: int, release: Release, timeline: Timeline) -> None:
    released = release.time - timeline.started
    seen = [sighting.time - timeline.started for sighting in timeline.sightings_of(release)]
    axes.plot(released, row, "o", color=RELEASED, ms=8, zorder=3, clip_on=False)
    if not seen:
        return
    axes.plot((released, seen[-1]), (row, row), color=INK, lw=1.2, zorder=2)
    axes.plot(seen[:-1], [row] * len(seen[:-1]), "|", color=INK, ms=12, mew=1.5, zorder=3)
    axes.plot(seen[-1], row, "o", color=COLD, ms=8, zorder=3)
    axes.annotate(
        f"{seen[-1] - released:.1f} s",
        (seen[-1], row),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        fontsize=9.5,
        fontweight="bold",
    )


def _write_legend(axes: Axes, timeline: Timeline) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    dots: dict[str, Any] = {"ls": "", "marker": "o", "ms": 7}
    handles: list[Any] = [
        Line2D([], [], color=RELEASED, label="released by the provider", **dots),
        Patch(color="#dbe5ee", label="gridmill runs"),
        Line2D([], [], color=COLD, label="visible to the reader", **dots),
    ]
    if any(len(timeline.sightings_of(release)) > 1 for release in timeline.releases):
        part = Line2D([], [], color=INK, ls="", marker="|", ms=10, mew=1.5, label="part of it")
        handles.append(part)
    reader = timeline.reader
    look: dict[str, Any] = {"frameon": False, "fontsize": 9.5, "handletextpad": 0.5}
    place = (0.085, 0.236)
    axes.figure.legend(
        handles=handles, loc="center left", bbox_to_anchor=place, ncols=4, borderpad=0, **look
    )
    violations = f"{reader.n_violations} violation{'s' * (reader.n_violations != 1)}"
    told = f"{reader.opens} opens of the store, {violations}"
    colour = WARM if reader.n_violations else "#3b7d4f"
    axes.figure.text(0.92, 0.236, told, ha="right", va="center", fontsize=9.5, color=colour)
