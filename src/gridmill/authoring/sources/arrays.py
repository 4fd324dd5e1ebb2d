"""A dataset whose source is somebody's Zarr archive: the chunks of a region are its source file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np

from gridmill.authoring.region_job import DataVarT, RegionJob
from gridmill.authoring.source_file import SourceFileCoord, first_answer, places_to_ask
from gridmill.model.urls import mask_url
from gridmill.sources.arrays.kept import opened_once
from gridmill.sources.arrays.opened import Remote
from gridmill.sources.arrays.region import (
    AbsentChunks,
    Selected,
    fetch_region,
    has_changed,
    identify_region,
    open_region,
)
from gridmill.sources.fetch.download import (
    Download,
    DownloadFailed,
    DownloadSettings,
    FileIdentity,
    NotAvailable,
)
from gridmill.sources.opened import read_xarray
from gridmill.sources.selecting import Labels

__all__ = ["ArrayRegion", "ArrayRegionJob", "open_region"]


@dataclass(frozen=True, kw_only=True)
class ArrayRegion(SourceFileCoord):
    """A region of a Zarr archive as a source file; subclass it and add the labels that it fills.

    Parameters
    ----------
    store
        URL of the archive, or its path below the dataset's `source_base`.
    arrays
        The names of the arrays to fetch.
    """

    # What a chunk means that the archive does not have, see `gridmill.sources.arrays.region`.
    absent_chunks: ClassVar[AbsentChunks] = "missing"
    # Of an Icechunk repository, which one to read; None: the archive is plain Zarr.
    branch: ClassVar[str | None] = None

    store: str
    arrays: tuple[str, ...]

    def labels(self) -> Mapping[str, Any]:
        """Return the labels to fetch, by the archive's dims; by default what `out_loc` gives."""
        return self.out_loc()

    def get_url(self) -> str:
        """Return the archive's address, with what of it is meant after a ``#``."""
        places = (f"{dim}={_told(label)}" for dim, label in self.labels().items())
        return f"{self.store}#{'&'.join([*self.arrays, *places])}"


ArrayRegionT = TypeVar("ArrayRegionT", bound=ArrayRegion)


class ArrayRegionJob(RegionJob[DataVarT, ArrayRegionT]):
    """Fetches the chunks of regions of a Zarr archive; subclass it.

    Implement `generate_source_file_coords`; `read_data` takes the array that is called as the
    variable, or as `array_name` says. Revisions are noticed by the chunks' ETags: with
    `asks_for_revisions`, a small request a chunk of what lies inside `lookback`.
    """

    # By dim of the source, the labels that are taken of what `labels` fetches, in the archive's
    # order: some levels of many. Chunks are fetched whole.
    selected: ClassVar[Mapping[str, Labels]] = MappingProxyType({})

    def array_name(self, data_var: DataVarT) -> str:
        """Return the name of a variable's array in the source; by default the variable's."""
        return data_var.name

    def why_provisional(self, coord: ArrayRegionT, attributes: Mapping[str, Any]) -> str | None:
        """Say why a region is provisional, by what the archive says of itself; None: it is final.

        For archives that are as long as ever on the first day, and say in their attributes how far
        they are valid, and final. A region that becomes final counts as another version.

        Parameters
        ----------
        coord
            The region.
        attributes
            Of the archive.

        Raises
        ------
        NotAvailable
            It is not valid yet.
        """
        return None

    def download_file(self, coord: ArrayRegionT) -> Download:
        """Fetch the chunks of a region."""
        path = self.download_path(coord)

        def fetch(url: str) -> Download:
            remote = self._remote(url, coord, self.download_settings)
            why = self.why_provisional(coord, remote.attributes)
            done = fetch_region(remote, _selected(coord), path)
            named = _named(done.etag, remote, why)
            return replace(done, etag=named, url=mask_url(url), provisional=why)

        return first_answer(self, coord, fetch)

    def ask_file(self, coord: ArrayRegionT) -> FileIdentity | None:
        """Ask which version of a region the archive has."""
        settings = replace(self.download_settings, attempts=2)

        def ask(url: str) -> FileIdentity:
            # Which listings a job has tells one run from another.
            remote = opened_once(
                self.listings,
                (url.partition("#")[0], coord.branch),
                partial(self._remote, url, coord, settings, is_anew=True),
            )
            why = self.why_provisional(coord, remote.attributes)
            if remote.snapshot is None:
                found = identify_region(remote, _selected(coord))
                return replace(found, etag=_named(found.etag, remote, why))
            is_new = self._is_new(coord, remote, why)
            return FileIdentity(etag=f'"@{remote.snapshot}"' if is_new else coord.etag)

        try:
            return first_answer(self, coord, ask, places_to_ask(coord, self.source_base))
        except (NotAvailable, DownloadFailed):
            return None

    def _is_new(self, coord: ArrayRegionT, remote: Remote, why_provisional: str | None) -> bool:
        """Whether a region, or whether it is final, changed since it was read."""
        before = remote.before(coord.etag)
        if before is None or has_changed(remote, before, _selected(coord)):
            return True
        why_before = self.why_provisional(coord, before.attributes)
        return (why_before is None) != (why_provisional is None)

    def _remote(
        self, url: str, coord: ArrayRegionT, settings: DownloadSettings, *, is_anew: bool = False
    ) -> Any:
        """Open the archive; workers share its metadata during a run, a query rereads them."""
        address = url.partition("#")[0]
        if coord.branch is None:
            return Remote(address, settings, "" if is_anew else self.attempt)
        try:
            from gridmill.sources.arrays.icechunk import IcechunkRemote
        except ImportError as error:
            raise ImportError(
                f"reading {mask_url(address)} needs icechunk: pip install 'gridmill[icechunk]'"
            ) from error
        return IcechunkRemote(address, settings, coord.branch)

    def read_data(self, coord: ArrayRegionT, data_var: DataVarT) -> np.ndarray[Any, Any]:
        """Read one variable's region, which is compared with the place that it fills."""
        assert coord.downloaded_path is not None
        with open_region(coord.downloaded_path) as opened:
            single = {
                dim: 0 for dim, label in coord.labels().items() if not isinstance(label, slice)
            }
            name = self.array_name(data_var)
            return read_xarray(opened.isel(single), name, select=self.selected)


def _selected(coord: ArrayRegion) -> Selected:
    return Selected(arrays=coord.arrays, labels=coord.labels(), absent_chunks=coord.absent_chunks)


def _named(etag: str | None, remote: Any, why_provisional: str | None) -> str | None:
    """Name a version of a region also by whether it is final; one of Icechunk by its snapshot."""
    if etag is None or why_provisional is None or remote.snapshot is not None:
        return etag
    return f'{etag.removesuffix(chr(34))}-provisional"'


def _told(label: Any) -> str:
    """Write a label, or a slice of labels, into an address."""
    ends = (label.start, label.stop) if isinstance(label, slice) else (label,)
    return "/".join(end.isoformat() if hasattr(end, "isoformat") else str(end) for end in ends)
