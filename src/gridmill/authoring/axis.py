"""The labels of an archive's append dim: those that readers see, then those that a template gives.

An irregular axis asks its provider which labels there are, and late ones come. A position is told
by its number: a label that comes between two published ones would give all later values another
label. So published labels are frozen where the template declares a settling window, and labels that
are younger than the window are not on the axis yet: until then late ones find their place.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from gridmill.authoring.template import TemplateConfig

__all__ = ["Axis", "check_settling", "labels_before", "late_labels", "on_axis"]


@dataclass(frozen=True)
class Axis:
    """What is known of an archive's append dim, beside what a template declares.

    Parameters
    ----------
    published
        Reads the labels that readers see, in order; None if none, or if they cannot be read.
    source
        The addresses that relative URLs of source files are relative to.
    present
        The present, as a label of the append dim.
    inserted
        Late labels that are to be taken in between those that readers see.
    """

    published: Callable[[], pd.Index[Any] | None]
    source: tuple[str, ...]
    present: Any
    inserted: tuple[Any, ...] = ()


def on_axis(config: TemplateConfig, **changes: Any) -> TemplateConfig:
    """Return a copy of a template whose axis knows of an archive; itself where it is regular."""
    if config.append_dim_frequency is not None:
        return config
    twin = copy.copy(config)
    twin.axis = Axis(**changes) if config.axis is None else replace(config.axis, **changes)
    return twin


def check_settling(config: TemplateConfig) -> None:
    """Raise unless a settling window is a length of time, of an irregular append dim.

    Raises
    ------
    ValueError
        It is not.
    """
    if config.settling_window is None:
        return
    who = type(config).__name__
    if config.append_dim_frequency is not None:
        raise ValueError(
            f"{who}.settling_window is {config.settling_window!r}, but the append dim is regular "
            f"({config.append_dim_frequency!r}): no label of it comes late; leave it out"
        )
    if not _window(config) >= pd.Timedelta(0):
        raise ValueError(f"{who}.settling_window is {config.settling_window!r}: give a length >= 0")


def labels_before(config: TemplateConfig, end: Any) -> pd.Index[Any]:
    """Return the append dim's labels up to, not including, `end`.

    With a settling window: what readers see, whether or not it is still given; then what is given
    after it and is as old as the window.
    """
    axis = config.axis
    published = _published(config)
    given = _given(config, end, published)
    if config.settling_window is None or axis is None:
        return given
    inserted = pd.Index([label for label in axis.inserted if label < end])
    new: pd.Index[Any] = given[given <= axis.present - _window(config).to_pytimedelta()]
    if len(published) == 0:
        # Whatever the method returns, an archive begins where it was declared to.
        begun: pd.Index[Any] = new[new >= config.label(config.append_dim_start)]
        return begun
    seen, new = published[published < end], new[new > published[-1]]
    inserted = inserted[~inserted.isin(seen)]
    both: pd.Index[Any] = seen.append(inserted).sort_values() if len(inserted) else seen
    return both.append(new) if len(new) else both


def late_labels(config: TemplateConfig) -> pd.Index[Any]:
    """Return the labels that are given between those that readers see, and that these lack."""
    published = _published(config)
    if config.settling_window is None or len(published) == 0:
        return published[:0]
    given = _given(config, published[-1], published)
    # What lies before the start is no part of the axis: an archive may have dropped it.
    given = given[given >= config.label(config.append_dim_start)]
    late: pd.Index[Any] = given[~given.isin(published)]
    return late


def _window(config: TemplateConfig) -> pd.Timedelta:
    try:
        return pd.Timedelta(config.settling_window or 0)
    except ValueError as error:
        raise ValueError(
            f"{type(config).__name__}.settling_window is {config.settling_window!r}: give a length "
            "of time, as in '3h'"
        ) from error


def _published(config: TemplateConfig) -> pd.Index[Any]:
    wants = config.settling_window is not None or "published" in _accepted(config)
    found = config.axis.published() if wants and config.axis is not None else None
    return pd.Index([]) if found is None else found


def _given(config: TemplateConfig, end: Any, published: pd.Index[Any]) -> pd.Index[Any]:
    """Ask the template for labels, with as much as it takes."""
    source = () if config.axis is None else config.axis.source
    known = {"published": published, "source": source}
    accepted = _accepted(config)
    told = {name: value for name, value in known.items() if name in accepted}
    return config.append_dim_coordinates(end, **told)


def _accepted(config: TemplateConfig) -> frozenset[str]:
    """Name what of `published` and `source` a template's own method takes: older ones take none."""
    parameters = inspect.signature(config.append_dim_coordinates).parameters.values()
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return frozenset({"published", "source"})
    return frozenset(one.name for one in parameters)
