"""How pictures look: sizes, inks, and the same picture for light and for dark ground."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "ABSENT",
    "EMPTY",
    "INK",
    "LINE",
    "OTHER",
    "QUIET",
    "WIDTH_IN",
    "Picture",
    "as_picture",
    "as_png",
    "date_axis",
    "make_figure",
    "make_plain",
]

GROUND, INK, QUIET, LINE, OTHER = "#ffffff", "#22303c", "#6b7883", "#1f6fa8", "#d0741c"
# Nothing is there: of a whole position, and of a cell of a map.
ABSENT, EMPTY = "#c8102e", "#dfe3e6"
# The page's own dark ground, and inks that read on it as those do on white.
DARK: Mapping[str, str] = {
    GROUND: "#15191e",
    INK: "#d7dde3",
    QUIET: "#98a4af",
    LINE: "#5aa9e0",
    OTHER: "#f0a35a",
    ABSENT: "#ff5a6e",
    EMPTY: "#2d343b",
}
WIDTH_IN = 10.6
DPI = 110


class Picture(NamedTuple):
    """A picture for a page: data URIs of two PNGs."""

    light: str
    dark: str


def make_figure(height: float) -> Figure:
    # No pyplot: it keeps figures, and is for one thread.
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH_IN, height), dpi=DPI, layout="constrained", facecolor=GROUND)


def date_axis(axes: Axes) -> None:
    """Let an axis of matplotlib's dates say as much of each as is new."""
    import matplotlib.dates as mdates

    axes.xaxis_date()
    locator = mdates.AutoDateLocator()  # type: ignore[no-untyped-call]
    formatter = mdates.ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(formatter)


def make_plain(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(labelsize=8, colors=QUIET, length=2)
    axes.xaxis.get_offset_text().set(size=8, color=QUIET)
    axes.yaxis.get_offset_text().set(size=8, color=QUIET)


def as_picture(figure: Figure) -> Picture:
    """Draw a figure twice; it keeps its dark inks."""
    light = _as_uri(as_png(figure))
    _darken(figure)
    return Picture(light, _as_uri(as_png(figure)))


def as_png(figure: Figure) -> bytes:
    figure.savefig(content := BytesIO(), format="png")
    return content.getvalue()


def _darken(figure: Figure) -> None:
    """Return everything that was drawn in one of our inks its counterpart on dark ground."""
    from matplotlib.colors import to_hex

    for artist in figure.findobj():
        for name in ("color", "facecolor", "edgecolor"):
            get, put = (getattr(artist, f"{verb}_{name}", None) for verb in ("get", "set"))
            if get is None or put is None:
                continue
            # Collections have a list of colours.
            found = [to_hex(one) for one in _colours_of(get())]
            if len(found) == 1 and found[0] in DARK:
                put(_with_alpha(DARK[found[0]], get()))


def _colours_of(found: Any) -> list[Any]:
    """Return one or several colours as a list; empty where it is none."""
    from matplotlib.colors import is_color_like

    if is_color_like(found):
        return [found]
    try:
        return [one for one in found if is_color_like(one)]
    except TypeError:
        return []


def _with_alpha(colour: str, before: Any) -> Any:
    from matplotlib.colors import to_rgba

    return to_rgba(colour, to_rgba(_colours_of(before)[0])[3])


def _as_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"
