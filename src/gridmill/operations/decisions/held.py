"""Decide what happens to what a gate holds: release it for publication, or reject it as missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.files.versions import Word
from gridmill.model.records import ProgressRecord
from gridmill.operations.accept import Acceptance, accept_files, is_named, signed
from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.stores.state.claims import positions_of

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["reject_files", "release_files"]


def release_files(
    dataset: DynamicalDataset, names: Sequence[str], *, who: str, why: str, now: Any = None
) -> Acceptance:
    """Let the next run publish what a gate holds of source files.

    That is remembered for this version of each file and the variables that are held now: a revised
    file is looked at again, and so is what another gate holds later.

    Parameters
    ----------
    dataset
        With its archive.
    names
        URLs as the records have them (see `gridmill status` and `gridmill gaps`), or how they end,
        from a ``/`` on. One that was rejected may be released after all.
    who, why
        Kept in the records.
    now
        The present; None asks the clock.

    Raises
    ------
    ValueError
        No gate holds such a file, or it is released already; nothing was written.
    LeaseHeld
        A run works on the file's region.
    """
    check_exists(dataset)
    note = signed(who, why)
    records = list(dataset.store.tracker.all_records())
    _check_held(records, names, is_release=True)
    chosen = [record for record in records if _to_release(record, names)]
    released: dict[str, str] = {}
    with by_hand(dataset, "release", map(positions_of, _regions(chosen)), now=now) as hand:
        for region in _regions(chosen):
            record = dataset.store.tracker.read(region)
            if record is not None:
                released.update(_told(record, names))
                dataset.store.tracker.write(_released(record, names, note))
        hand.report.stops_because = hand.publisher.extent.stops_because()
        hand.report.notes.extend(f"released {url} ({was}): {note}" for url, was in released.items())
    return Acceptance(tuple(released.items()), note, hand.report)


def reject_files(
    dataset: DynamicalDataset, names: Sequence[str], *, who: str, why: str, now: Any = None
) -> Acceptance:
    """Close what a gate holds of source files as missing, and publish what it held back.

    Parameters
    ----------
    dataset, names, who, why, now
        See `release_files`.

    Raises
    ------
    ValueError
        No gate holds such a file; nothing was written.
    LeaseHeld
        A run works on the file's region.
    """
    check_exists(dataset)
    _check_held(list(dataset.store.tracker.all_records()), names, is_release=False)
    return accept_files(dataset, names, who=who, why=why, now=now, kind="reject")


def _regions(records: Sequence[ProgressRecord]) -> list[Any]:
    return [record.region for record in records]


def _to_release(
    record: ProgressRecord, names: Sequence[str]
) -> dict[str, dict[str, SourceFileRecord]]:
    """Return by URL of a chosen file, and by variable that a gate holds, what is held."""
    found: dict[str, dict[str, SourceFileRecord]] = {}
    for variable, index in record.held():
        file = record.groups[record.variables[variable].group][index]
        if variable not in file.released and any(is_named(file.url, name) for name in names):
            found.setdefault(file.url, {})[variable] = file
    return found


def _to_reject(record: ProgressRecord, names: Sequence[str]) -> bool:
    """Whether a gate holds a chosen file, and nobody rejected it yet."""
    files = (record.groups[record.variables[of].group][at] for of, at in record.held_open())
    return any(is_named(file.url, name) for file in files for name in names)


def _told(record: ProgressRecord, names: Sequence[str]) -> dict[str, str]:
    return {url: f"held for {', '.join(of)}" for url, of in _to_release(record, names).items()}


def _released(record: ProgressRecord, names: Sequence[str], note: str) -> ProgressRecord:
    held = _to_release(record, names)

    def release(file: SourceFileRecord) -> SourceFileRecord:
        if file.url not in held:
            return file
        word = {name: Word(note, of.identity, of.checksum) for name, of in held[file.url].items()}
        return replace(file, accepted=None, released={**file.released, **word})

    groups = tuple(tuple(map(release, group)) for group in record.groups)
    return replace(record, groups=groups)


def _check_held(
    records: Sequence[ProgressRecord], names: Sequence[str], *, is_release: bool
) -> None:
    is_open = _to_release if is_release else _to_reject
    for name in names:
        if any(is_open(record, [name]) for record in records):
            continue
        files = (f for r in records for group in r.groups for f in group if is_named(f.url, name))
        known = next(files, None)
        if known is None:
            raise ValueError(
                f"no record names {name}: gridmill gaps lists what is held; run an update before, "
                "which looks at what is new"
            )
        if known.released:
            said = next(iter(known.released.values())).note
            raise ValueError(f"{known.url} is released already ({said})")
        if known.accepted:
            raise ValueError(f"{known.url} is settled already (accepted: {known.accepted})")
        raise ValueError(
            f"no gate holds {known.url}: gridmill gaps lists what is held; what is missing for "
            "another reason is closed by gridmill accept"
        )
