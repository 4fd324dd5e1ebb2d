"""What a run will do and need, before it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import ceil, prod
from typing import Any

import numpy as np

from gridmill.archive.archive import Archive, apart_of
from gridmill.archive.assignment import Selection, update_jobs
from gridmill.archive.opening import Opening
from gridmill.archive.recorded import missing_of
from gridmill.authoring.derived.steps import step_offsets
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.regridding.footprint import most_regridding_nbytes
from gridmill.authoring.sources.opened import XarrayRegionJob
from gridmill.model.display_hook import card_of
from gridmill.model.epochs import made_earlier
from gridmill.model.reports.run_report import RunReport
from gridmill.model.variables import DataVar
from gridmill.model.wording import count_of, made_under
from gridmill.pipeline.slabs.dividing import SlabNeeds, needs_of
from gridmill.planning.belief import AS_RECORDED, Belief
from gridmill.planning.prepare import PreparedRegion, prepare_region
from gridmill.planning.source_files.rhythm import Rhythm
from gridmill.runs.in_flight import CHAINS_PER_THREAD, REGIONS_PER_WORKER
from gridmill.runs.workplaces.workplace import threads_per_worker
from gridmill.sources.fetch.download import mask_url
from gridmill.sources.listings.listings import Listings
from gridmill.stores.final_store import FinalStore, IntendedWork
from gridmill.stores.lookahead import lookahead
from gridmill.stores.state.records import UpdateProgressTracker

__all__ = ["Experience", "Plan", "learn", "plan_of", "plan_selected"]

# Of the last runs, the one that moved most says best how fast the next will be.
RUNS_LOOKED_AT = 5
# Interpreter and libraries of a worker: with a slab, the 0.5 GiB of `python -m benchmarks memory`.
WORKER_NBYTES = 200e6


@dataclass(frozen=True)
class Experience:
    """What the report of an earlier run tells of the next one.

    Parameters
    ----------
    run
        Its name.
    workers
        How many workers it had.
    raw_nbytes_per_s
        Raw bytes of values that all of them together took through the pipeline in a second.
    stored_share
        Bytes in the store per raw byte.
    source_nbytes
        Average bytes of a source file.
    """

    run: str
    workers: int
    raw_nbytes_per_s: float
    stored_share: float
    source_nbytes: float


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Parameters
    ----------
    dataset_id, kind
        What is to be processed, in a ``backfill`` or an ``update``.
    final_store
        Where to.
    jobs
        The region jobs, in order; each can be processed by itself.
    prepare
        Finds the source files of a job and what of it is to do.
    positions, published
        How far the template reaches along the append dim, and how far readers see now.
    regions
        How many regions the template has.
    unselected
        Declared variables that are not among those to be processed.
    remarks
        How the archive differs from what the code declares, and why it would not be made today,
        a line each.
    listings
        The provider's folders that planning asks for.
    """

    dataset_id: str
    kind: str
    final_store: FinalStore
    jobs: tuple[RegionJob[Any, Any], ...]
    prepare: Callable[[RegionJob[Any, Any]], PreparedRegion]
    positions: int
    published: int
    regions: int
    unselected: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    listings: Listings = field(default_factory=lambda: Listings(asks=False))

    @property
    def store(self) -> str:
        """Where readers read, credentials masked."""
        return mask_url(self.final_store.url)

    def prepared(self) -> Iterator[PreparedRegion]:
        """Yield every job with its source files, in order."""
        return lookahead(self.prepare, self.jobs, self.final_store.state.at_once)

    def summary(self) -> dict[str, Any]:
        """Count what the run will do, and what it needs: `describe` without the single regions."""
        return {key: value for key, value in self.describe().items() if key != "regions"}

    def describe(self) -> dict[str, Any]:
        """Say what the run will do and need, in all and region by region.

        Returns
        -------
        dict
            Plain values. Region jobs in all and still to do; chains (one a variable and region);
            source files; bytes of source files, of raw values and in the store; what a worker
            needs of memory and tmp disk; seconds; what `listings` of the provider's folders cost
            already. What only an earlier run can tell (`estimated_
            from`) is None before there was one. `regions` names for each what is to do and why,
            or why it will be skipped; `passed_over` are those that the run does not look at.
        """
        known = learn(self.final_store.tracker)
        every = list(self.prepared())
        regions = [_describe_region(prepared, known) for prepared in every]
        to_do = [region for region in regions if region["todo"]]
        sums = {
            name: sum(region[name] for region in to_do) for name in ("source_files", "raw_nbytes")
        }
        chains = sum(len(region["todo"]) for region in to_do)
        varying = sum(region["first"] is not None for region in regions)
        return {
            "dataset_id": self.dataset_id,
            "kind": self.kind,
            "store": self.store,
            "positions": self.positions,
            "published": self.published,
            "region_jobs": len(self.jobs),
            "region_jobs_to_do": len(to_do),
            "chains": chains,
            **sums,
            "source_nbytes": known and round(sums["source_files"] * known.source_nbytes),
            "store_nbytes": known and round(sums["raw_nbytes"] * known.stored_share),
            "memory_nbytes_per_worker": _most(to_do, "memory_nbytes"),
            "tmp_disk_nbytes_per_worker": _tmp_disk(to_do, chains, known),
            "source_files_per_worker": _most(to_do, "source_files") * _regions_at_once(to_do),
            "seconds": known and round(sums["raw_nbytes"] / known.raw_nbytes_per_s, 1),
            "estimated_from": known and {"run": known.run, "workers": known.workers},
            "passed_over": {"regions": self.regions - varying, "why": self._why_passed_over()},
            "listings": asdict(self.listings.cost),
            "writes_at_most": _writes_at_most(every),
            "warnings": [*self._warnings(to_do), *_remarks(every), *_of_rhythm(every)],
            "regions": regions,
        }

    def _repr_html_(self) -> str:
        return card_of(self)

    def _why_passed_over(self) -> str:
        if self.kind == "update":
            return "published and settled, or older than an update looks back"
        return "outside the selection"

    def _warnings(self, to_do: Sequence[Mapping[str, Any]]) -> list[str]:
        """Say what its operator may not expect of the store, or of the selection."""
        found = list(self.remarks)
        varying = [region for region in to_do if region["first"] is not None]
        replaced = sum(region["start"] < self.published for region in varying)
        work = IntendedWork(len(varying), replaced, bool(self.unselected))
        found += self.final_store.warn_of(work)
        if self.unselected and any(region["stop"] > self.published for region in varying):
            found.append(
                f"readers see new positions only once {', '.join(self.unselected)} "
                f"{'is' if len(self.unselected) == 1 else 'are'} done, too"
            )
        return found


