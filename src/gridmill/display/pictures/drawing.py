"""Pictures of an archive: availability, and map, histogram and time series of a variable.

Nothing is fetched: maps are drawn without coastlines, on the archive's own grid. Colours are those
of Crameri (2018, *Scientific colour maps*), which read well in print and for everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gridmill.display.pictures.fields import Field, counterpart, newest_field, reference_field
from gridmill.display.pictures.looks import (
    ABSENT,
    EMPTY,
    INK,
    LINE,
    OTHER,
    QUIET,
    WIDTH_IN,
    Picture,
    as_picture,
    as_png,
    date_axis,
    make_figure,
    make_plain,
)
from gridmill.model.variables import DataVar
from gridmill.validation.checks.values import series_of
from gridmill.validation.context import Context

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["availability_picture", "map_picture", "variable_picture"]

Values = np.ndarray[Any, Any]

# Of a picture: more columns than it has pixels say nothing.
MOST_COLUMNS = 720
# In %: beyond, a histogram shows the others by their orders of magnitude.
MOST_IN_ONE_BIN = 60
# What is zero in the middle, and what has many small values.
SIGNED = ("wind", "flux", "anomaly", "tendency", "velocity")
WARMTH = ("temperature",)
WATER = ("precipitation", "rain", "snow", "humidity", "water", "cloud", "ice", "vapor")


def availability_picture(context: Context) -> Picture:
    """Draw variables against time: how much of each position has values.

    Returns
    -------
    Picture
    """
    varying = [var for var in context.variables if context.config.varies(var)]
    rows = np.stack([_available(context, var) for var in varying])
    shown = _in_columns(rows)
    figure = make_figure(0.75 + 0.24 * len(varying))
    axes = figure.add_subplot()
    x, is_dated = _times(context)
    step = (x[-1] - x[0]) / max(1, len(x) - 1) or 1.0
    colours = _colours("bamako_r").with_extremes(under=ABSENT)
    image = axes.imshow(
        np.where(shown <= 0, -1, shown),
        aspect="auto",
        interpolation="nearest",
        cmap=colours,
        vmin=0,
        vmax=1,
        extent=(x[0] - step / 2, x[-1] + step / 2, len(varying) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(varying)), [var.name for var in varying])
    for border in np.arange(len(varying) - 1) + 0.5:
        axes.axhline(border, color="white", linewidth=2)
    if is_dated:
        date_axis(axes)
    make_plain(axes)
    bar = figure.colorbar(image, ax=axes, pad=0.012, aspect=12, extend="min", extendfrac=0.12)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 0.5, 1], labels=["some", "half", "all"])
    bar.ax.tick_params(labelsize=8, colors=QUIET, length=0)
    return as_picture(figure)


def variable_picture(
    context: Context, var: DataVar, reference: xr.Dataset | None = None
) -> Picture | None:
    """Draw map, histogram and time series of a variable, beside those of a reference.

    Returns
    -------
    Picture or None
        None if nothing can be drawn.
    """
    ours = newest_field(context, var)
    if ours is None:
        return None
    theirs = None if reference is None else reference_field(context, reference, var)
    fields = [field for field in (ours, theirs) if field is not None]
    height = 2.9 if theirs is None else 3.4
    heights = [height, 1.9] if context.config.varies(var) else [height]
    figure = make_figure(sum(heights))
    parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    top = parts[0, 0]
    widths = [*([1.6] * len(fields)), 1.0]
    maps = top.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
    limits = _centred(_limits(fields), var)
    for axes, field, who in zip(maps, fields, ("", "reference"), strict=False):
        _draw_map(top, axes, field, var, limits, who)
    _draw_histogram(maps[-1], fields, var)
    if context.config.varies(var):
        _draw_series(parts[1, 0].subplots(), context, var, reference)
    return as_picture(figure)


def map_picture(field: Field, var: DataVar) -> bytes:
    """Draw the map of one field; a PNG."""
    axes = (figure := make_figure(5.6)).add_subplot()
    limits = _centred(_limits([field]), var)
    _draw_map(figure, axes, field, var, limits, str(var.attrs["long_name"]))
    if not isinstance(aspect := axes.get_aspect(), str):
        # As high as the map: a band along the equator is no square.
        shape = aspect * np.ptp(field.y) / np.ptp(field.x)
        figure.set_size_inches(WIDTH_IN, float(np.clip(0.85 * WIDTH_IN * shape + 0.9, 2, 7)))
    return as_png(figure)


def _draw_map(
    figure: Any, axes: Axes, field: Field, var: DataVar, limits: tuple[float, float], who: str
) -> None:
    axes.set_facecolor(EMPTY)
    mesh = axes.pcolormesh(
        field.x,
        field.y,
        field.values,
        cmap=_colours_of(var, limits),
        vmin=limits[0],
        vmax=limits[1],
        shading="nearest",
        rasterized=True,
    )
    if field.is_geographic:
        # As wide as long in the middle; a narrow band is drawn higher, to be seen at all.
        true = 1 / np.clip(np.cos(np.deg2rad(np.mean(field.y))), 0.35, 1)
        shape = np.ptp(field.x) / max(np.ptp(field.y), 1e-9)
        axes.set_aspect(float(np.clip(true, 0.2 * shape, 2 * shape)))
    elif np.ptp(field.x) and np.ptp(field.y):
        axes.set_aspect("equal")
    axes.set_title(" – ".join(filter(None, [who, field.title])), fontsize=9, color=INK, loc="left")
    make_plain(axes)
    axes.locator_params(nbins=5)
    bar = figure.colorbar(mesh, ax=axes, pad=0.02, aspect=28)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, colors=QUIET, length=2)
    bar.ax.locator_params(nbins=6)
    bar.set_label(str(var.attrs["units"]), fontsize=8, color=QUIET)


def _draw_histogram(axes: Axes, fields: Sequence[Field], var: DataVar) -> None:
    low, high = _limits(fields, share=0.0)
    bins = np.linspace(low, high, 49)
    for field, colour, label in zip(fields, (LINE, OTHER), ("archive", "reference"), strict=False):
        values = field.values[np.isfinite(field.values)]
        weights = np.full(values.size, 100 / max(1, values.size))
        axes.hist(
            values,
            bins=list(bins),
            weights=weights,
            color=colour,
            alpha=0.75 if colour == LINE else 0.5,
            label=label,
        )
    axes.set_title("% of the values of this field", fontsize=9, color=INK, loc="left")
    axes.set_xlabel(str(var.attrs["units"]), fontsize=8, color=QUIET)
    if len(fields) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=INK)
    make_plain(axes)
    axes.locator_params(nbins=5)
    if axes.dataLim.y1 > MOST_IN_ONE_BIN:
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.yaxis.set_major_formatter("{x:g}")


def _draw_series(axes: Axes, context: Context, var: DataVar, reference: xr.Dataset | None) -> None:
    x, is_dated = _times(context)
    stats = context.statistics(var)
    mean, low, high, spread = (
        series_of(stats, var, context, name) for name in ("mean", "minimum", "maximum", "std")
    )
    axes.fill_between(
        x, low, high, color=LINE, alpha=0.13, linewidth=0, label="smallest to largest"
    )
    axes.fill_between(
        x, mean - spread, mean + spread, color=LINE, alpha=0.25, linewidth=0, label="± spread"
    )
    axes.plot(x, mean, color=LINE, linewidth=1.3, label="mean of the field")
    beside = None if reference is None else counterpart(reference, var)
    if reference is not None and beside is not None and is_dated:
        times, means = _reference_series(context, reference[beside])
        if len(times):
            axes.plot(_dates(times), means, color=OTHER, linewidth=1.3, label="reference")
    for at in _missing_spans(mean):
        axes.axvspan(x[at.start], x[at.stop - 1], color=ABSENT, alpha=0.25, linewidth=0)
    if is_dated:
        date_axis(axes)
    axes.margins(x=0.005)
    axes.set_ylabel(str(var.attrs["units"]), fontsize=8, color=QUIET)
    axes.legend(
        frameon=False, fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), labelcolor=INK
    )
    axes.set_title("over the whole period", fontsize=9, color=INK, loc="left")
    make_plain(axes)
    axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)


def _reference_series(context: Context, array: xr.DataArray) -> tuple[Any, Values]:
    """Return the reference's means over the selected period, at up to 60 positions."""
    dim = context.append_dim
    if dim not in array.dims:
        return [], np.empty(0)
    first, last = (
        context.labels[context.positions.start],
        context.labels[context.positions.stop - 1],
    )
    inside = array.sel({dim: slice(first, last)})
    inside = inside.isel({dim: slice(None, None, max(1, inside.sizes[dim] // 60))})
    means = inside.mean([other for other in inside.dims if other != dim])
    return inside[dim].values, means.values


def _missing_spans(series: Values) -> Iterator[slice]:
    edges = np.flatnonzero(
        np.diff(np.concatenate([[False], np.isnan(series), [False]]).astype(int))
    )
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(start), int(stop))


def _available(context: Context, var: DataVar) -> Values:
    """Return by position the part of its values that are there, of those that ever are."""
    stats = context.statistics(var)
    valid = stats.fields["valid"].values.astype(float)
    valid = valid.reshape(len(valid), -1)
    most = valid.max(axis=0, initial=0)
    if not most.any():
        return np.zeros(len(valid))
    # What never has a value, like lead 0 of an accumulation, is not missed.
    rows: Values = (valid[:, most > 0] / most[most > 0]).mean(axis=1)
    return rows


def _in_columns(rows: Values) -> Values:
    """Join neighbouring positions until there are few enough: the worst of them is shown."""
    joined = -(-rows.shape[1] // MOST_COLUMNS)
    edges = np.arange(0, rows.shape[1], joined)
    result: Values = np.minimum.reduceat(rows, edges, axis=1)
    return result


def _times(context: Context) -> tuple[Values, bool]:
    """Return the positions' labels as numbers, and whether these are matplotlib's dates."""
    labels = context.labels[context.positions]
    if hasattr(labels, "to_numpy") and np.asarray(labels).dtype.kind == "M":
        return _dates(labels.to_numpy()), True
    return np.array([label.year + (label.dayofyr - 1) / 365 for label in labels]), False


def _dates(times: Any) -> Values:
    """Return times as matplotlib's numbers: days."""
    import matplotlib.dates as mdates

    return np.asarray(mdates.date2num(times), float)  # type: ignore[no-untyped-call]


def _limits(fields: Sequence[Field], share: float = 0.5) -> tuple[float, float]:
    """Return where most values are, in all fields; `share` is the percentage cut at each end."""
    values = np.concatenate([field.values[np.isfinite(field.values)] for field in fields])
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, [share, 100 - share]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _colours_of(var: DataVar, limits: tuple[float, float]) -> Any:
    if any(word in _words(var) for word in WARMTH):
        return _colours("roma_r")
    if _is_signed(var, limits):
        return _colours("vik")
    return _colours("davos_r" if any(word in _words(var) for word in WATER) else "batlow")


def _centred(limits: tuple[float, float], var: DataVar) -> tuple[float, float]:
    return (-(high := max(map(abs, limits))), high) if _is_signed(var, limits) else limits


def _is_signed(var: DataVar, limits: tuple[float, float]) -> bool:
    """Whether zero is the middle of what a variable can be."""
    return limits[0] < 0 < limits[1] and any(word in _words(var) for word in SIGNED)


def _words(var: DataVar) -> str:
    names = (var.name, var.attrs.get("standard_name", ""), var.attrs.get("long_name", ""))
    return " ".join(map(str, names)).lower()


def _colours(name: str) -> Any:
    from cmcrameri import cm

    return getattr(cm, name)
