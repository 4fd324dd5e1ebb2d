"""The pieces of HTML that notebooks and pages are put together from. Pure.

Whatever is given to a piece is escaped, unless it is `markupsafe.Markup`: that is what the pieces
return, so they nest. A `card` stands inside somebody else's page (a notebook, light or dark): it
takes over the text's colour and lays translucent grey over the ground. A `page` stands alone,
needs no network, and follows the reader's choice of light or dark.

Charts are in `gridmill.charts`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from markupsafe import Markup, escape

__all__ = [
    "Tone",
    "badge",
    "card",
    "details",
    "facts",
    "lines",
    "link",
    "meter",
    "page",
    "section",
    "table",
]

Tone = Literal["good", "warning", "bad", "quiet"]

# Of the card's own classes only, so that nothing else in a notebook changes.
STYLE = """
.gridmill { --gm-line: rgba(128,140,152,.28); --gm-wash: rgba(128,140,152,.10);
  --gm-good: #1a9850; --gm-warning: #d98200; --gm-bad: #d73027; --gm-quiet: #808c98;
  font: 13px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
  font-variant-numeric: tabular-nums; color: inherit; text-align: left; }
.gridmill.gm-card { border: 1px solid var(--gm-line); border-radius: 8px; padding: 10px 14px 12px;
  margin: 4px 0; max-width: 860px; }
.gridmill .gm-head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 2px 10px; }
.gridmill .gm-title { font-weight: 650; font-size: 14px; }
.gridmill .gm-about { opacity: .66; overflow-wrap: anywhere; }
.gridmill h2 { font-size: 15px; font-weight: 650; line-height: 1.3; margin: 26px 0 8px;
  padding: 0; border: 0; }
.gridmill.gm-card h2 { font-size: 13px; margin: 12px 0 4px; }
.gridmill dl.gm-facts { display: grid; grid-template-columns: max-content 1fr; gap: 2px 18px;
  margin: 8px 0 0; }
.gridmill dl.gm-facts dt { opacity: .62; font-weight: 400; margin: 0; text-align: left; }
.gridmill dl.gm-facts dd { margin: 0; overflow-wrap: anywhere; white-space: pre-line; }
.gridmill .gm-scroll { overflow-x: auto; }
.gridmill table.gm-table { border-collapse: collapse; margin: 4px 0; font-size: inherit; border: 0;
  color: inherit; background: none; }
.gridmill table.gm-table th, .gridmill table.gm-table td { text-align: left; vertical-align: top;
  padding: 3px 20px 3px 0; border: 0; background: none; max-width: 46em; color: inherit;
  white-space: pre-line; overflow-wrap: break-word; }
.gridmill table.gm-table th { font-weight: 400; opacity: .62;
  white-space: nowrap; }
.gridmill table.gm-table thead tr { border-bottom: 1px solid var(--gm-line); background: none; }
.gridmill table.gm-table tbody tr { border-top: 1px solid var(--gm-wash); background: none; }
.gridmill table.gm-table .gm-number { text-align: right; white-space: nowrap; }
.gridmill table.gm-table .gm-unbroken { white-space: nowrap; }
.gridmill details { margin: 8px 0 0; }
.gridmill details > summary { cursor: pointer; display: list-item; }
.gridmill p { margin: 6px 0; max-width: 68em; }
.gridmill a { color: inherit; }
.gridmill svg { display: block; max-width: 100%; height: auto; margin: 6px 0; }
.gridmill svg text { fill: currentColor; }
.gridmill .gm-badge { border-radius: 99px; padding: 0 9px; font-size: 12px; line-height: 1.6;
  border: 1px solid currentColor; white-space: nowrap; }
.gridmill .gm-good { color: var(--gm-good); } .gridmill .gm-warning { color: var(--gm-warning); }
.gridmill .gm-bad { color: var(--gm-bad); } .gridmill .gm-quiet { color: var(--gm-quiet); }
.gridmill .gm-meter { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 12px;
  margin: 8px 0 4px; }
.gridmill .gm-track { flex: 0 0 220px; height: 8px; border-radius: 4px; overflow: hidden;
  background: var(--gm-line); }
.gridmill .gm-track > div { height: 100%; background: currentColor; border-radius: 4px; }
.gridmill .gm-mark { display: inline-block; width: 10px; height: 10px; border-radius: 2px;
  margin-right: 6px; }
.gridmill ul.gm-lines { list-style: none; margin: 8px 0 0; padding: 0; }
.gridmill ul.gm-lines li { margin: 0; padding-left: 1.4em; text-indent: -1.4em;
  overflow-wrap: anywhere; }
