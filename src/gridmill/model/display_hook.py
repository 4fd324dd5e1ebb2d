"""Shows values that know nothing of display: the one import that goes up, made when it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gridmill.model.reports.run_report import RunReport

__all__ = ["card_of", "page_of"]


def card_of(value: object) -> str:
    """Return what a notebook shows of a value, see `gridmill.display.by_type`."""
    from gridmill.display import by_type

    return by_type.card_of(value)


def page_of(report: RunReport) -> str:
    """Return the page of a run, for what is done below `gridmill.display`."""
    # A run needs no card, nor what the cards of other types need: that takes half a second.
    from gridmill.display import run_page

    return run_page.report_page(report)