def _remarks(every: Sequence[PreparedRegion]) -> Iterator[str]:
    """Say what of the regions that stay as they are would be made otherwise today."""
    stay = [prepared for prepared in every if prepared.record is not None and not prepared.todo]
    version = type(every[0].job).version if every else 1
    records = [prepared.record for prepared in stay if prepared.record is not None]
    for what, many in made_earlier(records, version).items():
        yield f"{made_under(what, many)}: --redo reprocesses them, nothing else does"
    if opened := sum(_opened_by_xarray(prepared) for prepared in every):
        yield (
            f"xarray opens source files {opened:,} times, each once for every variable or input of "
            "one: several times the work of read_netcdf or of a decoder of one's own"
        )
    moved = sum(prepared.has_moved for prepared in stay)
    if moved:
        yield (
            f"{count_of(moved, 'region')} {'was' if moved == 1 else 'were'} made of source files "
            "that have other addresses now: they stay as they are"
        )


def _rhythms(every: Sequence[PreparedRegion]) -> list[Rhythm]:
    """Return when shards of the newest region are written, where readers see leads one by one."""
    varying = [one for one in every if not one.job.is_static]
    if not varying or varying[-1].job.publish_when != "lead by lead":
        return []
    job, sizes = varying[-1].job, varying[-1].sizes
    groups = [group for group in varying[-1].groups if group.files]
    return [Rhythm(job, group.variables, group.files, sizes) for group in groups]


def _writes_at_most(every: Sequence[PreparedRegion]) -> float | None:
    """Say how many times the final bytes of a region are written at most; None without leads."""
    found = _rhythms(every)
    return round(max(rhythm.worst() for rhythm in found), 2) if found else None


