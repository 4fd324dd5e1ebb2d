"""Splits the files of iris-sample-data into archives of one file a time step, as providers have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = [
    "HADGEM2_SOURCES",
    "OSTIA_SOURCE",
    "SampleDataMissing",
    "build_hadgem2_archive",
    "build_ostia_archive",
    "hadgem2_path",
    "ostia_path",
    "sample_file",
]

OSTIA_SOURCE = "ostia_monthly.nc"
HADGEM2_SOURCES = {"A1B": "A1B_north_america.nc", "E1": "E1_north_america.nc"}


class SampleDataMissing(ImportError):  # noqa: N818
    """A package that only the demo needs is not installed."""


def sample_file(name: str) -> Path:
    """Return the path of a file of iris-sample-data.

    Raises
    ------
    SampleDataMissing
        The package is not installed, or a version without the file.
    """
    if find_spec("iris_sample_data") is None:
        raise SampleDataMissing("iris-sample-data is not installed")
    import iris_sample_data

    path = Path(iris_sample_data.path) / name
    if not path.exists():
        raise SampleDataMissing(f"iris-sample-data has no {name}")
    return path


def build_ostia_archive(root: Path) -> list[Path]:
    """Write one file for each month below `root`; their paths relative to it, in order."""
    return _split(sample_file(OSTIA_SOURCE), root, lambda date: ostia_path(date.year, date.month))


def build_hadgem2_archive(root: Path) -> list[Path]:
    """Write one file for each scenario and year below `root`; their paths relative to it."""
    return [
        path
        for scenario, name in HADGEM2_SOURCES.items()
        for path in _split(
            sample_file(name), root, lambda date, s=scenario: hadgem2_path(s, date.year)
        )
    ]


def ostia_path(year: int, month: int) -> Path:
    """Return where the file of a month is.

    Examples
    --------
    >>> ostia_path(2010, 7).as_posix()
    '2010/ostia_sst_201007.nc'
    """
    return Path(f"{year:04d}/ostia_sst_{year:04d}{month:02d}.nc")


def hadgem2_path(scenario: str, year: int) -> Path:
    """Return where the file of a scenario's year is.

    Examples
    --------
    >>> hadgem2_path("A1B", 1860).as_posix()
    'A1B/1860s/A1B_1860.nc'
    """
    return Path(f"{scenario}/{year // 10}0s/{scenario}_{year}.nc")


def _split(source: Path, root: Path, path_of: Any) -> list[Path]:
    """Write one file for each position of ``time``; stored values and packing stay as they are."""
    from netCDF4 import num2date

    paths = []
    with _open(source) as whole:
        time = whole["time"]
        dates: Any = num2date(time[:], time.units, time.calendar)
        for position, date in enumerate(dates):
            path = path_of(date)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            with _open(root / path, "w") as part:
                _copy_position(whole, part, position)
            paths.append(path)
    return paths


@contextmanager
def _open(path: Path, mode: Any = "r") -> Iterator[Any]:
    from netCDF4 import Dataset

    with Dataset(path, mode) as file:
        # Neither unpacked on reading nor packed on writing.
        file.set_auto_maskandscale(False)
        yield file


def _copy_position(whole: Any, part: Any, position: int) -> None:
    part.setncatts({name: whole.getncattr(name) for name in whole.ncattrs()})
    for name, dim in whole.dimensions.items():
        part.createDimension(name, 1 if name == "time" else len(dim))
    for name, stored in whole.variables.items():
        attrs = {key: stored.getncattr(key) for key in stored.ncattrs()}
        fill_value = attrs.pop("_FillValue", None)
        copy = part.createVariable(name, stored.dtype, stored.dimensions, fill_value=fill_value)
        copy.setncatts(attrs)
        copy.set_auto_maskandscale(False)
        along = stored.dimensions[:1] == ("time",)
        copy[...] = stored[position : position + 1] if along else stored[...]
