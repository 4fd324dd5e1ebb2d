"""Weights that many tasks need: computed once a machine, and read once a process."""

from __future__ import annotations

import logging
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from gridmill.authoring.regridding.geometry.targets import Target
from gridmill.authoring.regridding.weights import Weights, key_of, make_weights
from gridmill.model.fields.regrid import RegridMethod, SourceGrid
from gridmill.sources.kept import keep_made

__all__ = ["weights_for"]

log = logging.getLogger(__name__)

# Those between grids of latitudes and longitudes have less than 1 MB, others 50 bytes a point.
MOST_NBYTES_IN_MEMORY = 256 << 20
DAMAGED = (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile)


@dataclass
class _Known:
    """Weights, and who may be at them."""

    weights: Weights | None = None
    lock: Lock = field(default_factory=Lock)


_known: OrderedDict[str, _Known] = OrderedDict()
_known_lock = Lock()


def weights_for(grid: SourceGrid, target: Target, method: RegridMethod) -> Weights:
    """Return the weights from one grid to another, which are computed unless they are known.

    Raises
    ------
    ValueError, NeedsScipy
        As by `make_weights`.

    Notes
    -----
    Safe in several threads and processes: one computes, the others wait.
    """
    key = key_of(grid, target, method)
    known = _entry(key)
    with known.lock:
        if known.weights is None:
            known.weights = _kept(key, grid, target, method)
            _forget_others()
        return known.weights


def _kept(key: str, grid: SourceGrid, target: Target, method: RegridMethod) -> Weights:
    made: list[Weights] = []

    def make() -> bytes:
        made.append(make_weights(grid, target, method))
        log.debug("weights computed key=%s method=%s", key, method)
        return made[0].to_bytes()

    content = keep_made(key, make)
    if made:
        return made[0]
    try:
        return Weights.from_bytes(content)
    except DAMAGED as error:
        log.warning("kept weights cannot be read, and are computed key=%s: %s", key, error)
        return make_weights(grid, target, method)


def _entry(key: str) -> _Known:
    with _known_lock:
        known = _known.setdefault(key, _Known())
        _known.move_to_end(key)
        return known


def _forget_others() -> None:
    """Forget what was asked for longest ago, so that what is known does not grow."""
    with _known_lock:
        sizes = {k: 0 if one.weights is None else one.weights.nbytes for k, one in _known.items()}
        for key in list(_known)[:-1]:
            if sum(sizes.values()) <= MOST_NBYTES_IN_MEMORY:
                return
            del _known[key], sizes[key]
