"""Backfill and keep current cloud Zarr archives of gridded weather and climate data, on Dask.

The public names are found here and imported at their first use, so that ``import gridmill`` and
the command line's ``--help`` cost nothing.

Examples
--------
>>> import gridmill
>>> gridmill.DataVar.__module__
'gridmill.variables'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridmill.clusters import connect
    from gridmill.dataset import DynamicalDataset
    from gridmill.progress import SourceFileStatus
    from gridmill.progress_display import ProgressDisplay
    from gridmill.region_job import RegionJob, SourceFileCoord
    from gridmill.sources.download import (
        Download,
        DownloadFailed,
        DownloadSettings,
        FileIdentity,
        NotAvailable,
        fetch,
    )
    from gridmill.sources.netcdf import read_netcdf
    from gridmill.template import TemplateConfig
    from gridmill.variables import Completeness, Coordinate, DataVar, Encoding

    __version__: str

__all__ = [
    "Completeness",
    "Coordinate",
    "DataVar",
    "Download",
    "DownloadFailed",
    "DownloadSettings",
    "DynamicalDataset",
    "Encoding",
    "FileIdentity",
    "NotAvailable",
    "ProgressDisplay",
    "RegionJob",
    "SourceFileCoord",
    "SourceFileStatus",
    "TemplateConfig",
    "__version__",
    "connect",
    "fetch",
    "read_netcdf",
]

_MODULES = {
    "Completeness": "variables",
    "Coordinate": "variables",
    "DataVar": "variables",
    "Download": "sources.download",
    "DownloadFailed": "sources.download",
    "DownloadSettings": "sources.download",
    "FileIdentity": "sources.download",
    "DynamicalDataset": "dataset",
    "Encoding": "variables",
    "NotAvailable": "sources.download",
    "ProgressDisplay": "progress_display",
    "RegionJob": "region_job",
    "SourceFileCoord": "region_job",
    "SourceFileStatus": "progress",
    "TemplateConfig": "template",
    "connect": "clusters",
    "fetch": "sources.download",
    "read_netcdf": "sources.netcdf",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("gridmill")
    elif name in _MODULES:
        value = getattr(import_module(f"gridmill.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module 'gridmill' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*globals(), *__all__})
