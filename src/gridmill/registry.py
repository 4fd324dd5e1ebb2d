"""Datasets by name: those that installed packages register, and any class by its address.

A package registers a dataset in its ``pyproject.toml``::

    [project.entry-points."gridmill.datasets"]
    my-model-forecast = "my_package.forecast:MyModelForecast"

Names are read from the packages' metadata: no dataset is imported before it is asked for, and one
that cannot be imported does not stand in the way of the others.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["GROUP", "DatasetEntry", "dataset_entries", "dataset_names", "find_dataset"]

GROUP = "gridmill.datasets"


@dataclass(frozen=True)
class DatasetEntry:
    """A registered dataset, not imported.

    Parameters
    ----------
    name
        What it is called on the command line.
    target
        Where it is: ``package.module:Class``.
    package
        Name and version of the installed package that registers it.
    """

    name: str
    target: str
    package: str

    def load(self) -> type[DynamicalDataset]:
        """Import the dataset.

        Raises
        ------
        ValueError
            It cannot be imported, or is no dataset.
        """
        return _import_dataset(self.target, f"dataset {self.name} of {self.package}")


def dataset_entries() -> list[DatasetEntry]:
    """List the registered datasets by name, without importing them."""
    # An editable install can show the same package twice.
    found = {_entry(point) for point in entry_points(group=GROUP)}
    return sorted(found, key=lambda entry: (entry.name, entry.package))


def dataset_names() -> list[str]:
    """List the names of the registered datasets, without importing them."""
    return sorted({entry.name for entry in dataset_entries()})


def find_dataset(spec: str) -> type[DynamicalDataset]:
    """Import a dataset.

    Parameters
    ----------
    spec
        A registered name, or ``package.module:Class``.

    Raises
    ------
    ValueError
        There is no such dataset, two packages register the name, or it cannot be imported.
    """
    if ":" in spec:
        return _import_dataset(spec, f"dataset {spec}")
    entries = dataset_entries()
    named = [entry for entry in entries if entry.name == spec]
    if not named:
        raise ValueError(_unknown(spec, [entry.name for entry in entries]))
    if len(named) > 1:
        listed = " and ".join(f"{entry.package} ({entry.target})" for entry in named)
        raise ValueError(f"{spec} is registered by {listed}: give package.module:Class instead")
    return named[0].load()


def _entry(point: EntryPoint) -> DatasetEntry:
    dist = point.dist
    package = "an unknown package" if dist is None else f"{dist.name} {dist.version}"
    return DatasetEntry(point.name, point.value, package)


def _unknown(spec: str, names: Iterable[str]) -> str:
    known = sorted(set(names))
    near = difflib.get_close_matches(spec, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}? " if near else ""
    listed = ", ".join(known) or "none"
    return f"no dataset {spec!r}: {hint}known are {listed}; or give package.module:Class"


def _import_dataset(target: str, who: str) -> type[DynamicalDataset]:
    from gridmill.dataset import DynamicalDataset

    found = _import_object(target, who)
    if isinstance(found, type) and issubclass(found, DynamicalDataset):
        return found
    raise ValueError(f"{who} is {found!r}, and that is no subclass of gridmill.DynamicalDataset")


def _import_object(target: str, who: str) -> Any:
    module_name, _, attribute = (part.strip() for part in target.partition(":"))
    if not module_name or not attribute:
        raise ValueError(f"{who}: {target!r} is not written like package.module:Class")
    try:
        module = importlib.import_module(module_name)
    # Whatever somebody else's module raises when it is imported, others are not concerned.
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise ValueError(f"{who} cannot be imported from {target}: {cause}") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise ValueError(f"{who}: module {module_name} has no class {attribute}") from error
