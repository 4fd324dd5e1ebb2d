"""What a provider's folder holds, as values: files, what their names say, and what is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

from gridmill.model.urls import mask_url
from gridmill.sources.fetch.failures import DownloadFailed, NotAvailable
from gridmill.sources.listings.pattern import Pattern

__all__ = ["Entry", "Folder", "ListedFile", "Listing"]

Choice: TypeAlias = "Callable[[ListedFile], Any]"


@dataclass(frozen=True)
class Entry:
    """A file of a folder as its listing tells it; what it does not tell is None.

    Parameters
    ----------
    name
        What it is called.
    href
        How that is written at the end of its address.
    nbytes, etag, last_modified
        Its identity.
    """

    name: str
    href: str
    nbytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True)
class Folder:
    """All that one folder was said to hold.

    Parameters
    ----------
    entries
        Its files, by name.
    folders
        Names of the folders in it.
    failure
        Why nobody knows what it holds; None if it was listed.
    """

    entries: tuple[Entry, ...] = ()
    folders: tuple[str, ...] = ()
    failure: NotAvailable | DownloadFailed | None = None


@dataclass(frozen=True, kw_only=True)
class ListedFile:
    """A file that a listing shows, or the place of one that it does not show.

    Parameters
    ----------
    address
        Its URL, or its path below the dataset's `source_base`. Of one that is not shown, with a
        ``*`` for what nobody knows yet.
    fields
        What its name says, by the fields of the pattern.
    nbytes, etag, last_modified
        As the listing tells it.
    absence
        Why it is not there: the provider's folder does not show it, or could not be listed.
    """

    address: str
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    nbytes: int | None = None
    etag: str | None = None
    last_modified: str | None = None
    absence: NotAvailable | DownloadFailed | None = field(default=None, compare=False)

    @property
    def is_listed(self) -> bool:
        """Whether the listing shows it."""
        return self.absence is None

    def require(self) -> None:
        """Raise what the listing says of a file that it does not show.

        Raises
        ------
        NotAvailable
            The folder was listed without it.
        DownloadFailed
            The folder could not be listed.
        """
        if self.absence is not None:
            raise self.absence

    def __getitem__(self, name: str) -> Any:
        """Return a field of its name."""
        return self.fields[name]


@dataclass(frozen=True)
class Listing:
    """The files of one folder whose names fit a pattern.

    Parameters
    ----------
    address
        Of the folder, as the author gave it.
    pattern
        How its files are called.
    folder
        All that it holds.
    """

    address: str
    pattern: Pattern
    folder: Folder

    @cached_property
    def files(self) -> tuple[ListedFile, ...]:
        """The files that fit, by name.

        Raises
        ------
        DownloadFailed
            The folder could not be listed: that is no empty folder.
        """
        if isinstance(self.folder.failure, DownloadFailed):
            raise self.folder.failure
        return self._fitting

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of the folders in it.

        Raises
        ------
        DownloadFailed
            As for `files`.
        """
        if isinstance(self.folder.failure, DownloadFailed):
            raise self.folder.failure
        return self.folder.folders

    def newest(self, *, by: str | Choice | None = None, **known: Any) -> ListedFile:
        """Return the file whose name has these fields; of several, the newest.

        Parameters
        ----------
        by
            What tells the newest: the name of a field, or a function of a `ListedFile`; by
            default the other fields, in the order of the pattern.
        known
            Fields that its name must have, exactly.

        Returns
        -------
        ListedFile
            If none is shown, the place of the one that is missed: it is then a gap with an
            address, see `ListedFile.absence`.

        Raises
        ------
        ValueError
            The pattern has no such field.
        """
        missed = self.pattern.with_fields(known)
        fits = self._with_fields(known)
        if not fits:
            return ListedFile(
                address=f"{self.address}{missed}", fields=known, absence=self._absence(missed)
            )
        return max(fits, key=by if callable(by) else lambda file: _order(file, by, known))

    def _with_fields(self, known: Mapping[str, Any]) -> Sequence[ListedFile]:
        """Return the files whose names have these fields; a dataset asks once for each file."""
        if not all(isinstance(value, str | int | datetime) for value in known.values()):
            # Equal values of other types need not have the same hash.
            return [f for f in self._fitting if all(f[name] == known[name] for name in known)]
        names = tuple(sorted(known))
        if names not in self._by_fields:
            by_values: dict[tuple[Any, ...], list[ListedFile]] = {}
            for file in self._fitting:
                by_values.setdefault(tuple(file[name] for name in names), []).append(file)
            self._by_fields[names] = by_values
        return self._by_fields[names].get(tuple(known[name] for name in names), ())

    @cached_property
    def _by_fields(self) -> dict[tuple[str, ...], dict[tuple[Any, ...], list[ListedFile]]]:
        return {}

    @cached_property
    def _fitting(self) -> tuple[ListedFile, ...]:
        named = ((entry, self.pattern.fields_of(entry.name)) for entry in self.folder.entries)
        return tuple(
            ListedFile(
                address=f"{self.address}{entry.href}",
                fields=fields,
                nbytes=entry.nbytes,
                etag=entry.etag,
                last_modified=entry.last_modified,
            )
            for entry, fields in named
            if fields is not None
        )

    def _absence(self, missed: str) -> NotAvailable | DownloadFailed:
        failure = self.folder.failure
        if failure is None:
            cause = f"the listing of its folder shows none of {len(self.folder.entries)} files"
            return NotAvailable(f"{self.address}{missed}", cause)
        url = mask_url(f"{self.address}{missed}")
        cause = f"its folder was not listed: {failure.cause}"
        if isinstance(failure, DownloadFailed):
            return DownloadFailed(url, cause, failure.attempts)
        return NotAvailable(url, cause)


def _order(file: ListedFile, by: str | None, known: Mapping[str, Any]) -> Any:
    if by is not None:
        return file[by]
    return tuple(value for name, value in file.fields.items() if name not in known)
