"""What is proposed for samples of GRIB files and their inventories. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from gridmill.authoring.cf import WELL_KNOWN
from gridmill.authoring.encoding.chunking import propose_cut
from gridmill.operations.samples.facts import GribField, GribSample
from gridmill.operations.samples.pattern import (
    NameFacts,
    NoPattern,
    PathPattern,
    find_pattern,
)
from gridmill.operations.samples.proposal import GribProposal, ProposedField, Question, Timing
from gridmill.operations.samples.proposing.asking import (
    no_pattern,
    shared_questions,
    shown,
    too_many_variables,
    unexplained_words,
)
from gridmill.operations.samples.proposing.cadence import Cadence, cadence_of, step_of
from gridmill.operations.samples.proposing.choosing import LONG, chosen
from gridmill.operations.samples.proposing.levels import PRESSURE
from gridmill.operations.samples.proposing.naming import names_of_field
from gridmill.operations.samples.proposing.windows import windows_of
from gridmill.sources.grib.grids import Grid
from gridmill.sources.grib.inventory.message import Statistic

__all__ = ["propose_grib"]

HOUR, ZERO = timedelta(hours=1), timedelta(0)
WITHOUT_GRID = {"latitude": 181, "longitude": 360}


class _Key(NamedTuple):
    """What makes fields the same variable, but for its levels of pressure."""

    parameter: Any
    statistic: Any
    level: Any


def propose_grib(
    samples: Sequence[GribSample], names: Sequence[str], only: Sequence[str] = ()
) -> GribProposal:
    """Propose a dataset.

    Parameters
    ----------
    samples, names
        The samples, and by which address each is known.
    only
        Names of the variables that are wanted; nothing takes all, up to a number.

    Raises
    ------
    ValueError
        The samples are not of one product, or a variable of `only` is not among them.
    """
    asked: list[Question] = []
    given = _one_grid(samples, names, asked)
    pattern = find_pattern(given.names, [_name_facts(sample) for sample in given.samples])
    axes = _axes_of(given, pattern)
    try:
        words = _Words(pattern, given.samples)
    except NoPattern:
        if not _differ_in_place(given.samples):
            raise
        asked.append(unexplained_words(pattern))
        pattern = pattern.without_words()
        words = _Words(pattern, given.samples)
    found = list(_variables(given.samples, words, axes, asked))
    # Well-known ones are taken first.
    variables, others = chosen(found, only, is_less=lambda var: bool(var.more))
    sizes = _sizes(axes, given.grid)
    cut = propose_cut(sizes, axes.dim, 1 if axes.leads else _positions(axes.cadence))
    first = given.samples[0]
    return GribProposal(
        timing=Timing(labels=axes.times, frequency=axes.cadence.alias),
        pattern=pattern,
        dims=tuple(sizes),
        chunks=cut.chunks,
        shards=cut.shards,
        compression=first.sample.compression,
        member=first.sample.member,
        questions=tuple(dict.fromkeys([*_general(given, axes, pattern, others), *asked])),
        left_out=tuple(line for sample in samples for line in sample.left_out),
        others=tuple(others),
        samples=given.samples,
        variables=tuple(variables),
        grid=given.grid,
        lead_hours=tuple(lead / HOUR for lead in axes.leads),
        members=axes.members,
        member_words=words.members,
        pressures=_common_levels(variables),
        inventory=next((s.inventory for s in samples if s.inventory), None),
    )


@dataclass(frozen=True)
class _Given:
    """Samples on one grid, with their addresses."""

    samples: list[GribSample]
    names: list[str]
    grid: Grid | None


@dataclass(frozen=True)
class _Axes:
    """What fields lie along: times, and leads and members where there are any."""

    dim: str
    times: list[datetime]
    cadence: Cadence
    leads: list[timedelta]
    members: tuple[int, ...]


def _axes_of(given: _Given, pattern: PathPattern) -> _Axes:
    fields = [field for sample in given.samples for field in sample.fields]
    leads = sorted({field.end for field in fields})
    times = sorted({field.time for field in fields})
    members = sorted({f.member for f in fields if f.member is not None})
    has_members = len(members) > 1 or pattern.has("member")
    is_forecast = pattern.has("lead") or leads != [ZERO]
    cadence = cadence_of(times, coarsest="6h" if is_forecast else "D")
    if is_forecast and step_of(cadence.alias) is None:
        cadence = Cadence("6h", is_known=False)
    return _Axes(
        dim="init_time" if is_forecast else "time",
        times=times,
        cadence=cadence,
        leads=leads if is_forecast else [],
        members=tuple(members) if has_members else (),
    )


def _general(
    given: _Given, axes: _Axes, pattern: PathPattern, others: Sequence[str]
) -> Iterator[Question]:
    """Ask what concerns all variables."""
    if given.grid is None:
        yield _about_grid()
    yield from shared_questions(axes.cadence, pattern, axes.dim, axes.times)
    if axes.leads:
        yield _about_leads(axes.leads)
    if others:
        yield too_many_variables(others)


def _one_grid(samples: Sequence[GribSample], names: Sequence[str], asked: list[Question]) -> _Given:
    """Keep the fields on the grid that most have; None where only inventories are known."""
    counts = Counter(f.grid for sample in samples for f in sample.fields if f.grid is not None)
    if not counts:
        return _Given(list(samples), list(names), None)
    grid = counts.most_common(1)[0][0]
    if len(counts) > 1:
        told = ", ".join(f"{one.grid_type} {one.shape}" for one in counts)
        asked.append(
            Question(
                "grid",
                "which grid is wanted?",
                f"the samples have several ({told}), and an archive has one",
                "the messages' grids; give samples of one of them to get another",
            )
        )
    kept = [
        replace(s, fields=tuple(f for f in s.fields if f.grid in (None, grid))) for s in samples
    ]
    pairs = [(s, name) for s, name in zip(kept, names, strict=True) if s.fields]
    return _Given([sample for sample, _ in pairs], [name for _, name in pairs], grid)


def _name_facts(sample: GribSample) -> NameFacts:
    times = {field.time for field in sample.fields}
    # Names have the hour in which the leads of a file end: HRRR's f09 those of 8:15 to 9:00.
    leads = {-(-field.end // HOUR) * HOUR for field in sample.fields}
    members = {field.member for field in sample.fields}
    return NameFacts(
        times=(min(times), max(times)),
        lead=leads.pop() if len(leads) == 1 else None,
        member=members.pop() if len(members) == 1 else None,
    )


def _differ_in_place(samples: Sequence[GribSample]) -> bool:
    """Whether no two samples are of the same time, lead and member."""
    places = [{(f.time, f.end, f.member) for f in sample.fields} for sample in samples]
    return sum(map(len, places)) == len(set().union(*places))


class _Words:
    """The parts of names that vary with what a file holds: with its member, or its variables."""

    def __init__(self, pattern: PathPattern, samples: Sequence[GribSample]) -> None:
        held = [
            (words, {f.member for f in s.fields}, {_key(f) for f in s.fields})
            for words, s in zip(pattern.words, samples, strict=True)
        ]
        self.members: dict[int, str] = {}
        self._by_key: dict[Any, str] = {}
        if not any(words for words, _, _ in held):
            return
        if len({len(words) for words, _, _ in held}) > 1 or len(held[0][0]) > 1:
            raise no_pattern(pattern, "time, lead, member nor variable")
        for (word,), members, keys in held:
            for member in members:
                self.members.setdefault(member, word) if member is not None else None
            for key in keys:
                self._by_key.setdefault(key, word)
        if any(m is None or self.members[m] != word for (word,), some, _ in held for m in some):
            self.members = {}
        else:
            self._by_key = {}
            return
        if any(self._by_key[key] != word for (word,), _, keys in held for key in keys):
            raise no_pattern(pattern, "time, lead, member nor variable")

    def of(self, field: GribField) -> str | None:
        """Return the part of a file's name that is a variable's own; None where it has none."""
        return self._by_key.get(_key(field))


def _key(field: GribField) -> _Key:
    surface = field.surface
    level = (surface, field.below) if surface is not None else field.level
    parameter = (field.codes or field.parameter, field.short_name)
    return _Key(parameter, field.statistic, level)


def _family(field: GribField) -> _Key:
    """Return the key of a variable, on whichever level of pressure."""
    is_pressure = field.surface is not None and field.surface.type == PRESSURE
    if field.surface is None:
        is_pressure = field.level.endswith((" mb", " pl")) and "-" not in field.level
    key = _key(field)
    return key._replace(level="pressure") if is_pressure and field.below is None else key


def _variables(
    samples: Sequence[GribSample], words: _Words, axes: _Axes, asked: list[Question]
) -> Iterator[ProposedField]:
    families: defaultdict[_Key, list[GribField]] = defaultdict(list)
    for sample in samples:
        for field in sample.fields:
            families[_family(field)].append(field)
    used: set[str] = set()
    whole = _common_set(families)
    for fields in families.values():
        by_level: dict[Any, list[GribField]] = {}
        for field in fields:
            by_level.setdefault(_key(field).level, []).append(field)
        one_file = len({words.of(field) for field in fields}) == 1
        is_layered = len(by_level) > 1 and one_file and whole <= set(by_level)
        groups = (
            [_ordered(by_level, whole)] if is_layered else [[some] for some in by_level.values()]
        )
        for group in groups:
            yield from _named(group, words, bool(axes.leads), used, asked)


def _common_set(families: dict[_Key, list[GribField]]) -> set[Any]:
    """Return the levels of pressure that most variables on several have."""
    sets = [
        frozenset(_key(f).level for f in fields)
        for key, fields in families.items()
        if key.level == "pressure"
    ]
    counts = Counter(one for one in sets if len(one) > 1)
    return set(counts.most_common(1)[0][0]) if counts else set()


def _ordered(by_level: dict[Any, list[GribField]], whole: set[Any]) -> list[list[GribField]]:
    """Return the levels of pressure from the ground up."""
    kept = [some for level, some in by_level.items() if level in whole]
    return sorted(kept, key=lambda some: -_pressure(some[0]))


def _pressure(field: GribField) -> float:
    if field.surface is not None and field.surface.value is not None:
        return field.surface.value / 100.0
    return float(field.level.split(" ")[0])


def _named(
    group: list[list[GribField]],
    words: _Words,
    is_forecast: bool,
    used: set[str],
    asked: list[Question],
) -> Iterator[ProposedField]:
    """Name a variable; one with several periods is several."""
    first = group[0][0]
    choices: list[Any] = [(None, True)]
    later = [field for field in group[0] if field.end > ZERO]
    if is_forecast and later and first.statistic not in (None, Statistic.INSTANT):
        choices = list(windows_of(later))
        if not choices:
            return
    for number, (window, is_sure) in enumerate(choices):
        names = names_of_field(first, has_levels=len(group) > 1)
        name = names.name if number == 0 else f"{names.name}_since_start"
        while name in used:
            name = f"{name}_2"
        used.add(name)
        asked += _about(name, names.unknown, first, window, is_sure)
        yield ProposedField(
            name=name,
            fields=tuple(some[0] for some in group),
            more=names.more if name == names.name else {**_known_as(names.name), **names.more},
            window=window,
            word=words.of(first),
        )


def _known_as(name: str) -> dict[str, str | None]:
    """Return what a well-known variable is, for another that is like it."""
    known = WELL_KNOWN.get(name)
    if known is None:
        return {}
    told = {"standard_name": known.standard_name} if known.standard_name else {}
    return {"long_name": known.long_name, "units": known.units, **told}


def _about(
    name: str, unknown: Sequence[str], field: GribField, window: Any, is_sure: bool
) -> Iterator[Question]:
    if unknown:
        named = field.parameter if field.codes is None else f"{field.codes} ({field.parameter})"
        yield Question(
            f"variable {name}",
            f"{name}: {' and '.join(f'what are its {u}' if u == 'units' else u for u in unknown)}?",
            f"no table here knows parameter {named} of the provider",
            "the provider's table of parameters",
        )
    if window is not None and not is_sure:
        reset = window.reset_every
        said = "the forecast's start" if reset is None else f"a multiple of {reset / HOUR:g} h"
        yield Question(
            f"variable {name}",
            f"{name}: does its period begin at {said}?",
            "the samples' leads do not tell it from other periods",
            "files of more leads: 6, 7, 12 and 18 h show most resets",
        )


def _common_levels(variables: Sequence[ProposedField]) -> tuple[float, ...]:
    layered = [var for var in variables if len(var.fields) > 1]
    return tuple(_pressure(field) for field in layered[0].fields) if layered else ()


def _sizes(axes: _Axes, grid: Grid | None) -> dict[str, int]:
    lengths = WITHOUT_GRID if grid is None else dict(zip(grid.dims, grid.shape, strict=True))
    if "point" in lengths:
        lengths = {"cell": lengths["point"]}
    sizes = {axes.dim: LONG}
    if axes.members:
        sizes["ensemble_member"] = len(axes.members)
    if axes.leads:
        sizes["lead_time"] = len(axes.leads)
    return {**sizes, **lengths}


def _positions(cadence: Cadence) -> int:
    """Return how many positions of time a shard holds: about a day's."""
    step = step_of(cadence.alias)
    if step is None:
        return 1
    return max(1, min(24, timedelta(days=1) // step))


def _about_leads(leads: Sequence[timedelta]) -> Question:
    has = shown([f"{lead / HOUR:g}" for lead in leads], most=8)
    return Question(
        "leads",
        "which leads does a forecast have?",
        f"the samples have those of {has} h, and no sample says which others there are",
        "a listing of one forecast's files",
    )


def _about_grid() -> Question:
    return Question(
        "grid",
        "which grid do the messages have?",
        "an inventory does not say it: a global one of 1° stands in its place",
        "one file of the provider: give it as a sample, with or instead of its inventory",
    )
