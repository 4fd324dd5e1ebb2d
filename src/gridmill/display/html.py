"""Renders the templates of cards and pages, which a designer can edit: the folder `templates`.

Whatever a template shows is escaped, unless it is `markupsafe.Markup`, as the charts are. A name
that a template uses and is not given is an error.

See Also
--------
gridmill.display.facts : what is said.
gridmill.display.svg : the pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from gridmill.display.facts.forms import MARKS
from gridmill.display.svg import COLOURS
from gridmill.model.wording import count_of, format_duration, shorten_label

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["render"]


def render(template: str, content: Mapping[str, Any]) -> str:
    """Return what a template makes of its content.

    Parameters
    ----------
    template
        File name in ``gridmill/display/templates``. A card is for a ``_repr_html_``; a page is
        self-contained.
    content
        By name, what the template uses. All need ``title``, ``verdict`` (None where there is
        nothing to say of it) and ``about``: a few words, such as a store's address.

    Notes
    -----
    Thread-safe. Templates are compiled at their first use in a process.
    """
    return _environment().get_template(template).render(content)


@cache
def _environment() -> Environment:
    # Only who renders pays for the import, which workers never do.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("gridmill.display"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals |= {"MARKS": MARKS, "COLOURS": COLOURS}
    environment.filters |= {
        "count_of": count_of,
        "duration": format_duration,
        "first_of": _first_of,
        "label": shorten_label,
        "thousands": _with_thousands,
    }
    return environment


def _with_thousands(number: int) -> str:
    return f"{number:,}"


def _first_of(texts: Sequence[str], most: int) -> list[str]:
    """Return the first texts, and how many more there are."""
    hidden = len(texts) - most
    return [*texts[:most], *([f"{hidden:,} more"] if hidden > 0 else [])]
