"""A source file, its addresses, and the place in the archive that it fills: the author's part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from gridmill.model.settled import SourceFileStatus
from gridmill.model.urls import mask_url, safe_name
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable
from gridmill.sources.listings.listing import ListedFile
from gridmill.sources.wrapped.wrapping import Compression, Wrapping

if TYPE_CHECKING:
    from gridmill.authoring.region_job import RegionJob

__all__ = [
    "ListedFileCoord",
    "ProcessResults",
    "SourceFileCoord",
    "addresses",
    "first_answer",
    "known_of",
    "local_name",
    "places_to_ask",
    "url_of",
    "wrapping_of",
]

AnswerT = TypeVar("AnswerT")
KnownT = TypeVar("KnownT")


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
    fetched_from : str or None
        Which of several addresses it was taken from, credentials masked; None where it has one.
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
    fetched_from: str | None = None
    index: tuple[int | None, str | None, str | None] | None = None
    unpacked: str | None = None
    detail: str | None = None

    def get_url(self) -> str | Sequence[str]:
        """Return its address: a URL, or a path below the dataset's `source_base`.

        Several, in order of preference, if the same file is at each: the first that has it is used.
        One that says that it has none is passed over, and so is one that fails after all retries,
        or sends what is no whole file. Records and reports call the file by the first.
        """
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


@dataclass(frozen=True, kw_only=True)
class ListedFileCoord(SourceFileCoord):
    """A source file whose name is known from a listing; subclass it and add what it fills.

    One that the listing does not show is a gap with an address, for which nobody is asked; one
    whose folder could not be listed is a failed download, which the next run tries again.

    Parameters
    ----------
    listed
        What `RegionJob.list_folder` found, or missed.
    """

    listed: ListedFile

    def get_url(self) -> str:
        """Return the address that was found, or that of the place that was missed."""
        return self.listed.address


ProcessResults = Mapping[str, Sequence[SourceFileCoord]]


def url_of(coord: SourceFileCoord) -> str:
    """Return the address by which a source file is called: the first of its own."""
    return _urls(coord)[0]


def known_of(coord: SourceFileCoord, known: Mapping[str, KnownT]) -> KnownT | None:
    """Return what is known of a source file by any of its addresses, whichever is first today.

    Parameters
    ----------
    coord
        The source file.
    known
        By address, credentials masked.
    """
    names = [mask_url(url) for url in _urls(coord)]
    return next((known[name] for name in names if name in known), None)


def addresses(coord: SourceFileCoord, bases: Sequence[str]) -> list[str]:
    """Return the addresses at which to try for a source file, in order, each once.

    Parameters
    ----------
    coord
        The source file.
    bases
        What a relative URL is relative to.
    """
    found: list[str] = []
    for url in _urls(coord):
        if "://" in url or url.startswith("/") or not bases:
            found.append(url)
        else:
            found += [f"{base.rstrip('/')}/{url}" for base in bases]
    return list(dict.fromkeys(found))


def _urls(coord: SourceFileCoord) -> Sequence[str]:
    given = coord.get_url()
    urls = (given,) if isinstance(given, str) else tuple(given)
    if not urls:
        raise ValueError(f"get_url() of {coord} returns no address; give at least one")
    return urls


def places_to_ask(coord: SourceFileCoord, bases: Sequence[str]) -> list[str]:
    """Return the addresses at which to ask which version of a source file there is.

    Of one that succeeded, only that from which it was taken: another server names the same version
    in another way. Where nothing says which that was, the first: records of older releases do not.
    """
    found = addresses(coord, bases)
    taken = [url for url in found if mask_url(url) == coord.fetched_from] or found
    if coord.status is SourceFileStatus.SUCCEEDED:
        return taken[:1]
    return [*taken, *(url for url in found if url not in taken)]


def wrapping_of(coord: SourceFileCoord) -> Wrapping:
    """Return how a source file is wrapped by its provider."""
    return Wrapping(compression=coord.compression, member=coord.get_member())


def local_name(coord: SourceFileCoord) -> str:
    """Return a name for a source file's local copy: safe whatever its URL, one a file and place."""
    url = url_of(coord)
    name = safe_name(urlsplit(url).path)
    identity = hashlib.sha256(f"{url} {coord.out_loc()}".encode()).hexdigest()[:12]
    return f"{identity}-{name}"


def first_answer(
    job: RegionJob[Any, Any],
    coord: SourceFileCoord,
    ask: Callable[[str], AnswerT],
    at: Sequence[str] | None = None,
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
    at
        The addresses; by default all of them, in order of preference.

    Raises
    ------
    NotAvailable
        All addresses say that the file is not there.
    DownloadFailed
        None gave it, and one that failed may have it.
    """
    if isinstance(coord, ListedFileCoord):
        coord.listed.require()
    errors: list[NotAvailable | DownloadFailed] = []
    for url in addresses(coord, job.source_base) if at is None else at:
        try:
            return ask(url)
        except (NotAvailable, DownloadFailed) as error:
            errors.append(error)
    chosen = next((e for e in errors if isinstance(e, DownloadFailed)), errors[0])
    raise _with_others(chosen, [e for e in errors if e is not chosen])


def _with_others(
    error: NotAvailable | DownloadFailed, others: Sequence[NotAvailable | DownloadFailed]
) -> NotAvailable | DownloadFailed:
    """Say of a failure what became of it at the other addresses."""
    if not others:
        return error
    cause = "; ".join([error.cause, *(f"at {other.url}: {other.cause}" for other in others)])
    if isinstance(error, NotAvailable):
        return NotAvailable(error.url, cause)
    return DownloadFailed(error.url, cause, error.attempts, error.has_arrived)
