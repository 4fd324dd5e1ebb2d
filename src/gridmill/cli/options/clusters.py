"""Which cluster the options name; connects to it, and says what of it is not as it should be."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gridmill.cli.errors import Failed, causes
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import let_import_from_here
from gridmill.cli.options.completion import complete_cluster
from gridmill.cli.options.declaring import Command, parse_options, setting, with_options
from gridmill.cli.options.durations import parse_duration
from gridmill.cli.output.logs import dask_level, set_levels
from gridmill.cli.output.output import Output

if TYPE_CHECKING:
    from gridmill.runs.on_demand import OnDemand

__all__ = ["Cluster", "cluster_options", "connected", "has_dashboard", "on_demand"]


@dataclass(frozen=True)
class Cluster:
    """Which Dask cluster, and how to start it."""

    spec: str
    workers: int | None
    adapt: tuple[int, int] | None
    worker_timeout: timedelta
    options: Mapping[str, Any] = field(repr=False)


def cluster_options(command: Command) -> Command:
    """Take the cluster to run on; passes a `Cluster`."""
    options = [
        setting(
            "--cluster",
            "cluster_spec",
            metavar="SPEC",
            shell_complete=complete_cluster,
            default="auto",
            show_default=True,
            help="auto: work of a few seconds in this process, else local; local, "
            "tcp://host:8786, a scheduler file (*.json), coiled, package.module:ClusterClass, or "
            "none: everything in this process.",
        ),
        setting(
            "--workers",
            metavar="N",
            type=click.IntRange(min=1),
            help="Number of workers; jobs that end are replaced.  [default: one per core of this "
            "machine]",
        ),
        setting(
            "--adapt",
            metavar="MIN:MAX",
            callback=_parse_adapt,
            help="Start and stop workers with the work, within these limits.",
        ),
        setting(
            "--worker-timeout",
            metavar="DURATION",
            default="30min",
            show_default=True,
            callback=_parse_timeout,
            help="Give up after this time without any worker.",
        ),
        setting(
            "--cluster-option",
            metavar="KEY=VALUE",
            multiple=True,
            callback=parse_options,
            help="Passed to the cluster when it is started; the value may be JSON.",
        ),
    ]

    @functools.wraps(command)
    def wrapped(
        cluster_spec: str,
        workers: int | None,
        adapt: tuple[int, int] | None,
        worker_timeout: timedelta,
        cluster_option: Mapping[str, Any],
        **rest: Any,
    ) -> Any:
        if _is_from("cluster_spec", ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
            # The file speaks of the cluster that it names.
            file = ParameterSource.DEFAULT_MAP
            workers = None if _is_from("workers", file) else workers
            adapt = None if _is_from("adapt", file) else adapt
            cluster_option = {} if _is_from("cluster_option", file) else cluster_option
        if workers is not None and adapt is not None:
            raise click.UsageError("--workers and --adapt both say how many: give one of them")
        if cluster_spec == "auto" and (workers is not None or adapt is not None or cluster_option):
            cluster_spec = "local"  # who says which workers wants some
        cluster = Cluster(cluster_spec, workers, adapt, worker_timeout, cluster_option)
        return command(cluster=cluster, **rest)

    return with_options(wrapped, options)


def _parse_adapt(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[int, int] | None:
    if value is None:
        return None
    fewest, colon, most = value.partition(":")
    if not (colon and fewest.isdigit() and most.isdigit() and int(fewest) <= int(most) > 0):
        raise click.BadParameter(f"{value!r} is not MIN:MAX, like 0:20")
    return int(fewest), int(most)


def _parse_timeout(context: click.Context, parameter: click.Parameter, value: str) -> timedelta:
    return parse_duration(value, "--worker-timeout")


def _is_from(parameter: str, *sources: ParameterSource) -> bool:
    return click.get_current_context().get_parameter_source(parameter) in sources


def on_demand(
    cluster: Cluster, output: Output, on_start: Callable[[Any], object] = lambda client: None
) -> OnDemand:
    """Return where a run is done, by these options; what they name is started when there is work.

    Raises
    ------
    ValueError
        They name no cluster, or say of one that is there how to start it.
    """
    from gridmill.runs.on_demand import OnDemand
    from gridmill.runs.workplaces.specs import check_spec

    if ":" in cluster.spec:
        let_import_from_here()
    check_spec(cluster.spec, cluster.workers, cluster.adapt, cluster.options)
    return OnDemand(cluster.spec, connect=lambda: connected(cluster, output), on_start=on_start)


@contextmanager
def connected(cluster: Cluster, output: Output) -> Iterator[Any]:
    """Connect to the cluster, and say in one line what of it is not as it should be."""
    import dask

    from gridmill.runs.dask.clusters import connect

    set_levels(output)
    options, spec = dict(cluster.options), cluster.spec
    if spec in ("auto", "local"):
        options, spec = {"silence_logs": dask_level(output), **options}, "local"
    elif ":" in spec:
        let_import_from_here()
    timeout = f"{cluster.worker_timeout.total_seconds()}s"
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({"gridmill.worker-timeout": timeout}))
        if spec == "none":
            stack.enter_context(dask.config.set(scheduler="synchronous"))
        try:
            client = stack.enter_context(
                connect(spec, workers=cluster.workers, adapt=cluster.adapt, **options)
            )
        except (TypeError, OSError, RuntimeError) as error:
            raise _no_cluster(cluster, error) from error
        yield client


def _no_cluster(cluster: Cluster, error: Exception) -> Failed:
    """Say why a cluster did not start or answer: its first cause, beneath Dask's own words."""
    chain = list(causes(error))
    # An option that the cluster's constructor does not know.
    is_usage = any(isinstance(cause, TypeError) for cause in chain)
    first = [f"{type(cause).__name__}: {cause}" for cause in chain if str(cause)][-1:]
    code = ExitCode.WRONG_INPUT if is_usage else ExitCode.FAILED
    return Failed(f"no cluster {cluster.spec}: {''.join(first) or repr(error)}", code)


def has_dashboard(cluster: Cluster) -> bool:
    """Whether a link leads somewhere: a local scheduler has no pages without bokeh."""
    is_local = cluster.spec in ("auto", "local")
    return not is_local or importlib.util.find_spec("bokeh") is not None
