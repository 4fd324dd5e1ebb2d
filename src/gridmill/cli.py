"""The command line: parse, call, print.

Exit codes:

====  ==============================================================================
0     success
1     something failed: a source file, a variable, a region, or the cluster was lost
2     wrong usage or input: nothing was written
3     nothing new: the run went well, and there was nothing to publish
4     another run holds the archive
5     the store cannot be written
130   interrupted; what is recorded is safe
====  ==============================================================================

Only click is imported here: ``--help`` and shell completion must not wait for Dask and xarray.
Environment variables are read here and nowhere deeper.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from gridmill.dataset import DynamicalDataset, Listener, Plan
    from gridmill.run_report import RunReport

__all__ = ["ExitCode", "cli", "main"]

Command = Callable[..., Any]


class ExitCode(IntEnum):
    """What the exit code says to a scheduler."""

    SUCCESS = 0
    FAILED = 1
    WRONG_INPUT = 2
    NOTHING_NEW = 3
    HELD = 4
    UNWRITABLE = 5
    INTERRUPTED = 130


EPILOG = """\b
Examples:
  gridmill list --details
  gridmill plan ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill backfill ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill update ostia-sst-monthly --store sst.zarr

\b
Exit codes:
  0    success
  1    something failed: a source file, a variable, a region, or the cluster
  2    wrong usage or input: nothing was written
  3    nothing new: the run went well, and there was nothing to publish
  4    another run holds the archive
  5    the store cannot be written
  130  interrupted (Ctrl-C, SIGTERM); what is recorded is safe, run again

\b
Options can be set in the environment: GRIDMILL_STORE, GRIDMILL_CLUSTER,
and so on; the help of each command names them.

\b
Completion of commands, options and dataset names, for bash (or zsh, fish):
  eval "$(_GRIDMILL_COMPLETE=bash_source gridmill)"
"""

INTERRUPT_AGAIN_S = 0.5
# Wide enough that nothing wraps: what reads a pipe looks for whole lines.
PIPE_WIDTH = 2000
UNTIL_HELP = "Where the archive ends: up to, not including, this date (ISO 8601, UTC)."


class _Failed(click.ClickException):
    """An error that is told in one line, with its exit code."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


class _OneLineErrors(click.Group):
    """A group whose errors are one line on stderr, and whose commands return an exit code."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run the command line and exit."""
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            message = " ".join(error.format_message().split())
            if isinstance(error, click.UsageError) and error.ctx is not None:
                message += f" (see {error.ctx.command_path} --help)"
            click.echo(f"error: {message}", err=True)
            code = error.exit_code
        except click.Abort:
            code = ExitCode.INTERRUPTED
        sys.exit(int(code or 0))

    def list_commands(self, context: click.Context) -> list[str]:
        """List the commands in the order in which one meets them."""
        return list(self.commands)


# -- options ----------------------------------------------------------------------------------


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

    def dataset_class(self) -> type[DynamicalDataset]:
        """Import the dataset."""
        from gridmill.registry import find_dataset

        if ":" in self.spec:
            _let_import_from_here()
        return find_dataset(self.spec)

    def open(self) -> DynamicalDataset:
        """Make the dataset with its store; touches neither."""
        if self.store is None:
            raise click.UsageError(
                "give --store, the archive's URL or path, or set GRIDMILL_STORE",
                click.get_current_context(),
            )
        return self.dataset_class()(
            self.store,
            state=self.state,
            source_base=self.source_base or None,
            format=self.store_format,
            storage_options=self.storage_options or None,
            fsync=self.fsync,
        )


