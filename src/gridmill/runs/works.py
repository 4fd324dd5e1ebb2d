"""What workers need for a region's variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from gridmill.archive.archive import Archive
from gridmill.archive.works import VariableWorks
from gridmill.planning.prepare import PreparedGroup
from gridmill.runs.in_flight import RegionInFlight
from gridmill.runs.workplaces.workplace import GroupWork

__all__ = ["Works"]


class Works:
    """Says what to do of regions, as workers get it.

    Parameters
    ----------
    archive
        With its template.

    Attributes
    ----------
    variables
        Of single variables.
    """

    def __init__(self, archive: Archive) -> None:
        self.variables = VariableWorks(archive)

    def to_do(self, region: RegionInFlight) -> list[GroupWork]:
        """Return what of a region is not done yet."""
        groups = enumerate(region.outcome.prepared.groups)
        return [self._work(region, at, group, group.todo) for at, group in groups if group.todo]

    def once_more(
        self,
        region: RegionInFlight,
        group: int,
        names: Iterable[str],
        doubtful: Mapping[int, str] = MappingProxyType({}),
    ) -> GroupWork:
        """Return variables of a group for another attempt.

        Parameters
        ----------
        region, group, names
            Which.
        doubtful
            By index of a source file, from which address it came when it could not be read.
        """
        work = self._work(region, group, region.outcome.prepared.groups[group], names)
        files = [
            replace(file, coord=replace(file.coord, tried_last=doubtful.get(at)))
            for at, file in enumerate(work.files)
        ]
        return replace(work, files=tuple(files))

    def _work(
        self, region: RegionInFlight, index: int, group: PreparedGroup, names: Iterable[str]
    ) -> GroupWork:
        prepared, chosen = region.outcome.prepared, set(names)
        works = self.variables.of(
            region.job,
            [var for var in group.variables if var.name in chosen],
            prepared.sizes,
            prepared.record,
            continues=bool(group.kept),
        )
        return GroupWork(index, group.files_to_process, works)
