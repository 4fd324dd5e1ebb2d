"""An archive's entry in a catalogue: its STAC collection, page and picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import xarray as xr

from gridmill.display.catalogue.pages import archive_page, catalogue_page
from gridmill.display.catalogue.picture import newest_picture
from gridmill.model.urls import mask_url
from gridmill.operations.catalogue.catalogue import Entry, write_entry
from gridmill.operations.catalogue.collection import PAGE, PREVIEW, build_collection
from gridmill.operations.catalogue.opening import ways_in
from gridmill.stores.objects.protocol import Objects

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["catalogue_archive"]


def catalogue_archive(
    dataset: DynamicalDataset, objects: Objects, options: Mapping[str, Any]
) -> int:
    """Write an archive's entry into a catalogue, as readers see it now; how many objects changed.

    Parameters
    ----------
    dataset
        With its archive.
    objects
        Where the catalogue is.
    options
        What readers need to reach its stores, see `reader_options`.

    Raises
    ------
    ValueError
        Readers see nothing yet.
    OSError
        The archive cannot be read, or the catalogue not be written.
    """
    return write_entry(objects, _entry(dataset, options), catalogue_page)


def _entry(dataset: DynamicalDataset, options: Mapping[str, Any]) -> Entry:
    config = dataset.held()
    ds = _published(dataset, config.append_dim)
    picture = newest_picture(ds, config)
    ways = ways_in(dataset.store, dataset.replicas, options)
    completeness = config.completeness
    collection = build_collection(
        ds,
        dataset_id=dataset.dataset_id,
        append_dim=config.append_dim,
        version=str(dataset.region_job.version),
        ways=ways,
        completeness=None if completeness is None else completeness.name,
        has_preview=picture is not None,
    )
    files = {PAGE: archive_page(collection, ways).encode()}
    if picture is not None:
        files[PREVIEW] = picture
    return Entry(collection, files)


def _published(dataset: DynamicalDataset, append_dim: str) -> xr.Dataset:
    """Open what readers see.

    Raises
    ------
    ValueError
        That is nothing yet.
    """
    where = mask_url(dataset.store.url)
    if not dataset.store.published_length(append_dim):
        raise ValueError(f"nothing is published at {where} yet: gridmill backfill builds it")
    return dataset.store.open_dataset(chunks=None)
