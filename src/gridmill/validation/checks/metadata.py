"""Whether an archive opens, and says of itself what the template and the records say."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from gridmill.archive.metadata import with_current
from gridmill.archive.salvage import own_metadata
from gridmill.authoring.describing.finality import shares_of
from gridmill.authoring.encoding.survival import differing
from gridmill.authoring.over_time.held import say_more
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import is_offered
from gridmill.model.epochs import mended_since
from gridmill.model.records import ProgressRecord
from gridmill.model.state_files import UnreadableState
from gridmill.model.variables import Completeness
from gridmill.model.wording import count_of, short_label
from gridmill.publishing.shares import recorded_completeness
from gridmill.stores.final_store import FinalStore
from gridmill.stores.metadata import array_metadata
from gridmill.stores.state.notices import parse_notice
from gridmill.stores.structure import CURRENT, compare_structures, without_append_length
from gridmill.validation.context import Context
from gridmill.validation.findings import CheckResult, Finding
from gridmill.validation.repairs import adding

__all__ = ["CoordinatesAsDeclared", "MadeAsNow", "MetadataAsDeclared", "Opens"]


@dataclass(frozen=True, kw_only=True)
class Opens:
    """A reader can open the archive; if not, nothing else is looked at."""

    name: str = "opens"

    def check(self, context: Context) -> CheckResult:
        """Open it as readers do."""
        findings: tuple[Finding, ...] = ()
        # Whatever a damaged store makes of parsers and codecs: it does not open.
        try:
            _ = context.ds, context.labels
        except UnreadableState:  # nothing here repairs that
            raise
        except Exception as error:
            repair = context.command("restore-metadata")
            message = f"the archive does not open: {one_line(error)}"
            findings = (Finding(message=message, repair=repair),)
        return CheckResult(validator=self.name, findings=findings, examined=context.store.url)


@dataclass(frozen=True, kw_only=True)
class MetadataAsDeclared:
    """Attributes, arrays and codecs are the archive's own, in the root and in each array's object.

    Where the code's defaults changed since the archive was made, a warning says so.
    Readers that do not use consolidated metadata, and gridmill's own workers, read the latter.
    """

    name: str = "metadata"

    def check(self, context: Context) -> CheckResult:
        """Compare the store's metadata with the template's, and with each other."""
        declared = json.loads(context.archive.metadata)
        root, dim = dict(context.root), context.append_dim
        restore = context.command("restore-metadata")
        migrate = context.command("migrate-metadata")
        findings = [
            Finding(
                message=str(difference).removeprefix(f"{difference.array}: "),
                variables=() if difference.array is None else (difference.array,),
                repair=migrate if difference.is_description else restore,
            )
            for difference in compare_structures(declared, root, dim)
        ]
        findings += _stale_coverage(context, root, restore)
        findings += list(_changed_defaults(context, migrate))
        findings += [
            Finding(message=message, variables=(name,), repair=restore)
            for name, message in own_differences(context.store, root, dim)
        ]
        return CheckResult(
            validator=self.name,
            findings=tuple(findings),
            examined=count_of(len(array_metadata(root)), "array"),
        )


def _stale_coverage(context: Context, root: Mapping[str, Any], repair: str) -> list[Finding]:
    """Say where the times that are covered are not those that readers see."""
    archive = context.archive
    declared = archive.config.dataset_attributes
    current = with_current(root, archive.template_ds, archive.append_dim, declared)
    told, due = (one.get("attributes") or {} for one in (root, current))
    return [
        Finding(message=f"attribute {key} is {told.get(key)}, not {due.get(key)}", repair=repair)
        for key in CURRENT
        if told.get(key) != due.get(key)
    ]


def _changed_defaults(context: Context, migrate: str) -> Iterator[Finding]:
    for difference in context.made.changed:
        yield Finding(
            message=f"made otherwise: {str(difference).removeprefix(f'{difference.array}: ')}",
            severity="warning",
            variables=() if difference.array is None else (difference.array,),
            repair=migrate if difference.is_description else "",
        )
    for dim, counts in context.made.more.items():
        message, grow = say_more(dim, *counts), context.command("grow")
        yield Finding(message=message, severity="warning", variables=(dim,), repair=grow)
    lacking = {var.name for var in context.made.missing}
    for var in context.made.missing:
        message = "is declared, and the archive does not have it"
        yield Finding(message=message, severity="warning", variables=(var.name,))
    for var in context.config.data_vars:
        if var.superseded is not None:
            by = var.superseded.by
            yield Finding(
                message=f"{var.superseded.why}; {by} is in its place",
                severity="warning",
                variables=(var.name,),
                repair=adding(context, by) if by in lacking else "",
            )


def own_differences(
    store: FinalStore, root: Mapping[str, Any], append_dim: str
) -> Iterator[tuple[str, str]]:
    """Yield the arrays whose own metadata object is not what the root says, and how."""
    for name, array in array_metadata(dict(root)).items():
        own = own_metadata(store, name)
        ours = without_append_length(array, append_dim)
        if own is None or without_append_length(own, append_dim) != ours:
            what = "is not readable" if own is None else "differs from the root metadata"
            yield name, f"{name}/zarr.json {what}"


@dataclass(frozen=True, kw_only=True)
class MadeAsNow:
    """Nothing was made by a stage whose fault was fixed since; what was stays until it is asked.

    By the records alone: no value is read.
    """

    name: str = "epochs"

    def check(self, context: Context) -> CheckResult:
        """Name what was made before a fault was fixed, and the command that reprocesses it."""
        regions = list(context.regions())
        records = [record for region in regions if (record := context.record(region)) is not None]
        chosen = {var.name for var in context.variables}
        spans: dict[tuple[str, tuple[str, ...]], list[slice]] = {}
        for record, found in mended_since(records):
            for wrong, names in found.items():
                those = tuple(sorted(chosen.intersection(names)))
                if those:
                    spans.setdefault((wrong, those), []).append(_positions(record))
        findings = [
            context.finding(f"made before this was fixed: {wrong}", at, those, severity="warning")
            for (wrong, those), pieces in spans.items()
            for at in _joined(pieces)
        ]
        return CheckResult(
            validator=self.name,
            findings=tuple(findings),
            examined=count_of(len(records), "region"),
        )


def _positions(record: ProgressRecord) -> slice:
    return slice(0, 0) if record.region.is_static else slice(record.start, record.stop)


def _joined(pieces: Sequence[slice]) -> list[slice]:
    """Join what follows each other."""
    joined: list[slice] = []
    for piece in pieces:
        if joined and joined[-1].stop == piece.start:
            joined[-1] = slice(joined[-1].start, piece.stop)
        else:
            joined.append(piece)
    return joined


@dataclass(frozen=True, kw_only=True)
class CoordinatesAsDeclared:
    """Coordinates hold the template's values; the append dim has no step back and no gap.

    What readers decode is compared with what was written, bit for bit, and with the template's own
    labels: a dtype or units that cannot hold one would give both the same wrong one.
    The template's axis has neither, so whatever is not on it is one. Completeness and finality
    hold what the records say, and never claim more.
    """

    name: str = "coordinates"

    def check(self, context: Context) -> CheckResult:
        """Compare what readers decode with what the template gives."""
        archive, dim = context.archive, context.append_dim
        declared = context.archive.template_ds
        restore = context.command("restore-metadata")
        findings = []
        # Both as readers decode them: what is stored may be rounded, by its dtype.
        with (
            archive.written(declared) as folder,
            xr.open_zarr(folder, consolidated=True) as written,
        ):
            names = [str(n) for n in declared.coords if not archive.speaks_of_data(n)]
            for name in names:
                message, repair = _difference(context.ds, written, name, dim), restore
                if not message:  # then rewriting it repairs nothing
                    message, repair = _loss(context, name), ""
                if message:
                    finding = Finding(message=message, variables=(name,), repair=repair)
                    findings.append(finding)
        findings += _unordered(declared, dim)
        for share in shares_of(context.config.coords):
            findings += _completeness_findings(context, share, restore)
        return CheckResult(
            validator=self.name,
            findings=tuple(findings),
            examined=count_of(len(declared.coords), "coordinate"),
        )


def _unordered(declared: xr.Dataset, append_dim: str) -> Iterator[Finding]:
    """Find dims whose labels go back and forth: CF has none, and no reader takes a part of them."""
    for dim in map(str, declared.dims):
        if dim == append_dim or dim not in declared.coords:
            continue
        index = declared.get_index(dim)
        steps = index.is_monotonic_increasing or index.is_monotonic_decreasing
        if not steps and index.dtype.kind in "iufmM":
            message = (
                "its labels go back and forth: readers cannot select a range of them; declare them "
                "in order for a new archive"
            )
            yield Finding(message=message, variables=(dim,), severity="warning")


def _completeness_findings(
    context: Context, completeness: Completeness, restore: str
) -> list[Finding]:
    name = completeness.name
    if name not in context.ds.variables:
        return [Finding(message="is missing", variables=(name,), repair=restore)]
    try:
        return list(_unlike_records(context, completeness))
    # Whatever a damaged object makes of codecs.
    except Exception as error:
        message = f"cannot be read: {one_line(error)}"
        return [Finding(message=message, variables=(name,), repair=restore)]


def _difference(stored: xr.Dataset, written: xr.Dataset, name: str, append_dim: str) -> str:
    """Say how a coordinate differs from what the template gives; empty if it does not."""
    if name not in stored.variables:
        return "is missing"
    try:
        ours, theirs = written[name].values, stored[name].values
    # Whatever a damaged object makes of codecs and of time decoding.
    except Exception as error:
        return f"cannot be read: {one_line(error)}"
    if ours.shape != theirs.shape:
        return f"has shape {theirs.shape}, declared is {ours.shape}"
    differs = np.argwhere(~_equal(ours, theirs))
    if not len(differs):
        return ""
    first = tuple(differs[0])
    found, wanted = _text(theirs[first]), _text(ours[first])
    n = len(differs)
    message = f"{n} of {ours.size} values differ, first {found} where {wanted} is declared"
    if name == append_dim:
        steps = "; ".join(_missteps(stored.get_index(name)))
        message += f"; {steps}" if steps else ""
    return message


def _loss(context: Context, name: str) -> str:
    """Say which label was lost when a coordinate was stored as declared; empty if none was."""
    coord = next(coord for coord in context.config.coords if coord.name == name)
    labels, found = context.archive.template_ds[name].variable, context.ds[name].values
    if labels.dtype.kind in "SU":
        return ""
    lost = differing(coord, labels, found)
    if not len(lost):
        return ""
    wanted, seen = (_text(np.ravel(of)[lost[0]]) for of in (labels.values, found))
    how = f"{coord.dtype}{f' in {coord.units!r}' if coord.units else ''}"
    return (
        f"{len(lost)} of {labels.size} labels are read as others, first {seen} where {wanted} is "
        f"declared: {how} cannot hold it; build a new store with another dtype or units"
    )


def _equal(ours: Any, theirs: Any) -> Any:
    return (ours == theirs) | ((ours != ours) & (theirs != theirs))


def _missteps(index: Any) -> Iterator[str]:
    """Say where an axis does not go forward."""
    if not index.is_monotonic_increasing:
        back = next(n for n in range(1, len(index)) if not index[n] > index[n - 1])
        yield f"it goes back after {_text(index[back - 1])}"
    if not index.is_unique:
        yield f"{_text(index[index.duplicated()][0])} is there twice"


def _text(value: Any) -> str:
    """Write a coordinate's value."""
    if isinstance(value, np.datetime64):
        return str(np.datetime_as_string(value, unit="s"))
    return short_label(value) if hasattr(value, "isoformat") else str(value)


