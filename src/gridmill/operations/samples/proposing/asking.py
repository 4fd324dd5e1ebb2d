"""Questions that every proposal may have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gridmill.operations.samples.pattern import PathPattern
from gridmill.operations.samples.proposal import MOST_QUESTIONS, Question
from gridmill.operations.samples.proposing.cadence import Cadence

__all__ = ["bounded", "shared_questions", "shown"]


def shared_questions(
    cadence: Cadence, pattern: PathPattern, dim: str, times: Sequence[Any]
) -> list[Question]:
    """Ask what no sample of any format says."""
    found = [
        Question(
            "start",
            f"is {times[0]:%Y-%m-%d %H:%M} the first {dim} that you want?",
            "it is the earliest of the samples",
            "the provider's history; an archive's start is fixed when it is made",
        ),
        Question(
            "delay",
            "how long after its time does the provider have a file at the latest?",
            "samples do not say it; a file that is absent after that is a gap of the provider's",
            "the provider's schedule, or the times of files in its listing",
        ),
        Question(
            "about",
            "what are the title, institution, source and license?",
            "samples do not say whom to name, and under which terms",
            "the provider's page of the product",
        ),
    ]
    if not cadence.is_known:
        found.insert(0, _cadence_question(cadence, dim))
    if pattern.is_invented:
        found.insert(0, _path_question())
    if "://" not in pattern.base:
        found.append(
            Question(
                "base",
                "what is the provider's address?",
                "the samples are files on this disk",
                "the provider's page; give samples by their address to get it here",
            )
        )
    return found


def _path_question() -> Question:
    return Question(
        "path",
        "where is the date in a file's address?",
        "the samples' names do not say it; the folder with the date is invented",
        "the provider's folders; give samples by their whole address",
    )


def _cadence_question(cadence: Cadence, dim: str) -> Question:
    if cadence.alias is None:
        said = f"when is there a {dim}?"
        why = "the samples' times follow no even step, so that they are listed one by one"
    else:
        said = f"is {cadence.alias} the step of {dim}?"
        why = "the samples' times do not show it: it is the longest step that fits them"
    return Question("frequency", said, why, "the provider's schedule, or a listing of its files")


def bounded(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Return the questions, each once, of which there are not too many to read."""
    return tuple(dict.fromkeys(questions))[:MOST_QUESTIONS]


def shown(names: Sequence[str], most: int = 6) -> str:
    """Name a few of many.

    Examples
    --------
    >>> shown(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
