"""Accept source files as missing: those that will never come, or never be readable.

Both those that hold readers back and those whose places are pending.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from gridmill.model.files.recorded import SourceFileRecord
from gridmill.model.records import ProgressRecord
from gridmill.model.reports.run_report import RunReport
from gridmill.operations.maintenance import by_hand, check_exists
from gridmill.stores.state.claims import positions_of

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["Acceptance", "accept_files", "is_named", "signed"]


@dataclass(frozen=True)
class Acceptance:
    """What an operator decided on source files.

    Parameters
    ----------
    files
        URL and what was wrong with it.
    note
        Who, when and why: kept in the records.
    report
        How far readers saw before, and see now.
    """

    files: tuple[tuple[str, str], ...]
    note: str
    report: RunReport


def accept_files(
    dataset: DynamicalDataset,
    names: Sequence[str],
    *,
    who: str,
    why: str,
    now: Any = None,
    kind: Literal["accept", "reject"] = "accept",
) -> Acceptance:
    """Settle source files that give nothing, and publish what they held back.

    Their places stay as they were: missing, or as published. If such a file arrives after all, an
    update takes it in as any other. Interrupted, the same call publishes what it did not.

    Parameters
    ----------
    dataset
        With its archive.
    names
        URLs as the records have them (see `gridmill status` and `gridmill gaps`), or how they end,
        from a ``/`` on.
    who, why
        Kept in the records.
    now
        The present; None asks the clock.
    kind
        What it is called in the report.

    Raises
    ------
    ValueError
        No record names such a file, or it is settled already and what it held back is published;
        nothing was written.
    LeaseHeld
        A run works on the file's region.
    """
    check_exists(dataset)
    note = signed(who, why)
    records = _records(dataset)
    chosen = [record for record in records if any(_held_back_by(record, names))]
    unseen = [record for record in _unseen(dataset, records) if _accepted_of(record, names)]
    _check_found(records, [*chosen, *unseen], names)
    positions = [positions_of(record.region) for record in [*chosen, *unseen]]
    with by_hand(dataset, kind, positions, now=now) as hand:
        hand.archive.check_structure()
        accepted: dict[str, str] = {}
        for region in [record.region for record in chosen]:
            record = dataset.store.tracker.read(region)
            if record is not None:
                accepted.update(_held_back_by(record, names))
                dataset.store.tracker.write(_accepted(record, names, note))
        hand.publisher.publish(hand.lease)
        hand.report.stops_because = hand.publisher.extent.stops_because()
        done = f"{kind}ed"
        hand.report.notes.extend(f"{done} {url} ({was}): {note}" for url, was in accepted.items())
    return Acceptance(tuple(accepted.items()), note, hand.report)


def signed(who: str, why: str) -> str:
    """Return who says something now, and why, as records keep it.

    Raises
    ------
    ValueError
        No reason is given.
    """
    if not why.strip():
        raise ValueError("say why: it is kept in the record")
    return f"{who}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {' '.join(why.split())}"


def _unseen(dataset: DynamicalDataset, records: Sequence[ProgressRecord]) -> list[ProgressRecord]:
    """Return the records of regions of which readers do not see all: one may have died before."""
    published = dataset.store.published_length(dataset.declared.append_dim) or 0
    return [record for record in records if record.stop > published]


def _accepted_of(record: ProgressRecord, names: Sequence[str]) -> set[str]:
    return {
        file.url
        for file in _files(record)
        if file.accepted is not None and any(is_named(file.url, name) for name in names)
    }


def _held_back_by(record: ProgressRecord, names: Sequence[str]) -> dict[str, str]:
    files = record.open_files()
    return {url: was for url, was in files if any(is_named(url, name) for name in names)}


def _accepted(record: ProgressRecord, names: Sequence[str], note: str) -> ProgressRecord:
    held_back = _held_back_by(record, names)

    def settle(file: SourceFileRecord) -> SourceFileRecord:
        if file.url not in held_back:
            return file
        return replace(file, settled=True, accepted=note, released={})

    return replace(record, groups=tuple(tuple(map(settle, group)) for group in record.groups))


def _check_found(
    records: Sequence[ProgressRecord], chosen: Sequence[ProgressRecord], names: Sequence[str]
) -> None:
    for name in names:
        if any(_held_back_by(record, [name]) for record in chosen):
            continue
        if chosen and any(_accepted_of(record, [name]) for record in records):
            continue  # by a call that was interrupted, and that this one completes
        known = {f.url: f for r in records for f in _files(r) if is_named(f.url, name)}
        if known:
            url, file = next(iter(known.items()))
            why = f"accepted: {file.accepted}" if file.accepted else file.status
            raise ValueError(f"{url} is settled already ({why}): there is nothing to accept")
        raise ValueError(
            f"no record names {name}: gridmill status lists the source files that hold the archive "
            "back, gridmill gaps those that it lacks; run an update before, which asks for what is "
            "new"
        )


def _records(dataset: DynamicalDataset) -> list[ProgressRecord]:
    return list(dataset.store.tracker.all_records())


def _files(record: ProgressRecord) -> Iterator[SourceFileRecord]:
    return (file for group in record.groups for file in group)


def is_named(url: str, name: str) -> bool:
    """Whether a name is that of a URL: all of it, or how it ends, from a ``/`` on."""
    return url == name or url.endswith(f"/{name.lstrip('/')}")
