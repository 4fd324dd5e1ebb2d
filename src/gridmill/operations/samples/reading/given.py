"""Samples as they are given, files or addresses: fetched, unwrapped, and known by content."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from gridmill.model.urls import mask_url, safe_name, split_url
from gridmill.operations.samples.facts import Sample
from gridmill.operations.samples.reading.beside import inventories_beside
from gridmill.operations.samples.reading.known import kind_of
from gridmill.sources.fetch.download import DownloadSettings, fetch
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable
from gridmill.sources.wrapped.fetching import fetch_unwrapped
from gridmill.sources.wrapped.wrapping import (
    HEAD_NBYTES,
    Compression,
    Wrapping,
    form_by_content,
    form_by_name,
    is_tar,
)

__all__ = ["NotASample", "bring_samples"]

# Enough for a sample of any provider, and less than a small disk.
MOST_NBYTES = 4 << 30
SETTINGS = DownloadSettings(attempts=3, most_unpacked_nbytes=MOST_NBYTES)
MOST_SAMPLES = 1000


class NotASample(ValueError):  # noqa: N818
    """What was given is no file of weather data."""


def bring_samples(given: Sequence[str], folder: Path) -> list[Sample]:
    """Bring samples to this disk, and the inventories that lie beside them.

    Parameters
    ----------
    given
        Files, or addresses of http, https and s3.
    folder
        For what is fetched; the caller removes it. A file on this disk that is not wrapped stays
        where it is.

    Raises
    ------
    NotASample
        One is not there, or is no weather data.
    ValueError
        There are none, one twice, or too many.
    """
    if not given:
        raise ValueError("there is no sample: name at least one file or address with --from")
    if len(given) > MOST_SAMPLES:
        raise ValueError(
            f"{len(given):,} samples are more than {MOST_SAMPLES:,}: a few that differ in time, "
            "lead, member and variable are enough"
        )
    given = list(dict.fromkeys(given))
    samples = [_bring(one, folder / str(number)) for number, one in enumerate(given)]
    return samples + inventories_beside(given, samples, folder / "inventories")


def _bring(given: str, folder: Path) -> Sample:
    folder.mkdir(parents=True)
    name = mask_url(given)
    local = Path(given).expanduser()
    if "://" not in given and local.is_dir():
        return _folder(local, name)
    try:
        original = _original(given, local, folder)
        compression, member = _wrapping_of(original, name)
        if compression is None:
            return _known(name, original, original, "by name", None)
        wrapping = Wrapping(compression=compression, member=member)
        taken = fetch_unwrapped(
            str(original), folder / f"w-{original.name}", settings=SETTINGS, wrapping=wrapping
        )
    except NotAvailable as error:
        raise NotASample(f"{name} is not there: {error.cause}") from None
    except DownloadFailed as error:
        raise NotASample(f"{name} cannot be read: {error.cause}") from None
    return _known(name, original, taken.path, compression, member)


def _original(given: str, local: Path, folder: Path) -> Path:
    if "://" in given:
        named = safe_name(split_url(given).path) or "sample"
        return fetch(given, folder / named, settings=SETTINGS).path
    if not local.is_file():
        raise NotASample(f"{given} is not there: give a file, or an address with its scheme")
    return local.absolute()


def _folder(path: Path, name: str) -> Sample:
    if any((path / mark).exists() for mark in ("zarr.json", ".zgroup", ".zmetadata")):
        return Sample(name=name, path=path, kind="zarr", original=path)
    raise NotASample(f"{name} is a folder and no Zarr store: give the files in it")


def _wrapping_of(path: Path, name: str) -> tuple[Compression | None, str | None]:
    """Return how a file is wrapped; of a zip or tar with several files, the first is taken."""
    with path.open("rb") as file:
        head = file.read(HEAD_NBYTES)
    shown = form_by_content(head)
    if shown is None and not is_tar(head):
        return None, None
    if shown in ("gz", "bz2", "xz", "zst"):
        is_named = form_by_name(name) == shown
        return ("by name", None) if is_named and ".tar" not in name else ("by content", None)
    return ("zip" if shown == "zip" else "tar"), _only_member(path, shown)


def _only_member(path: Path, shown: str | None) -> str | None:
    """Return which file of a zip is weather data, where others lie beside it."""
    if shown != "zip":
        return None
    from zipfile import BadZipFile, ZipFile

    try:
        with ZipFile(path) as opened:
            names = [one.filename for one in opened.infolist() if not one.is_dir()]
            if len(names) < 2:
                return None
            return next(
                (n for n in names if kind_of(opened.open(n).read(HEAD_NBYTES)) is not None),
                names[0],
            )
    except (BadZipFile, RuntimeError, NotImplementedError):
        return None


def _known(
    name: str, original: Path, path: Path, compression: Compression, member: str | None
) -> Sample:
    with path.open("rb") as file:
        head = file.read(HEAD_NBYTES)
    kind = kind_of(head)
    if kind is None:
        raise NotASample(
            f"{name} begins with {head[:12]!r}, which is none of GRIB, netCDF, HDF5, GeoTIFF, and "
            "no inventory (.idx, .index): give files of weather data"
        )
    return Sample(
        name=name,
        path=path,
        kind=kind,
        compression=compression,
        member=member,
        original=original,
    )


def keep_original(sample: Sample, folder: Path) -> Path:
    """Copy a sample as its provider has it into a folder."""
    target = folder / sample.original.name
    if sample.original.is_dir():
        shutil.copytree(sample.original, target)
    else:
        shutil.copy2(sample.original, target)
    return target
