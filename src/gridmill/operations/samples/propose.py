"""A proposal from samples: brought to this disk, read, and put together.

See Also
--------
gridmill.operations.samples.writing.package : writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gridmill.operations.samples.facts import ArraySample, GribField, GribSample
from gridmill.operations.samples.proposal import Proposal
from gridmill.operations.samples.proposing.arrays import propose_arrays
from gridmill.operations.samples.proposing.grib import propose_grib
from gridmill.operations.samples.reading.given import bring_samples
from gridmill.operations.samples.reading.reading import read_samples

__all__ = ["proposal_from"]

SUFFIXES = (".idx", ".index")


@contextmanager
def proposal_from(given: Sequence[str], variables: Sequence[str] = ()) -> Iterator[Proposal]:
    """Propose a dataset; what was fetched is there until the context ends.

    Parameters
    ----------
    given
        Files and addresses of samples.
    variables
        Those that are wanted, by the names that are proposed; nothing takes all.

    Raises
    ------
    ValueError
        A sample is no weather data, or they are not of one product.
    ImportError
        What reads them is not installed.

    Notes
    -----
    Memory does not grow with the samples: headers are read, and no field is decoded. What is
    fetched lies in a temporary folder.
    """
    with TemporaryDirectory(prefix="gridmill-new-") as folder:
        read: Any = read_samples(bring_samples(given, Path(folder)))
        if isinstance(read[0], ArraySample):
            names = [_address(one.sample.name) for one in read]
            yield propose_arrays(read, names, variables)
            return
        samples = _paired(read)
        names = [_address(_described(sample)) for sample in samples]
        yield propose_grib(samples, names, variables)


def _address(name: str) -> str:
    """Return an address without what may be a credential; a file's with its whole path."""
    if "://" not in name:
        return str(Path(name).expanduser().absolute())
    return name.partition("?")[0].partition("#")[0].replace("//***@", "//", 1)


def _described(sample: GribSample) -> str:
    """Return the address of the file that an inventory describes."""
    name = sample.sample.name
    if sample.sample.kind != "inventory" or not name.endswith(SUFFIXES):
        return name
    suffix = next(one for one in SUFFIXES if name.endswith(one))
    bare = name.removesuffix(suffix)
    return f"{bare}.grib2" if suffix == ".index" and not bare.endswith(".grib2") else bare


def _paired(samples: Sequence[GribSample]) -> list[GribSample]:
    """Give fields the names of their inventory, where both were given."""
    inventories = {_described(s): s for s in samples if s.sample.kind == "inventory"}
    files = [sample for sample in samples if sample.sample.kind == "grib"]
    known = {sample.sample.name for sample in files}
    alone = [s for name, s in inventories.items() if name not in known]
    return [_named(s, inventories.get(s.sample.name)) for s in files] + alone


def _named(sample: GribSample, inventory: GribSample | None) -> GribSample:
    if inventory is None or len(inventory.fields) != len(sample.fields):
        return sample if inventory is None else replace(sample, inventory=inventory.inventory)
    fields = tuple(map(_as_listed, sample.fields, inventory.fields))
    return replace(sample, fields=fields, inventory=inventory.inventory)


def _as_listed(field: GribField, line: GribField) -> GribField:
    is_same = (field.time, field.end) == (line.time, line.end)
    return replace(field, parameter=line.parameter, level=line.level) if is_same else field
