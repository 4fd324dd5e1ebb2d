"""Opens an archive: what it was declared to be, its template as it was made, its jobs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import xarray as xr

from gridmill.archive.archive import Archive
from gridmill.archive.declaration import (
    Declaration,
    narrowed,
    read_declaration,
    stored_metadata,
    with_new_variables,
)
from gridmill.authoring.labels import just_after
from gridmill.authoring.over_time.as_made import as_made
from gridmill.authoring.over_time.held import labels_not_held
from gridmill.authoring.region_job import RegionJob
from gridmill.authoring.source_file import ProcessResults
from gridmill.authoring.sources.queued import QueuedRegionJob
from gridmill.authoring.template import TemplateConfig
from gridmill.model.region import Region
from gridmill.planning.belief import Belief
from gridmill.sources.fetch.credentials.access import NO_ACCESS, Access
from gridmill.sources.listings.listings import Listings
from gridmill.sources.queues.tickets import Tickets
from gridmill.stores.final_store import FinalStore

__all__ = ["Opened", "Opening", "listing"]


@dataclass(frozen=True)
class Opened:
    """An archive, opened for what a run is to do.

    Parameters
    ----------
    archive
        Its template reaches as far as the run.
    declaration
        What it was made with, or is to be made with.
    added
        The declaration with the variables that the run adds; None if it adds none.
    """

    archive: Archive
    declaration: Declaration
    added: Declaration | None = None


@dataclass(frozen=True)
class Opening:
    """How a dataset's archive is opened.

    Parameters
    ----------
    store
        The final store, with its records.
    coded
        The template as the code declares it.
    job_class
        The class of region jobs.
    source_base
        What relative URLs of source files are relative to.
    processor
        What `RegionJob.process` hands a job to, with the `Belief` of its plan if it has one.
    tmp_store
        Makes an empty local folder for a temporary store.
    access
        Of credentials for source hosts.
    follows
        The store of the present version, where this is a next one.
    """

    store: FinalStore
    coded: TemplateConfig
    job_class: type[RegionJob[Any, Any]]
    source_base: tuple[str, ...]
    processor: Callable[..., ProcessResults]
    tmp_store: Callable[[], Path]
    access: Access = NO_ACCESS
    follows: FinalStore | None = None

    def bound(self, job: RegionJob[Any, Any], belief: Belief | None = None) -> RegionJob[Any, Any]:
        """Tell a job where its source files are, and what processes it if it is by itself."""
        source_base = job.source_base or self.source_base
        processor = self.processor if belief is None else partial(self.processor, belief=belief)
        job = replace(
            job,
            source_base=source_base,
            processor=processor,
            access=self.access,
            listings=self.coded.listings.at(source_base),
        )
        if isinstance(job, QueuedRegionJob):
            return replace(job, tickets=Tickets(self.store.state))
        return job

    def for_backfill(
        self,
        until: Any,
        *,
        present: Any,
        start: str | None,
        variables: Sequence[str] | None,
        max_lead: str | None,
    ) -> Opened:
        """Open an archive up to `until`, or to what is published where that is further.

        Without `until`, up to the present. It need not exist yet. Variables that it lacks are
        added, up to what is published.

        Raises
        ------
        ValueError
            An argument does not fit the dataset, or the archive.
        UnreadableState
            What was declared cannot be read, or is gone.
        """
        declaration = self.declaration(start, variables, max_lead)
        added = with_new_variables(self.store, self.coded, declaration, variables)
        unseen = variables or () if added else ()
        config = self.config(added or declaration, variables=variables, until=until, unseen=unseen)
        if until is None:
            end = present
        else:
            end = config.label(config.append_dim_start if added else until)
        archive = self.archive(config, self.template(config, end), unseen)
        return Opened(archive, declaration, added)

    def for_update(self, end: Any) -> Opened:
        """Open an archive up to a label, or to what is published where that is further."""
        declaration = self.declaration()
        config = self.config(declaration)
        return Opened(self.archive(config, self.template(config, config.label(end))), declaration)

    def declaration(
        self,
        start: str | None = None,
        variables: Sequence[str] | None = None,
        max_lead: str | None = None,
    ) -> Declaration:
        """Return what was declared, see `read_declaration`."""
        return read_declaration(
            self.store,
            self.coded,
            start=start,
            variables=variables,
            max_lead=max_lead,
            follows=self.follows,
        )

    def config(
        self,
        declaration: Declaration,
        *,
        variables: Sequence[str] | None = None,
        until: Any = None,
        unseen: Sequence[str] = (),
    ) -> TemplateConfig:
        """Return the template as an archive was made with it.

        Raises
        ------
        ValueError
            A run's selection does not fit it.
        """
        config = narrowed(self.coded, declaration)
        if until is not None and config.label(until) <= config.label(config.append_dim_start):
            raise ValueError(
                f"until {until} is not after the archive's start {config.append_dim_start}: "
                "there is nothing to build"
            )
        if variables is not None:
            config.select(variables)
        return as_made(config, stored_metadata(self.store), unseen).config

    def template(self, config: TemplateConfig, end: Any) -> xr.Dataset:
        """Return the template up to `end`, or to what is published where that is further."""
        with suppress(KeyError, TypeError):  # a foreign store: the structure check names it
            if self.store.published_length(config.append_dim):
                last = self.store.open_dataset(chunks=None).get_index(config.append_dim)[-1]
                end = max(end, just_after(last))
        return config.structure(end)

    def up_to(self, end: Any, config: TemplateConfig, *, as_declared: bool) -> Archive:
        """Return the archive up to a label.

        Its template reaches as far as readers see, unless `as_declared`: then the store is not
        asked how far that is.
        """
        template_ds = config.structure(end) if as_declared else self.template(config, end)
        return self.archive(config, template_ds)

    def archive(
        self, config: TemplateConfig, template_ds: xr.Dataset, unseen: Sequence[str] = ()
    ) -> Archive:
        """Return the archive with this template."""

        not_held = labels_not_held(config)

        def make_job(region: Region) -> RegionJob[Any, Any]:
            varying = [v for v in config.data_vars if config.append_dim in v.dims]
            return self.bound(
                self.job_class(
                    template_ds=template_ds,
                    data_vars=varying,
                    append_dim=config.append_dim,
                    region=region,
                    not_held=not_held,
                )
            )

        return Archive(self.store, config, template_ds, make_job, unseen, self.tmp_store)


def listing(config: TemplateConfig, listings: Listings) -> TemplateConfig:
    """Return a copy of a template that asks the provider for its folders."""
    twin = copy.copy(config)
    twin.listings = listings
    return twin
