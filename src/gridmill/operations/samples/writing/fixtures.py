"""The samples that are kept with a package's test: few enough bytes for a repository."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from gridmill.authoring.labels import STANDARD_CALENDARS
from gridmill.operations.samples.facts import GribField, Sample
from gridmill.operations.samples.proposal import ArrayProposal, GribProposal, Proposal
from gridmill.operations.samples.writing.parts import iso
from gridmill.sources.grib.framing import iter_messages

__all__ = ["Fixture", "fixture_of"]

MOST_NBYTES = 4_000_000
# Two are what a contract needs; of a file with many times a few are enough.
POSITIONS, MOST_POSITIONS = 2, 3
# Of an inventory alone, whose messages are made up: forty take a test some minutes.
MOST_MADE_UP = 6


@dataclass(frozen=True)
class Fixture:
    """Where a test's archive starts and ends, its variables (all if empty), and its samples."""

    start: str
    until: str
    variables: tuple[str, ...]
    write: Callable[[Path], list[Path]]


def fixture_of(proposal: Proposal) -> Fixture:
    """Choose the samples of a test."""
    start, until = _span(proposal)
    if isinstance(proposal, GribProposal):
        chosen, names = _chosen(proposal)
        return Fixture(start, until, names, lambda folder: _write_messages(chosen, folder))
    assert isinstance(proposal, ArrayProposal)
    from gridmill.operations.samples.writing.array_fixtures import write_arrays

    return Fixture(start, until, (), lambda folder: write_arrays(proposal, folder, MOST_NBYTES))


def _span(proposal: Proposal) -> tuple[str, str]:
    """Return two positions from the first label: so many a contract needs."""
    import xarray as xr

    timing = proposal.timing
    first = timing.labels[0]
    if timing.frequency is None:
        last = timing.labels[-1] + timedelta(seconds=1)
        return iso(first), iso(last)
    in_file = proposal.positions if isinstance(proposal, ArrayProposal) else 1
    count = max(POSITIONS, min(in_file, MOST_POSITIONS))
    index = xr.date_range(
        iso(first), periods=count + 1, freq=timing.frequency, calendar=timing.calendar,
        use_cftime=timing.calendar not in STANDARD_CALENDARS,
    )  # fmt: skip
    return iso(index[0]), iso(index[-1])


_Chosen = list[tuple[Sample, GribField]]


def _chosen(proposal: GribProposal) -> tuple[_Chosen, tuple[str, ...]]:
    """Return the messages of as many variables as may be kept; and their names, if not all."""
    owners = {id(f): sample.sample for sample in proposal.samples for f in sample.fields}
    smallest = sorted(proposal.variables, key=lambda var: sum(f.nbytes for f in var.fields))
    taken: _Chosen = []
    names: set[str] = set()
    nbytes = 0
    for var in smallest:
        nbytes += sum(field.nbytes for field in var.fields)
        if (names and nbytes > MOST_NBYTES) or (not nbytes and len(names) == MOST_MADE_UP):
            break
        names.add(var.name)
        taken += [(owners[id(field)], field) for field in var.fields]
    kept = tuple(var.name for var in proposal.variables if var.name in names)
    return taken, kept if len(kept) < len(proposal.variables) else ()


def _write_messages(chosen: Sequence[tuple[Sample, GribField]], folder: Path) -> list[Path]:
    """Write one file of messages, or the inventories where there are none."""
    if all(not field.nbytes for _, field in chosen):
        targets = []
        for number, path in enumerate(dict.fromkeys(sample.path for sample, _ in chosen)):
            targets.append(folder / f"inventory_{number}.idx")
            shutil.copy2(path, targets[-1])
        return targets
    target = folder / "messages.grib"
    wanted = {(sample.path, field.offset, field.submessage) for sample, field in chosen}
    with target.open("wb") as out:
        for path in dict.fromkeys(sample.path for sample, _ in chosen):
            last = max(offset for of, offset, _ in wanted if of == path)
            for message in iter_messages(path):
                if message.offset > last:
                    break
                if (path, message.offset, message.submessage) in wanted:
                    out.write(message.data)
    return [target]
