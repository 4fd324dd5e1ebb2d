"""Labels that are text, in whichever form a source file keeps them. Pure.

NetCDF-3 knows no strings: a label is a row of characters, filled up with NUL or, by Fortran, with
blanks (CF conventions 1.11, section 2.2). NetCDF-4 has both forms, HDF5 also strings of a fixed
length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["text_of"]

Values = np.ndarray[Any, Any]


def text_of(
    stored: Values, dims: Sequence[str] = (), along: Sequence[str] = ()
) -> tuple[Values, tuple[str, ...]] | None:
    """Return text as objects of `str`, with its dims; None if it is none.

    Parameters
    ----------
    stored
        Strings, bytes, or single characters, of which the last dim is joined.
    dims
        Its dims, as many as it has; none where bytes are whole strings.
    along
        Dims of the variable that it belongs to: one of them tells labels apart, and is not joined.

    Examples
    --------
    >>> letters = np.array([[b"O", b"s", b"l", b"o"], [b"R", b"o", b"m", b"\\0"]])
    >>> labels, dims = text_of(letters, ("station", "length"), ("time", "station"))
    >>> labels.tolist(), dims
    (['Oslo', 'Rom'], ('station',))
    """
    kept = tuple(dims)
    if stored.dtype.kind == "S" and stored.dtype.itemsize == 1 and dims and dims[-1] not in along:
        letters = np.ascontiguousarray(stored)
        joined = letters.view(f"S{letters.shape[-1]}") if letters.shape[-1] else letters[..., :1]
        stored, kept = joined.reshape(letters.shape[:-1]), kept[:-1]
    if stored.dtype.kind not in "SUTO":
        return None
    labels = [_decoded(one) for one in stored.ravel().tolist()]
    if any(label is None for label in labels):
        return None
    text = np.empty(stored.size, object)
    text[:] = labels
    return text.reshape(stored.shape), kept


def _decoded(label: Any) -> str | None:
    """Return what a label says, without what fills it up; None if it is no text."""
    if isinstance(label, str):
        return label
    if not isinstance(label, bytes):
        return None
    known = label.partition(b"\0")[0].rstrip(b" ")
    try:
        return known.decode()
    except UnicodeDecodeError:
        return known.decode("latin-1")
