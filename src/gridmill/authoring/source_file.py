"""A source file, its addresses, and the place in the archive that it fills: the author's part."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from gridmill.model.files.addresses import Address
from gridmill.model.settled import SourceFileStatus
from gridmill.model.urls import mask_url, safe_name, split_url
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable
from gridmill.sources.listings.listing import ListedFile
from gridmill.sources.racing import NoneWonError, quickest
from gridmill.sources.wrapped.wrapping import Compression, Wrapping

if TYPE_CHECKING:
    from gridmill.authoring.region_job import RegionJob

__all__ = [
    "FAILURES",
    "ListedFileCoord",
    "ProcessResults",
    "SourceFileCoord",
    "address_of",
    "addresses",
    "first_answer",
    "first_of",
    "in_one",
    "known_of",
    "local_name",
    "places_to_ask",
    "quickest_answer",
    "ranked",
    "url_of",
    "wrapping_of",
]

# What an address says that gives no file.
FAILURES = (NotAvailable, DownloadFailed)
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
    not_final : str or None
        Why what was read last of it is provisional; None if it is final, or nothing was.
    was_final : bool
        Whether an earlier run read the final file: no provisional one replaces it.
    only_at : str or None
        Only this of its addresses is tried; set while mirrors are raced.
    tried_last : str or None
        What came from this address could not be read: the others that mean the same come first.
    unread_before : bool
        Whether an earlier run read it in vain, by the same code.
    """

    # How the provider wraps it, see `gridmill.sources.wrapped.wrapping.Wrapping`. By default what
    # is named .gz, .bz2, .xz or .zst, and is that, is unpacked before `RegionJob.read_data`; "none"
    # leaves it. A zip or tar is declared: "zip", "tar", or "by content".
    compression: ClassVar[Compression] = "by name"
    # Whether its addresses are tried at once rather than in order, and the first whole file wins:
    # for what readers wait for, at twice the requests and up to twice the bytes. A property where
    # that depends on the file. Those that are provisional are tried once no other has it.
    races_mirrors: ClassVar[bool] = False

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
    not_final: str | None = None
    was_final: bool = False
    only_at: str | None = None
    tried_last: str | None = None
    unread_before: bool = False

    def get_url(self) -> str | Address | Sequence[str | Address]:
        """Return its address: a URL, or a path below the dataset's `source_base`.

        Several, in order of preference, if the file is at each: the first that has it is used,
        or with `races_mirrors` the fastest. One that says that it has none is passed over, and so
        is one that fails after all retries, or sends what is no whole file. Records and reports
        call the file by the first. An `Address` says what it means that a file is taken from
        there: that it is provisional, or a remark.
        """
        raise NotImplementedError(f"{type(self).__name__} must define get_url()")

    def out_loc(self) -> Mapping[str, Any]:
        """Return the labels that it fills: by dim a label, or a slice of labels, both included.

        Dims that are not named are filled whole.
        """
        raise NotImplementedError(f"{type(self).__name__} must define out_loc()")

    def get_member(self) -> str | None:
        """Return which file of a zip or tar it is, by its name there or a pattern of `fnmatch`.

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
    given = given_addresses(coord)
    return given if isinstance(given, str) else given[0].url


def given_addresses(coord: SourceFileCoord) -> str | Sequence[Address]:
    """Return what a source file says of where it is: a URL, or addresses in order of preference."""
    given = coord.get_url()
    if isinstance(given, str):
        return given
    several = (given,) if isinstance(given, Address) else tuple(given)
    if not several:
        raise ValueError(f"get_url() of {coord} returns no address; give at least one")
    return [Address(one) if isinstance(one, str) else one for one in several]


def known_of(coord: SourceFileCoord, known: Mapping[str, KnownT]) -> KnownT | None:
    """Return what is known of a source file by any of its addresses, whichever is first today.

    Parameters
    ----------
    coord
        The source file.
    known
        By address, credentials masked.
    """
    if not known:  # which is asked for every file of every variable
        return None
    names = [mask_url(one.url) for one in _given(coord)]
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
    return [one.url for one in _located(coord, bases)]


def address_of(coord: SourceFileCoord, taken_from: str) -> Address | None:
    """Return that of its addresses from which a source file was taken; None if it is none of them.

    Parameters
    ----------
    coord
        The source file.
    taken_from
        The URL, credentials masked; absolute, or as `SourceFileCoord.get_url` has it.
    """
    found = None
    for one in _given(coord):
        url = mask_url(one.url)
        if url == taken_from:
            return one
        is_below = "://" not in url and taken_from.endswith(f"/{url.lstrip('/')}")
        if is_below and (found is None or len(one.url) > len(found.url)):
            found = one
    return found


def ranked(coord: SourceFileCoord, bases: Sequence[str]) -> list[list[str]]:
    """Return the addresses to try, those together that mean the same: final ones, then others.

    Provisional ones are left out once an earlier run read the final file.

    Parameters
    ----------
    coord, bases
        See `addresses`.
    """
    found = _located(coord, bases)
    final = [one.url for one in found if one.provisional is None]
    others = [one.url for one in found if one.provisional is not None]
    is_over = coord.was_final and bool(final)
    ranks = []
    for urls in (final, [] if is_over else others):
        doubtful = [url for url in urls if mask_url(url) == coord.tried_last]
        ranks += [[url for url in urls if url not in doubtful], doubtful]
    return [urls for urls in ranks if urls]


def _located(coord: SourceFileCoord, bases: Sequence[str]) -> list[Address]:
    """Return the addresses with what relative ones are relative to, each once, final ones first."""
    found: dict[str, Address] = {}
    for one in _given(coord):
        if "://" in one.url or one.url.startswith("/") or not bases:
            found.setdefault(one.url, one)
        else:
            for base in bases:
                url = f"{base.rstrip('/')}/{one.url}"
                found.setdefault(url, replace(one, url=url))
    return sorted(found.values(), key=lambda one: one.provisional is not None)


def _given(coord: SourceFileCoord) -> Sequence[Address]:
    given = given_addresses(coord)
    return [Address(given)] if isinstance(given, str) else given


def places_to_ask(
    coord: SourceFileCoord, bases: Sequence[str], *, for_revisions: bool = True
) -> list[str]:
    """Return the addresses at which to ask which version of a source file there is.

    Of one that succeeded, only that from which it was taken: another server names the same version
    in another way. Where nothing says which that was, the first: records of older releases do not.
    Of a provisional one, those of the final file before; without `for_revisions` those alone.
    """
    found = addresses(coord, bases)
    taken = [url for url in found if mask_url(url) == coord.fetched_from] or found
    if coord.status is SourceFileStatus.SUCCEEDED:
        better = _better(coord, bases)
        own = taken[:1] if for_revisions or not better else []
        return list(dict.fromkeys([*better, *own]))
    return [*taken, *(url for url in found if url not in taken)]


def _better(coord: SourceFileCoord, bases: Sequence[str]) -> list[str]:
    """Return where the final file comes, if what was read is provisional by its address."""
    if coord.not_final is None:
        return []
    was = None if coord.fetched_from is None else address_of(coord, coord.fetched_from)
    if was is not None and was.provisional is None:
        return []
    return [one.url for one in _located(coord, bases) if one.provisional is None]


def wrapping_of(coord: SourceFileCoord) -> Wrapping:
    """Return how a source file is wrapped by its provider."""
    return Wrapping(compression=coord.compression, member=coord.get_member())


def local_name(coord: SourceFileCoord) -> str:
    """Return a name for a source file's local copy: safe whatever its URL, one a file and place."""
    url = url_of(coord)
    name = safe_name(split_url(url).path)
    identity = hashlib.sha256(f"{url} {coord.out_loc()}".encode()).hexdigest()[:12]
    return f"{identity}-{name}"


