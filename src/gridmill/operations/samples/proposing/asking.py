"""Questions that every proposal may have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gridmill.operations.samples.pattern import NoPattern, PathPattern
from gridmill.operations.samples.proposal import Question
from gridmill.operations.samples.proposing.cadence import Cadence

__all__ = [
    "bounded",
    "no_pattern",
    "shared_questions",
    "shown",
    "too_many_variables",
    "unexplained_words",
]

# So many are read; the others stand in the code.
MOST_QUESTIONS = 12


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
    if pattern.is_invented or not {"Y", "y"} & set(pattern.units):
        found.insert(0, _path_question(pattern))
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


def _path_question(pattern: PathPattern) -> Question:
    done = "the folder with the date is invented"
    if not pattern.is_invented:
        done = "all dates are looked for in the files where the samples lie"
    return Question(
        "path",
        "where is the date in a file's address?",
        f"the samples' names do not say it; {done}",
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


def no_pattern(pattern: PathPattern, explained: str) -> NoPattern:
    """Return the refusal of names that differ in what nothing explains."""
    return NoPattern(
        f"the samples' names differ in {_words_of(pattern)}, which is neither their {explained}: "
        "give samples of one product, by their addresses"
    )


def unexplained_words(pattern: PathPattern) -> Question:
    """Ask about a part of names that varies, and not with what the samples hold."""
    return Question(
        "path",
        f"what do {_words_of(pattern)} in the names stand for?",
        "the samples do not explain it, and all files are looked for by the first sample's name",
        "the provider's listing: list_folder and matching of other-sources in the guides find them",
    )


def _words_of(pattern: PathPattern) -> str:
    return shown(sorted({repr("/".join(words)) for words in pattern.words}))


def too_many_variables(others: Sequence[str]) -> Question:
    """Ask about variables that are not proposed."""
    return Question(
        "variables",
        "which other variables are wanted?",
        f"{len(others)} more are in the samples: {shown(others)}",
        "other_variables of gridmill new --dry-run --json names all; choose with --variables",
    )


def bounded(questions: Iterable[Question]) -> tuple[Question, ...]:
    """Return the questions, each once; of too many to read, the last says what else is asked."""
    found = tuple(dict.fromkeys(questions))
    if len(found) <= MOST_QUESTIONS:
        return found
    kept, rest = found[: MOST_QUESTIONS - 1], found[MOST_QUESTIONS - 1 :]
    about = shown(list(dict.fromkeys(one.at for one in rest)))
    last = Question(
        "",
        f"what are the answers to {len(rest)} more questions?",
        f"they are about {about}, and each is marked in the code",
        "grep QUESTION in the code",
    )
    return (*kept, last)


def shown(names: Sequence[str], most: int = 6) -> str:
    """Name a few of many.

    Examples
    --------
    >>> shown(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