@dataclass(frozen=True)
class Cluster:
    """Which Dask cluster, and how to start it."""

    spec: str
    workers: int | None
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Output:
    """How to say things."""

    as_json: bool
    verbose: bool
    debug: bool

    def show(self, content: Any, show: Callable[[Any], RenderableType]) -> None:
        """Print a value: as JSON, or as `show` draws it."""
        if self.as_json:
            click.echo(json.dumps(content, indent=1, allow_nan=False, default=str))
            return
        from rich.console import Console

        # What is shown may hold brackets of its own: nothing in it is markup.
        console = Console(highlight=False, markup=False, emoji=False)
        if console.is_terminal:
            console.print(show(content))
            return
        console.width = PIPE_WIDTH
        with console.capture() as captured:
            console.print(show(content))
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _archive_options(command: Command) -> Command:
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
            callback=_parse_options,
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
        **rest: Any,
    ) -> Any:
        archive = Archive(spec, store, state, source_base, store_format, store_option, fsync)
        return command(archive=archive, **rest)

    return _with_options(wrapped, options)


def _cluster_options(command: Command) -> Command:
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
            help="local, tcp://host:8786, a scheduler file (*.json), coiled, or "
            "package.module:ClusterClass.",
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
            callback=_parse_options,
            envvar="GRIDMILL_CLUSTER_OPTION",
            show_envvar=True,
            help="Passed to the cluster when it is started; the value may be JSON.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(
        cluster_spec: str, workers: int | None, cluster_option: Mapping[str, Any], **rest: Any
    ) -> Any:
        return command(cluster=Cluster(cluster_spec, workers, cluster_option), **rest)

    return _with_options(wrapped, options)


def _output_options(command: Command) -> Command:
    """Take how to print, and tell every error in one line; passes an `Output`."""
    options = [
        click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout, nothing else."),
        click.option("-v", "--verbose", is_flag=True, help="Log a line a region, and warnings."),
        click.option("--debug", is_flag=True, help="Log everything; errors with their traceback."),
    ]

    @functools.wraps(command)
    def wrapped(as_json: bool, verbose: bool, debug: bool, **rest: Any) -> Any:
        output = Output(as_json, verbose, debug)
        _configure_logging(output)
        try:
            return command(output=output, **rest)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except BaseException as error:
            if debug:
                traceback.print_exc()
            raise _told_in_one_line(error) from error

    return _with_options(wrapped, options)


def _filter_options(command: Command) -> Command:
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
            callback=_parse_variables,
            help="Only these; for a new archive, all that it will ever have.",
        ),
    ]
    return _with_options(command, options)


_revalidate_option = click.option(
    "--revalidate",
    is_flag=True,
    help="Ask whether source files were revised since, and look for every object in the store.",
)
_now_option = click.option("--now", hidden=True, help="The present, for tests.")