def _of_rhythm(every: Sequence[PreparedRegion]) -> Iterator[str]:
    """Say what it costs that readers see leads one by one, and where the shards do not fit."""
    found = _rhythms(every)
    if not found:
        return
    budget = found[0].budget
    yield (
        f"readers see leads as they come: up to {_writes_at_most(every):g} × the final bytes are "
        f"written, and {budget:g} × are allowed (write_budget)"
    )
    written, files = min((rhythm.steps() for rhythm in found), key=lambda pair: pair[0] / pair[1])
    if written < files:
        yield (
            f"the shards do not fit the rhythm of the leads: of {files:,} source files that come "
            f"one by one, {written:,} are stored as they come, and the others with them. Shards "
            "that hold a single lead, or a higher write_budget, show each at once"
        )


def learn(tracker: UpdateProgressTracker) -> Experience | None:
    """Learn from the last runs' reports; None if none of them moved any data.

    Parameters
    ----------
    tracker
        Of the archive.
    """
    reports = map(_experience, tracker.reports.past(RUNS_LOOKED_AT))
    found = [experience for experience in reports if experience is not None]
    return max(found, key=lambda pair: pair[0])[1] if found else None


def _experience(report: RunReport) -> tuple[int, Experience] | None:
    """Return what a report tells, and how much it moved."""
    compressed = [span for span in report.spans if span.stage == "compress"]
    raw = sum(span.nbytes for span in compressed)
    fetched = report.files["succeeded"]
    if not raw or not fetched or not report.nbytes_downloaded:
        return None
    stored = sum(span.nbytes for span in report.spans if span.stage == "upload")
    began, ended = min(s.started for s in report.spans), max(s.ended for s in report.spans)
    return raw, Experience(
        run=report.run,
        workers=len({span.worker for span in report.spans}),
        raw_nbytes_per_s=raw / max(ended - began, 1e-3),
        stored_share=stored / raw,
        source_nbytes=report.nbytes_downloaded / fetched,
    )


def _opened_by_xarray(prepared: PreparedRegion) -> int:
    """Return how often files of a region are opened the slow way."""
    if not isinstance(prepared.job, XarrayRegionJob):
        return 0
    return sum(
        file.gives(source.name)
        for group in prepared.groups
        for var in group.variables
        if var.name in group.todo
        for at, file in enumerate(group.files)
        if at not in group.kept
        for source in var.sources
    )


def _describe_region(prepared: PreparedRegion, known: Experience | None) -> dict[str, Any]:
    job = prepared.job
    index = job.template_ds.get_index(job.append_dim)
    todo = prepared.todo
    to_do = [var for group in prepared.groups for var in group.variables if var.name in todo]
    # Of what was prepared: to cut the template for each variable would take most of the time.
    shapes = {var.name: tuple(prepared.sizes[dim] for dim in var.dims) for var in to_do}
    sizes = {var.name: _raw_nbytes(var, shapes[var.name]) for var in to_do}
    needs = [needs_of(job, var, shapes[var.name], step_offsets(job, var)) for var in to_do]
    return {
        "first": None if job.is_static else job.region.label(index),
        "last": None if job.is_static else str(index[job.region.stop - 1]),
        "start": job.region.start,
        "stop": job.region.stop,
        "variables": [var.name for var in job.data_vars],
        "todo": todo,
        "skipped": _why_skipped(prepared),
        "source_files": prepared.n_files,
        "source_nbytes": known and round(prepared.n_files * known.source_nbytes),
        "raw_nbytes": sum(sizes.values()),
        "scratch_nbytes": max((one.disk_nbytes for one in needs), default=0),
        "largest_nbytes": max(sizes.values(), default=0),
        "memory_nbytes": round(WORKER_NBYTES + _held(prepared, needs)) if to_do else 0,
    }


def _held(prepared: PreparedRegion, needs: Sequence[SlabNeeds]) -> float:
    """Return what a worker holds: a slab that it encodes, or one and a file on another grid."""
    reading = (
        most_regridding_nbytes(
            prepared.job,
            [var for var in group.variables if var.name in group.todo],
            group.files,
            prepared.sizes,
        )
        for group in prepared.groups
    )
    beside = max((one.reading_nbytes for one in needs), default=0)
    return max(*(one.memory_nbytes for one in needs), beside + max(reading, default=0))


def _why_skipped(prepared: PreparedRegion) -> dict[str, str]:
    """Say by variable why it will be skipped."""
    record, todo = prepared.record, prepared.todo
    names = [v.name for group in prepared.groups for v in group.variables if v.name not in todo]
    if record is None:
        return {}
    return {name: _why_done(record.variables[name], record.fills(name) or ()) for name in names}


