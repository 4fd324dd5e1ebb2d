"""The commands that repair positions of an archive, as an operator types them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gridmill.authoring.labels import just_after
from gridmill.model.wording import short_label

if TYPE_CHECKING:
    from gridmill.validation.context import Context

__all__ = ["adding", "backfill", "redo"]


def redo(context: Context, at: slice, variables: Sequence[str]) -> str:
    """Return the command that makes positions again."""
    return context.command("backfill", *_chosen(context, at, variables), "--redo")


def backfill(context: Context, at: slice, variables: Sequence[str]) -> str:
    """Return the command that tries again for what is not settled at positions."""
    return context.command("backfill", *_chosen(context, at, variables))


def adding(context: Context, variable: str) -> str:
    """Return the command that adds a variable that the archive lacks."""
    return context.command("backfill", "--until", _until(context), "--variables", variable)


def _chosen(context: Context, at: slice, variables: Sequence[str]) -> list[str]:
    options = ["--until", _until(context)]
    if at.stop > at.start:
        options += ["--start", context.label(at.start)]
    if at.start < at.stop < context.reach:
        options += ["--end", context.label(at.stop)]
    if 0 < len(set(variables)) < len(context.config.data_vars):
        options += ["--variables", ",".join(sorted(set(variables)))]
    return options


def _until(context: Context) -> str:
    """Return the end of a template that leaves what is looked at as it is."""
    n = context.reach
    return short_label(
        context.labels[n] if len(context.labels) > n else just_after(context.labels[-1])
    )
