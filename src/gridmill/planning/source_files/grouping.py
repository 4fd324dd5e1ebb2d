"""The groups of a region job: variables that share source files, with these and their places.

Authors group what source files hold. A variable that is made of others belongs to the group that
has all of its sources; where several groups have them, to a group of its own with the files of all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gridmill.authoring.derived.steps import Steps, steps_of
from gridmill.authoring.region_job import RegionJob
from gridmill.model.fields.derived import Aggregation
from gridmill.model.region import as_slice
from gridmill.model.variables import DataVar
from gridmill.pipeline.values import SourceFile
from gridmill.planning.source_files.places import Places, place_files

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SourceGroup", "files_of", "source_groups", "sources_of"]


@dataclass(frozen=True)
class SourceGroup:
    """Variables that share source files.

    Parameters
    ----------
    variables
        As they are stored.
    parts
        The sources of them that share source files, in the author's groups: one part, or several.
    how
        By which steps these files come; None where they are the append dim's own.
    """

    variables: tuple[DataVar, ...]
    parts: tuple[tuple[DataVar, ...], ...]
    how: Aggregation | None = None


def source_groups(job: RegionJob[Any, Any]) -> list[SourceGroup]:
    """Return the groups, which have every variable of a job once.

    Raises
    ------
    ValueError
        The author's groups do not have every source once.
    """
    found: list[SourceGroup] = []
    axes: dict[Any, list[DataVar]] = {}
    for var in job.data_vars:
        axes.setdefault(None if var.aggregated is None else var.aggregated.axis, []).append(var)
    for variables in axes.values():
        found += _groups_of(job, variables)
    return found


def sources_of(variables: Sequence[DataVar]) -> list[DataVar]:
    """Return what source files hold of variables, each once; those that are stored as they are.

    Where a stored variable is a formula's input, too, it is the stored one.
    """
    known = {var.name: var for var in variables if not var.is_made}
    for source in (one for var in variables if var.is_made for one in var.sources):
        known.setdefault(source.name, source)
    return list(known.values())


def files_of(
    job: RegionJob[Any, Any], ds: xr.Dataset, places: Places, group: SourceGroup
) -> Iterator[SourceFile]:
    """Yield the source files of a group, each with its place."""
    if group.how is None:
        yield from _of_parts(job, ds, places, group)
        return
    steps = steps_of(ds.get_index(job.append_dim), group.how)
    at = Places({**places.indexes, job.append_dim: steps.labels})
    for file in _of_parts(job, steps.dataset(ds, job.append_dim), at, group):
        yield _in_positions(file, steps, job.append_dim)


def _in_positions(file: SourceFile, steps: Steps, dim: str) -> SourceFile:
    filled = file.place.get(dim, slice(0, len(steps.labels)))
    return replace(file, place={**file.place, dim: steps.positions(filled)}, steps=filled)


def _of_parts(
    job: RegionJob[Any, Any], ds: xr.Dataset, places: Places, group: SourceGroup
) -> Iterator[SourceFile]:
    if len(group.parts) == 1:
        yield from place_files(job, ds, places, group.parts[0])
        return
    needed = {source.name for var in group.variables for source in var.sources}
    files = [
        replace(file, holds=frozenset(names & needed))
        for part in group.parts
        for names in [{var.name for var in part}]
        for file in place_files(job, ds, places, part)
    ]
    # Along the append dim, so that those of a longer region begin with those of a shorter one.
    dim = job.append_dim
    yield from sorted(files, key=lambda file: as_slice(file.place.get(dim, 0)).start)


def _groups_of(job: RegionJob[Any, Any], variables: Sequence[DataVar]) -> Iterator[SourceGroup]:
    sources = sources_of(variables)
    given = [tuple(group) for group in job.source_groups(sources) if group]
    _check_groups(job, given, sources)
    where = {var.name: number for number, group in enumerate(given) for var in group}
    how = variables[0].aggregated
    sharing = _Sharing()
    for var in variables:
        sharing.add(tuple(sorted({where[source.name] for source in var.sources})), var)
    for numbers, own in sharing.by_groups.items():
        yield SourceGroup(tuple(own), tuple(given[number] for number in numbers), how)


@dataclass
class _Sharing:
    """Variables by the author's groups that have their sources, in the order of these."""

    found: dict[tuple[int, ...], list[DataVar]] = field(default_factory=dict)

    def add(self, numbers: tuple[int, ...], var: DataVar) -> None:
        self.found.setdefault(numbers, []).append(var)

    @property
    def by_groups(self) -> dict[tuple[int, ...], list[DataVar]]:
        return dict(sorted(self.found.items()))


def _check_groups(
    job: RegionJob[Any, Any], groups: Sequence[Sequence[DataVar]], sources: Sequence[DataVar]
) -> None:
    """Refuse groups that forget a source: it would never be made, and nothing would say so."""
    given = Counter(var.name for group in groups for var in group)
    wanted = Counter(var.name for var in sources)
    if given != wanted:
        forgotten, more = sorted(wanted - given), sorted(given - wanted)
        wrong = [f"forgets {', '.join(forgotten)}"] * bool(forgotten)
        wrong += [f"gives {', '.join(more)} once too often"] * bool(more)
        raise ValueError(
            f"{type(job).__name__}.source_groups() {' and '.join(wrong)}: put each of "
            f"{', '.join(wanted)} into exactly one group"
        )