def _why_done(variable: Any, fills: Sequence[Any]) -> str:
    waiting = sum(not fill.settled for fill in fills)
    gaps = sum(fill.settled and fill.status != "succeeded" for fill in fills)
    said = "no source file has it" if variable.state == "absent" else f"done by {variable.run}"
    if waiting:
        said += f"; {count_of(waiting, 'source file')} not requested again"
    return said + (f"; {count_of(gaps, 'source file')} counted as missing" if gaps else "")


def _tmp_disk(to_do: Sequence[Mapping[str, Any]], chains: int, known: Experience | None) -> int:
    """Return what a worker needs on its own disk at most.

    Its share of the regions in flight keep their shards and source files there, and the variable
    that it compresses what it scatters, if it is divided: all inputs of what is made of others, or
    of many steps. Before a first run shards count as if nothing could be compressed, and source
    files not at all.
    """
    regions = _regions_at_once(to_do)
    at_once = min(chains, regions * max((len(region["todo"]) for region in to_do), default=0))
    share: float = 1.0 if known is None else known.stored_share
    shards = _most(to_do, "largest_nbytes") * share * at_once
    sources = _most(to_do, "source_nbytes") * regions
    return int(shards + sources + _most(to_do, "scratch_nbytes"))


def _regions_at_once(to_do: Sequence[Mapping[str, Any]]) -> int:
    """Return how many regions a worker has in hand at most."""
    fewest = min((len(region["todo"]) for region in to_do), default=1)
    for_threads = ceil(CHAINS_PER_THREAD * threads_per_worker() / fewest)
    return min(len(to_do), max(REGIONS_PER_WORKER, for_threads))


def _most(to_do: Sequence[Mapping[str, Any]], name: str) -> int:
    return max((region[name] or 0 for region in to_do), default=0)


def _raw_nbytes(var: DataVar, shape: Sequence[int]) -> int:
    return int(prod(shape) * np.dtype(var.encoding.dtype).itemsize)


def plan_selected(opening: Opening, selection: Selection, present: Any, *, redo: bool) -> Plan:
    """Say what a backfill of a selection, or without its `until` an update, would do.

    Raises
    ------
    ValueError
        The selection does not fit the archive.
    StructureMismatch
        The template contradicts the store.
    """
    opened = selection.opened(opening, present)
    archive = opened.archive
    archive.check_structure()
    if opened.added is not None:
        archive = apart_of(archive)
    if selection.until is None:
        jobs, belief = update_jobs(opening, archive, present)
        return plan_of(archive, "update", jobs, selection.variables, present, belief)
    belief = Belief(runs=selection.redo.runs(archive.store.tracker) if redo else None)
    selected = selection.jobs(opening, opened, belief)
    return plan_of(archive, "backfill", selected, selection.variables, present, belief)


def plan_of(
    archive: Archive,
    kind: str,
    jobs: Sequence[RegionJob[Any, Any]],
    variables: Sequence[str] | None = None,
    now: Any = None,
    belief: Belief = AS_RECORDED,
) -> Plan:
    """Say what a run will do; nothing is looked at before it is asked for.

    Parameters
    ----------
    archive
        What it works on.
    kind
        ``backfill`` or ``update``.
    jobs
        The regions, in order.
    variables
        What is selected; None means all.
    now
        The present, as a label of the append dim; None tries nothing again that is pending.
    belief
        How far what is recorded is believed.
    """
    config, store = archive.config, archive.store

    def prepare(job: RegionJob[Any, Any]) -> PreparedRegion:
        record = store.tracker.read(job.region)
        arrays, stored, missing = archive.arrays, archive.stored_arrays, missing_of(archive, record)
        return prepare_region(job, record, arrays, missing, now=now, stored=stored, belief=belief)

    selected = config.data_vars if variables is None else config.select(variables)
    return Plan(
        dataset_id=config.dataset_id,
        kind=kind,
        final_store=store,
        jobs=tuple(jobs),
        prepare=prepare,
        positions=len(archive.index),
        published=archive.published,
        regions=-(-len(archive.index) // config.region_length),
        unselected=tuple(v.name for v in config.data_vars if v not in selected),
        remarks=config.remarks,
        listings=config.listings,
    )
