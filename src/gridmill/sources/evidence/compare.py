"""Compares what a source file says of itself with the place that it is to fill.

What is another order of the same labels, or other units of the same quantity, is converted, and
said. What differs otherwise is an error that names both: to publish it would be to publish values
of another place, time or quantity.

An author's `read_data` may have done more than read: turned a field, converted it, or chosen a part
of it. In which order its values lie, they show themselves (`made`), or the file is refused; they
are in the file's units where they are what was read. Pieces that it put together are compared
where they lie (`parts.pieces`), and so is a part of what was read (`parts.chosen`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridmill.sources.evidence.arranged import converted, put_in_order
from gridmill.sources.evidence.expected import NotAsPromised, Promise
from gridmill.sources.evidence.labels.along import check_scalars, orders_of
from gridmill.sources.evidence.labels.valid import check_valid_time
from gridmill.sources.evidence.made import Read
from gridmill.sources.evidence.observed import Evidence
from gridmill.sources.evidence.parts.chosen import compare_chosen, is_cut
from gridmill.sources.evidence.parts.pieces import compare_pieces
from gridmill.sources.evidence.times import check_time, time_of

__all__ = ["NO_TIME", "UNTOLD", "NotAsPromised", "compare"]

Values = np.ndarray[Any, Any]

NO_TIME = "without a time of their own to compare with their place"
# What a reader did not tell of a format that says it.
UNTOLD = (
    "not compared with their place: read_netcdf, read_xarray and read_h5py tell what netCDF and "
    "HDF5 files say"
)


def compare(seen: Sequence[Evidence], values: Values, promise: Promise) -> list[str]:
    """Check what was read against the place that it fills; convert what is only told otherwise.

    Parameters
    ----------
    seen
        What readers told; what nobody told is not checked.
    values
        What is to be stored, with the dims `Promise.dims`; changed in place.
    promise
        What the file should hold.

    Returns
    -------
    list of str
        What was converted, or could not be compared: the same words for every such file.

    Raises
    ------
    NotAsPromised
        The file holds something else; both are named.
    """
    remarks: list[str] = []
    for evidence in seen:
        if promise.time is not None:
            axis = time_of(evidence, promise.append_dim, promise.time)
            is_told = check_valid_time(evidence, promise, axis)
            if axis is not None and axis.values is not None:
                check_time(axis, axis.values, promise.append_dim, promise.time)
            elif not is_told:
                remarks.append(NO_TIME)
        check_scalars(evidence, promise)
    orders = [orders_of(evidence, values, promise) for evidence in seen]
    same = [one for one in zip(seen, orders, strict=True) if one[0].values.size == values.size]
    whole = [one for one in same if not is_cut(one[0], values, promise)]
    if not whole:
        remarks += compare_pieces(seen, values, promise)
        return remarks + compare_chosen(seen, values, promise)
    read = [Read(one.values.reshape(values.shape), of) for one, of in whole]
    if not any(of for _, of in whole):  # a mask beside tiles
        remarks += compare_pieces(seen, values, promise, is_all=False)
    remarks += put_in_order([one for one, _ in whole], read, values, promise)
    return remarks + converted([one for one, _ in whole], read, values, promise)
