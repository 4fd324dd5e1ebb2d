"""The forms in which anything is said: facts (a label, a text), tables and verdicts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

__all__ = ["MARKS", "Fact", "Rows", "Tone", "Verdict", "select", "told"]

Tone = Literal["good", "warning", "bad", "quiet"]
MARKS: Mapping[Tone, str] = {"good": "✓", "warning": "!", "bad": "✗", "quiet": "–"}


class Fact(NamedTuple):
    """Something that is said, under a label."""

    label: str
    text: str
    tone: Tone | None = None


class Verdict(NamedTuple):
    """How something is, in a word or two."""

    text: str
    tone: Tone


class Rows(NamedTuple):
    """A table: its headings, and a cell for each in every row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def told(*facts: Fact) -> list[Fact]:
    """Return the facts that have a text.

    Examples
    --------
    >>> told(Fact("a", "1"), Fact("b", ""))
    [Fact(label='a', text='1', tone=None)]
    """
    return [fact for fact in facts if fact.text]


def select(facts: Iterable[Fact], labels: Iterable[str]) -> list[Fact]:
    """Return the facts with these labels, in their own order.

    Examples
    --------
    >>> select([Fact("a", "1"), Fact("b", "2")], ["b"])
    [Fact(label='b', text='2', tone=None)]
    """
    wanted = set(labels)
    return [fact for fact in facts if fact.label in wanted]
