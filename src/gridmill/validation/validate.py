"""Looks at an archive with validators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from gridmill.model.state_files import UnreadableState
from gridmill.sources.fetch.download import mask_url
from gridmill.validation.checks.due import Complete, Current
from gridmill.validation.checks.metadata import (
    CoordinatesAsDeclared,
    MadeAsNow,
    MetadataAsDeclared,
    Opens,
    one_line,
)
from gridmill.validation.checks.objects import ObjectsIntact
from gridmill.validation.checks.replicas import ReplicasEqual
from gridmill.validation.checks.values import (
    AllReadable,
    LevelShift,
    MissingValues,
    NoConstantField,
    NoRepeatedField,
    PhysicalRange,
)
from gridmill.validation.context import Context, Validator
from gridmill.validation.findings import CheckResult, Finding, Validation

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["DEFAULT_VALIDATORS", "look_at", "validate"]

DEFAULT_VALIDATORS: tuple[Validator, ...] = (
    Current(),
    MetadataAsDeclared(),
    CoordinatesAsDeclared(),
    MadeAsNow(),
    Complete(),
    ObjectsIntact(),
    ReplicasEqual(),
    AllReadable(),
    MissingValues(),
    PhysicalRange(),
    NoConstantField(),
    NoRepeatedField(),
    LevelShift(),
)


def validate(
    dataset: DynamicalDataset,
    validators: Sequence[Validator] = DEFAULT_VALIDATORS,
    *,
    start: str | None = None,
    end: str | None = None,
    variables: Sequence[str] | None = None,
    now: Any = None,
    invocation: Sequence[str] | None = None,
) -> Validation:
    """Look at an archive with validators; changes nothing.

    Parameters
    ----------
    dataset
        With its archive.
    validators
        In the order in which they look. Before them comes `Opens`: where that finds something,
        the others are not asked.
    start, end, variables, now, invocation
        See `Context`.

    Raises
    ------
    ValueError
        There is no archive, or readers see nothing of what is selected.

    Notes
    -----
    Values are read through the current Dask client if there is one, else by threads of this
    process; memory is bounded by blocks and not by the archive.
    """
    context = Context(
        dataset, start=start, end=end, variables=variables, now=now, invocation=invocation
    )
    return look_at(context, validators)


def look_at(context: Context, validators: Sequence[Validator]) -> Validation:
    """Look at what a context selects; see `validate`."""
    store = context.store
    where = mask_url(store.url)
    if store.tracker.read_declaration() is None:
        _ = context.config  # where only what is recorded is gone, this says so
        raise ValueError(f"there is no archive at {where}: gridmill backfill makes one")
    results = [_timed(Opens(), context)]
    if not results[0].findings:
        _ = context.positions, context.variables  # a selection of nothing is no clean archive
        results += [_timed(validator, context) for validator in validators]
    return Validation(
        dataset_id=context.dataset.dataset_id,
        store=where,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        selection=context.selection.words,
        results=tuple(results),
    )


def _timed(validator: Validator, context: Context) -> CheckResult:
    started = perf_counter()
    try:
        result = validator.check(context)
    except UnreadableState:
        # Every other check, too, would go by records that cannot be read.
        raise
    # Whatever a damaged archive makes of a check, the others go on, and this one is not passed.
    except Exception as error:
        finding = Finding(message=f"could not be checked: {one_line(error)}")
        result = CheckResult(validator=validator.name, findings=(finding,))
    return replace(result, seconds=round(perf_counter() - started, 3))
