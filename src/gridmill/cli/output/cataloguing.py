"""Keeps an archive's entry in a catalogue current while a run publishes."""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gridmill.cli.errors import masked, warn
from gridmill.cli.options.archive import ArchiveOptions
from gridmill.cli.options.declaring import Command, parse_named, setting, with_options

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = [
    "CATALOGUE_INTERVAL_S",
    "CatalogueOptions",
    "Cataloguing",
    "catalogue_options",
    "write_catalogue",
]

# A picture is read and drawn each time; who looks for archives does not look every minute.
CATALOGUE_INTERVAL_S = 60.0
# Four small objects; a run does not wait longer for a store that is down.
PATIENCE_S = 60.0


@dataclass(frozen=True)
class CatalogueOptions:
    """Where the catalogue is, and how readers reach the archive.

    Parameters
    ----------
    url
        Of the catalogue; None for none.
    options
        Of the archive's file system, and of the catalogue's where it is of the same kind.
    for_readers
        What readers pass to the archive's file system, beside what `reader_options` finds.
    """

    url: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    for_readers: Mapping[str, Any] = field(default_factory=dict)


def catalogue_options(command: Command) -> Command:
    """Take where the catalogue is; passes `CatalogueOptions`."""
    options = [
        setting(
            "--catalog",
            metavar="URL",
            help="STAC catalogue, with pages for people, that lists the archive: rewritten after "
            "publications. URL or path of its folder.",
        ),
        setting(
            "--reader-option",
            metavar="KEY=VALUE",
            multiple=True,
            callback=parse_named,
            help="What the catalogue says that readers pass to the archive's file system, like "
            "anon=true.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(
        archive: ArchiveOptions, catalog: str | None, reader_option: Mapping[str, Any], **rest: Any
    ) -> Any:
        given = CatalogueOptions(catalog, archive.storage_options, reader_option)
        return command(archive=archive, catalogue=given, **rest)

    return with_options(wrapped, options)


def write_catalogue(
    dataset: DynamicalDataset, given: CatalogueOptions, *, impatient: bool = False
) -> int:
    """Write the archive's entry; how many objects changed. See `catalogue_archive`."""
    from gridmill.display.catalogue.entry import catalogue_archive
    from gridmill.model.urls import is_local, is_same_kind, local_path
    from gridmill.operations.catalogue.opening import reader_options
    from gridmill.stores.objects.opening import open_objects

    assert given.url is not None
    is_alike = is_same_kind(given.url, dataset.store.url)
    staging = local_path(given.url) / ".staging" if is_local(given.url) else None
    file_system = given.options if is_alike else None
    objects = open_objects(given.url, staging, storage_options=file_system)
    options = {**reader_options(given.options), **given.for_readers}
    return catalogue_archive(dataset, objects.impatient if impatient else objects, options)


class Cataloguing:
    """Rewrites the entry when it is told of a publication, as a hook is told.

    Parameters
    ----------
    dataset, given
        The archive and the catalogue.
    patience_s
        How long a call waits at most: one that takes longer goes on in its thread, and later calls
        leave the catalogue alone until it has ended.
    """

    def __init__(
        self,
        dataset: DynamicalDataset,
        given: CatalogueOptions,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self.dataset = dataset
        self.given = given
        self.patience_s = patience_s
        self._writing: threading.Thread | None = None

    @property
    def on_publish(self) -> str | None:
        """Where the catalogue is; None if there is none."""
        return self.given.url

    def published(self, content: Mapping[str, Any]) -> str | None:
        """Rewrite the entry; why that failed, if it did."""
        if self.given.url is None:
            return None
        why: list[str] = []
        if self._writing is None or not self._writing.is_alive():
            self._writing = threading.Thread(target=self._write, args=[why], daemon=True)
            self._writing.start()
        self._writing.join(self.patience_s)
        if self._writing.is_alive():
            why.append(f"it takes longer than {self.patience_s:g} s")
        if not why:
            return None
        from gridmill.model.urls import mask_url

        note = (
            f"the catalogue at {mask_url(self.given.url)} was not written: {why[0]}. "
            "gridmill catalog writes it"
        )
        warn(note)
        return note

    def _write(self, why: list[str]) -> None:
        try:
            write_catalogue(self.dataset, self.given, impatient=True)
        # Whatever it is, the run is not concerned.
        except Exception as error:
            why.append(masked(error))
