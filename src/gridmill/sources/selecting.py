"""Positions of labels along an axis of a source file, which has more than the archive takes. Pure.

A file may have 60 levels of which an archive has 13. They are named by their labels: a position
that means another level tomorrow would be a wrong value.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Labels", "positions_of"]

# One, which drops its dimension, or several, which become its positions in this order.
Labels = float | npt.ArrayLike
# Of a label's size: single and double precision of the same one are apart by less.
NEAR = 1e-6


def positions_of(wanted: Labels, axis: Any, dim: str, where: str) -> int | np.ndarray[Any, Any]:
    """Return where labels are.

    Parameters
    ----------
    wanted
        In the units of the file.
    axis
        The file's labels, of one dimension; None if it has none.
    dim, where
        What the axis is called, and the file, for what is wrong.

    Raises
    ------
    ValueError
        A label is not among them, or more than once; or there are no numbers to select by.

    Examples
    --------
    >>> positions_of([850, 500], np.array([1000.0, 850.0, 500.0]), "plev", "a.nc").tolist()
    [1, 2]
    >>> positions_of(700, np.array([1000.0, 850.0]), "plev", "a.nc")
    Traceback (most recent call last):
    ...
    ValueError: a.nc has no plev 700; it has 1000, 850
    """
    known = np.asarray([] if axis is None else axis)
    asked = np.asarray(wanted, "float64")
    if axis is None or known.ndim != 1 or known.dtype.kind not in "iuf":
        raise ValueError(
            f"{where} has no numbers along {dim!r} to select by: name positions by index"
        )
    near = NEAR * np.maximum(np.abs(asked), 1e-9)
    is_it = np.abs(known.astype("float64") - asked[..., np.newaxis]) <= near[..., np.newaxis]
    lacking = np.ravel(asked)[~np.ravel(is_it.any(axis=-1))]
    if lacking.size:
        raise ValueError(f"{where} has no {dim} {_told(lacking)}; it has {_told(known)}")
    if (is_it.sum(axis=-1) > 1).any():
        raise ValueError(f"{where} has a {dim} twice that is to be selected: {_told(known)}")
    found = is_it.argmax(axis=-1)
    return int(found) if found.ndim == 0 else found


def _told(labels: np.ndarray[Any, Any]) -> str:
    most = 100
    told = ", ".join(f"{label:g}" for label in labels[:most].tolist())
    return f"{told} …" if labels.size > most else told
