"""The path pattern of a provider, from the names of a few samples. Pure.

A part of a name varies with time, lead, member, or with what a file holds. Where samples say
themselves what they are, a part is only taken for a time or a lead that every sample's own says;
where they do not, dates are read from the names.

See Also
--------
gridmill.operations.samples.proposing.cadence : how often files come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, cast

__all__ = ["NameFacts", "NoPattern", "Part", "PathPattern", "find_pattern"]

HOUR = timedelta(hours=1)
# What dates are written as, by how many figures; the first that fits is taken.
DATES = {
    14: ("%Y%m%d%H%M%S",),
    12: ("%Y%m%d%H%M",),
    10: ("%Y%m%d%H",),
    8: ("%Y%m%d",),
    7: ("%Y%j",),
    6: ("%Y%m", "%y%m%d"),
    4: ("%Y",),
}
# What may follow a part of a date, by the last thing that it says, and the number of figures.
FOLLOWING = {
    "Y": {2: "%m", 3: "%j", 4: "%m%d"},
    "m": {2: "%d"},
    "d": {2: "%H", 4: "%H%M", 6: "%H%M%S"},
    "j": {2: "%H", 4: "%H%M", 6: "%H%M%S"},
    "H": {2: "%M", 4: "%M%S"},
    "M": {2: "%S"},
}
# Between the parts of one date: ``2024-01-02T03``, ``2024/01/02/06z``.
JOINING = re.compile(r"[-_/.:T]?|/t|[-_.]t")
WITHIN = re.compile(r"[tzymdhTZYMDH]?")
HOUR_BEFORE, HOUR_AFTER = re.compile(r"(?:^|[-_./])[tT]$"), re.compile(r"^[zZ](?![a-z])")
# Before and after a lead: ``f006``, ``wrfsfcf06``, ``PT006H``, ``_P006``, ``-6h-``, ``_S17``.
LEAD_BEFORE = re.compile(r"(?:f|fh|\bstep|[-_.]P|PT|\+|[-_.]S|lead|fcst)[-_]?0*$", re.IGNORECASE)
LEAD_AFTER = re.compile(r"^(?:h|hr|H)(?![a-z])")
MEMBER_BEFORE = re.compile(
    r"(?:gep|mem|member|ens|real|[-_./]m|[-_./]r|[-_./]p)[-_]?$", re.IGNORECASE
)
EARLIEST, LATEST = datetime(1850, 1, 1), datetime(2150, 1, 1)
MOST_TEXT = 2000


class NoPattern(ValueError):  # noqa: N818
    """The names of samples have no pattern in common."""


@dataclass(frozen=True, kw_only=True)
class NameFacts:
    """What a sample says of itself; None, or nothing, where it does not.

    `times` are the first and the last time of an archive's append dim that the file fills.
    """

    times: Sequence[Any] = ()
    lead: timedelta | None = None
    member: int | None = None


class Part(NamedTuple):
    """A part of a path.

    `kind` is ``"text"``, ``"time"``, ``"lead"``, ``"member"`` or ``"word"``; `form` is the text,
    strftime's format, how many figures a number has (0: as many as it needs), or the number of
    the word.
    """

    kind: str
    form: str


@dataclass(frozen=True)
class PathPattern:
    """How the addresses of a provider's files are made.

    Parameters
    ----------
    base
        What all begin with: an address or a folder.
    parts
        Of the rest, one after the other.
    words
        For each sample, its words: the parts that vary with what a file holds.
    times
        For each sample, the time that its name says; empty where a name says none.
    is_invented
        Whether a folder with the date was put in front, which names do not say.
    """

    base: str
    parts: tuple[Part, ...]
    words: tuple[tuple[str, ...], ...] = ()
    times: tuple[datetime, ...] = ()
    is_invented: bool = False

    def render(
        self, time: Any, lead: timedelta, member: int | None, words: Sequence[str] = ()
    ) -> str:
        """Return the path below `base`."""
        return "".join(_rendered(part, time, lead, member, words) for part in self.parts)

    def has(self, kind: str) -> bool:
        """Whether a part is of a kind."""
        return any(part.kind == kind for part in self.parts)

    def without_words(self) -> PathPattern:
        """Return it with the first sample's words in the place of those that vary."""
        parts = [
            Part("text", self.words[0][int(part.form)]) if part.kind == "word" else part
            for part in self.parts
        ]
        return replace(self, parts=_joined(parts), words=tuple(() for _ in self.words))

    def dated(self, *, by_hour: bool) -> PathPattern:
        """Return it with a folder of the date in front, where paths do not say the date."""
        if {"Y", "y"} & set(self.units):
            return self
        form = "%Y%m%d%H%M" if by_hour and "H" not in self.units else "%Y%m%d"
        parts = (Part("time", form), Part("text", "/"), *self.parts)
        return replace(self, parts=parts, is_invented=True)

    @property
    def units(self) -> str:
        """Letters of strftime that paths have, in their order: ``"Ymd"``."""
        found = "".join(part.form for part in self.parts if part.kind == "time")
        return "".join(dict.fromkeys(re.findall("%(.)", found)))

    def __str__(self) -> str:
        shown = {"lead": "{lead}", "member": "{member}", "word": "{name}"}
        return "".join(
            part.form if part.kind in ("text", "time") else shown[part.kind] for part in self.parts
        )


