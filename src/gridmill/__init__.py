"""Build cloud Zarr archives of gridded weather and climate data on Dask, and keep them current.

The public names are found here and imported at their first use, so that ``import gridmill`` and
the command line's ``--help`` cost nothing.

Examples
--------
>>> import gridmill
>>> gridmill.DataVar.__module__
'gridmill.model.variables'
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridmill.authoring.describing.finality import Finality
    from gridmill.authoring.encoding.gdal import for_gdal
    from gridmill.authoring.region_job import RegionJob
    from gridmill.authoring.source_file import ListedFileCoord, SourceFileCoord
    from gridmill.authoring.template import TemplateConfig
    from gridmill.dataset import DynamicalDataset
    from gridmill.display.progress import ProgressDisplay
    from gridmill.model.fields.gates import (
        Gate,
        MostJump,
        MostMissing,
        NotARepeat,
        NotConstant,
        ValidRange,
    )
    from gridmill.model.files.addresses import Address
    from gridmill.model.files.offering import Offering
    from gridmill.model.region import Region
    from gridmill.model.settled import SourceFileStatus
    from gridmill.model.variables import Completeness, Coordinate, DataVar, Encoding, Superseded
    from gridmill.runs.dask.clusters import connect
    from gridmill.sources.fetch.credentials.rules import ApiKey, BearerToken, Login, S3Access
    from gridmill.sources.fetch.download import (
        Download,
        DownloadFailed,
        DownloadSettings,
        FileIdentity,
        NotAvailable,
        fetch,
    )
    from gridmill.sources.geotiff import read_geotiff
    from gridmill.sources.netcdf import read_netcdf
    from gridmill.sources.opened import read_h5py, read_xarray

    __version__: str

__all__ = [
    "Address",
    "ApiKey",
    "BearerToken",
    "Completeness",
    "Coordinate",
    "DataVar",
    "Download",
    "DownloadFailed",
    "DownloadSettings",
    "DynamicalDataset",
    "Encoding",
    "FileIdentity",
    "Finality",
    "Gate",
    "ListedFileCoord",
    "Login",
    "MostJump",
    "MostMissing",
    "NotARepeat",
    "NotAvailable",
    "NotConstant",
    "Offering",
    "ProgressDisplay",
    "Region",
    "RegionJob",
    "S3Access",
    "SourceFileCoord",
    "SourceFileStatus",
    "Superseded",
    "TemplateConfig",
    "ValidRange",
    "__version__",
    "connect",
    "fetch",
    "for_gdal",
    "read_geotiff",
    "read_h5py",
    "read_netcdf",
    "read_xarray",
]

_MODULES = {
    "Address": "model.files.addresses",
    "ApiKey": "sources.fetch.credentials.rules",
    "BearerToken": "sources.fetch.credentials.rules",
    "Completeness": "model.variables",
    "Coordinate": "model.variables",
    "DataVar": "model.variables",
    "Download": "sources.fetch.download",
    "DownloadFailed": "sources.fetch.download",
    "DownloadSettings": "sources.fetch.download",
    "FileIdentity": "sources.fetch.download",
    "Finality": "authoring.describing.finality",
    "DynamicalDataset": "dataset",
    "Encoding": "model.variables",
    "Gate": "model.fields.gates",
    "ListedFileCoord": "authoring.source_file",
    "Login": "sources.fetch.credentials.rules",
    "MostJump": "model.fields.gates",
    "MostMissing": "model.fields.gates",
    "NotARepeat": "model.fields.gates",
    "NotAvailable": "sources.fetch.download",
    "NotConstant": "model.fields.gates",
    "Offering": "model.files.offering",
    "ProgressDisplay": "display.progress",
    "Region": "model.region",
    "RegionJob": "authoring.region_job",
    "S3Access": "sources.fetch.credentials.rules",
    "SourceFileCoord": "authoring.source_file",
    "SourceFileStatus": "model.settled",
    "Superseded": "model.variables",
    "TemplateConfig": "authoring.template",
    "ValidRange": "model.fields.gates",
    "connect": "runs.dask.clusters",
    "fetch": "sources.fetch.download",
    "for_gdal": "authoring.encoding.gdal",
    "read_geotiff": "sources.geotiff",
    "read_h5py": "sources.opened",
    "read_netcdf": "sources.netcdf",
    "read_xarray": "sources.opened",
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


# Where modules that authors import were in 0.1.0; found there for one release more.
_MOVED = {
    "cf": "authoring.cf",
    "clusters": "runs.dask.clusters",
    "datasets.ecmwf_aifs_single_forecast": "datasets.ecmwf.aifs_single_forecast",
    "datasets.hadgem2_north_america": "datasets.met_office.hadgem2_north_america",
    "datasets.noaa_gefs_forecast": "datasets.noaa.gefs_forecast",
    "datasets.noaa_gfs_analysis": "datasets.noaa.gfs_analysis",
    "datasets.noaa_gfs_forecast": "datasets.noaa.gfs_forecast",
    "datasets.noaa_hrrr_forecast": "datasets.noaa.hrrr_forecast",
    "datasets.noaa_variables": "datasets.noaa.variables",
    "datasets.ostia_sst_monthly": "datasets.met_office.ostia_sst_monthly",
    "forecast_template": "authoring.forecasts.template",
    "grib_analysis_job": "authoring.forecasts.analysis",
    "grib_region_job": "authoring.forecasts.job",
    "horizontal_grids": "authoring.grids",
    "progress": "model.records",
    "progress_display": "display.progress",
    "region_job": "authoring.region_job",
    "regions": "model.region",
    "run_report": "model.reports.run_report",
    "sources.download": "sources.fetch.download",
    "sources.inventory": "sources.grib.inventory.selection",
    "template": "authoring.template",
    "transforms": "authoring.transforms",
    "variables": "model.variables",
}
# Names of theirs that are not where the rest of their module is.
_MOVED_APART = {
    ("grib_region_job", "Level"): "authoring.forecasts.variables",
    ("progress", "PublishWhen"): "model.settled",
    ("progress", "RegionState"): "model.settled",
    ("progress", "SourceFileRecord"): "model.files.recorded",
    ("progress", "SourceFileStatus"): "model.settled",
    ("progress", "SourceFill"): "model.settled",
    ("progress", "region_state"): "model.settled",
    ("run_report", "Failure"): "model.reports.entries",
    ("run_report", "FetchedFile"): "model.reports.entries",
    ("run_report", "Problem"): "model.reports.entries",
    ("run_report", "RegionTimes"): "model.reports.entries",
    ("run_report", "ReplicaOutcome"): "model.reports.entries",
}


class _MovedModules:
    """Finds modules under the paths that they had, with a DeprecationWarning."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module that moved; None for every other."""
        is_moved = name.removeprefix("gridmill.") in _MOVED and name.startswith("gridmill.")
        return ModuleSpec(name, _MovedModules) if is_moved else None  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Leave that to Python."""

    @staticmethod
    def exec_module(module: Any) -> None:
        """Find the names of the module that was asked for where they are today."""
        import warnings

        old = module.__name__.removeprefix("gridmill.")
        new = _MOVED[old]
        warnings.warn(f"{module.__name__} is gridmill.{new} now", DeprecationWarning, stacklevel=2)

        def find(name: str) -> Any:
            there = _MOVED_APART.get((old, name), new)
            return getattr(import_module(f"gridmill.{there}"), name)

        module.__getattr__ = find


sys.meta_path.append(_MovedModules)