def first_answer(
    job: RegionJob[Any, Any],
    coord: SourceFileCoord,
    ask: Callable[[str], AnswerT],
    at: Sequence[str] | None = None,
) -> AnswerT:
    """Ask for a source file at one of its addresses after another, until one answers.

    Those of a provisional file are left out once an earlier run read the final one.

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
    return first_of(partial(ask, url) for url in _to_try(coord, job.source_base, at))


def quickest_answer(
    job: RegionJob[Any, Any],
    coord: SourceFileCoord,
    ask: Callable[[str], AnswerT],
    at: Sequence[str],
) -> AnswerT:
    """Ask for a source file at its addresses as `first_answer` does, at once if they are raced."""
    if not coord.races_mirrors or len(at) < 2:
        return first_answer(job, coord, ask, at)
    try:
        return quickest({url: partial(ask, url) for url in at}, FAILURES)
    except NoneWonError as none:
        raise in_one(none.errors) from None


def first_of(asks: Iterable[Callable[[], AnswerT]]) -> AnswerT:
    """Return the first answer, of one ask after the other; raise as `first_answer` does."""
    errors: list[Exception] = []
    for ask in asks:
        try:
            return ask()
        except FAILURES as error:
            errors.append(error)
    raise in_one(errors)


def in_one(errors: Sequence[Any]) -> NotAvailable | DownloadFailed:
    """Return what several addresses said as one failure: nobody knows, where one of them failed."""
    chosen = next((e for e in errors if isinstance(e, DownloadFailed)), errors[0])
    return _with_others(chosen, [e for e in errors if e is not chosen])


def _to_try(
    coord: SourceFileCoord, bases: Sequence[str], at: Sequence[str] | None
) -> Sequence[str]:
    if coord.only_at is not None:
        return [coord.only_at]
    if at is not None:
        return at
    return [url for urls in ranked(coord, bases) for url in urls]


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
