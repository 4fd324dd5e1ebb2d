"""`gridmill status`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.declaring import setting
from gridmill.cli.options.durations import parse_duration
from gridmill.cli.output.output import Output, output_options

__all__ = ["status"]


@click.command(
    short_help="Show what an archive holds, what is late, and which run holds it.",
    epilog="""\b
Examples:
  gridmill status ostia-sst-monthly --store sst.zarr
  gridmill status my-forecast --store a.zarr --check --grace 30min --json
""",
)
@archive_options
@click.option(
    "--check",
    is_flag=True,
    help="Exit with 6 if the archive is behind, with 8 if gaps are open or a gate holds something, "
    "with 1 if a proof failed.",
)
@setting(
    "--grace",
    metavar="DURATION",
    default="1h",
    show_default=True,
    help="Time that an update may take before something counts as late.",
)
@setting(
    "--max-age",
    metavar="DURATION",
    help="With --check: the archive is behind if its last label is older.",
)
@setting(
    "--overdue",
    metavar="DURATION",
    default="90d",
    show_default=True,
    help="Time after which a region is due for another proof, see `gridmill prove`.",
)
@now_option
@output_options
def status(
    archive: ArchiveOptions,
    check: bool,
    grace: str,
    max_age: str | None,
    overdue: str,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Show what an archive holds, what is late or not final, and which run holds it."""
    from gridmill.display.terminal.archive import show_status, status_content

    patience = parse_duration(grace, "--grace")
    oldest = None if max_age is None else parse_duration(max_age, "--max-age")
    unseen = parse_duration(overdue, "--overdue")
    dataset = archive.open()
    if dataset.store.metadata() is None and dataset.store.tracker.read_declaration() is None:
        raise ValueError(f"there is no archive at {dataset.store.url}: gridmill backfill builds it")
    found = dataset.status(now=present(now), grace=patience, overdue=unseen)
    is_behind = found.is_behind(oldest)
    output.show({**status_content(found), "is_behind": is_behind}, show_status)
    if check and found.proofs is not None and found.proofs.failed:
        return ExitCode.FAILED
    if check and is_behind:
        return ExitCode.LATE
    is_open = bool(found.pending or found.held)
    return ExitCode.GAPS if check and is_open else ExitCode.SUCCESS
