"""Lets xarray import Dask when there is a Dask array, and not to see whether an array is one."""

from __future__ import annotations

import importlib.util
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["import_dask_late"]


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
