"""What fills a region of the archive, and how one source file is read: the author's part."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

import numpy as np

from gridmill.authoring.locate import processing_region
from gridmill.authoring.settling import due_jobs, is_past, state_of
from gridmill.authoring.source_file import (
    ProcessResults,
    SourceFileCoord,
    first_answer,
    local_name,
    places_to_ask,
    quickest_answer,
    url_of,
    wrapping_of,
)
from gridmill.authoring.transforms.casting import as_array, cast_into
from gridmill.authoring.transforms.rounding import round_mantissa_inplace
from gridmill.model.display_hook import card_of
from gridmill.model.files.offering import Offering
from gridmill.model.region import Region, region_length, regions_of
from gridmill.model.settled import PublishWhen
from gridmill.model.urls import mask_url
from gridmill.model.variables import DataVar
from gridmill.sources.fetch.credentials.access import NO_ACCESS, Access
from gridmill.sources.fetch.credentials.rules import Credential
from gridmill.sources.fetch.download import (
    Download,
    DownloadFailed,
    DownloadSettings,
    FileIdentity,
    NotAvailable,
    identify,
)
from gridmill.sources.listings.listings import Listings
from gridmill.sources.wrapped.fetching import fetch_unwrapped
from gridmill.stores.final_store import FinalStore

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from gridmill.authoring.grids import HorizontalGrid

__all__ = ["RegionJob"]

DataVarT = TypeVar("DataVarT", bound=DataVar)
CoordT = TypeVar("CoordT", bound="SourceFileCoord")


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RegionJob(Generic[DataVarT, CoordT]):
    """A region of the archive and the variables to process in it; subclass it.

    Parameters
    ----------
    template_ds
        The whole template. It stays with the driver: hooks that run on a worker
        (`download_file`, `read_data`, `apply_data_transformations`, …) cannot use it.
    data_vars
        The variables to process.
    append_dim
        Name of the append dim.
    region
        Positions along the append dim, aligned to the shards of every variable;
        `Region.STATIC` for the job that writes the static variables. A slice is converted. To
        index with it, take its `slice`.
    source_base
        What relative URLs of source files are relative to; several are tried in order.
    retry_gaps
        Ask the provider again for files that were absent or unreadable, even if settled, and,
        with `asks_for_revisions`, whether others were revised.
    download_dir
        On a worker: the folder for what is downloaded, see `download_path`.
    attempt
        On a worker: what tells this attempt of this run from all others. What many source files
        need in common, like an inventory, may be kept for so long.
    access
        Of credentials: rules, and who keeps what they name; set by `DynamicalDataset`. No secret.
    processor
        What `process` hands the job to; set by `DynamicalDataset`.
    not_held
        By dim, labels that the code declares and an archive that is looked at does not have; source
        files of these are no files of the archive's. Empty for runs.
    listings
        The provider's folders, each asked for once a run: for `generate_source_file_coords`, which
        gives what they show as a `ListedFileCoord`. Set by `DynamicalDataset`.
    """

    template_ds: xr.Dataset
    data_vars: Sequence[DataVarT]
    append_dim: str
    region: Region
    source_base: tuple[str, ...] = ()
    retry_gaps: bool = False
    download_dir: Path | None = None
    attempt: str = ""
    access: Access = NO_ACCESS
    processor: Callable[[RegionJob[Any, Any]], ProcessResults] | None = None
    not_held: Mapping[str, pd.Index[Any]] = field(default_factory=dict)
    listings: Listings = field(default_factory=lambda: Listings(asks=False))

    # When a position may be published, see `gridmill.model.settled.region_state`.
    publish_when: ClassVar[PublishWhen] = "complete"
    # Where readers see a forecast "lead by lead": how many times its final bytes may be written
    # until it is whole. It decides which leads that arrived are stored at once, and which wait
    # until more of their shard is there.
    write_budget: ClassVar[float] = 3.0
    # Raise it when this code means to give other values for the same source files: what was made
    # under an earlier version is then reported, and reprocessed by `backfill --redo` alone.
    version: ClassVar[int] = 1
    # How long after its label the provider has a file at the latest; None: no such promise.
    publication_delay: ClassVar[timedelta | None] = None
    # How far back an update looks for regions that are not settled.
    lookback: ClassVar[timedelta] = timedelta(days=7)
    # Whether an update also asks, for every source file inside `lookback`, if it was revised: a
    # small request a file. False where that is too many, or the provider never puts another
    # version under the same URL.
    asks_for_revisions: ClassVar[bool] = True
    # Whether a run that completes a region, or lets it grow, reads again what an earlier run has
    # read of it, and so also takes what the provider replaced since. If not, it fetches what is
    # new, and what `provenance` says that the new values rest on.
    reads_again: ClassVar[bool] = True
    # Dims that transformations need whole, beside the append dim; the others may be divided to
    # save memory. None: all if a transformation is overridden, else none.
    whole_dims: ClassVar[tuple[str, ...] | None] = None
    # In which dims, and whether in "units", source files may say something else than the template:
    # what they say of these is not compared, see `read_data`.
    unchecked: ClassVar[tuple[str, ...]] = ()
    # Cycles, members, leads or levels that the provider has only from a date on, or up to one.
    offerings: ClassVar[Sequence[Offering]] = ()
    download_settings: ClassVar[DownloadSettings] = DownloadSettings()
    # Who is asked for by hosts of source files, and where that is read: names, never a value. What
    # an operator declares for the same host goes before, see the guide to credentials.
    credentials: ClassVar[Sequence[Credential]] = ()

    def __post_init__(self) -> None:
        """Convert a slice."""
        object.__setattr__(self, "region", Region.of(self.region))

    # -- what an author implements -----------------------------------------------------------

    def generate_source_file_coords(
        self, processing_region_ds: xr.Dataset, data_var_group: Sequence[DataVarT]
    ) -> Sequence[CoordT]:
        """Return the source files that fill a region for a group of variables.

        Runs with the driver; for a distant store, for several regions at once in threads. A place
        that none of them fills is not offered: its values are NaN, and no check calls them missing.
        Leave out what the provider never makes, like the last leads of shorter forecasts; what it
        has from a date on is declared by `offerings`.

        Parameters
        ----------
        processing_region_ds
            The template cut to `get_processing_region`.
        data_var_group
            One of `source_groups`.
        """
        raise NotImplementedError(
            f"{type(self).__name__} must define generate_source_file_coords()"
        )

    def read_data(self, coord: CoordT, data_var: DataVarT) -> np.ndarray[Any, Any]:
        """Read one variable from a downloaded source file; runs on a worker.

        What `gridmill.read_netcdf` reads is compared with the place that it fills: the file's own
        labels, time and units with the template's. Another order of the same labels, and units
        that can be converted, are converted where this hook gives what was read as it is; what
        else differs is a failure to read that names both. A time fits if it is the label, lies
        before the next label or in the template's bounds, or if the file's bounds hold the label.
        Lift the comparison in what is meant to differ with `unchecked`.

        Parameters
        ----------
        coord
            The source file; `coord.downloaded_path` is its local copy.
        data_var
            The variable to read.

        Returns
        -------
        ndarray
            Dims as `data_var.dims`, without those for which `coord.out_loc()` gives a single
            label; NaN where there is no value. Of a variable that is `regridded`, the last two are
            the source's rows and columns.

        Raises
        ------
        ValueError, OSError, RuntimeError, EOFError, zlib.error, struct.error
            The file cannot be read. So is any other error taken, like `KeyError` or `NotAvailable`,
            but for `NotImplementedError`, `MemoryError` and those of the worker (a full disk): its
            place stays as it was, and is tried again, see `holds_extent`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define read_data()")

    # -- what an author may override ---------------------------------------------------------

    def read_data_into(self, coord: CoordT, data_var: DataVarT, out: np.ndarray[Any, Any]) -> None:
        """Read one variable from a downloaded source file into its place; runs on a worker.

        By default it copies what `read_data` gives. Override it, beside `read_data`, where the
        decoder can write to an array that is there: large fields then need no copy.

        Parameters
        ----------
        coord, data_var
            As for `read_data`.
        out
            Dims as `read_data` gives them, of the variable's dtype, or of `Encoding.value_dtype`
            where values are packed when they are stored; what it holds is undefined.
            After an error it may hold anything.

        Raises
        ------
        ValueError, OSError, RuntimeError
            As by `read_data`; also if the values have another shape, or one of them cannot be
            stored in the variable's dtype.
        """
        found = as_array(self.read_data(coord, data_var), data_var.name)
        if found.shape != out.shape:
            of_source = ", the last two of the source's grid" if data_var.regridded else ""
            url = mask_url(url_of(coord))
            raise ValueError(
                f"read_data({url}, {data_var.name!r}) gives shape {found.shape}, but "
                f"out_loc() selects {out.shape} of dims {data_var.dims}{of_source}"
            )
        cast_into(found, out, data_var.name, data_var.encoding.missing)

    def grid_of(self, coord: CoordT) -> HorizontalGrid | None:
        """Return the grid of a file's fields, for variables that are regridded.

        None, as by default, is that of `Regrid.grid`. Override it where files come on several; what
        is on the archive's own is stored as it is.
        """
        return None

    def source_groups(self, data_vars: Sequence[DataVarT]) -> Sequence[Sequence[DataVarT]]:
        """Divide variables into groups that share source files; by default all do."""
        return [data_vars]

    def get_processing_region(self) -> slice:
        """Return the region with a margin that transformations need; by default none.

        What reaches beyond the template is cut off.
        """
        return self.region.slice

    def download_file(self, coord: CoordT) -> Path | Download:
        """Download one source file whole, and unpack it; runs on a worker.

        Override it to fetch parts of a file; write to `download_path(coord)`, and try its addresses
        with `gridmill.authoring.source_file.first_answer`.

        Returns
        -------
        Path or Download
            A `Download` also carries the file's identity. What `SourceFileCoord.compression` says
            of how it is wrapped holds here; who overrides it unpacks with
            `gridmill.sources.wrapped.fetching.fetch_unwrapped`.

        Raises
        ------
        NotAvailable
            The provider does not have it: ``raise NotAvailable(url, "the listing lacks it")``.
        DownloadFailed
            The provider could not be asked, or answered nonsense, after all retries; or what
            came cannot be unpacked. Another library's errors, like those of ``requests``, are taken
            for a mistake in code and fail the region: turn them into one of the two,
            ``raise DownloadFailed(url, str(error)) from error``.
        """
        path, settings, wrapping = (
            self.download_path(coord),
            self.download_settings,
            wrapping_of(coord),
        )
        return first_answer(
            self,
            coord,
            lambda url: fetch_unwrapped(url, path, settings=settings, wrapping=wrapping),
        )

    def ask_file(self, coord: CoordT) -> FileIdentity | None:
        """Ask the provider which version of a file it has, without fetching it.

        Runs with the driver, in several threads at once. Of several addresses, that from which
        it was taken is asked; of a provisional one, before that, those of the final file.

        Returns
        -------
        FileIdentity or None
            None if the provider does not have the file or does not answer.
        """
        settings = replace(self.download_settings, attempts=2)
        asks = self.asks_for_revisions
        places = places_to_ask(coord, self.source_base, for_revisions=asks)
        try:
            ask = partial(identify, settings=settings)
            return quickest_answer(self, coord, ask, places)
        except (NotAvailable, DownloadFailed):
            return None

    def apply_data_transformations(self, data_array: xr.DataArray, data_var: DataVarT) -> None:
        """Transform a variable's values in place, knowing their coordinates; runs on a worker.

        By default does what `transform_values_inplace` does. Who overrides it calls the default
        last. Where coordinates do not matter override that one: it needs no xarray object.

        Parameters
        ----------
        data_array
            The variable over the processing region, with its coordinates; missing values as there.
        data_var
            The variable.
        """
        self.transform_values_inplace(data_array.values, data_var)

    def transform_values_inplace(self, values: np.ndarray[Any, Any], data_var: DataVarT) -> None:
        """Transform a variable's values in place, without coordinates; runs on a worker.

        By default rounds to `DataVar.keep_mantissa_bits`. Who overrides it calls the default
        last. What it raises is blamed on the source files without which it does not.

        Parameters
        ----------
        values
            The variable over the processing region; dims as the variable's. NaN, or the declared
            missing value, where no source file gave one: where that makes it raise, nothing can be
            published as long as one file is missing.
        data_var
            The variable.
        """
        if data_var.keep_mantissa_bits is not None:
            round_mantissa_inplace(values, data_var.keep_mantissa_bits)

    def provenance(
        self, filled: np.ndarray[Any, np.dtype[np.bool_]], data_var: DataVarT
    ) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return where a variable's values rest on this run's source files alone.

        Elsewhere published values stay. Override it where a transformation mixes
        positions: a value whose inputs did not all arrive is not this run's.

        Parameters
        ----------
        filled
            Where source files succeeded; dims as the variable's, over the processing region.
        data_var
            The variable.
        """
        return filled

    def expected(self, coord: CoordT, now: Any) -> bool:
        """Whether the provider should have a file by now.

        A file that is absent though it was expected is a gap of the provider's and does not
        hold the archive back; one that is not expected yet does. Of a variable with a deadline
        of its own, `DataVar.publication_delay` says that instead.

        Parameters
        ----------
        coord
            The source file.
        now
            The present, as a label of the append dim (UTC).
        """
        return is_past(coord, self.append_dim, self.publication_delay, now)

    def holds_extent(self, coord: CoordT, data_var: DataVarT) -> bool:
        """Whether readers wait for a file that arrived and cannot be read, for as long as it takes.

        By default they do until it is `expected`; then they see what else is there, with this
        place pending: ``gridmill gaps`` lists it, and it is tried again until it can be read.
        Override it for a variable that readers must never miss.

        Parameters
        ----------
        coord, data_var
            The source file, and the variable that could not be read from it.
        """
        return False

    @classmethod
    def operational_update_jobs(
        cls,
        final_store: FinalStore,
        template_ds: xr.Dataset,
        append_dim: str,
        all_data_vars: Sequence[DataVarT],
    ) -> Sequence[Self]:
        """Find what an update must process.

        By default the regions from the last published one to the template's end, and earlier
        ones inside `lookback` whose source files did not all succeed, or may have been revised
        since (`asks_for_revisions`). Inside `lookback` the provider is asked again for what was
        absent. Earlier regions with pending places are looked at beside, whatever this returns.

        Parameters
        ----------
        final_store
            `final_store.published_length(append_dim)` is what readers see,
            `final_store.progress()` the records.
        template_ds
            The template, which already reaches to now.
        append_dim, all_data_vars
            As in `TemplateConfig`.
        """
        jobs = cls.get_jobs(template_ds, append_dim, all_data_vars)
        return due_jobs(jobs, final_store, template_ds.get_index(append_dim), append_dim)

    def update_template_with_results(self, process_results: ProcessResults) -> xr.Dataset:
        """Trim the template to what was really processed.

        By default to the last settled position of this region that has data (see
        `gridmill.model.settled.region_state`), or to the region's start if there is none.

        Parameters
        ----------
        process_results
            By variable, this region's source files with their status, including those of
            variables that an earlier run processed.
        """
        data = state_of(self, process_results).data
        return self.template_ds.isel({self.append_dim: slice(0, self.region.start + data)})

    # -- most subclasses need not override what follows --------------------------------------

    @classmethod
    def get_jobs(
        cls,
        template_ds: xr.Dataset,
        append_dim: str,
        all_data_vars: Sequence[DataVarT],
    ) -> list[Self]:
        """Return the jobs for all regions of a template, in order."""
        varying = [var for var in all_data_vars if append_dim in var.dims]
        length = region_length({var.name: var.object_length(append_dim) for var in varying})
        return [
            cls(template_ds=template_ds, data_vars=varying, append_dim=append_dim, region=region)
            for region in regions_of(template_ds.sizes[append_dim], length)
        ]

    def process(self) -> ProcessResults:
        """Process this one job on the current Dask client: upload and record, not publish.

        Returns
        -------
        dict
            By variable, its source files with their status.

        Raises
        ------
        RuntimeError
            The job does not come from a `DynamicalDataset`, or a variable failed.
        """
        if self.processor is None:
            raise RuntimeError(
                "this job knows no final store: take it from DynamicalDataset.plan(...).jobs"
            )
        return self.processor(self)

    @property
    def is_static(self) -> bool:
        """Whether this is the job that writes the variables without the append dim."""
        return self.region.is_static

    def processing_region_ds(self) -> xr.Dataset:
        """Return the template cut to the processing region."""
        if self.is_static:
            return self.template_ds
        # Here, because workers do without xarray.
        from gridmill.authoring.template import cut_template

        return cut_template(self.template_ds, self.append_dim, processing_region(self))

    def download_path(self, coord: CoordT) -> Path:
        """Return where a source file is downloaded to: in the worker's folder, whatever its URL.

        Raises
        ------
        RuntimeError
            Not on a worker.
        """
        if self.download_dir is None:
            raise RuntimeError("download_path() is for hooks that run on a worker")
        return self.download_dir / local_name(coord)

    def for_worker(self, data_vars: Sequence[DataVarT]) -> Self:
        """Return a twin that is small to send: without the template, with these variables only."""
        twin = copy.copy(self)
        stays: Any = _StaysWithDriver()
        own = {"template_ds": stays, "processor": None, "listings": stays}
        vars(twin).update(own, data_vars=tuple(data_vars))
        return twin

    def _repr_html_(self) -> str:
        return card_of(self)

    def __repr__(self) -> str:
        names = ", ".join(var.name for var in self.data_vars)
        place = f"{'' if self.is_static else f'{self.append_dim} '}{self.region}"
        return f"<{type(self).__name__} {place}: {names}>"


class _StaysWithDriver:
    """Stands for the template, and for listings, in a job that is sent to a worker."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            "template_ds stays with the driver, and so do the provider's listings; hooks that run "
            "on a worker get what they need through their arguments and the fields of the "
            "SourceFileCoord"
        )

    __getitem__ = __getattr__
