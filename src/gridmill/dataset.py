"""A dataset and its archive: what users call and authors declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from gridmill.archive.archive import Archive
from gridmill.archive.assignment import (
    Assignment,
    Selection,
    assigned_backfill,
    assigned_job,
    assigned_update,
)
from gridmill.archive.declaration import narrowed, stored_metadata, with_what_it_has
from gridmill.archive.opening import Opening, listing
from gridmill.authoring.axis import on_axis
from gridmill.authoring.over_time.held import as_held, more_declared
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.settling import check_rules
from gridmill.authoring.source_file import ProcessResults
from gridmill.authoring.template import TemplateConfig
from gridmill.model.reports.run_report import RunReport
from gridmill.model.urls import check_address
from gridmill.planning.belief import AS_RECORDED, Belief
from gridmill.runs.coordinator import Listener, process, run_anew
from gridmill.sources.fetch.credentials.access import kept_by
from gridmill.sources.fetch.credentials.rules import Credential, with_overrides
from gridmill.sources.fetch.download import mask_url
from gridmill.sources.listings.listings import Listings
from gridmill.stores.contents.axis import published_labels
from gridmill.stores.metadata import looking
from gridmill.stores.objects.leftovers import make_folder
from gridmill.stores.opening import open_replica, open_store

if TYPE_CHECKING:
    from gridmill.operations.status import ArchiveStatus
    from gridmill.runs.plan import Plan
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
    format, storage_options, format_version, cache_control
        The store's format, what a remote store's file system takes, the version of Icechunk's
        format for a new archive, and what caches may do with its objects: see
        `gridmill.stores.open_store`.
    replicas
        Further stores, of either format, that hold the same and are published before `store`.
        URLs, with the storage options of `store` where they are of the same kind; or mappings
        of what `open_store` takes, ``{"url": ..., "format": ..., "storage_options": ...}``.
    credentials
        For source hosts, before what `RegionJob.credentials` declares for the same hosts.
    staged
        The next version of the archive at `store` is meant, which is built beside it: of Icechunk
        a branch, of plain Zarr an address that ends with `RegionJob.version`. `gridmill promote`
        lets it take the place of the present one.

    Attributes
    ----------
    template_config : type of TemplateConfig
        The structure.
    region_job : type of RegionJob
        How regions are filled.
    source_base : str or sequence of str
        What the relative URLs of source files are relative to.
    verified : str or None
        With which files of the provider its values were compared, and of what date. None: with
        none; ``gridmill list --details``, its page and its first run then say that it is
        unverified. Empty, the default, says nothing of it.
    """

    template_config: ClassVar[type[TemplateConfig]]
    region_job: ClassVar[type[RegionJob[Any, Any]]]
    source_base: str | Sequence[str] = ()
    verified: ClassVar[str | None] = ""

    def __init__(
        self,
        store: str | Path,
        *,
        state: str | None = None,
        source_base: str | Sequence[str] | None = None,
        fsync: bool = False,
        format: str | None = None,  # noqa: A002
        storage_options: Mapping[str, Any] | None = None,
        format_version: int | None = None,
        cache_control: Mapping[str, str] | None = None,
        replicas: Sequence[str | Path | Mapping[str, Any]] = (),
        credentials: Sequence[Credential] = (),
        staged: bool | str = False,
    ) -> None:
        self.declared = self.template_config()
        self.declared.declared_version = self.region_job.version
        self.declared.verified = self.verified
        check_rules(self.region_job, self.declared.data_vars, self.declared.append_dim)
        opened = partial(
            open_store,
            str(store),
            self.dataset_id,
            format=format,
            state=state,
            fsync=fsync,
            storage_options=storage_options,
            format_version=format_version,
            cache_control=cache_control,
        )
        self.store = opened(staged=self.region_job.version if staged is True else staged or None)
        self._follows = opened() if staged else None
        if staged and replicas:
            raise ValueError(
                f"{self.store.url} is no version that readers see, and has no replicas: leave them "
                "out"
            )
        self.replica_versions = [
            partial(
                open_replica, given, self.store, self.dataset_id, storage_options, cache_control
            )
            for given in replicas
        ]
        self.replicas = [opened() for opened in self.replica_versions]
        rules = with_overrides(self.region_job.credentials, credentials)
        self._access, self._keeper = kept_by(rules)
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
        from gridmill.display.cards import dataset_card

        return dataset_card(self.declared, self.store, self._bases)

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
        """Build the archive up to, not including, `until`; resume where an earlier run stopped.

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
            interrupted, the same call resumes it. Where a source file is gone by now,
            published values stay.
        revalidate
            Believe no record unseen: ask the provider whether source files were revised since,
            and the store for every object.
        client
            Where to do the work; nothing is started before there is some. ``"auto"``: work of a
            few seconds in this process, else by workers on this machine; ``"none"``: all in this
            process, one task at a time; else what `gridmill.connect` takes, or what it gives. None
            means the current Dask client if there is one, else ``"auto"``.
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
        present = self.present(now)
        selection = Selection(until, start, end, variables, max_lead)

        def assign() -> Assignment:
            with looking(self.store):
                return assigned_backfill(
                    self._opening_at(present),
                    self.replicas,
                    selection,
                    present,
                    redo=redo,
                    revalidate=revalidate,
                )

        return run_anew(assign, client=client, now=present, listener=listener)

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
        present = self.present(now)
        end = present if until is None else until

        def assign() -> Assignment:
            with looking(self.store):
                return assigned_update(
                    self._opening_at(present), self.replicas, end, present, revalidate=revalidate
                )

        return run_anew(assign, client=client, now=present, listener=listener)

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
        from gridmill.runs.plan import plan_selected

        selection = Selection(until, start, end, variables, max_lead)
        present = self.present(now)
        return plan_selected(self._opening_at(present), selection, present, redo=redo)

    def status(
        self,
        *,
        now: Any = None,
        grace: timedelta = timedelta(0),
        overdue: timedelta = timedelta(days=90),
    ) -> ArchiveStatus:
        """Say what the archive holds, what of it may still change, and what should be there.

        Parameters
        ----------
        now
            The present; None asks the clock.
        grace
            How long an update may take: what is expected for less is not late.
        overdue
            After which a region should be proven again, see `gridmill prove`.
        """
        from gridmill.operations.status import read_status

        return read_status(
            self.archive(now, config=self.held(now)), self.present(now), grace, overdue
        )

    def validate(
        self,
        validators: Sequence[Validator] | None = None,
        *,
        start: str | None = None,
        end: str | None = None,
        variables: Sequence[str] | None = None,
        now: Any = None,
    ) -> Validation:
        """Check the archive and suggest repairs; changes nothing.

        Parameters
        ----------
        validators
            The checks; None takes the dataset's own `validators`.
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
        """Return what `validate` looks with; override it to add some or to set their bounds."""
        from gridmill.validation import DEFAULT_VALIDATORS

        return DEFAULT_VALIDATORS

    def present(self, now: Any = None) -> Any:
        """Return the present, as a label of the append dim; None asks the clock."""
        present = datetime.now(UTC).replace(tzinfo=None) if now is None else now
        return self.declared.label(present)

    def config(self, now: Any = None) -> TemplateConfig:
        """Return the template as the archive was made with it, which goes before the code's."""
        opening = self._opening_at(now)
        return opening.config(opening.declaration())

    def held(self, now: Any = None) -> TemplateConfig:
        """Return the template as the archive holds it, without labels that only the code has.

        It is for what only looks at the archive; runs go by `config`, and refuse.
        """
        config = self.config(now)
        return as_held(config, more_declared(config, stored_metadata(self.store)))

    def coded(self, now: Any = None) -> TemplateConfig:
        """Return the template as the code declares it, narrowed to the archive's declaration."""
        opening = self._opening_at(now)
        return narrowed(opening.coded, opening.declaration())

    def archive(
        self,
        end: Any = None,
        *,
        as_declared: bool = False,
        config: TemplateConfig | None = None,
    ) -> Archive:
        """Return the archive as it was made, its template up to `end`.

        By default `end` is the present, and `config` what `config()` gives. The template reaches as
        far as readers see, unless `as_declared`: then the store is not asked how far that is.
        """
        config = config or self.config(end)
        return self._opening_at(end).up_to(self.present(end), config, as_declared=as_declared)

    # -- most subclasses need not override what follows ----------------------------------------

    @property
    def _bases(self) -> tuple[str, ...]:
        given = self.source_base
        return (given,) if isinstance(given, str) else tuple(given)

    @property
    def _opening(self) -> Opening:
        return self._opening_at()

    def _opening_at(self, now: Any = None) -> Opening:
        coded = with_what_it_has(self.store, self.declared)
        settings, access = self.region_job.download_settings, self._access
        coded = listing(coded, Listings(self._bases, settings, access=access))
        coded = on_axis(
            coded,
            published=partial(published_labels, self.store, coded.append_dim),
            source=self._bases,
            present=self.present(now),
        )
        return Opening(
            self.store,
            coded,
            self.region_job,
            self._bases,
            self._process,
            self._tmp_store,
            self._access,
            self._follows,
        )

    def _tmp_store(self) -> Path:
        """Make an empty local folder for a temporary store of this process.

        A run's metadata is prepared there, and deleted in the end. Override it to use another disk
        than that of the system's temporary files; workers have their own `local_directory`.
        """
        return make_folder()

    def _process(self, job: RegionJob[Any, Any], belief: Belief = AS_RECORDED) -> ProcessResults:
        """Process one region job by itself, see `RegionJob.process`."""
        return process(assigned_job(self._opening, job, belief), self.present())
