"""A dataset and its archive: what users call and authors declare."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import xarray as xr
from distributed import Client, get_client

from gridmill.archive.archive import Archive
from gridmill.authoring.as_made import as_made
from gridmill.authoring.region_job import ProcessResults, RegionJob
from gridmill.authoring.template import TemplateConfig, just_after
from gridmill.display.cards import dataset_card
from gridmill.model.region import touches
from gridmill.model.reports import RunReport
from gridmill.model.variables import DataVar
from gridmill.model.wording import count_of
from gridmill.operations.status import ArchiveStatus, read_status
from gridmill.planning.prepare import PreparedRegion, prepare_region, results_from_record
from gridmill.planning.redo import RedoOrder
from gridmill.publishing.publisher import Publisher
from gridmill.runs.chain import threads_per_worker
from gridmill.runs.clusters import check_workers, connect
from gridmill.runs.driver import Driver, Event
from gridmill.runs.plan import Plan
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.leases import STATIC, Lease, LeaseHeld, current_claims, is_alive
from gridmill.stores.objects.leftovers import temporary_folder
from gridmill.stores.objects.local import StoreUnwritable
from gridmill.stores.opening import open_store
from gridmill.stores.zarr_store import array_metadata, is_same_kind

if TYPE_CHECKING:
    from gridmill.validation import Validation, Validator

__all__ = ["DynamicalDataset", "Plan", "StoreUnwritable"]

log = logging.getLogger(__name__)

Listener = Callable[[Event], None]
# What an archive was given when it was made, kept with its records.
Declaration = dict[str, Any]

# Clusters whose workers get the threads that the stages need.
STARTED_HERE = (None, "local", "coiled")


class DynamicalDataset:
    """A dataset that grows; subclass it, declare, and use its methods.

    Parameters
    ----------
    store
        URL or path of the final store.
    state
        Where the progress records are kept; None means ``<store>.gridmill``.
    source_base
        Where source files are: overrides the class's own, for a mirror with the provider's
        layout. Several are tried in order.
    fsync
        Whether what is written to a local store also survives a power loss.
    format, storage_options
        The store's format, and what a remote store's file system takes: see
        `gridmill.stores.open_store`.
    replicas
        Further stores, of either format, that hold the same and are published before `store`.
        URLs, with the storage options of `store` where they are of the same kind; or mappings
        of what `open_store` takes, ``{"url": ..., "format": ..., "storage_options": ...}``.

    Attributes
    ----------
    template_config : type of TemplateConfig
        The structure.
    region_job : type of RegionJob
        How regions are filled.
    source_base : str or sequence of str
        What the relative URLs of source files are relative to.
    """

    template_config: ClassVar[type[TemplateConfig]]
    region_job: ClassVar[type[RegionJob[Any, Any]]]
    source_base: str | Sequence[str] = ()

    def __init__(
        self,
        store: str | Path,
        *,
        state: str | None = None,
        source_base: str | Sequence[str] | None = None,
        fsync: bool = False,
        format: str | None = None,  # noqa: A002
        storage_options: Mapping[str, Any] | None = None,
        replicas: Sequence[str | Path | Mapping[str, Any]] = (),
    ) -> None:
        self.declared = self.template_config()
        self.store = open_store(
            str(store),
            self.dataset_id,
            format=format,
            state=state,
            fsync=fsync,
            storage_options=storage_options,
        )
        self.replicas = [self._replica(given, storage_options) for given in replicas]
        if source_base is not None:
            self.source_base = source_base

    @property
    def dataset_id(self) -> str:
        """The dataset's id."""
        return self.declared.dataset_id

    def _repr_html_(self) -> str:
        """Show what is declared; asks neither the store nor the provider."""
        config, source = self.declared, self.source_base
        step = (
            f"every {config.append_dim_frequency}" if config.append_dim_frequency else "irregular"
        )
        sources = [source] if isinstance(source, str) else list(source)
        about = {
            "store": f"{mask_url(self.store.url)} ({self.store.format})",
            "records": mask_url(self.store.state.url),
            "append dim": f"{config.append_dim}, {step}, from {config.append_dim_start}",
            "dims": ", ".join(config.dims),
            "region": count_of(config.region_length, "position"),
            "coordinates": ", ".join(coord.name for coord in config.coords),
            "source files": ", ".join(map(mask_url, sources)),
        }
        title = str(config.dataset_attributes.get("title", ""))
        return dataset_card(title, self.dataset_id, about, config.data_vars)

    # -- runs ---------------------------------------------------------------------------------

    def backfill(
        self,
        until: Any,
        *,
        start: str | None = None,
        end: str | None = None,
        variables: Sequence[str] | None = None,
        max_lead: str | None = None,
        redo: bool = False,
        revalidate: bool = False,
        client: Any = None,
        now: Any = None,
        listener: Listener = lambda event: None,
    ) -> RunReport:
        """Build the archive up to, not including, `until`; go on where an earlier run stopped.

        Parameters
        ----------
        until
            Where the template ends.
        start, end
            Process only the regions that touch [start, end). For a new archive `start` is
            where it begins, for good.
        variables
            Process only these. For a new archive they are all it will have. Those that an
            archive does not have yet are added to it, as far as it is published: readers see
            them once they are whole.
        max_lead
            For a new archive of forecasts, the longest lead that it will ever have (``"24h"``).
        redo
            Make what is selected again though it is done, to repair it. If the run is
            interrupted, the same call goes on with it. Where a source file is gone by now,
            published values stay.
        revalidate
            Believe no record unseen: ask the provider whether source files were revised since,
            and the store for every object.
        client
            See `gridmill.runs.clusters.connect`; None means the current Dask client if there is
            one, else a local cluster for this run.
        now
            The present; None asks the clock.
        listener
            Called with every event of the run.

        Raises
        ------
        ValueError
            An argument does not fit the dataset.
        StructureMismatch
            The template contradicts the store; nothing was written. Defaults that changed since
            the archive was made do not: it keeps its own, and the report's notes say so.
        StoreUnwritable
            The store cannot be written.
        """
        declaration = self._declaration(start, variables, max_lead)
        added = self._added(declaration, variables)
        declaration = added or declaration
        unseen = variables or () if added else ()
        config = self._config(declaration, variables=variables, until=until, unseen=unseen)
        template_ds = self._template(config, self._end(config, until, added))
        jobs = self._jobs(
            config, template_ds, until=until, start=start, end=end, variables=variables
        )
        jobs = [replace(job, revalidate=revalidate) for job in jobs]
        return self._run(
            "backfill",
            declaration,
            config,
            template_ds,
            jobs,
            client,
            now,
            listener,
            redo=RedoOrder.of(start, end, variables) if redo else None,
            unseen=unseen,
        )

    def reformat_operational_update(
        self,
        *,
        until: Any = None,
        revalidate: bool = False,
        client: Any = None,
        now: Any = None,
        listener: Listener = lambda event: None,
    ) -> RunReport:
        """Bring the archive up to the present.

        `RegionJob.operational_update_jobs` says what there is to process. Parameters and errors
        as for `backfill`, but for `until`: where the template ends, by default the present.
        """
        declaration = self._declaration()
        config = self._config(declaration)
        present = self._now(now)
        template_ds = self._template(config, present if until is None else config.label(until))
        jobs = self._update_jobs(config, template_ds)
        jobs = [replace(job, revalidate=revalidate) for job in jobs]
        return self._run(
            "update", declaration, config, template_ds, jobs, client, present, listener
        )

    def plan(
        self,
        until: Any = None,
        *,
        start: str | None = None,
        end: str | None = None,
        variables: Sequence[str] | None = None,
        max_lead: str | None = None,
        redo: bool = False,
        now: Any = None,
    ) -> Plan:
        """Say what `backfill`, or without `until` an update, would do; writes nothing.

        Raises
        ------
        ValueError
            An argument does not fit the dataset.
        StructureMismatch
            The template contradicts the store.
        """
        declaration = self._declaration(start, variables, max_lead)
        added = self._added(declaration, variables)
        declaration = added or declaration
        unseen = variables or () if added else ()
        config = self._config(declaration, variables=variables, until=until, unseen=unseen)
        present = self._now(now)
        last = present if until is None else self._end(config, until, added)
        template_ds = self._template(config, last)
        archive = self._archive(config, template_ds, unseen)
        archive.check_structure()
        if until is None:
            jobs = self._update_jobs(config, template_ds)
        else:
            jobs = self._jobs(
                config, template_ds, until=until, start=start, end=end, variables=variables
            )
            if redo:
                runs = RedoOrder.of(start, end, variables).runs(self.store.tracker)
                jobs = [replace(job, believed_runs=runs) for job in jobs]

        def prepare(job: RegionJob[Any, Any]) -> PreparedRegion:
            record = self.store.tracker.read(job.region)
            arrays, stored = archive.arrays, archive.stored_arrays
            return prepare_region(job, record, arrays, self.store.missing, stored=stored)

        selected = config.data_vars if variables is None else config.select(variables)
        return Plan(
            dataset_id=self.dataset_id,
            kind="update" if until is None else "backfill",
            final_store=self.store,
            jobs=tuple(jobs),
            prepare=prepare,
            positions=len(archive.index),
            published=archive.published,
            regions=-(-len(archive.index) // config.region_length),
            unselected=tuple(v.name for v in config.data_vars if v not in selected),
            remarks=config.remarks,
        )

    def status(self, *, now: Any = None, grace: timedelta = timedelta(0)) -> ArchiveStatus:
        """Say what the archive holds, what of it may still change, and what should be there.

        Parameters
        ----------
        now
            The present; None asks the clock.
        grace
            How long an update may take: what is expected for less is not late.
        """
        return read_status(self.archive(now), self._now(now), grace)

    def validate(
        self,
        validators: Sequence[Validator] | None = None,
        *,
        start: str | None = None,
        end: str | None = None,
        variables: Sequence[str] | None = None,
        now: Any = None,
    ) -> Validation:
        """Look whether the archive is right; changes nothing.

        Parameters
        ----------
        validators
            What to look with; None takes the dataset's own `validators`.
        start, end, variables
            Only positions in [start, end), only these variables.
        now
            The present; None asks the clock.

        Raises
        ------
        ValueError
            There is no archive, or readers see nothing of what is selected.

        Notes
        -----
        Values are read through the current Dask client if there is one, else by threads.
        """
        from gridmill.validation import validate

        chosen = self.validators() if validators is None else validators
        return validate(self, chosen, start=start, end=end, variables=variables, now=now)

    @property
    def where(self) -> str:
        """The addresses of the archive and its replicas, credentials masked, in words."""
        return " and ".join(mask_url(store.url) for store in (self.store, *self.replicas))

    def validators(self) -> Sequence[Validator]:
        """Give what `validate` looks with; override it to add some or to set their bounds."""
        from gridmill.validation import DEFAULT_VALIDATORS

        return DEFAULT_VALIDATORS

    def present(self) -> Any:
        """Give the present, as a label of the append dim."""
        return self._now(None)

    def config(self) -> TemplateConfig:
        """Give the template as the archive was made with it, which goes before the code's."""
        return self._config(self._declaration())

    def coded(self) -> TemplateConfig:
        """Give the template as the code declares it, narrowed to the archive's declaration."""
        return self._narrowed(self._declaration())

    def archive(
        self,
        end: Any = None,
        *,
        as_declared: bool = False,
        config: TemplateConfig | None = None,
    ) -> Archive:
        """Give the archive as it was made, its template up to `end` or to its capacity.

        By default `end` is the present, and `config` what `config()` gives. The template reaches as
        far as readers see, unless `as_declared`: then the store is not asked how far that is.
        """
        config = config or self.config()
        labels = config.append_dim_coordinates(self._now(end))
        is_over = len(labels) > config.capacity
        last = labels[config.capacity] if is_over else self._now(end)
        template_ds = config.get_template(last) if as_declared else self._template(config, last)
        return self._archive(config, template_ds)

    # -- most subclasses need not override what follows ----------------------------------------

    @contextmanager
    def _tmp_stores(self) -> Iterator[None]:
        with temporary_folder() as root:
            self._tmp_root = str(root)
            try:
                yield
            finally:
                self._tmp_root = None

    def _tmp_store(self) -> Path:
        """Make an empty local folder for a temporary store of the calling process."""
        return Path(tempfile.mkdtemp(prefix=f"gridmill-{self.dataset_id}-", dir=self._tmp_root))

    _tmp_root: str | None = None

    def _process(self, job: RegionJob[Any, Any]) -> ProcessResults:
        """Process one region job by itself, see `RegionJob.process`."""
        declaration = self._declaration()
        config = self._config(declaration)
        report = self._run(
            "process",
            declaration,
            config,
            job.template_ds,
            [job],
            None,
            None,
            lambda event: None,
            publish=False,
        )
        if report.failures:
            listed = "; ".join(f"{f.variable}: {f.cause}" for f in report.failures)
            raise RuntimeError(f"region {report.failures[0].region} failed: {listed}")
        archive = self._archive(config, job.template_ds)
        record = self.store.tracker.read(job.region)
        assert record is not None
        return results_from_record(archive.prepare_recorded(job, record), record)

    def _run(
        self,
        kind: str,
        declaration: Declaration,
        config: TemplateConfig,
        template_ds: xr.Dataset,
        jobs: Sequence[RegionJob[Any, Any]],
        client: Any,
        now: Any,
        listener: Listener,
        *,
        publish: bool = True,
        redo: RedoOrder | None = None,
        unseen: Sequence[str] = (),
    ) -> RunReport:
        report = RunReport.begin(self.dataset_id, kind, mask_url(self.store.url))
        report.notes.extend(config.remarks)
        with self._tmp_stores():
            archive = self._archive(config, template_ds, unseen)
            archive.check_structure()
            for remark in config.remarks:
                log.info("%s: %s", self.dataset_id, remark)
            self._create(self._declaration() if unseen else declaration)
            report.positions_before = report.positions_after = archive.published
            report.published_before = report.published_after = archive.last_label
            with self._leased(jobs, report) as (lease, jobs), _client(client) as connected:
                check_workers(connected, threads_per_worker())
                # Another run may have published since; what it did stays as published.
                archive.check_structure()
                if kind == "update":
                    # Readers wait for what is new; most of the rest is found to be done.
                    jobs = sorted(jobs, key=lambda job: 0 < job.region.stop <= archive.published)
                if redo is not None:
                    runs = redo.join(self.store.tracker, report.run)
                    jobs = [replace(job, believed_runs=runs) for job in jobs]
                publisher = Publisher(archive, self.replicas)
                driver = Driver(
                    connected,
                    publisher,
                    lease,
                    now=self._now(now),
                    report=report,
                    listener=listener,
                )
                with self._reported(report):
                    driver.run(jobs, publish=publish and not unseen)
                    if unseen:
                        self._show_unseen(publisher, lease, declaration, report)
                if redo is not None and report.succeeded:
                    redo.close(self.store.tracker)
        return report

    @contextmanager
    def _leased(
        self, jobs: Sequence[RegionJob[Any, Any]], report: RunReport
    ) -> Iterator[tuple[Lease, Sequence[RegionJob[Any, Any]]]]:
        """Hold the lease of the jobs; without the static one, if another run has that."""

        def lease_of(jobs: Sequence[RegionJob[Any, Any]]) -> Lease:
            positions = map(_positions, jobs)
            return Lease(self.store.state, run=report.run, kind=report.kind, positions=positions)

        with ExitStack() as stack:
            jobs = self._without_static_in_hand(jobs)
            try:
                lease = stack.enter_context(lease_of(jobs))
            except LeaseHeld:
                fewer = self._without_static_in_hand(jobs)
                if len(fewer) == len(jobs):
                    raise
                # Both looked before either had claimed.
                jobs, lease = fewer, stack.enter_context(lease_of(fewer))
            yield lease, jobs

    def _without_static_in_hand(
        self, jobs: Sequence[RegionJob[Any, Any]]
    ) -> Sequence[RegionJob[Any, Any]]:
        """Leave the static variables to a run of other regions that has them in hand already.

        Nothing is published before they are done, whichever run does them.
        """
        varying = [job for job in jobs if not job.is_static]
        if not varying or len(varying) == len(jobs):
            return jobs
        rivals = (
            claim
            for claim in current_claims(self.store.state)
            if any(start <= STATIC[0] < stop for start, stop in claim.positions)
        )
        return varying if any(is_alive(self.store.state, claim) for claim in rivals) else jobs

    @contextmanager
    def _reported(self, report: RunReport) -> Iterator[None]:
        """Keep the run's report, however the run ends."""
        try:
            yield
        except BaseException as error:
            report.interrupted = f"{type(error).__name__}: {error}".rstrip(": ")
            raise
        finally:
            report.end()
            self.store.tracker.write_report(report)

    def _config(
        self,
        declaration: Declaration,
        *,
        variables: Sequence[str] | None = None,
        until: Any = None,
        unseen: Sequence[str] = (),
    ) -> TemplateConfig:
        """Give the template as an archive was made with it; check a run's selection against it."""
        config = self._narrowed(declaration)
        if until is not None:
            self._check_until(config, until)
        if variables is not None:
            config.select(variables)
        return as_made(config, self._stored(), unseen).config

    def _narrowed(self, declaration: Declaration) -> TemplateConfig:
        return self.declared.narrowed(
            start=declaration["start"],
            variables=declaration["variables"],
            max_lead=declaration.get("max_lead"),
        )

    def _stored(self) -> dict[str, Any] | None:
        """Read the root metadata; None if nothing is published, or if it is damaged."""
        with suppress(ValueError):  # the structure check, or a validator, says what is wrong
            return self.store.metadata()
        return None

    def _declaration(
        self,
        start: str | None = None,
        variables: Sequence[str] | None = None,
        max_lead: str | None = None,
    ) -> Declaration:
        """Give what was declared when the archive was made; for a new one, what would be.

        Raises
        ------
        ValueError
            It is another dataset's archive, in another format, or with another longest lead.
        UnreadableState
            It cannot be read, or is gone while readers see an archive.
        StoreUnwritable
            Not even this can be read.
        """
        kept = self._kept_declaration()
        if kept is None:
            return {
                "dataset_id": self.dataset_id,
                "start": start,
                "variables": None if variables is None else list(variables),
                "max_lead": max_lead,
                "format": self.store.format,
            }
        if kept["dataset_id"] != self.dataset_id:
            raise ValueError(
                f"{self.store.url} holds {kept['dataset_id']}, not {self.dataset_id}: "
                "give another --store"
            )
        if kept["format"] != self.store.format:
            raise ValueError(
                f"{self.store.url} is in format {kept['format']}, not {self.store.format}: "
                "give that --format, or another --store"
            )
        if max_lead not in (None, kept.get("max_lead")):
            raise ValueError(
                f"{self.store.url} was made with max lead {kept.get('max_lead')}, not {max_lead}: "
                "leave it out, or give another --store"
            )
        return kept

    def _kept_declaration(self) -> Declaration | None:
        """Read what was declared when the archive was made; None for a new one."""
        tracker = self.store.tracker
        try:
            kept = tracker.read_declaration()
            positions = None if kept else self._published()
            if not positions:
                return kept
            kept = tracker.read_declaration()  # another run may have made the archive in between
            if kept is None:
                raise tracker.lost(self.store.url, positions)
        except OSError as error:
            raise StoreUnwritable(f"cannot read {self.store.url}: {error}") from error
        return kept

    def _published(self) -> int | None:
        with suppress(ValueError, KeyError, TypeError):  # a foreign store: later checks name it
            return self.store.published_length(self.declared.append_dim)
        return None

    def _create(self, declaration: Declaration) -> None:
        """Keep what a new archive is declared to be, now that all is checked.

        Raises
        ------
        ValueError
            Another run made the archive in between, differently.
        """
        self._check_writable()
        tracker = self.store.tracker
        there = tracker.read_declaration()
        if there is None:
            if tracker.write_declaration(declaration):
                return
            there = tracker.read_declaration()
        if there != declaration:
            raise ValueError(
                f"another run made {self.store.url} at this moment, and declared it differently: "
                "run again to follow it, or give another --store"
            )

    def _template(self, config: TemplateConfig, end: Any) -> xr.Dataset:
        """Give the template up to `end`, or to what is published where that is further."""
        with suppress(KeyError, TypeError):  # a foreign store: the structure check names it
            if self.store.published_length(config.append_dim):
                last = self.store.open_dataset().get_index(config.append_dim)[-1]
                end = max(end, just_after(last))
        return config.get_template(end)

    def _check_until(self, config: TemplateConfig, until: Any) -> None:
        first = config.label(config.append_dim_start)
        if config.label(until) <= first:
            raise ValueError(
                f"until {until} is not after the archive's start {config.append_dim_start}: "
                "there is nothing to build"
            )

    def _check_writable(self) -> None:
        try:
            self.store.check_writable()
        except OSError as error:
            raise StoreUnwritable(f"cannot write to {self.store.url}: {error}") from error

    def _added(
        self, declaration: Declaration, variables: Sequence[str] | None
    ) -> Declaration | None:
        """Give the declaration with those of the variables that an archive does not have yet.

        None if there are none.

        Raises
        ------
        ValueError
            This archive cannot be added to, or not in this way.
        """
        if not variables:
            return None
        stored = self.store.metadata()
        arrays = array_metadata(stored or {})
        there = [v.name for v in self.declared.data_vars if v.name in arrays]
        new = [v for v in self.declared.select(variables) if v.name not in there]
        if not there or not new:
            return None
        length = as_made(self._narrowed(declaration), stored).config.region_length
        why = None
        if len(new) < len(set(variables)):
            why = "name no other variables with them"
        elif any(self.declared.append_dim not in v.dims for v in new):
            why = f"only variables along {self.declared.append_dim} can be added"
        elif dims := {dim for v in new for dim in v.dims} - arrays.keys():
            why = f"it has no {', '.join(sorted(dims))} either, which takes a new archive"
        elif any(length % v.object_length(self.declared.append_dim) for v in new):
            why = f"regions of {length} positions, as the archive has, must hold whole shards of it"
        elif self.replicas:
            why = "leave --replica out, and add them to each replica by itself"
        if why is not None:
            names = ", ".join(v.name for v in new)
            raise ValueError(f"{self.store.url} does not have {names}: {why}")
        every = [v.name for v in self.declared.data_vars if v in new or v.name in there]
        # Who declared all variables goes on to be told of those that the archive lacks.
        return {**declaration, "variables": declaration["variables"] and every}

    def _end(self, config: TemplateConfig, until: Any, added: Declaration | None) -> Any:
        """Where a backfill's template ends: at `until`, or where readers see to."""
        return config.label(config.append_dim_start if added else until)

    def _show_unseen(
        self, publisher: Publisher, lease: Lease, declaration: Declaration, report: RunReport
    ) -> None:
        tracker = self.store.tracker
        report.stops_because = publisher.show_unseen(
            lease, lambda: tracker.replace_declaration(declaration)
        )
        if report.stops_because is None:
            report.notes.append(f"added {', '.join(publisher.archive.unseen)}")

    def _archive(
        self, config: TemplateConfig, template_ds: xr.Dataset, unseen: Sequence[str] = ()
    ) -> Archive:
        def make_job(region: slice) -> RegionJob[Any, Any]:
            varying = [v for v in config.data_vars if config.append_dim in v.dims]
            return self._bound(
                self.region_job(
                    template_ds=template_ds,
                    data_vars=varying,
                    append_dim=config.append_dim,
                    region=region,
                )
            )

        return Archive(self.store, config, template_ds, make_job, self._tmp_store, unseen)

    def _replica(
        self, given: str | Path | Mapping[str, Any], storage_options: Mapping[str, Any] | None
    ) -> FinalStore:
        options: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {"url": str(given)}
        url = str(options.pop("url"))
        if url.rstrip("/") == self.store.url.rstrip("/"):
            raise ValueError(f"{url} is the archive itself: give another replica")
        if is_same_kind(url, self.store.url):
            options.setdefault("storage_options", storage_options)
        return open_store(url, self.dataset_id, **options)

    def _jobs(
        self,
        config: TemplateConfig,
        template_ds: xr.Dataset,
        *,
        until: Any,
        start: str | None,
        end: str | None,
        variables: Sequence[str] | None,
    ) -> list[RegionJob[Any, Any]]:
        """Give the static job and the regions that the filters touch."""
        dim = config.append_dim
        index = template_ds.get_index(dim)
        first = 0 if start is None else config.position(start, index)
        last = int(index.searchsorted(config.label(until)))
        if end is not None:
            last = min(last, config.position(end, index))
        if first >= last:
            raise ValueError(f"start {start} is not before end {end}: no region to process")
        jobs = self.region_job.get_jobs(template_ds, dim, config.data_vars)
        chosen = config.data_vars if variables is None else config.select(variables)
        selected = [v for v in chosen if dim in v.dims]
        touched = [job for job in jobs if touches(job.region, first, last)]
        return [
            *self._static_jobs(config, template_ds, chosen),
            *(self._bound(replace(job, data_vars=selected)) for job in touched if selected),
        ]

    def _update_jobs(
        self, config: TemplateConfig, template_ds: xr.Dataset
    ) -> list[RegionJob[Any, Any]]:
        dim = config.append_dim
        jobs = self.region_job.operational_update_jobs(
            self.store, template_ds, dim, config.data_vars
        )
        return [
            *self._static_jobs(config, template_ds, config.data_vars),
            *(self._bound(job) for job in jobs),
        ]

    def _static_jobs(
        self, config: TemplateConfig, template_ds: xr.Dataset, chosen: Sequence[DataVar]
    ) -> list[RegionJob[Any, Any]]:
        static = [var for var in chosen if config.append_dim not in var.dims]
        if not static:
            return []
        job = self.region_job(
            template_ds=template_ds,
            data_vars=static,
            append_dim=config.append_dim,
            region=slice(0, 0),
        )
        return [self._bound(job)]

    def _bound(self, job: RegionJob[Any, Any]) -> RegionJob[Any, Any]:
        """Tell a job where source files are and what processes it."""
        given = self.source_base
        bases = (given,) if isinstance(given, str) else tuple(given)
        return replace(job, source_base=job.source_base or bases, processor=self._process)

    def _now(self, now: Any) -> Any:
        present = datetime.now(UTC).replace(tzinfo=None) if now is None else now
        return self.declared.label(present)


def _positions(job: RegionJob[Any, Any]) -> tuple[int, int]:
    return STATIC if job.is_static else (job.region.start, job.region.stop)


def _client(given: Any) -> AbstractContextManager[Client]:
    if given is None:
        try:
            return _borrowed(get_client())
        except ValueError:
            pass
    return connect(
        given, threads_per_worker=threads_per_worker() if given in STARTED_HERE else None
    )


@contextmanager
def _borrowed(client: Client) -> Iterator[Client]:
    yield client
