"""Connect to the cluster that the options name, and say what of it is not as it should be."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from gridmill.cli.errors import Failed, causes, warn
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import Cluster, let_import_from_here
from gridmill.cli.output.logs import dask_level, set_levels
from gridmill.cli.output.output import Output

__all__ = ["connected", "has_dashboard"]


@contextmanager
def connected(cluster: Cluster, output: Output) -> Iterator[Any]:
    """Connect to the cluster, and say in one line what of it is not as it should be."""
    from gridmill.runs.dask.clusters import check_workers, connect
    from gridmill.runs.dask.plugin import threads_per_worker

    set_levels(output)
    options = dict(cluster.options)
    wanted = threads_per_worker()
    if cluster.spec in ("local", "coiled"):
        options = {"threads_per_worker": wanted, **options}
    if cluster.spec == "local":
        options = {"silence_logs": dask_level(output), **options}
    elif ":" in cluster.spec:
        let_import_from_here()
    with ExitStack() as stack:
        try:
            client = stack.enter_context(connect(cluster.spec, workers=cluster.workers, **options))
        except (TypeError, OSError, RuntimeError) as error:
            raise _no_cluster(cluster, error) from error
        check_workers(client, wanted, warn)
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
    if cluster.spec == "none":
        return False
    return cluster.spec != "local" or importlib.util.find_spec("bokeh") is not None
