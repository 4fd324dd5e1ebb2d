"""Whether the stored objects are those that were uploaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from gridmill.model.records import ObjectReceipt, ProgressRecord
from gridmill.model.region import Region
from gridmill.model.variables import DataVar
from gridmill.model.wording import count_of
from gridmill.stores.final_store import FinalStore
from gridmill.validation.checks.metadata import one_line
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult

__all__ = ["ObjectsIntact", "listed", "published_receipts", "wrong_objects"]

# Whole objects are held in memory while their checksums are computed.
NBYTES_AT_ONCE = 256 * 2**20
MOST_AT_ONCE = 16
# Keys in one finding.
MOST_NAMED = 3
LOST = (
    "vanished with published values, and so did source files of it: the next update fills it when "
    "they are back (gridmill gaps lists them); accept those that are not to come, then"
)


@dataclass(frozen=True, kw_only=True)
class ObjectsIntact:
    """Every object that a record names is there, byte for byte.

    Parameters
    ----------
    contents
        Whether to read every object and compare its crc32c; else sizes only, which costs a small
        request an object.
    """

    contents: bool = True
    name: str = "objects"

    def check(self, context: Context) -> CheckResult:
        """Look at every object of the selected regions and variables."""
        findings = []
        looked_at = 0
        for region, var, receipts in published_receipts(context):
            looked_at += len(receipts)
            holes = _holes(context.record(region), var.name)
            held = [receipt for receipt in receipts if receipt.key not in holes]
            wrong = {receipt.key: LOST for receipt in receipts if receipt.key in holes}
            wrong |= wrong_objects(context.store, held, contents=self.contents)
            if wrong and not _was_replaced(context, region, var):
                findings.append(context.finding(listed(wrong), region.slice, [var.name]))
        how = "read and summed" if self.contents else "by size"
        examined = f"{count_of(looked_at, 'object')}, {how}"
        return CheckResult(validator=self.name, findings=tuple(findings), examined=examined)


def published_receipts(
    context: Context,
) -> Iterator[tuple[Region, DataVar, Sequence[ObjectReceipt]]]:
    """Yield by region and variable what was uploaded of what readers see."""
    for region in context.regions():
        record = context.record(region)
        for var in context.variables_of(region):
            known = None if record is None else record.variables.get(var.name)
            if known is not None and known.state == "done":
                yield region, var, [r for r in known.objects if _is_visible(context, var, r)]


def wrong_objects(
    store: FinalStore, receipts: Sequence[ObjectReceipt], *, contents: bool
) -> dict[str, str]:
    """Say by key what is wrong with objects of a store; without `contents` by their sizes."""
    if not contents:
        return dict.fromkeys(store.missing(receipts), "is gone or has another size")
    largest = max([1, *(receipt.nbytes for receipt in receipts)])
    width = max(1, min(MOST_AT_ONCE, NBYTES_AT_ONCE // largest))
    with ThreadPoolExecutor(width, thread_name_prefix="validate") as pool:
        causes = pool.map(lambda receipt: _compare(store, receipt), receipts)
        return {r.key: why for r, why in zip(receipts, causes, strict=True) if why}


def listed(wrong: Mapping[str, str]) -> str:
    """Name what is wrong with the first few objects."""
    shown = [f"{key} {why}" for key, why in list(wrong.items())[:MOST_NAMED]]
    more = len(wrong) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])


def _compare(store: FinalStore, receipt: ObjectReceipt) -> str:
    """Say what is wrong with an object; empty if it is what was uploaded."""
    try:
        content = store.read_object(receipt.key)
    except OSError as error:
        return f"cannot be read ({one_line(error)})"
    if content is None:
        return "is gone"
    if len(content) != receipt.nbytes:
        return f"has {len(content)} bytes, uploaded were {receipt.nbytes}"
    if not receipt.is_of(content):
        return "has other content than was uploaded"
    return ""


def _is_visible(context: Context, var: DataVar, receipt: ObjectReceipt) -> bool:
    """Whether an object begins below what is published: a region's later ones may wait."""
    if not context.config.varies(var):
        return True
    number = int(receipt.key.split("/")[2])
    return number * var.object_length(context.append_dim) < context.published


def _holes(record: ProgressRecord | None, name: str) -> tuple[str, ...]:
    return () if record is None else record.variables[name].holes


def _was_replaced(context: Context, region: Region, var: DataVar) -> bool:
    """Whether a run has replaced the objects since the record was read."""
    then, now = context.record(region), context.store.tracker.read(region)
    known = [r and r.variables.get(var.name) for r in (then, now)]
    return known[0] != known[1]
