"""Checks whether the version of an archive that was built beside it may take its place.

Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridmill.model.epochs import FIRST
from gridmill.model.urls import mask_url
from gridmill.model.wording import count_of
from gridmill.operations.elsewhere.comparing import Comparison, compare
from gridmill.operations.maintenance import check_exists, leased
from gridmill.operations.retention.retain import whole_regions
from gridmill.stores.contents.axis import published_labels
from gridmill.stores.final_store import FinalStore
from gridmill.stores.state.beside.exchange import RETAINED
from gridmill.stores.state.claims import ADDING, EVERYTHING, UPKEEP
from gridmill.stores.state.leases import Lease
from gridmill.stores.versions import NEXT, PRESENT

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["BLOCKS", "Candidate", "Tips", "check_may_replace", "examine", "held", "tips_of"]

# Values of so many blocks a variable are compared unless the operator says how many.
BLOCKS = 8
# What is named of a list before "and n more".
MOST_NAMED = 3

# The versions that readers see, and that they are to see.
Tips = tuple[str, str]


@dataclass(frozen=True)
class Candidate:
    """A version that may take the place of the present one.

    Parameters
    ----------
    present, other
        The archive that readers see, and the version that they are to see.
    tips
        What either was when it was looked at; None for plain Zarr.
    comparison
        The present archive as A, the other version as B.
    regained
        How many labels readers would see again that `gridmill retain` dropped, in whole regions.
    """

    present: DynamicalDataset
    other: DynamicalDataset
    tips: Tips | None
    comparison: Comparison
    regained: int = 0


def examine(
    present: DynamicalDataset,
    other: DynamicalDataset,
    *,
    blocks: int = BLOCKS,
    is_declared: bool = True,
) -> Candidate:
    """Look at a version that may take the place of the present one, and compare them.

    Parameters
    ----------
    present, other
        The archive that readers see, and the version that they are to see.
    blocks
        See `gridmill.operations.elsewhere.comparing.compare`.
    is_declared
        Whether it must be of the version that the code declares.

    Raises
    ------
    ValueError
        There is no archive, no other version, or it is of another declared version.
    LeaseHeld
        A run works on one of them.
    """
    check_exists(present)
    if not other.store.metadata():
        raise ValueError(
            f"no version that readers could see is staged beside {mask_url(present.store.url)}: "
            "gridmill backfill --stage builds one"
        )
    with held((present.store, other.store), "look"):
        _check_completed(present.store)
        _check_completed(other.store)
        tips = None if present.store.shows_uploads else tips_of(present, other)
        if is_declared:
            _check_version(other)
    compared = compare(present.store, other.store, blocks=blocks)
    regained = _regained(present, other)
    return Candidate(present, other, tips, compared, regained)


def check_may_replace(
    candidate: Candidate,
    errors: Sequence[str],
    allow_less: bool,
    allow_errors: bool,
    allow_dropped: bool = False,
) -> None:
    """Raise where readers would lose something, or get what is wrong, and nobody allowed it.

    Parameters
    ----------
    candidate
        What was looked at.
    errors
        What its validation found.
    allow_less, allow_errors, allow_dropped
        What the operator allows.

    Raises
    ------
    ValueError
        It may not take the place of the present version.
    """
    where = mask_url(candidate.present.store.url)
    losses = candidate.comparison.only_in_a
    if losses and not allow_less:
        raise ValueError(
            f"readers of {where} would lose by it: {_some(losses)} (A is what they see); build "
            "the next version further (gridmill backfill --stage), or give --allow-less"
        )
    if candidate.regained and not allow_dropped:
        raise ValueError(
            f"readers of {where} would see {count_of(candidate.regained, 'label')} again that "
            "gridmill retain dropped: call gridmill retain with --stage for a next version first, "
            "or give --allow-dropped (the next gridmill retain drops them again)"
        )
    if errors and not allow_errors:
        raise ValueError(
            f"the next version of {where} is not valid: {_some(errors)}; repair it with --stage, "
            "or give --allow-errors"
        )


def _some(lines: Sequence[str]) -> str:
    more = len(lines) - MOST_NAMED
    return "; ".join([*lines[:MOST_NAMED], *([f"and {more} more"] if more > 0 else [])])


def tips_of(present: DynamicalDataset, other: DynamicalDataset) -> Tips:
    """Return what the present and another version of an archive are at this moment."""
    branches = present.store.branches
    return str(branches.tip(PRESENT)), str(branches.tip(other.store.branch))


@contextmanager
def held(stores: Sequence[FinalStore], run: str, kind: str = "promote") -> Iterator[list[Lease]]:
    """Keep everything else away from several versions of an archive.

    Raises
    ------
    LeaseHeld
        Something works on one of them.
    """
    everything = [EVERYTHING, UPKEEP, ADDING]
    with ExitStack() as stack:
        yield [stack.enter_context(leased(store, run, kind, everything)) for store in stores]


def _check_completed(store: FinalStore) -> None:
    """Raise where records do not say what readers see of a version."""
    begun = {"retain": store.tracker.retaining, "reindex": store.tracker.reindexing}
    for command, kept in begun.items():
        if kept.read() is not None:
            stage = " --stage" if store.branch == NEXT else ""
            raise ValueError(
                f"gridmill {command} of {mask_url(store.url)} was interrupted: gridmill "
                f"{command}{stage} completes it; nothing was changed"
            )


def _regained(present: DynamicalDataset, other: DynamicalDataset) -> int:
    """Count the labels of whole regions from before those that a retention kept."""
    if RETAINED not in (present.store.tracker.read_declaration() or {}):
        return 0
    dim = present.declared.append_dim
    seen, theirs = (published_labels(each.store, dim) for each in (present, other))
    if seen is None or theirs is None or not len(seen):
        return 0
    return whole_regions(other.config(), int((theirs < seen[0]).sum()))


def _check_version(other: DynamicalDataset) -> None:
    """Raise where a variable of a region was made by another declared version."""
    declared = other.region_job.version
    found = sorted(
        {
            (FIRST if made.version is None else made.version, record.region.key, name)
            for record in other.store.tracker.all_records()
            for name, made in record.variables.items()
            if made.version not in (declared, None if declared == FIRST else declared)
        }
    )
    if found:
        version, region, name = found[0]
        raise ValueError(
            f"the staged version of {mask_url(other.store.url)} is not of version {declared}, "
            f"which the dataset declares: {name} in the region from position {region} was made by "
            f"version {version}, {count_of(len(found), 'such place')}; gridmill backfill --stage "
            "--redo makes them again"
        )
