"""Whether the archive holds what its source files give: a sample is recomputed and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import zarr

from gridmill.authoring.transforms.packing import unpack
from gridmill.model.region import Region
from gridmill.model.settled import SourceFileStatus
from gridmill.model.variables import DataVar
from gridmill.model.wording import short_label
from gridmill.operations.run_one import ChainOutcome, run_one_chain
from gridmill.pipeline.canvas import slabs_of
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult, Finding

__all__ = ["SourcesAgree"]

# Of both sides of a comparison at once.
BLOCK_NBYTES = 32 * 2**20
Values = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class SourcesAgree:
    """A sample of regions, recomputed from their source files, equals what readers see.

    Parameters
    ----------
    size
        How many pairs of a region and a variable to recompute, each in this process, with all
        its downloads; nothing is written but to a temporary folder.
    seed
        Which pairs: the same seed takes the same; None takes others every day.

    Notes
    -----
    The author's own code reads and transforms, so that values agree to the bit unless a source
    file was revised since; what differs by no more than rounding is taken for equal. Where a file
    is gone by now, there is nothing to compare.
    """

    size: int = 1
    seed: int | None = None
    name: str = "sources"

    def check(self, context: Context) -> CheckResult:
        """Make the sample again and compare it."""
        pairs = [
            (region, var)
            for region in context.regions()
            for var in context.variables_of(region)
            if _is_done(context, region, var)
        ]
        results = [_compare(context, *pairs[at]) for at in self._chosen(context, len(pairs))]
        findings = tuple(finding for finding, _ in results if finding is not None)
        examined = "; ".join(said for _, said in results) or "nothing that is done"
        return CheckResult(validator=self.name, findings=findings, examined=examined)

    def _chosen(self, context: Context, n: int) -> Sequence[int]:
        day = google_crc32c.value(short_label(context.now)[:10].encode())
        rng = np.random.default_rng(day if self.seed is None else self.seed)
        chosen: list[int] = sorted(rng.permutation(n)[: self.size].tolist())
        return chosen


def _is_done(context: Context, region: Region, var: DataVar) -> bool:
    record = context.record(region)
    known = None if record is None else record.variables.get(var.name)
    return known is not None and known.state == "done"


def _compare(context: Context, region: Region, var: DataVar) -> tuple[Finding | None, str]:
    """Make one variable of one region again: what is wrong, and what was looked at."""
    at = region.name if region.is_static else context.label(region.start)
    with temporary_folder() as folder:
        made = folder / "made"
        outcome = run_one_chain(
            context.dataset, at, var.name, folder=made, now=context.labels[context.published - 1]
        )
        n, example = _count_different(context, region, var, made) if outcome.objects else (0, "")
    said = f"{var.name} {at}: {_said(outcome)}"
    if not n:
        return None, said
    message = f"{n:,} values differ from what the source files give now, {example}"
    return context.finding(message, region.slice, [var.name]), said


def _said(outcome: ChainOutcome) -> str:
    used = sum(file.status == SourceFileStatus.SUCCEEDED for file in outcome.files)
    return f"{used} of {len(outcome.files)} source files read again"


def _count_different(context: Context, region: Region, var: DataVar, made: Path) -> tuple[int, str]:
    """Count the values that differ by more than rounding, and tell of the first."""
    array = zarr.open_array(str(made), path=var.name, mode="r", zarr_format=3)
    stop = min(region.stop, context.published)
    whole = tuple(slice(0, n) for n in array.shape)
    if not region.is_static:
        whole = (slice(region.start, stop), *whole[1:])
    shape = [part.stop - part.start for part in whole]
    itemsize = array.dtype.itemsize
    divided = [False] * len(shape)
    n, example = 0, ""
    for slab in slabs_of(
        shape, var.encoding.chunks, itemsize, whole=divided, most_nbytes=BLOCK_NBYTES
    ):
        place = tuple(
            slice(part.start + part_of.start, part.stop + part_of.start)
            for part, part_of in zip(slab, whole, strict=True)
        )
        wanted, found = np.asarray(array[place]), context.store.read(var.name, place)
        wrong = np.argwhere(~_alike(found, wanted, var))
        if len(wrong) and not example:
            first = tuple(wrong[0])
            where = ", ".join(
                f"{dim} {int(i) + part.start}"
                for dim, i, part in zip(var.dims, first, place, strict=True)
            )
            theirs, ours = (_value(side[first], var) for side in (found, wanted))
            example = f"first {theirs:g} where they give {ours:g} (at {where})"
        n += len(wrong)
    return n, example


def _value(stored: Any, var: DataVar) -> Any:
    """Return what readers see of a stored value."""
    packed = var.encoding.is_packed
    return unpack(np.asarray([stored]), var.encoding)[0] if packed else stored


def _alike(found: Values, wanted: Values, var: DataVar) -> Values:
    if not var.encoding.is_floating:
        return np.asarray(found == wanted)
    bits = 23 if var.keep_mantissa_bits is None else var.keep_mantissa_bits
    return np.isclose(found, wanted, rtol=2.0**-bits, atol=0, equal_nan=True)
