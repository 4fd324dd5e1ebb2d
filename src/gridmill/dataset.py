"""A dataset and its archive: what users call and authors declare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gridmill.archive.archive import Archive
from gridmill.archive.declaration import narrowed, with_what_it_has
from gridmill.archive.opening import Opened, Opening
from gridmill.archive.selection import jobs_between, jobs_of_update
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import ProcessResults
from gridmill.authoring.template import TemplateConfig
from gridmill.display.cards import dataset_card
from gridmill.model.reports.run_report import RunReport
from gridmill.model.urls import check_address, is_same_kind
from gridmill.model.wording import count_of
from gridmill.operations.status import ArchiveStatus, read_status
from gridmill.planning.prepare import results_from_record
from gridmill.planning.redo import RedoOrder
from gridmill.runs.coordinator import Assignment, Listener, run
from gridmill.runs.plan import Plan, plan_of
from gridmill.sources.fetch.download import mask_url
from gridmill.stores.final_store import FinalStore
from gridmill.stores.objects.leftovers import make_folder, temporary_folder
from gridmill.stores.opening import open_store

if TYPE_CHECKING:
    from gridmill.validation import Validation, Validator

__all__ = ["DynamicalDataset"]


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
            for base in (source_base,) if isinstance(source_base, str) else source_base:
                check_address(base)
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
            See `gridmill.runs.dask.clusters.connect`; None means the current Dask client if there
            is one, else a local cluster for this run.
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
        opened = self._opened(until, start, variables, max_lead)
        jobs = jobs_between(opened.archive, until, start=start, end=end, variables=variables)
        assignment = Assignment(
            "backfill",
            opened,
            [replace(self._bound(job), revalidate=revalidate) for job in jobs],
            self.replicas,
            RedoOrder.of(start, end, variables) if redo else None,
        )
        return self._run(assignment, client, now, listener)

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
        present = self._now(now)
        opened = self._opening.for_update(present if until is None else until)
        jobs = jobs_of_update(opened.archive, present)
        jobs = [replace(self._bound(job), revalidate=revalidate) for job in jobs]
        assignment = Assignment("update", opened, jobs, self.replicas)
        return self._run(assignment, client, present, listener)

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
        archive = self._opened(until, start, variables, max_lead, now).archive
        archive.check_structure()
        if until is None:
            jobs = jobs_of_update(archive, self._now(now))
        else:
            jobs = jobs_between(archive, until, start=start, end=end, variables=variables)
            if redo:
                runs = RedoOrder.of(start, end, variables).runs(self.store.tracker)
                jobs = [replace(job, believed_runs=runs) for job in jobs]
        kind = "update" if until is None else "backfill"
        bound = [self._bound(job) for job in jobs]
        return plan_of(archive, kind, bound, variables, now=self._now(now))

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
        return self._opening.config(self._opening.declaration())

    def coded(self) -> TemplateConfig:
        """Give the template as the code declares it, narrowed to the archive's declaration."""
        opening = self._opening
        return narrowed(opening.coded, opening.declaration())

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
        opening = self._opening
        template_ds = config.get_template(last) if as_declared else opening.template(config, last)
        return opening.archive(config, template_ds)

    # -- most subclasses need not override what follows ----------------------------------------

    @contextmanager
    def _tmp_stores(self) -> Iterator[None]:
        with temporary_folder() as root:
            self._tmp_root = root
            try:
                yield
            finally:
                self._tmp_root = None

    def _tmp_store(self) -> Path:
        """Make an empty local folder for a temporary store of the calling process."""
        return make_folder(self._tmp_root)

    _tmp_root: Path | None = None

    def _process(self, job: RegionJob[Any, Any]) -> ProcessResults:
        """Process one region job by itself, see `RegionJob.process`."""
        declaration = self._opening.declaration()
        archive = self._opening.archive(self._opening.config(declaration), job.template_ds)
        opened = Opened(archive, declaration)
        assignment = Assignment("process", opened, [job], publishes=False)
        report = self._run(assignment, None, None, lambda event: None)
        if report.failures:
            listed = "; ".join(f"{f.variable}: {f.cause}" for f in report.failures)
            raise RuntimeError(f"region {report.failures[0].region} failed: {listed}")
        record = self.store.tracker.read(job.region)
        assert record is not None
        return results_from_record(archive.prepare_recorded(job, record), record)

    def _run(self, assignment: Assignment, client: Any, now: Any, listener: Listener) -> RunReport:
        with self._tmp_stores():
            return run(assignment, client=client, now=self._now(now), listener=listener)

    @property
    def _opening(self) -> Opening:
        coded = with_what_it_has(self.store, self.declared)
        return Opening(self.store, coded, self.region_job, self._bound, self._tmp_store)

    def _opened(
        self,
        until: Any,
        start: str | None,
        variables: Sequence[str] | None,
        max_lead: str | None,
        now: Any = None,
    ) -> Opened:
        return self._opening.for_backfill(
            until,
            present=self._now(now),
            start=start,
            variables=variables,
            max_lead=max_lead,
            has_replicas=bool(self.replicas),
        )

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

    def _bound(self, job: RegionJob[Any, Any]) -> RegionJob[Any, Any]:
        """Tell a job where source files are and what processes it."""
        given = self.source_base
        bases = (given,) if isinstance(given, str) else tuple(given)
        return replace(job, source_base=job.source_base or bases, processor=self._process)

    def _now(self, now: Any) -> Any:
        present = datetime.now(UTC).replace(tzinfo=None) if now is None else now
        return self.declared.label(present)
