"""Samples of every kind, read for what they say of themselves."""

from __future__ import annotations

from collections.abc import Sequence

from gridmill.operations.samples.facts import ArraySample, GribSample, Sample
from gridmill.operations.samples.reading.arrays import read_array_sample
from gridmill.operations.samples.reading.inventories import read_inventory_sample
from gridmill.operations.samples.reading.messages import read_grib_sample

__all__ = ["read_samples"]

READERS = {
    "grib": read_grib_sample,
    "inventory": read_inventory_sample,
    "netcdf": read_array_sample,
    "zarr": read_array_sample,
    "geotiff": read_array_sample,
}


def read_samples(samples: Sequence[Sample]) -> list[GribSample] | list[ArraySample]:
    """Read what each sample says.

    Raises
    ------
    ValueError
        One cannot be read, or they are of formats that no dataset has together.
    """
    kinds = {sample.kind for sample in samples}
    families = [kinds & {"grib", "inventory"}, kinds & {"netcdf"}, kinds & {"zarr"},
                kinds & {"geotiff"}]  # fmt: skip
    if sum(map(bool, families)) > 1:
        raise ValueError(
            f"the samples are of formats that no dataset has together: {', '.join(sorted(kinds))}; "
            "give samples of one product"
        )
    read = [READERS[sample.kind](sample) for sample in samples]
    return read  # type: ignore[return-value]
