"""Options that several commands share, and the values that they are passed as."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gridmill.cli.output.secrets import keep_secret

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = [
    "UNTIL_HELP",
    "Archive",
    "Cluster",
    "Command",
    "archive_options",
    "cluster_options",
    "filter_options",
    "let_import_from_here",
    "now_option",
    "present",
    "redo_option",
    "revalidate_option",
    "with_options",
]

Command = Callable[..., Any]

UNTIL_HELP = "Where the archive ends: up to, not including, this date (ISO 8601, UTC)."


@dataclass(frozen=True)
class Archive:
    """Which dataset, where its archive is, and where its source files are."""

    spec: str
    store: str | None
    state: str | None
    source_base: tuple[str, ...]
    store_format: str | None
    storage_options: Mapping[str, Any]
    fsync: bool
    replicas: tuple[str, ...]

    def dataset_class(self) -> type[DynamicalDataset]:
        """Import the dataset."""
        from gridmill.registry import find_dataset

        if ":" in self.spec:
            let_import_from_here()
        return find_dataset(self.spec)

    def invocation(self) -> list[str]:
        """Give what another command needs to find the same archive; no credential."""
        from gridmill.sources.fetch.download import mask_url

        options: list[tuple[str, str | None]] = [("--store", self.store), ("--state", self.state)]
        options += [("--source-base", base) for base in self.source_base]
        options += [("--format", self.store_format)]
        options += [("--replica", url) for url in self.replicas]
        given = [(name, mask_url(value)) for name, value in options if value is not None]
        return [self.spec, *(part for option in given for part in option)]

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
            fsync=self.fsync,
            replicas=self.replicas,
        )


@dataclass(frozen=True)
class Cluster:
    """Which Dask cluster, and how to start it."""

    spec: str
    workers: int | None
    options: Mapping[str, Any]


def archive_options(command: Command) -> Command:
    """Take DATASET and where it is kept; passes an `Archive`."""
    options = [
        click.argument("spec", metavar="DATASET", shell_complete=_complete_dataset),
        click.option(
            "--store",
            metavar="URL",
            envvar="GRIDMILL_STORE",
            show_envvar=True,
            help="The archive: where readers open it.",
        ),
        click.option(
            "--state",
            metavar="URL",
            envvar="GRIDMILL_STATE",
            show_envvar=True,
            help="Where the progress records are kept.  [default: <store>.gridmill]",
        ),
        click.option(
            "--source-base",
            metavar="URL",
            multiple=True,
            envvar="GRIDMILL_SOURCE_BASE",
            show_envvar=True,
            help="A mirror of the provider; several are tried in order.",
        ),
        click.option(
            "--format",
            "store_format",
            metavar="NAME",
            envvar="GRIDMILL_FORMAT",
            show_envvar=True,
            help="The archive's format.  [default: zarr]",
        ),
        click.option(
            "--store-option",
            metavar="KEY=VALUE",
            multiple=True,
            callback=parse_options,
            envvar="GRIDMILL_STORE_OPTION",
            show_envvar=True,
            help="Passed to a remote store's file system; the value may be JSON.",
        ),
        click.option(
            "--fsync",
            is_flag=True,
            envvar="GRIDMILL_FSYNC",
            show_envvar=True,
            help="Also survive a power loss (local stores; slower).",
        ),
        click.option(
            "--replica",
            metavar="URL",
            multiple=True,
            envvar="GRIDMILL_REPLICA",
            show_envvar=True,
            help="A further store that holds the same, published before --store; repeatable.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(
        spec: str,
        store: str | None,
        state: str | None,
        source_base: tuple[str, ...],
        store_format: str | None,
        store_option: Mapping[str, Any],
        fsync: bool,
        replica: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        archive = Archive(
            spec, store, state, source_base, store_format, store_option, fsync, replica
        )
        return command(archive=archive, **rest)

    return with_options(wrapped, options)


def cluster_options(command: Command) -> Command:
    """Take the cluster to run on; passes a `Cluster`."""
    options = [
        click.option(
            "--cluster",
            "cluster_spec",
            metavar="SPEC",
            default="local",
            show_default=True,
            envvar="GRIDMILL_CLUSTER",
            show_envvar=True,
            help="local, tcp://host:8786, a scheduler file (*.json), coiled, "
            "package.module:ClusterClass, or none: everything in this process.",
        ),
        click.option(
            "--workers",
            metavar="N",
            type=click.IntRange(min=1),
            envvar="GRIDMILL_WORKERS",
            show_envvar=True,
            help="How many to start.  [default: one a core]",
        ),
        click.option(
            "--cluster-option",
            metavar="KEY=VALUE",
            multiple=True,
            callback=parse_options,
            envvar="GRIDMILL_CLUSTER_OPTION",
            show_envvar=True,
            help="Passed to the cluster when it is started; the value may be JSON.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(
        cluster_spec: str, workers: int | None, cluster_option: Mapping[str, Any], **rest: Any
    ) -> Any:
        if _is_from("cluster_spec", ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            # The file speaks of the cluster that it names.
            file = ParameterSource.DEFAULT_MAP
            workers = None if _is_from("workers", file) else workers
            cluster_option = {} if _is_from("cluster_option", file) else cluster_option
        return command(cluster=Cluster(cluster_spec, workers, cluster_option), **rest)

    return with_options(wrapped, options)


def _is_from(parameter: str, *sources: ParameterSource) -> bool:
    return click.get_current_context().get_parameter_source(parameter) in sources


def filter_options(command: Command) -> Command:
    """Take which regions and variables; passes `start`, `end` and `variables`."""
    options = [
        click.option(
            "--start",
            metavar="DATE",
            help="Only regions from this label on; for a new archive, its first label for good.",
        ),
        click.option("--end", metavar="DATE", help="Only regions before this label."),
        click.option(
            "--variables",
            metavar="NAME,…",
            multiple=True,
            callback=parse_variables,
            help="Only these; for a new archive, all that it has. What an archive lacks is added.",
        ),
    ]
    return with_options(command, options)


max_lead_option = click.option(
    "--max-lead",
    metavar="DURATION",
    help="For a new archive of forecasts: the longest lead that it will ever have, like 24h.",
)
revalidate_option = click.option(
    "--revalidate",
    is_flag=True,
    help="Ask whether source files were revised since, and look for every object in the store.",
)
redo_option = click.option(
    "--redo",
    is_flag=True,
    help="Make what is selected again though it is done. Interrupted, the same command goes on.",
)
now_option = click.option("--now", hidden=True, help="The present, for tests.")


def with_options(command: Command, options: Sequence[Command]) -> Command:
    """Add options to a command, in the order in which its help lists them."""
    for option in reversed(options):
        command = option(command)
    return command


def let_import_from_here() -> None:
    """Find modules of the working folder, after everything that is installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def present(given: str | None) -> Any:
    """Give the present: as given, else as the clock says."""
    return given if given is not None else datetime.now(UTC)


def _complete_dataset(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from gridmill.registry import dataset_names

    return [name for name in dataset_names() if name.startswith(incomplete)]


def parse_variables(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> list[str] | None:
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    if values and not names:
        raise click.BadParameter("names no variable", context, parameter)
    return names or None


def parse_options(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> dict[str, Any]:
    options = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", context, parameter)
        options[key] = parse_value(value)
    keep_secret(options)
    return options


def parse_value(text: str) -> Any:
    """Read JSON, Python's spelling of its constants, or else take the text as it is.

    Examples
    --------
    >>> parse_value("[1, 10]"), parse_value("False"), parse_value("m6i.large")
    ([1, 10], False, 'm6i.large')
    """
    constants = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text
