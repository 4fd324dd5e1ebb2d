"""Pictures of an archive: availability, and map, histogram and time series of a variable.

Nothing is fetched: maps are drawn without coastlines, on the archive's own grid. Colours are those
of Crameri (2018, *Scientific colour maps*), which read well in print and for everybody.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from gridmill.model.variables import DataVar
from gridmill.validation.checks.values import series_of
from gridmill.validation.context import Context
from gridmill.validation.statistics.profiles import field_dims

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["availability_picture", "field_of", "map_picture", "newest_field", "variable_picture"]

Values = np.ndarray[Any, Any]

# Of a picture: more columns than it has pixels say nothing.
MOST_COLUMNS = 720
# Of a map along each dim.
MOST_CELLS = 900
INK, QUIET, LINE, OTHER = "#22303c", "#6b7883", "#1f6fa8", "#d0741c"
# Nothing is there.
ABSENT = "#c8102e"
# In %: beyond, a histogram shows the others by their orders of magnitude.
MOST_IN_ONE_BIN = 60
WIDTH_IN = 10.6
DPI = 110
# What is zero in the middle, and what has many small values.
SIGNED = ("wind", "flux", "anomaly", "tendency", "velocity")
WARMTH = ("temperature",)
WATER = ("precipitation", "rain", "snow", "humidity", "water", "cloud", "ice", "vapor")


@dataclass(frozen=True)
class Field:
    """One horizontal field, thinned for a map.

    Parameters
    ----------
    values
        Two-dimensional.
    x, y
        Coordinates of its columns and rows; positions where the grid has none.
    title
        Which it is.
    labels
        By dim, where along the others it is.
    is_geographic
        Whether x and y are longitudes and latitudes in degrees.
    """

    values: Values
    x: Values
    y: Values
    title: str
    labels: Mapping[str, Any]
    is_geographic: bool


def newest_field(context: Context, var: DataVar) -> Field | None:
    """Read the newest field of a variable that has a value, of a middle lead, the first member."""
    dims = field_dims(var, context.config.coords, context.append_dim)
    if len(dims) != 2 or not context.published:
        return None
    stats = context.statistics(var)
    valid = stats.fields["valid"]
    others = [dim for dim in valid.dims if dim != context.append_dim]
    at = {dim: valid.sizes[dim] // 2 if "lead" in str(dim) else 0 for dim in others}
    if context.config.varies(var):
        there = np.flatnonzero(valid.isel(at).values)
        if not there.size:
            return None
        at[context.append_dim] = int(there[-1]) + stats.start
    return field_of(context.ds[var.name], {str(k): v for k, v in at.items()}, dims)


def reference_field(context: Context, reference: xr.Dataset, var: DataVar) -> Field | None:
    """Read the field of a reference dataset that is nearest to `newest_field`."""
    name = _counterpart(reference, var)
    ours = newest_field(context, var)
    if name is None or ours is None:
        return None
    theirs = reference[name]
    *others, y, x = map(str, theirs.dims)
    return field_of(
        theirs, {dim: _nearest(theirs, dim, ours.labels.get(dim)) for dim in others}, (y, x)
    )


def _nearest(array: xr.DataArray, dim: str, label: Any) -> int:
    """Give the position of the nearest label; the first where there is nothing to compare."""
    if label is None or dim not in array.indexes:
        return 0
    index = array.get_index(dim)
    return int(index.get_indexer(index[:0].insert(0, label), method="nearest")[0])


def _counterpart(reference: xr.Dataset, var: DataVar) -> str | None:
    """Give the reference's variable of the same name, or else of the same standard name."""
    if var.name in reference:
        return var.name
    wanted = var.attrs.get("standard_name")
    same = [
        str(n) for n, v in reference.items() if wanted and v.attrs.get("standard_name") == wanted
    ]
    return same[0] if len(same) == 1 else None


