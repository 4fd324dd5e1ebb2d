"""Which archive and what of it: options that several commands share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gridmill.cli.options.completion import (
    complete_dataset,
    complete_format,
    complete_variables,
)
from gridmill.cli.options.declaring import (
    Command,
    credential_option,
    parse_named,
    parse_options,
    parse_variables,
    setting,
    with_options,
)

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset
    from gridmill.sources.fetch.credentials.rules import Credential

__all__ = [
    "UNTIL_HELP",
    "ArchiveOptions",
    "archive_options",
    "filter_options",
    "let_import_from_here",
    "now_option",
    "present",
    "redo_option",
    "revalidate_option",
    "variables_option",
]

UNTIL_HELP = "End of the archive, not included (ISO 8601, UTC)."


@dataclass(frozen=True)
class ArchiveOptions:
    """Which dataset, where its archive is, and where its source files are."""

    spec: str
    store: str | None
    state: str | None
    source_base: tuple[str, ...]
    store_format: str | None
    storage_options: Mapping[str, Any] = field(repr=False)
    cache_control: Mapping[str, str]
    fsync: bool
    replicas: tuple[str, ...]
    format_version: int | None = None
    credentials: tuple[Credential, ...] = ()
    staged: bool | str = False

    def dataset_class(self) -> type[DynamicalDataset]:
        """Import the dataset."""
        from gridmill.cli.importing import collect_from_now, import_dask_late
        from gridmill.registry import find_dataset

        if ":" in self.spec:
            let_import_from_here()
        import_dask_late()
        found = find_dataset(self.spec)
        collect_from_now()
        return found

    def invocation(self) -> list[str]:
        """Return what another command needs to find the same archive; no credential."""
        from gridmill.sources.fetch.download import mask_url

        options: list[tuple[str, str | None]] = [("--store", self.store), ("--state", self.state)]
        options += [("--source-base", base) for base in self.source_base]
        options += [("--format", self.store_format)]
        options += [("--cache-control", f"{k}={v}") for k, v in self.cache_control.items()]
        options += [("--replica", url) for url in self._replicas]
        staged = ["--stage"] if self.staged else []
        given = [(name, mask_url(value)) for name, value in options if value is not None]
        return [self.spec, *(part for option in given for part in option), *staged]

    def open(self, default: str | None = None) -> DynamicalDataset:
        """Make the dataset with its store, or the one at `default`; touches neither."""
        store = default if self.store is None else self.store
        if store is None:
            raise click.UsageError(
                "give --store, the archive's URL or path, or set GRIDMILL_STORE",
                click.get_current_context(),
            )
        return self.dataset_class()(
            store,
            state=self.state,
            source_base=self.source_base or None,
            format=self.store_format,
            storage_options=self.storage_options or None,
            cache_control=self.cache_control or None,
            fsync=self.fsync,
            replicas=self._replicas,
            **self._if_given(),
        )

    @property
    def _replicas(self) -> tuple[str, ...]:
        """Those that are written to: where settings name some, a next version has none yet."""
        return () if self.staged else self.replicas

    def _if_given(self) -> dict[str, Any]:
        """Return what a dataset's own constructor need not know where nobody gives it."""
        given: dict[str, Any] = {}
        if self.format_version is not None:
            given["format_version"] = self.format_version
        if self.credentials:
            given["credentials"] = self.credentials
        if self.staged:
            given["staged"] = self.staged
        return given


def archive_options(command: Command) -> Command:
    """Take DATASET and where it is kept; passes an `ArchiveOptions`."""
    options: list[Command] = [
        click.argument("spec", metavar="DATASET", shell_complete=complete_dataset),
        setting("--store", metavar="URL", help="URL or path of the archive."),
        setting(
            "--state",
            metavar="URL",
            help="URL or path of the progress records.  [default: <store>.gridmill]",
        ),
        setting(
            "--source-base",
            metavar="URL",
            multiple=True,
            help="Address of the source files; several are tried in order.",
        ),
        setting(
            "--format",
            "store_format",
            metavar="NAME",
            shell_complete=complete_format,
            help="Format of the archive: zarr or icechunk.  [default: zarr]",
        ),
        setting(
            "--format-version",
            metavar="N",
            type=int,
            help="Version of Icechunk's format for a new archive: 1, or 2 (Icechunk 2 only).  "
            "[default: 1]",
        ),
        setting(
            "--store-option",
            metavar="KEY=VALUE",
            multiple=True,
            callback=parse_options,
            help="Passed to a remote store's file system; the value may be JSON.",
        ),
        setting(
            "--cache-control",
            metavar="KIND=VALUE",
            multiple=True,
            callback=parse_named,
            help="What caches may do with new objects in a bucket, by kind (metadata, coordinates, "
            "data), like data=max-age=300.  [default: no-cache]",
        ),
        credential_option,
        setting("--fsync", is_flag=True, help="Also survive a power loss (local stores; slower)."),
        setting(
            "--replica",
            metavar="URL",
            multiple=True,
            help="Additional copy of the archive, published before --store; repeatable.",
        ),
        click.option(
            "--stage",
            is_flag=True,
            help="Work on the next version, beside the archive at --store; see gridmill promote.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(
        spec: str,
        store: str | None,
        state: str | None,
        source_base: tuple[str, ...],
        store_format: str | None,
        format_version: int | None,
        store_option: Mapping[str, Any],
        cache_control: Mapping[str, str],
        credential: tuple[Credential, ...],
        fsync: bool,
        replica: tuple[str, ...],
        stage: bool,
        **rest: Any,
    ) -> Any:
        archive = ArchiveOptions(
            spec,
            store,
            state,
            source_base,
            store_format,
            store_option,
            cache_control,
            fsync,
            replica,
            format_version,
            credential,
            stage,
        )
        return command(archive=archive, **rest)

    return with_options(wrapped, options)


def filter_options(command: Command) -> Command:
    """Take which regions and variables; passes `start`, `end` and `variables`."""
    options = [
        click.option(
            "--start",
            metavar="DATE",
            help="Only regions from this label on. For a new archive: its first label.",
        ),
        click.option("--end", metavar="DATE", help="Only regions before this label."),
        variables_option(
            help="Restrict to these variables. For a new archive they become its full set; missing "
            "ones are added."
        ),
    ]
    return with_options(command, options)


max_lead_option = click.option(
    "--max-lead",
    metavar="DURATION",
    help="For a new archive of forecasts: longest lead, like 24h.",
)
revalidate_option = click.option(
    "--revalidate",
    is_flag=True,
    help="Check all source files for revisions, and the store for every object.",
)
redo_option = click.option(
    "--redo",
    is_flag=True,
    help="Reprocess the selection even if complete; rerun to resume.",
)


def variables_option(*others: str, **attributes: Any) -> Command:
    """Take names of variables, several times or with commas between; `others` name it, too."""
    return click.option(
        "--variables",
        *others,
        metavar="NAME,…",
        multiple=True,
        callback=parse_variables,
        shell_complete=complete_variables,
        **{"help": "Restrict to these variables.", **attributes},
    )


now_option = click.option("--now", hidden=True, help="The current time, for tests.")


def let_import_from_here() -> None:
    """Find modules of the working folder, after everything that is installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def present(given: str | None) -> Any:
    """Return the present: as given, else as the clock says."""
    return given if given is not None else datetime.now(UTC)
