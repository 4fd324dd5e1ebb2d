"""The inventories that lie beside GRIB files, where nobody named them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlunsplit

from gridmill.model.urls import mask_url, safe_name, split_url
from gridmill.operations.samples.facts import Sample
from gridmill.operations.samples.reading.known import kind_of_file
from gridmill.sources.fetch.download import DownloadSettings, fetch
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable

__all__ = ["SUFFIXES", "inventories_beside"]

# NOAA's is added to the name, ECMWF's stands in the place of the file's suffix.
SUFFIXES = (".idx", ".index")
SETTINGS = DownloadSettings(attempts=1)


def inventories_beside(
    given: Sequence[str], samples: Sequence[Sample], folder: Path
) -> list[Sample]:
    """Return the inventories of GRIB files, by the form that the first one has.

    Parameters
    ----------
    given, samples
        Addresses as they were given, and what each is.
    folder
        For what is fetched; the caller removes it.
    """
    # What is wrapped has no inventory that tells its bytes.
    files = [
        one
        for one, sample in zip(given, samples, strict=True)
        if sample.kind == "grib" and sample.path == sample.original
    ]
    if not files or any(sample.kind == "inventory" for sample in samples):
        return []
    for suffix in SUFFIXES:
        if first := _inventory(files[0], suffix, folder / f"0{suffix}"):
            others = [
                _inventory(one, suffix, folder / f"{number}{suffix}")
                for number, one in enumerate(files[1:], start=1)
            ]
            return [first, *(one for one in others if one is not None)]
    return []


def _inventory(given: str, suffix: str, folder: Path) -> Sample | None:
    """Return the inventory of a file; None where there is none, or it is something else."""
    address = _beside(given, suffix)
    path = Path(address).expanduser().absolute()
    if "://" in given:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (safe_name(split_url(address).path) or "inventory")
        try:
            path = fetch(address, path, settings=SETTINGS).path
        except (NotAvailable, DownloadFailed):
            return None
    if not path.is_file() or kind_of_file(path) != "inventory":
        return None
    return Sample(name=mask_url(address), path=path, kind="inventory", original=path)


def _beside(given: str, suffix: str) -> str:
    """Return the address of an inventory, with the query that the file has.

    Examples
    --------
    >>> _beside("https://x.org/a.grib2?key=1", ".idx"), _beside("/d/a.grib2", ".index")
    ('https://x.org/a.grib2.idx?key=1', '/d/a.index')
    """
    parts = split_url(given) if "://" in given else None
    path = given if parts is None else parts.path
    if suffix == ".index":
        head, dot, tail = path.rpartition(".")
        path = head if dot and "/" not in tail else path
    path += suffix
    return path if parts is None else urlunsplit(parts._replace(path=path))