def field_of(array: xr.DataArray, at: Mapping[str, int], dims: Sequence[str]) -> Field:
    """Read one field, thinned, at positions along all but its two dims."""
    thin = {dim: slice(None, None, -(-array.sizes[dim] // MOST_CELLS)) for dim in dims}
    cut = array.isel({**at, **thin}).transpose(*dims).load()
    labels = {dim: cut[dim] for dim in at if dim in cut.coords}
    title = ", ".join(f"{dim} {_label(value.values)}" for dim, value in labels.items())
    y, x = (_axis(cut, dim) for dim in dims)
    units = [str(cut[dim].attrs.get("units", "")) for dim in dims if dim in cut.coords]
    is_geographic = [unit[:9] for unit in units] == ["degrees_n", "degrees_e"]
    indexed = {dim: array.get_index(dim)[position] for dim, position in at.items()}
    return Field(cut.values.astype(float), x, y, title, indexed, is_geographic)


def _axis(cut: xr.DataArray, dim: str) -> Values:
    return np.asarray(cut[dim].values if dim in cut.coords else np.arange(cut.sizes[dim]), float)


def _label(value: Values) -> str:
    if value.dtype.kind == "M":
        return str(np.datetime_as_string(value, unit="m")).replace("T00:00", "")
    if value.dtype.kind == "m":
        return f"{value / np.timedelta64(1, 'h'):g} h"
    item = value.item()
    return f"{item:g}" if isinstance(item, float) else str(item).removesuffix(" 00:00:00")


# -- pictures ---------------------------------------------------------------------------------


def availability_picture(context: Context) -> str:
    """Draw variables against time: how much of each position has values.

    Returns
    -------
    str
        A data URI of a PNG.
    """
    varying = [var for var in context.variables if context.config.varies(var)]
    rows = np.stack([_available(context, var) for var in varying])
    shown = _in_columns(rows)
    figure = _figure(0.75 + 0.24 * len(varying))
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
        _date(axes)
    _plain(axes)
    bar = figure.colorbar(image, ax=axes, pad=0.012, aspect=12, extend="min", extendfrac=0.12)
    bar.outline.set_visible(False)
    bar.set_ticks([0, 0.5, 1], labels=["some", "half", "all"])
    bar.ax.tick_params(labelsize=8, colors=QUIET, length=0)
    return _as_uri(figure)


def variable_picture(
    context: Context, var: DataVar, reference: xr.Dataset | None = None
) -> str | None:
    """Draw map, histogram and time series of a variable, beside those of a reference.

    Returns
    -------
    str or None
        A data URI of a PNG; None if nothing can be drawn.
    """
    ours = newest_field(context, var)
    if ours is None:
        return None
    theirs = None if reference is None else reference_field(context, reference, var)
    fields = [field for field in (ours, theirs) if field is not None]
    height = 2.9 if theirs is None else 3.4
    heights = [height, 1.9] if context.config.varies(var) else [height]
    figure = _figure(sum(heights))
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
    return _as_uri(figure)


def map_picture(field: Field, var: DataVar) -> bytes:
    """Draw the map of one field; a PNG."""
    axes = (figure := _figure(5.6)).add_subplot()
    limits = _centred(_limits([field]), var)
    _draw_map(figure, axes, field, var, limits, str(var.attrs["long_name"]))
    if not isinstance(aspect := axes.get_aspect(), str):
        # As high as the map: a band along the equator is no square.
        shape = aspect * np.ptp(field.y) / np.ptp(field.x)
        figure.set_size_inches(WIDTH_IN, float(np.clip(0.85 * WIDTH_IN * shape + 0.9, 2, 7)))
    return _as_png(figure)


def _draw_map(
    figure: Any, axes: Axes, field: Field, var: DataVar, limits: tuple[float, float], who: str
) -> None:
    axes.set_facecolor("#dfe3e6")
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
    _plain(axes)
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
    _plain(axes)
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
    beside = None if reference is None else _counterpart(reference, var)
    if reference is not None and beside is not None and is_dated:
        times, means = _reference_series(context, reference[beside])
        if len(times):
            axes.plot(_dates(times), means, color=OTHER, linewidth=1.3, label="reference")
    for at in _missing_spans(mean):
        axes.axvspan(x[at.start], x[at.stop - 1], color=ABSENT, alpha=0.25, linewidth=0)
    if is_dated:
        _date(axes)
    axes.margins(x=0.005)
    axes.set_ylabel(str(var.attrs["units"]), fontsize=8, color=QUIET)
    axes.legend(
        frameon=False, fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), labelcolor=INK
    )
    axes.set_title("over the whole period", fontsize=9, color=INK, loc="left")
    _plain(axes)
    axes.grid(axis="y", color=QUIET, alpha=0.18, linewidth=0.6)


def _reference_series(context: Context, array: xr.DataArray) -> tuple[Any, Values]:
    """Give the reference's means over the selected period, at up to 60 positions."""
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
    """Give by position the part of its values that are there, of those that ever are."""
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
    """Give the positions' labels as numbers, and whether these are matplotlib's dates."""
    labels = context.labels[context.positions]
    if hasattr(labels, "to_numpy") and np.asarray(labels).dtype.kind == "M":
        return _dates(labels.to_numpy()), True
    return np.array([label.year + (label.dayofyr - 1) / 365 for label in labels]), False


def _dates(times: Any) -> Values:
    """Give times as matplotlib's numbers: days."""
    import matplotlib.dates as mdates

    return np.asarray(mdates.date2num(times), float)  # type: ignore[no-untyped-call]


def _limits(fields: Sequence[Field], share: float = 0.5) -> tuple[float, float]:
    """Give where most values are, in all fields; `share` is the percentage left out at each end."""
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


def _figure(height: float) -> Figure:
    # No pyplot: it keeps figures, and is for one thread.
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height), dpi=DPI, layout="constrained", facecolor="white")


def _date(axes: Axes) -> None:
    """Let an axis of matplotlib's dates say as much of each as is new."""
    import matplotlib.dates as mdates

    axes.xaxis_date()
    locator = mdates.AutoDateLocator()  # type: ignore[no-untyped-call]
    formatter = mdates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)


def _plain(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(labelsize=8, colors=QUIET, length=2)
    axes.xaxis.get_offset_text().set(size=8, color=QUIET)
    axes.yaxis.get_offset_text().set(size=8, color=QUIET)


def _as_uri(figure: Figure) -> str:
    return f"data:image/png;base64,{b64encode(_as_png(figure)).decode()}"


def _as_png(figure: Figure) -> bytes:
    figure.savefig(content := BytesIO(), format="png")
    return content.getvalue()
