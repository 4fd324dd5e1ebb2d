"""`gridmill update`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gridmill.cli.commands.validate import look_after, validate_option
from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import (
    ArchiveOptions,
    archive_options,
    now_option,
    present,
    revalidate_option,
)
from gridmill.cli.options.clusters import Cluster, cluster_options
from gridmill.cli.options.creation import (
    announce,
    check_may_create,
    create_option,
    is_new,
)
from gridmill.cli.options.declaring import setting
from gridmill.cli.options.durations import parse_duration, seconds_until
from gridmill.cli.output.hooks import Hooks, hook_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.running import run_shown

if TYPE_CHECKING:
    from gridmill.model.reports.run_report import RunReport
    from gridmill.operations.follow import Waiting
    from gridmill.runs.coordinator import Listener
    from gridmill.runs.on_demand import OnDemand

__all__ = ["update"]


@click.command(
    short_help="Bring an archive up to date.",
    epilog="""\b
Examples:
  gridmill update ostia-sst-monthly --store sst.zarr
  gridmill update my-forecast --store a.zarr --wait --deadline 2h
  GRIDMILL_STORE=sst.zarr gridmill update ostia-sst-monthly --json

\b
Exits with 3 if there was nothing new to publish, with 6 if the deadline passed
before all expected source files had arrived.
""",
)
@archive_options
@setting(
    "--wait",
    is_flag=True,
    help="Poll for the expected source files, and publish them as they arrive.",
)
@setting(
    "--deadline",
    metavar="WHEN",
    default="1h",
    show_default=True,
    help="With --wait: when to give up, like 90min or 2h, or a date (ISO 8601, UTC).",
)
@setting(
    "--pause",
    metavar="DURATION",
    default="2min",
    show_default=True,
    help="With --wait: longest time between polls.",
)
@create_option
@cluster_options
@revalidate_option
@validate_option
@hook_options
@now_option
@output_options
def update(
    archive: ArchiveOptions,
    wait: bool,
    deadline: str,
    pause: str,
    creates: bool | None,
    cluster: Cluster,
    revalidate: bool,
    look: bool,
    hooks: Hooks,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Bring an archive up to date: what is new, and what was late or failed before."""
    _check_waiting(wait)
    dataset = archive.open()
    moment = present(now)
    deadline_s = seconds_until(deadline, "--deadline")
    pause_s = parse_duration(pause, "--pause").total_seconds()
    if is_new(dataset):
        planned = dataset.plan(now=moment)
        check_may_create(
            dataset, creates, is_staged=bool(archive.staged), options=archive.storage_options
        )
        announce(dataset, planned)

    def runs(where: OnDemand, listener: Listener) -> Iterator[RunReport]:
        if not wait:
            yield dataset.reformat_operational_update(
                revalidate=revalidate, client=where, now=moment, listener=listener
            )
            return
        from gridmill.operations.follow import follow_cycle

        yield from follow_cycle(
            dataset,
            deadline_s=deadline_s,
            revalidate=revalidate,
            client=where,
            now=moment,
            listener=listener,
            on_wait=_SayOnce(),
            longest_pause_s=pause_s,
        )

    after = look_after(archive, dataset, dataset.plan(now=moment), moment) if look else None
    return run_shown("update", dataset, cluster, output, hooks, runs, after)


def _check_waiting(wait: bool) -> None:
    """Refuse what says how to wait where nothing does."""
    context = click.get_current_context()
    for name in ("deadline", "pause"):
        is_given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if is_given and not wait:
            raise click.UsageError(
                f"--{name} says how to wait: add --wait, or leave it out", context
            )


class _SayOnce:
    """Says on stderr what is awaited, when the waiting begins: cron mails whatever is said."""

    def __init__(self) -> None:
        self.said = False

    def __call__(self, waiting: Waiting) -> None:
        if not self.said:
            click.echo(f"waiting for {waiting}", err=True)
        self.said = True
