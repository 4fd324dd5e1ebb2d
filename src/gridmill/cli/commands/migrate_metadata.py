"""`gridmill migrate-metadata`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["migrate_metadata"]


@click.command(
    "migrate-metadata",
    short_help="Apply changed titles, comments and units to an archive.",
    epilog="""\b
Examples:
  gridmill migrate-metadata my-forecast --store a.zarr

\b
Exits with 1 if other differences remain, with 3 if there are none at all.
""",
)
@archive_options
@who_option
@yes_option
@now_option
@output_options
def migrate_metadata(
    archive: ArchiveOptions, who: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """List differences between template and archive, and apply changed descriptions.

    Attributes are applied, all at once for readers, if neither the stored bytes nor their decoded
    values depend on them. All other differences are listed and left.
    """
    from gridmill.display.terminal.by_hand import migration_content, show_migration
    from gridmill.operations.migrate import migrate_metadata as migrate
    from gridmill.operations.migrate import migration_of

    dataset = archive.open()
    moment = present(now)
    migration = migration_of(dataset, now=moment)
    report = None
    if migration.permitted:
        if not output.as_json:
            output.show(migration_content(migration), show_migration)
        confirm(f"Change these of {dataset.where}?", yes=yes)
    if migration.permitted or dataset.replicas:  # whether all replicas are reached shows then
        report = migrate(dataset, who=who, now=moment)
    output.show(migration_content(migration, report), show_migration)
    code = ExitCode.SUCCESS if report is None else code_by_hand(report)
    if migration.refused or code is ExitCode.FAILED:
        return ExitCode.FAILED
    return code if migration.permitted else ExitCode.NOTHING_NEW