def find_pattern(names: Sequence[str], facts: Sequence[NameFacts]) -> PathPattern:
    """Find the pattern of addresses.

    Parameters
    ----------
    names
        Addresses or paths of samples, each once.
    facts
        What each says of itself.

    Raises
    ------
    NoPattern
        The names differ in what nothing explains.

    Examples
    --------
    >>> noon = datetime(2024, 5, 1, 12)
    >>> facts = [NameFacts(times=(noon, noon), lead=timedelta(hours=h)) for h in (0, 6)]
    >>> base = "https://data.example.org"
    >>> names = [f"{base}/gfs.20240501/12/gfs.t12z.f{h:03d}" for h in (0, 6)]
    >>> str(find_pattern(names, facts))
    'gfs.%Y%m%d/%H/gfs.t%Hz.f{lead}'
    """
    shared = _shared_rows([_words_of(name[:MOST_TEXT]) for name in names])
    state = _Reading(list(facts))
    parts: list[Part] = []
    words: list[tuple[str, ...]] = []
    for row in shared:
        found = state.parts_of(row)
        if found is None:
            found = [Part("word", str(len(words)))]
            words.append(row)
        parts += found
    parts, words = _with_whole_words(parts, words)
    by_sample = tuple(zip(*words, strict=True)) if words else tuple(() for _ in names)
    times = tuple(state.times()) if not any(one.times for one in facts) else ()
    return _based(PathPattern("", _joined(parts), by_sample, times), names)


def _words_of(name: str) -> list[str]:
    """Divide a name at what separates words, which stays."""
    return [word for word in re.split(r"([-/_.:?=&+])", name) if word]


def _shared_rows(by_name: list[list[str]]) -> list[tuple[str, ...]]:
    """Return, word by word, what each name has there; what has other lengths is one word."""
    shortest = min(map(len, by_name))
    if all(len(words) == shortest for words in by_name):
        return list(zip(*by_name, strict=True))
    head = _alike(by_name, range(shortest))
    tail = _alike(by_name, range(-1, head - shortest - 1, -1))
    middle = ["".join(words[head : len(words) - tail]) for words in by_name]
    ends = [words[len(words) - tail :] for words in by_name]
    rows = [*zip(*(words[:head] for words in by_name), strict=True), tuple(middle)]
    return [*rows, *zip(*ends, strict=True)]


def _alike(by_name: list[list[str]], places: range) -> int:
    """Count the places, one after the other, at which names have the same but for figures."""
    for count, at in enumerate(places):
        if len({re.sub(r"\d", "0", words[at]) for words in by_name}) > 1:
            return count
    return len(places)


@dataclass
class _Reading:
    """Names as they are read from the left: what was a date's part so far."""

    facts: list[NameFacts]
    unit: str = ""
    before: str = ""
    dated: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def parts_of(self, row: tuple[str, ...]) -> list[Part] | None:
        """Return what the words of a row are; None if they vary with what nothing explains."""
        pieces = [re.split(r"(\d+)", word) for word in row]
        if len({tuple(piece[::2]) for piece in pieces}) > 1:
            self.unit, self.before = "", self.before + row[0]
            return None
        saved = replace(self, dated=dict(self.dated))
        parts: list[Part] = []
        for at in range(len(pieces[0])):
            runs = tuple(piece[at] for piece in pieces)
            found = self._piece(runs, is_figures=at % 2 == 1, after="".join(pieces[0][at + 1 :]))
            if found is None:
                self.unit, self.dated = saved.unit, saved.dated
                self.before = saved.before + row[0]
                return None
            parts.append(found)
        return parts

    def times(self) -> Iterator[datetime]:
        """Return the time that each name says."""
        forms = _each_part_once(self.dated)
        if not any("Y" in form or "y" in form for form in forms):
            return
        for number in range(len(self.facts)):
            texts = [self.dated[form][number] for form in forms]
            yield datetime.strptime(" ".join(texts), " ".join(forms))

    def _piece(self, runs: tuple[str, ...], *, is_figures: bool, after: str) -> Part | None:
        before, self.before = self.before, self.before + runs[0]
        if not is_figures:
            if self.unit and not JOINING.fullmatch(runs[0]):
                self.unit = self.unit if WITHIN.fullmatch(runs[0]) else ""
            return Part("text", runs[0]) if len(set(runs)) == 1 else None
        explained = self._date(runs, before, after) or self._number(runs, before, after)
        if explained is not None:
            return explained
        self.unit = ""
        return Part("text", runs[0]) if len(set(runs)) == 1 else None

    def _date(self, runs: tuple[str, ...], before: str, after: str) -> Part | None:
        (length, *others) = {len(run) for run in runs}
        if others:
            return None
        candidates = [*FOLLOWING.get(self.unit, {}).items(), *_flat(DATES)]
        if length == 2 and (HOUR_BEFORE.search(before) or HOUR_AFTER.search(after)):
            candidates.insert(0, (2, "%H"))
        for figures, form in candidates:
            if figures == length and self._is_said(form, runs):
                self.unit = form[-1]
                self.dated.setdefault(form, runs)
                return Part("time", form)
        return None

    def _is_said(self, form: str, runs: tuple[str, ...]) -> bool:
        return all(_says(one.times, form, run) for one, run in zip(self.facts, runs, strict=True))

    def _number(self, runs: tuple[str, ...], before: str, after: str) -> Part | None:
        """Return a lead or a member: as marked, or as it varies with the samples' own."""
        varies = len(set(runs)) > 1
        leads = [None if one.lead is None else one.lead / HOUR for one in self.facts]
        is_marked = bool(LEAD_BEFORE.search(before) or LEAD_AFTER.search(after))
        # DWD: ``_2021112018_000_TOT_PREC``.
        is_marked |= len(runs[0]) == 3 and before.endswith("_") and after[:1] in ("_", ".")
        if (varies or is_marked) and _is_number(runs, leads):
            return Part("lead", _width(runs))
        members = [one.member for one in self.facts]
        if (varies or MEMBER_BEFORE.search(before)) and _is_number(runs, members):
            return Part("member", _width(runs))
        return None


