"""A source file, its addresses, and the place in the archive that it fills: the author's part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from gridmill.model.settled import SourceFileStatus
from gridmill.model.urls import safe_name
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable
from gridmill.sources.wrapped.wrapping import Compression, Wrapping

if TYPE_CHECKING:
    from gridmill.authoring.region_job import RegionJob

__all__ = [
    "ProcessResults",
    "SourceFileCoord",
    "addresses",
    "first_answer",
    "local_name",
    "wrapping_of",
]

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, kw_only=True)
class SourceFileCoord:
    """Identifies one source file and the place in the archive that it fills; subclass it.

    Subclasses are frozen, keyword-only dataclasses that add the fields which identify the file,
    for instance its time or its init_time, lead_time and member. The fields here say what
    became of it; authors leave them alone.

    Attributes
    ----------
    status : SourceFileStatus
        What became of it.
    settled : bool
        Whether trying again later is pointless.
    downloaded_path : Path or None
        Where it lies on the worker's disk, for `RegionJob.read_data`.
    nbytes, etag, last_modified
        Identity, taken from the download's own response.
    checksum : str or None
        Of what was fetched, see `gridmill.model.files.versions`.
    index : tuple or None
        Which version of its index said where its parts are, see
        `gridmill.model.records.identity_of`.
    unpacked : str or None
        Checksum of `downloaded_path`, where that was taken out of what was fetched.
    detail : str or None
        Why it did not succeed, or what is worth knowing of how it did.
    """

    # How the provider wraps it, see `gridmill.sources.wrapped.wrapping.Wrapping`. By default what
    # is named .gz, .bz2, .xz or .zst, and is that, is unpacked before `RegionJob.read_data`; "none"
    # leaves it. A zip or tar is declared: "zip", "tar", or "by content".
    compression: ClassVar[Compression] = "by name"

    status: SourceFileStatus = SourceFileStatus.PROCESSING
    settled: bool = False
    downloaded_path: Path | None = None
    nbytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    checksum: str | None = None
    index: tuple[int | None, str | None, str | None] | None = None
    unpacked: str | None = None
    detail: str | None = None

    def get_url(self) -> str:
        """Give its address: a URL, or a path below the dataset's `source_base`."""
        raise NotImplementedError(f"{type(self).__name__} must define get_url()")

    def out_loc(self) -> Mapping[str, Any]:
        """Give the labels that it fills: by dim a label, or a slice of labels, both included.

        Dims that are not named are filled whole.
        """
        raise NotImplementedError(f"{type(self).__name__} must define out_loc()")

    def get_member(self) -> str | None:
        """Give which file of a zip or tar it is, by its name there or a pattern of `fnmatch`.

        By default None: there must be only one. It is no part of the address: where published
        values shall come from another member, raise `RegionJob.version`.
        """
        return None


ProcessResults = Mapping[str, Sequence[SourceFileCoord]]


def addresses(coord: SourceFileCoord, bases: Sequence[str]) -> list[str]:
    """Return the addresses at which to try for a source file, in order.

    Parameters
    ----------
    coord
        The source file.
    bases
        What a relative URL is relative to.
    """
    url = coord.get_url()
    if "://" in url or url.startswith("/") or not bases:
        return [url]
    return [f"{base.rstrip('/')}/{url}" for base in bases]


def wrapping_of(coord: SourceFileCoord) -> Wrapping:
    """Return how a source file is wrapped by its provider."""
    return Wrapping(compression=coord.compression, member=coord.get_member())


def local_name(coord: SourceFileCoord) -> str:
    """Return a name for a source file's local copy: safe whatever its URL, one a file and place."""
    url = coord.get_url()
    name = safe_name(urlsplit(url).path)
    identity = hashlib.sha256(f"{url} {coord.out_loc()}".encode()).hexdigest()[:12]
    return f"{identity}-{name}"


def first_answer(
    job: RegionJob[Any, Any], coord: SourceFileCoord, ask: Callable[[str], AnswerT]
) -> AnswerT:
    """Ask for a source file at one of its addresses after another, until one answers.

    Parameters
    ----------
    job
        Its `source_base` says where relative URLs are.
    coord
        The source file.
    ask
        Called with an address.

    Raises
    ------
    NotAvailable
        All addresses say that the file is not there.
    DownloadFailed
        None gave it, and one that failed may have it.
    """
    errors: list[NotAvailable | DownloadFailed] = []
    for url in addresses(coord, job.source_base):
        try:
            return ask(url)
        except (NotAvailable, DownloadFailed) as error:
            errors.append(error)
    raise next((e for e in errors if isinstance(e, DownloadFailed)), errors[0])
