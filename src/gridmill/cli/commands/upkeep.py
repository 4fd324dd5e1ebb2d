"""`gridmill upkeep`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option
from gridmill.cli.options.durations import parse_duration
from gridmill.cli.output.output import Output, output_options

if TYPE_CHECKING:
    from gridmill.dataset import DynamicalDataset

__all__ = ["upkeep"]


@click.command(
    short_help="Expire old Icechunk snapshots and delete unreferenced data.",
    epilog="""\b
Examples:
  gridmill upkeep my-forecast --store a.icechunk --older-than 30d --dry-run
  gridmill upkeep my-forecast --store a.icechunk --older-than 30d
  gridmill upkeep my-forecast --store a.icechunk --split-manifests

\b
Readers of an expired snapshot get errors: choose a duration that is longer
than any reader keeps the archive open. A dry run counts only what no snapshot
holds now; what only the expired ones hold is deleted in addition.

\b
New archives have split manifests. Archives made by gridmill 0.1.0 have one
manifest per variable, which every commit rewrites: seconds at millions of
shards. Splitting takes one commit and changes nothing for readers. Restart
processes that have the archive open (gridmill follow).
""",
)
@archive_options
@click.option(
    "--older-than",
    metavar="DURATION",
    help="Expire snapshots older than this, like 30d; the published state always stays.",
)
@click.option(
    "--split-manifests",
    is_flag=True,
    help="Split manifests along the append dim, so that commits do not slow down as it grows.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be deleted.")
@now_option
@output_options
def upkeep(
    archive: ArchiveOptions,
    older_than: str | None,
    split_manifests: bool,
    dry_run: bool,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Expire old Icechunk snapshots and delete unreferenced data.

    Keeps uploads that are not published yet, and the snapshots from which live runs started.
    """
    if (older_than is None) == (not split_manifests):
        raise click.UsageError("give either --older-than or --split-manifests")
    if dry_run and split_manifests:
        raise click.UsageError("--dry-run goes with --older-than: splitting takes nothing away")
    dataset = archive.open()
    if older_than is None:
        _split(dataset, now, output)
    else:
        _forget(dataset, parse_duration(older_than, "--older-than"), now, dry_run, output)
    return ExitCode.SUCCESS


def _forget(
    dataset: DynamicalDataset, age: timedelta, now: str | None, dry_run: bool, output: Output
) -> None:
    from gridmill.display.terminal.archive import show_upkeep, upkeep_content
    from gridmill.operations.maintenance import forget_versions

    before = datetime.now(UTC) - age
    store = dataset.store
    if dry_run:
        went: Mapping[str, int] = store.forget_versions(before, dry_run=True)
    else:
        _, went = forget_versions(dataset, before, now=now)
    output.show(upkeep_content(store.url, before, went, dry_run), show_upkeep)


def _split(dataset: DynamicalDataset, now: str | None, output: Output) -> None:
    from gridmill.display.terminal.by_hand import show_splitting, splitting_content
    from gridmill.operations.maintenance import split_manifests

    report = split_manifests(dataset, now=now)
    output.show(splitting_content(report, dataset.store.url), show_splitting)