def _with_options(command: Command, options: Sequence[Command]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def _complete_dataset(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    from gridmill.registry import dataset_names

    return [name for name in dataset_names() if name.startswith(incomplete)]


def _parse_variables(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> list[str] | None:
    names = [name.strip() for value in values for name in value.split(",") if name.strip()]
    if values and not names:
        raise click.BadParameter("names no variable", context, parameter)
    return names or None


def _parse_options(
    context: click.Context, parameter: click.Parameter, values: Sequence[str]
) -> dict[str, Any]:
    options = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise click.BadParameter(f"{text!r} is not KEY=VALUE", context, parameter)
        options[key] = _parse_value(value)
    return options


def _parse_value(text: str) -> Any:
    """Read JSON, Python's spelling of its constants, or else take the text as it is.

    Examples
    --------
    >>> _parse_value("[1, 10]"), _parse_value("False"), _parse_value("m6i.large")
    ([1, 10], False, 'm6i.large')
    """
    constants = {"true": True, "false": False, "none": None}
    if text.lower() in constants:
        return constants[text.lower()]
    try:
        return json.loads(text)
    except ValueError:
        return text


# -- commands ---------------------------------------------------------------------------------


@click.group(
    cls=_OneLineErrors,
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 88},
)
@click.version_option(package_name="gridmill")
@click.pass_context
def cli(context: click.Context) -> ExitCode | None:
    """Build and keep current cloud Zarr archives of gridded weather and climate data, on Dask.

    A DATASET is a name that `gridmill list` shows, or package.module:Class. Build its archive with
    `backfill`, bring it up to the present with `update`; `plan` says beforehand what either would
    do. Runs go on where an earlier one stopped, and readers can open the archive all the while.
    """
    if context.invoked_subcommand is not None:
        return None
    click.echo(context.get_help())
    return ExitCode.WRONG_INPUT


@cli.command("list")
@click.option("--details", is_flag=True, help="Import each dataset and say what it is.")
@_output_options
def list_datasets(details: bool, output: Output) -> ExitCode:
    """List the datasets that installed packages register."""
    from gridmill.presentation import entry_content, show_entries
    from gridmill.registry import dataset_entries

    entries = [entry_content(entry, details=details) for entry in dataset_entries()]
    output.show(entries, show_entries)
    return ExitCode.SUCCESS


@cli.command(
    short_help="Show the structure that a dataset declares.",
    epilog="""\b
Examples:
  gridmill template ostia-sst-monthly
  gridmill template my_package.forecast:MyForecast --until 2025-07-01 --json
""",
)
@_archive_options
@click.option("--until", metavar="DATE", help=f"{UNTIL_HELP}  [default: now]")
@_output_options
def template(archive: Archive, until: str | None, output: Output) -> ExitCode:
    """Show the structure that a dataset declares: dims, variables, chunks, shards, codecs.

    With --store, as it was declared when that archive was made.
    """
    from gridmill.presentation import show_template, template_content

    config = archive.dataset_class().template_config()
    if archive.store is not None:
        declaration = archive.open().store.tracker.read_declaration() or {}
        config = config.narrowed(
            start=declaration.get("start"), variables=declaration.get("variables")
        )
    output.show(template_content(config, until or _now(None)), show_template)
    return ExitCode.SUCCESS


@cli.command(
    short_help="Say what a backfill or an update would do; writes nothing.",
    epilog="""\b
Examples:
  gridmill plan ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill plan ostia-sst-monthly --store sst.zarr
""",
)
@_archive_options
@click.option("--until", metavar="DATE", help=f"{UNTIL_HELP} Without it: the plan of an update.")
@_filter_options
@_now_option
@_output_options
def plan(
    archive: Archive,
    until: str | None,
    start: str | None,
    end: str | None,
    variables: list[str] | None,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Say what a backfill, or without --until an update, would do; writes nothing.

    Region jobs, source files, bytes, and what a worker needs in memory and tmp disk.
    """
    from gridmill.presentation import plan_content, show_plan

    if until is None and (start or end or variables):
        raise click.UsageError(
            "--start, --end and --variables are for the plan of a backfill: give --until, too",
            click.get_current_context(),
        )
    planned = archive.open().plan(until, start=start, end=end, variables=variables, now=_now(now))
    output.show(plan_content(planned), show_plan)
    return ExitCode.SUCCESS


@cli.command(
    short_help="Build an archive up to a date; goes on where it stopped.",
    epilog="""\b
Examples:
  gridmill backfill ostia-sst-monthly --until 2008-01 --store sst.zarr
  gridmill backfill my-forecast --until 2025-07-01 --store sst.zarr \\
      --start 2025-01-01 --variables temperature_2m,wind_u_10m
  gridmill backfill my-forecast --until 2025-07-01 --store sst.zarr \\
      --cluster coiled --workers 20 --cluster-option worker_disk_size=100
""",
)
@_archive_options
@click.option("--until", metavar="DATE", required=True, help=UNTIL_HELP)
@_filter_options
@_cluster_options
@_revalidate_option
@_now_option
@_output_options
def backfill(
    archive: Archive,
    until: str,
    start: str | None,
    end: str | None,
    variables: list[str] | None,
    cluster: Cluster,
    revalidate: bool,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Build an archive up to a date; goes on where an earlier run stopped."""
    dataset = archive.open()
    present = _now(now)
    filters = {"start": start, "end": end, "variables": variables}
    planned = dataset.plan(until, **filters, now=present)  # type: ignore[arg-type]

    def run(client: Any, listener: Listener) -> RunReport:
        return dataset.backfill(
            until,
            **filters,  # type: ignore[arg-type]
            revalidate=revalidate,
            client=client,
            now=present,
            listener=listener,
        )

    return _run("backfill", dataset, planned, cluster, output, run)


@cli.command(
    short_help="Bring an archive up to the present.",
    epilog="""\b
Examples:
  gridmill update ostia-sst-monthly --store sst.zarr
  GRIDMILL_STORE=sst.zarr gridmill update ostia-sst-monthly --json

Exits with 3 if the run went well and there was nothing new to publish.
""",
)
@_archive_options
@_cluster_options
@_revalidate_option
@_now_option
@_output_options
def update(
    archive: Archive, cluster: Cluster, revalidate: bool, now: str | None, output: Output
) -> ExitCode:
    """Bring an archive up to the present: what is new, and what was late or failed before."""
    dataset = archive.open()
    present = _now(now)
    planned = dataset.plan(now=present)

    def run(client: Any, listener: Listener) -> RunReport:
        return dataset.reformat_operational_update(
            revalidate=revalidate, client=client, now=present, listener=listener
        )

    return _run("update", dataset, planned, cluster, output, run)


@cli.command(short_help="Show what an archive holds, and who is writing it.")
@_archive_options
@_output_options
def status(archive: Archive, output: Output) -> ExitCode:
    """Show what an archive holds, what of it may still change, and who is writing it."""
    from gridmill.presentation import show_status, status_content

    dataset = archive.open()
    if dataset.store.metadata() is None and dataset.store.tracker.read_declaration() is None:
        raise ValueError(f"there is no archive at {dataset.store.url}: gridmill backfill makes one")
    output.show(status_content(dataset.status()), show_status)
    return ExitCode.SUCCESS


@cli.command(short_help="Watch a real archive being built and kept current.")
@click.option(
    "--output",
    "folder",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Where archives and picture go.",
)
@_output_options
def demo(folder: Path, output: Output) -> int:
    """Backfill and update a real archive from a server on this machine, with a reader looking on.

    Needs the extra: pip install 'gridmill[demo]'.
    """
    with redirect_stdout(sys.stderr if output.as_json else sys.stdout):
        try:
            from gridmill.demo import run

            code: int = run(output=folder)
        except ModuleNotFoundError as error:
            raise _Failed(
                f"the demo needs {error.name}, which is not installed; run: "
                "pip install 'gridmill[demo]'",
                ExitCode.FAILED,
            ) from error
    if output.as_json:
        click.echo(json.dumps({"output": str(folder), "exit_code": int(code)}))
    return code


def main() -> NoReturn:
    """Run the command line: the console script."""
    cli.main(prog_name="gridmill")


# -- running ----------------------------------------------------------------------------------


def _run(
    kind: str,
    dataset: DynamicalDataset,
    planned: Plan,
    cluster: Cluster,
    output: Output,
    call: Callable[[Any, Listener], RunReport],
) -> ExitCode:
    """Run on a cluster with progress on stderr, then print what was done.

    Input was checked when it was planned: a mistake costs no cluster.
    """
    from gridmill.presentation import report_content, show_report
    from gridmill.progress_display import ProgressDisplay
    from gridmill.sources.download import mask_url

    _check_writable(dataset)
    title = f"{kind} {dataset.dataset_id} → {mask_url(dataset.store.url)}"
    with _Interruption() as interruption, _connected(cluster, output) as client:
        dashboard = client.dashboard_link if _has_dashboard(cluster) else None
        with ProgressDisplay(title, len(planned.jobs), dashboard=dashboard) as display:
            try:
                report = call(client, display)
            except KeyboardInterrupt:
                interruption.seen = True
                display.console.print("interrupted: stopping what runs")
                raise
    code, verdict = _judge(kind, report)
    content = report_content(report, dataset, code)
    output.show(content, lambda content: show_report(content, verdict))
    return code


def _judge(kind: str, report: RunReport) -> tuple[ExitCode, Text]:
    """Say how a run ended, as an exit code and in a line."""
    from rich.text import Text

    from gridmill.presentation import count_of

    took = f"{kind} of {report.dataset_id}: "
    unusable = _count_unusable(report)
    if not report.succeeded or unusable:
        parts = [count_of(len(report.failures), "variable")] * bool(report.failures)
        parts += [count_of(unusable, "source file")] * bool(unusable)
        failed = " and ".join(parts) or count_of(report.regions_failed, "region")
        return ExitCode.FAILED, Text.assemble(("✗ ", "red"), took, (f"{failed} failed", "bold red"))
    done_before = report.regions_skipped + report.variables_skipped
    nothing_new = kind == "update" or not (report.files["succeeded"] or done_before)
    if nothing_new and not report.published_anything:
        return ExitCode.NOTHING_NEW, Text.assemble(
            ("– ", "yellow"), took, ("nothing new to publish", "bold yellow")
        )
    done = count_of(report.regions_done, "region") + " done"
    if not report.regions_done:
        done = f"{count_of(report.regions_skipped, 'region')} already done, nothing to do"
    return ExitCode.SUCCESS, Text.assemble(("✓ ", "green"), took, (done, "bold green"))


def _count_unusable(report: RunReport) -> int:
    """Count the source files that failed: each once, as far as the report names them."""
    from gridmill.progress import SourceFileStatus

    times = sum(n for status, n in report.files.items() if SourceFileStatus(status).is_failure)
    waiting = SourceFileStatus.NOT_YET_AVAILABLE
    named = {(p.region, p.url) for p in report.problems if p.status != waiting}
    return len(named) if len(report.problems) < (report.problems.maxlen or 0) else times


@contextmanager
def _connected(cluster: Cluster, output: Output) -> Iterator[Any]:
    """Connect to the cluster, and say in one line what of it is not as it should be."""
    from gridmill.chain import threads_per_worker
    from gridmill.clusters import connect

    _set_levels(output)
    options = dict(cluster.options)
    wanted = threads_per_worker()
    if cluster.spec == "local":
        options = {"threads_per_worker": wanted, "silence_logs": _dask_level(output), **options}
    elif ":" in cluster.spec:
        _let_import_from_here()
    with ExitStack() as stack:
        try:
            client = stack.enter_context(connect(cluster.spec, workers=cluster.workers, **options))
        except (TypeError, OSError, RuntimeError) as error:
            raise _no_cluster(cluster, error) from error
        _check_workers(client, wanted)
        yield client


def _no_cluster(cluster: Cluster, error: Exception) -> _Failed:
    """Say why a cluster did not start or answer: its first cause, beneath Dask's own words."""
    causes = list(_causes(error))
    # An option that the cluster's constructor does not know.
    is_usage = any(isinstance(cause, TypeError) for cause in causes)
    first = [f"{type(cause).__name__}: {cause}" for cause in causes if str(cause)][-1:]
    code = ExitCode.WRONG_INPUT if is_usage else ExitCode.FAILED
    return _Failed(f"no cluster {cluster.spec}: {''.join(first) or repr(error)}", code)


def _check_workers(client: Any, wanted: int) -> None:
    threads = client.nthreads()
    few = sum(n < wanted for n in threads.values())
    if not threads:
        _warn("the cluster has no worker yet: the run waits for the first")
    elif few:
        _warn(
            f"{few} of {len(threads)} workers have fewer than {wanted} threads, so stages overlap "
            f"less: start them with --nthreads {wanted}"
        )


def _check_writable(dataset: DynamicalDataset) -> None:
    from gridmill.dataset import StoreUnwritable

    try:
        dataset.store.check_writable()
    except OSError as error:
        raise StoreUnwritable(f"cannot write to {dataset.store.url}: {error}") from error


class _Interruption:
    """Ends a run on Ctrl-C or SIGTERM, so that its lease and its cluster are given back.

    Python drops a KeyboardInterrupt that is raised in a callback of the garbage collector, and
    distributed has one: the signal is sent again until somebody has `seen` it.
    """

    def __init__(self) -> None:
        self.seen = False

    def __enter__(self) -> _Interruption:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._raise)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.seen = True
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _raise(self, number: int, frame: Any) -> NoReturn:
        if not self.seen:
            again = threading.Timer(INTERRUPT_AGAIN_S, self._send_again)
            again.daemon = True
            again.start()
        raise KeyboardInterrupt

    def _send_again(self) -> None:
        main = threading.main_thread().ident
        if not self.seen and main is not None:
            signal.pthread_kill(main, signal.SIGINT)


def _has_dashboard(cluster: Cluster) -> bool:
    """Whether a link leads somewhere: a local scheduler has no pages without bokeh."""
    return cluster.spec != "local" or importlib.util.find_spec("bokeh") is not None


def _let_import_from_here() -> None:
    """Find modules of the working folder, after everything that is installed."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def _now(given: str | None) -> Any:
    return given if given is not None else datetime.now(UTC)


# -- errors and logs --------------------------------------------------------------------------


def _told_in_one_line(error: BaseException) -> _Failed:
    """Turn whatever was raised into a line and an exit code."""
    from gridmill.dataset import StoreUnwritable
    from gridmill.driver import SchedulerLost
    from gridmill.stores.lease import LeaseHeld, LeaseLost

    if _was_interrupted(error):
        message = "interrupted: what is recorded is safe, run again to go on"
        return _Failed(message, ExitCode.INTERRUPTED)
    codes: list[tuple[type[BaseException], ExitCode]] = [
        (LeaseHeld, ExitCode.HELD),
        (StoreUnwritable, ExitCode.UNWRITABLE),
        (ValueError, ExitCode.WRONG_INPUT),
        (SchedulerLost, ExitCode.FAILED),
        (LeaseLost, ExitCode.FAILED),
    ]
    for kind, code in codes:
        if isinstance(error, kind):
            return _Failed(_masked(error), code)
    message = f"{type(error).__name__}: {_masked(error)} (--debug shows where)"
    return _Failed(message, ExitCode.FAILED)


def _masked(error: BaseException) -> str:
    """Give an error's text without the credentials that a URL in it may carry."""
    from gridmill.sources.download import mask_url

    return " ".join(mask_url(word) for word in str(error).split())


def _was_interrupted(error: BaseException) -> bool:
    """Whether it all began with Ctrl-C: closing a cluster may raise in its turn."""
    return any(isinstance(cause, KeyboardInterrupt) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what led to it, back to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _warn(message: str) -> None:
    click.echo(f"warning: {message}", err=True)


class _StderrHandler(logging.StreamHandler[Any]):
    """Writes to what is stderr at that moment: a live display puts itself there."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """The present stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        raise AttributeError("always sys.stderr")


def _configure_logging(output: Output) -> None:
    root = logging.getLogger()
    if not any(isinstance(handler, _StderrHandler) for handler in root.handlers):
        handler = _StderrHandler()
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")
        )
        root.addHandler(handler)
    logging.captureWarnings(True)
    _set_levels(output)


def _set_levels(output: Output) -> None:
    """Set what is logged; again after importing distributed, which sets its own loggers up."""
    calm, verbose = logging.WARNING, logging.INFO
    level = logging.DEBUG if output.debug else verbose if output.verbose else calm
    logging.getLogger("gridmill").setLevel(level)
    for name in ("distributed", "distributed.client", "tornado", "asyncio", "py.warnings"):
        logging.getLogger(name).setLevel(_dask_level(output))
    logging.getLogger("bokeh").setLevel(logging.ERROR)


def _dask_level(output: Output) -> int:
    """Give the level for libraries: workers that come and go are no news unless asked for."""
    if output.debug:
        return logging.INFO
    return logging.WARNING if output.verbose else logging.CRITICAL


if __name__ == "__main__":
    main()
