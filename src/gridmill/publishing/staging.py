"""Uploads that are recorded and that readers do not see yet, where a store keeps them apart."""

from __future__ import annotations

from collections.abc import Mapping

from gridmill.archive.archive import Archive
from gridmill.archive.recorded import tokens_of
from gridmill.model.records import ProgressRecord
from gridmill.model.settled import SourceFileStatus
from gridmill.publishing.extent import Extent
from gridmill.stores.final_store import StagedRegion

__all__ = ["Staging", "staged_region"]


class Staging:
    """Keeps in mind which regions of an archive have uploads that are to be made visible.

    Only whole regions become visible: one whose record lacks a variable waits. Does nothing where
    readers see uploads at once.

    Parameters
    ----------
    archive
        With its records.
    extent
        Judges which regions are whole.
    """

    def __init__(self, archive: Archive, extent: Extent) -> None:
        self.archive = archive
        self.extent = extent
        self._records: dict[str, ProgressRecord] = {}
        self._knows_all = False

    def remember(self, record: ProgressRecord) -> None:
        """Keep in mind that a region may have uploads that are not visible yet."""
        name = record.region.name
        self._records.pop(name, None)
        if tokens_of(self.archive, record) and self.extent.is_whole(record):
            self._records[name] = record

    def below(self, length: int) -> list[StagedRegion]:
        """Return the regions with uploads that are to be visible with this many positions."""
        archive = self.archive
        if archive.store.shows_uploads:
            return []
        if not self._knows_all:
            self._learn()
        below = [record for record in self._records.values() if _begins_below(length, record)]
        return [
            staged_region(archive, record, length, archive.published)
            for record in sorted(below, key=lambda record: record.stop)
        ]

    def forget(self, length: int) -> None:
        """Forget what is visible with this many positions."""
        self._records = {name: r for name, r in self._records.items() if r.stop > length}

    def _learn(self) -> None:
        """Find what runs that were killed, and others that still run, left to be made visible."""
        for record in self.archive.store.tracker.all_records():
            if record.region.name not in self._records:
                self.remember(record)
        self._knows_all = True


def staged_region(
    archive: Archive, record: ProgressRecord, length: int, visible: int
) -> StagedRegion:
    """Return what of a region is to be visible where `length` positions are, after `visible`."""
    tokens = tokens_of(archive, record)
    return StagedRegion(
        name=record.region.name,
        stop=min(record.stop, length),
        tokens=tokens,
        dim=archive.append_dim,
        visible=visible,
        message=_message(archive, record, tokens),
    )


def _message(archive: Archive, record: ProgressRecord, tokens: Mapping[str, str]) -> str:
    """Say what a region brings."""
    files = {f.url: f for group in record.groups for f in group}.values()
    used = sum(file.status is SourceFileStatus.SUCCEEDED for file in files)
    what = f"{', '.join(sorted(tokens))} from {used} of {len(files)} source files"
    if record.region.is_static:
        return f"static variables: {what}"
    first, last = archive.index[record.start], archive.index[record.stop - 1]
    return f"{archive.append_dim} {first} to {last}: {what}"


def _begins_below(length: int, record: ProgressRecord) -> bool:
    return record.start < length or record.region.is_static