def one_line(error: BaseException) -> str:
    """Write an error in one line, with its kind."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}".rstrip(": ")


def _unlike_records(context: Context, completeness: Completeness) -> Iterator[Finding]:
    """Yield where the coordinate claims more than the records, or less and nobody knows of it.

    Regions whose records lack a variable are left out: what was shown of them before stays.
    """
    restore = context.command("restore-metadata")
    behind = {parse_notice(key)[0] for key in context.store.tracker.notices.all()}
    for region in context.regions():
        if region.is_static:
            continue
        at = slice(region.start, min(region.stop, context.published))
        # The coordinate first: it follows the records, and they may get ahead meanwhile.
        claimed = context.ds[completeness.name].isel({context.append_dim: at}).values
        record = context.store.tracker.read(region)
        job = context.archive.job(region)
        if record is None or not _is_whole(record, job):
            continue
        recorded = recorded_completeness(job, record, completeness, context.archive.arrays)
        message = _completeness_difference(
            context, at, claimed, recorded, is_behind=region.start in behind
        )
        if message:
            yield Finding(message=message, variables=(completeness.name,), repair=restore)


def _is_whole(record: ProgressRecord, job: RegionJob[Any, Any]) -> bool:
    expected = [var.name for var in job.data_vars if is_offered(job, var)]
    return all(record.fills(name) is not None for name in expected)


def _completeness_difference(
    context: Context, at: slice, claimed: Any, recorded: Any, *, is_behind: bool
) -> str:
    """Say how the two differ; empty if they do not, or the next run is going to see to it."""
    recorded = recorded[: at.stop - at.start]
    if claimed.shape != recorded.shape:
        return f"has shape {claimed.shape} where {recorded.shape} is recorded"
    # No number is more, too.
    for what, differs in (("more", ~(claimed <= recorded)), ("less", claimed < recorded)):
        if differs.any() and (what == "more" or not is_behind):
            place = tuple(np.argwhere(differs)[0])
            label = short_label(context.labels[at.start + int(place[0])])
            return (
                f"claims {what} than is recorded at {int(differs.sum())} of {differs.size} places, "
                f"first {claimed[place]:g} instead of {recorded[place]:g} at {label}"
            )
    return ""
