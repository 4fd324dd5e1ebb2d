"""The source files of a dataset, made of a few samples of its provider's, redated.

For the contract test of a package that `gridmill new --from` wrote: values are those of the samples
at every position.
"""

from __future__ import annotations

import bz2
import gzip
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from gridmill.authoring.forecasts.job import GribForecastJob
from gridmill.authoring.source_file import url_of
from gridmill.authoring.sources.arrays import ArrayRegion
from gridmill.dataset import DynamicalDataset
from gridmill.model.region import Region, regions_of
from gridmill.sources.wrapped.wrapping import form_by_name
from gridmill.testing.dated.arrays import DatedArrays
from gridmill.testing.dated.inventories import DatedInventories
from gridmill.testing.dated.messages import DatedMessages

__all__ = ["write_from_samples"]


def write_from_samples(
    samples: Path,
    dataset: type[DynamicalDataset],
    folder: Path,
    until: str,
    variables: Sequence[str] | None = None,
) -> None:
    """Write all source files of a dataset up to a label.

    Parameters
    ----------
    samples
        A folder with ``messages.grib``, ``inventory_0.idx`` or files of arrays.
    dataset
        The dataset.
    folder
        What is then its `source_base`.
    until
        Where the archive ends.
    variables
        Those that are needed; None is all.

    Raises
    ------
    ValueError
        The samples have no message of a variable.
    """
    dated = _dated(samples, dataset)
    for job, group in _groups(dataset, until, variables):
        for coord in job.generate_source_file_coords(job.processing_region_ds(), group):
            path = folder / (coord.store if isinstance(coord, ArrayRegion) else url_of(coord))
            path.parent.mkdir(parents=True, exist_ok=True)
            dated.write(job, coord, group, path)
    for path, content in dated.contents():
        _wrap(path, content)


def _dated(samples: Path, dataset: type[DynamicalDataset]) -> Any:
    if not issubclass(dataset.region_job, GribForecastJob):
        return DatedArrays(samples)
    if any(samples.glob("inventory_*.idx")):
        return DatedInventories(samples)
    return DatedMessages(samples)


def _groups(
    dataset: type[DynamicalDataset], until: str, variables: Sequence[str] | None
) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Return the groups of every region, as a backfill has them."""
    config = dataset.template_config().narrowed(variables=variables)
    template: xr.Dataset = config.get_template(config.label(until))
    regions = regions_of(template.sizes[config.append_dim], config.region_length)
    for region in [*regions, Region.STATIC]:
        chosen = [v for v in config.data_vars if config.varies(v) != region.is_static]
        if chosen:
            job = dataset.region_job(
                template_ds=template,
                data_vars=chosen,
                append_dim=config.append_dim,
                region=region,
            )
            yield from ((job, group) for group in job.source_groups(chosen))


def _wrap(path: Path, content: bytes) -> None:
    """Write a file as its name says that it is compressed."""
    form = form_by_name(path.name)
    if form == "gz":
        content = gzip.compress(content, mtime=0)
    elif form == "bz2":
        content = bz2.compress(content)
    elif form == "xz":
        import lzma

        content = lzma.compress(content, preset=1)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(zipfile.ZipInfo("sample.nc"), content)
        return
    path.write_bytes(content)
