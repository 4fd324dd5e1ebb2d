"""What makes imports cheap for a command: a third of what an update costs that finds nothing new.

xarray imports Dask when there is a Dask array, and not to see whether an array is one; and garbage
is collected as usual only once everything is imported.
"""

from __future__ import annotations

import atexit
import gc
import importlib.util
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["collect_from_now", "collect_hardly", "import_dask_late"]

# So many more objects are made than deleted before Python looks for garbage: while modules are
# imported, and after. The latter is as by default, 700 × 10 × 10, between two looks at all there
# are.
IMPORTING, WORKING = (1_000_000, 2, 2), (20_000, 2, 2)


def collect_hardly() -> None:
    """Look for garbage hardly ever from now on, and not as the interpreter ends.

    Hardly anything of what is imported becomes garbage: to look through it again and again is a
    tenth of what an update costs that finds nothing new.
    """
    gc.set_threshold(*IMPORTING)
    atexit.register(gc.freeze)


def collect_from_now() -> None:
    """Look for garbage among what is made from now on; after `collect_hardly` alone."""
    if gc.get_threshold()[0] == IMPORTING[0]:
        gc.freeze()
        gc.set_threshold(*WORKING)


def import_dask_late() -> None:
    """Answer xarray's question whether an array is Dask's without importing Dask, in this process.

    xarray (2026.9, with Dask installed) imports ``dask.array`` when the first array is put into a
    variable: a third of what an update costs that finds nothing new. Before anybody imports Dask
    nothing can be an array of Dask's, so the answer is the same. An xarray that asks in another way
    is left as it is.
    """
    pycompat = import_module("xarray.namedarray.pycompat")
    utils = import_module("xarray.namedarray.utils")
    known = getattr(pycompat, "_cached_duck_array_modules", None)
    asks = getattr(utils, "is_dask_collection", None)
    if not isinstance(known, dict) or "dask" in known or asks is None or not _is_installed():
        return

    def is_dask_collection(value: object) -> bool:
        return "dask.base" in sys.modules and bool(asks(value))

    known["dask"] = _Dask()
    utils.is_dask_collection = is_dask_collection  # type: ignore[attr-defined]


def _is_installed() -> bool:
    return importlib.util.find_spec("dask") is not None


class _Dask:
    """What xarray knows of Dask, as its own `DuckArrayModule`."""

    available = True

    @property
    def module(self) -> ModuleType:
        """Dask, imported by who needs it."""
        return import_module("dask")

    @property
    def version(self) -> Any:
        """Its version."""
        from packaging.version import Version

        return Version(self.module.__version__)

    @property
    def type(self) -> tuple[Any, ...]:
        """Its array type; none as long as nobody imported it."""
        array = sys.modules.get("dask.array")
        found = getattr(array, "Array", None)
        return () if found is None else (found,)
