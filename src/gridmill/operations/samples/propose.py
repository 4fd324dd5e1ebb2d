"""A proposal from samples: brought to this disk, read, and put together.

See Also
--------
gridmill.operations.samples.writing.package : writes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gridmill.operations.samples.facts import ArraySample, GribSample
from gridmill.operations.samples.proposal import Proposal
from gridmill.operations.samples.proposing.arrays import propose_arrays
from gridmill.operations.samples.proposing.grib import propose_grib
from gridmill.operations.samples.reading.beside import SUFFIXES
from gridmill.operations.samples.reading.given import bring_samples
from gridmill.operations.samples.reading.reading import read_samples
from gridmill.sources.fetch.credentials.access import kept_by, using
from gridmill.sources.fetch.credentials.rules import Credential
from gridmill.stores.objects.leftovers import temporary_folder

__all__ = ["proposal_from"]


@contextmanager
def proposal_from(
    given: Sequence[str],
    variables: Sequence[str] = (),
    credentials: Sequence[Credential] = (),
) -> Iterator[Proposal]:
    """Propose a dataset; what was fetched is there until the context ends.

    Parameters
    ----------
    given
        Files and addresses of samples.
    variables
        Those that are wanted, by the names that are proposed; nothing takes all.
    credentials
        For the hosts of addresses; the dataset declares them, too.

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
    access, _keeper = kept_by(credentials)
    with temporary_folder() as folder, using(access):
        read: Any = read_samples(bring_samples(given, folder))
        if isinstance(read[0], ArraySample):
            names = [_address(one.sample.name) for one in read]
            yield replace(propose_arrays(read, names, variables), credentials=tuple(credentials))
            return
        samples = _paired(read)
        names = [_described(sample) for sample in samples]
        yield replace(propose_grib(samples, names, variables), credentials=tuple(credentials))


def _address(name: str) -> str:
    """Return an address without what may be a credential; a file's with its whole path."""
    if "://" not in name:
        return str(Path(name).expanduser().absolute())
    return name.partition("?")[0].partition("#")[0].replace("//***@", "//", 1)


def _described(sample: GribSample) -> str:
    """Return the address of the file that an inventory describes, or of the file itself."""
    name = _address(sample.sample.name)
    if sample.sample.kind != "inventory" or not name.endswith(SUFFIXES):
        return name
    suffix = next(one for one in SUFFIXES if name.endswith(one))
    bare = name.removesuffix(suffix)
    return f"{bare}.grib2" if suffix == ".index" and not bare.endswith(".grib2") else bare


def _paired(samples: Sequence[GribSample]) -> list[GribSample]:
    """Name fields as their inventory does, where there are both."""
    inventories = {_described(s): s for s in samples if s.sample.kind == "inventory"}
    files = [sample for sample in samples if sample.sample.kind == "grib"]
    owned = {_described(file): _inventory_of(file, inventories) for file in files}
    used = {id(inventory) for inventory in owned.values()}
    alone = [s for s in inventories.values() if id(s) not in used]
    return [_named(file, owned[_described(file)]) for file in files] + alone


def _inventory_of(file: GribSample, inventories: Mapping[str, GribSample]) -> GribSample | None:
    """Return a file's inventory; ECMWF's does not say how its file's name ends."""
    address = _described(file)
    return inventories.get(address) or inventories.get(f"{address.rpartition('.')[0]}.grib2")


def _named(sample: GribSample, inventory: GribSample | None) -> GribSample:
    """Call fields as the inventory does; one that lists other messages is left out."""
    if inventory is None:
        return sample
    lines = {(line.offset, line.submessage): line for line in inventory.fields}
    pairs = [(field, lines.get((field.offset, field.submessage))) for field in sample.fields]
    if any(line is None or (line.time, line.end) != (f.time, f.end) for f, line in pairs):
        reason = f"the inventory {inventory.sample.name}: it lists other messages than the file has"
        return replace(sample, left_out=(*sample.left_out, reason))
    fields = tuple(
        replace(field, parameter=line.parameter, level=line.level) for field, line in pairs if line
    )
    return replace(sample, fields=fields, inventory=inventory.inventory)