"""
# Of a page that stands alone.
PAGE_STYLE = """
:root { color-scheme: light dark; }
body { margin: 0; background: #fff; color: #22303c; }
main.gridmill { max-width: 1080px; margin: 0 auto; padding: 30px 28px 60px; font-size: 14px; }
main.gridmill > .gm-head { border-bottom: 1px solid var(--gm-line); padding-bottom: 12px; }
main.gridmill > .gm-head .gm-title { font-size: 23px; letter-spacing: -.01em; margin: 0; }
@media (prefers-color-scheme: dark) {
  body { background: #15191e; color: #d7dde3; }
  .gridmill { --gm-good: #4cc27d; --gm-warning: #f0a83c; --gm-bad: #ff6f61; }
}
@media print { main.gridmill { max-width: none; padding: 0; } }
"""
MARKS: Mapping[Tone, str] = {"good": "✓", "warning": "!", "bad": "✗", "quiet": "–"}


def card(title: str, about: object = "", *parts: object) -> str:
    """Give what a notebook shows of an object: for its ``_repr_html_``.

    Parameters
    ----------
    title, about
        What it is, and a few words on it (a store's address, a badge).
    parts
        What is below.

    Examples
    --------
    >>> "&lt;b&gt;" in card("<b>", "", facts({"a": 1}))
    True
    """
    whole = Markup('<style>{}</style><div class="gridmill gm-card">{}{}</div>')
    return str(whole.format(Markup(STYLE), _head(title, about, "span"), _joined(parts)))


def page(title: str, about: object = "", *parts: object) -> str:
    """Give a page that stands alone, styles and charts inside.

    Parameters
    ----------
    title, about, parts
        As for `card`.
    """
    whole = Markup(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>{title}</title>\n<style>{style}</style>\n</head>\n"
        '<body>\n<main class="gridmill">\n{head}{body}\n</main>\n</body>\n</html>\n'
    )
    style, head = Markup(STYLE + PAGE_STYLE), _head(title, about, "h1")
    return str(whole.format(title=title, style=style, head=head, body=_joined(parts)))


def section(title: str, *parts: object) -> Markup:
    """Give parts under a heading."""
    return Markup("<section><h2>{}</h2>{}</section>\n").format(title, _joined(parts))


def details(summary: object, *parts: object, is_open: bool = False) -> Markup:
    """Give parts that a click shows or hides."""
    whole = Markup("<details{}><summary>{}</summary>{}</details>\n")
    return whole.format(Markup(" open") if is_open else "", summary, _joined(parts))


def facts(items: Mapping[str, object]) -> Markup:
    """Give names with what is to be said of each; those with nothing to say are left out."""
    row = Markup("<dt>{}</dt><dd>{}</dd>")
    rows = [row.format(name, fact) for name, fact in items.items() if fact not in (None, "")]
    return Markup('<dl class="gm-facts">{}</dl>\n').format(_joined(rows))


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    numbers: Collection[str] = (),
    unbroken: Collection[str] = (),
    marks: Mapping[str, str] = MappingProxyType({}),
) -> Markup:
    """Give a table.

    Parameters
    ----------
    columns
        The headings.
    rows
        A cell a column each.
    numbers
        The columns that are set flush right.
    unbroken
        The columns, beside those, whose cells stay on one line.
    marks
        By what the first cell of a row says, the colour of the mark before it.
    """
    looks = [
        Markup(' class="{}"').format(look) if look else ""
        for name in columns
        for look in ["gm-number" if name in numbers else "gm-unbroken" * (name in unbroken)]
    ]

    def row(tag: str, cells: Sequence[object]) -> Markup:
        cell = Markup(f"<{tag}{{}}>{{}}</{tag}>")
        pairs = zip(looks, cells, strict=True)
        return Markup("<tr>{}</tr>\n").format(_joined(cell.format(*pair) for pair in pairs))

    mark = Markup('<span class="gm-mark" style="background:{}"></span>{}')
    marked = (
        [mark.format(marks[str(first)], first) if str(first) in marks else first, *rest]
        for first, *rest in rows
    )
    whole = Markup(
        '<div class="gm-scroll"><table class="gm-table"><thead>{}</thead>'
        "<tbody>\n{}</tbody></table></div>\n"
    )
    return whole.format(row("th", columns), _joined(row("td", cells) for cells in marked))


def badge(text: str, tone: Tone) -> Markup:
    """Give a verdict in a word or two: its colour says the same as its mark.

    Examples
    --------
    >>> print(badge("failed", "bad"))
    <span class="gm-badge gm-bad">✗ failed</span>
    """
    mark = MARKS[tone]
    return Markup('<span class="gm-badge gm-{}">{} {}</span>').format(tone, mark, text)


def link(url: str) -> Markup:
    """Give an address to click on."""
    return Markup('<a href="{0}" target="_blank" rel="noopener">{0}</a>').format(url)


def meter(share: float, text: str, tone: Tone) -> Markup:
    """Give how much of something is done (0 to 1), as a bar and in words.

    Examples
    --------
    >>> "width:50%" in meter(0.5, "1 of 2", "good")
    True
    """
    whole = Markup(
        '<div class="gm-meter"><div class="gm-track gm-{}"><div style="width:{:.0f}%"></div></div>'
        "<span>{}</span></div>\n"
    )
    return whole.format(tone, 100 * min(max(share, 0.0), 1.0), text)


def lines(texts: Iterable[object], tone: Tone) -> Markup:
    """Give a line each, with the tone's mark before it; nothing if there is none."""
    line = Markup('<li><span class="gm-{}">{}</span>&ensp;{}</li>')
    items = [line.format(tone, MARKS[tone], text) for text in texts]
    return Markup('<ul class="gm-lines">{}</ul>\n').format(_joined(items)) if items else Markup()


def _head(title: str, about: object, tag: str) -> Markup:
    whole = Markup(
        f'<div class="gm-head"><{tag} class="gm-title">{{}}</{tag}>'
        '<span class="gm-about">{}</span></div>\n'
    )
    return whole.format(title, about)


def _joined(parts: Iterable[object]) -> Markup:
    return Markup().join(escape(part) for part in parts)