def _each_part_once(forms: Iterable[str]) -> list[str]:
    """Leave out forms that say again what others do, like the folders of a dated name.

    Examples
    --------
    >>> _each_part_once(["%Y", "%m", "%Y%m%d", "%H"])
    ['%Y%m%d', '%H']
    """
    chosen: list[str] = []
    for form in sorted(forms, key=len, reverse=True):
        parts = re.findall(r"%\w", form)
        if not any(part in one for one in chosen for part in parts):
            chosen.append(form)
    return chosen


def _flat(forms: Mapping[int, Sequence[str]]) -> Iterator[tuple[int, str]]:
    return ((figures, form) for figures, some in forms.items() for form in some)


def _says(times: Sequence[Any], form: str, run: str) -> bool:
    """Whether figures are a time in a format; without a time, whether they can be one."""
    if times:
        return all(time.strftime(form) == run for time in times)
    try:
        found = datetime.strptime(run, form)
    except ValueError:
        return False
    return "Y" not in form or EARLIEST <= found < LATEST


def _is_number(runs: Sequence[str], values: Sequence[float | None]) -> bool:
    return all(
        value is not None and value == int(run) for run, value in zip(runs, values, strict=True)
    )


def _width(runs: Sequence[str]) -> str:
    lengths = {len(run) for run in runs}
    is_padded = len(lengths) == 1 and (
        any(run.startswith("0") and run != "0" for run in runs) or len(runs[0]) > 1
    )
    return str(lengths.pop()) if is_padded else "0"


def _with_whole_words(
    parts: list[Part], words: list[tuple[str, ...]]
) -> tuple[list[Part], list[tuple[str, ...]]]:
    """Make one word of those that a separator alone divides: ``TMP_ISBL_850``."""
    found: list[Part] = []
    whole: list[tuple[str, ...]] = []
    for part in parts:
        if part.kind != "word":
            found.append(part)
            continue
        row = words[int(part.form)]
        if [one.kind for one in found[-2:]] == ["word", "text"] and found[-1].form in ("_", "-"):
            between = found.pop().form
            row = tuple(f"{a}{between}{b}" for a, b in zip(whole.pop(), row, strict=True))
            found.pop()
        found.append(Part("word", str(len(whole))))
        whole.append(row)
    return found, whole


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Put neighbouring texts together."""
    found: list[Part] = []
    for part in parts:
        if found and part.kind == found[-1].kind == "text":
            found[-1] = Part("text", found[-1].form + part.form)
        elif part.form or part.kind != "text":
            found.append(part)
    return tuple(found)


def _based(pattern: PathPattern, names: Sequence[str]) -> PathPattern:
    """Cut off what all names begin with, up to a folder; of one name, up to its first date."""
    first, *rest = pattern.parts
    if first.kind != "text":
        return pattern
    cut = first.form.rfind("/") + 1
    if not rest:
        cut = names[0].rfind("/") + 1
    base, left = first.form[:cut], first.form[cut:]
    kept = (Part("text", left), *rest) if left else tuple(rest)
    return PathPattern(base, kept, pattern.words, pattern.times)


_FORMS: Mapping[str, Callable[[str, Any, timedelta, int | None, Sequence[str]], str]] = {
    "text": lambda form, *_: form,
    "time": lambda form, time, *_: cast(str, time.strftime(form)),
    "lead": lambda form, _time, lead, *_: f"{-(-lead // HOUR):0{form}d}",
    "member": lambda form, _time, _lead, member, _words: f"{member or 0:0{form}d}",
    "word": lambda form, _time, _lead, _member, words: words[int(form)],
}


def _rendered(
    part: Part, time: Any, lead: timedelta, member: int | None, words: Sequence[str]
) -> str:
    return _FORMS[part.kind](part.form, time, lead, member, words)
