"""`gridmill migrate-metadata`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["migrate_metadata"]


@click.command(
    "migrate-metadata",
    short_help="Apply changed titles, comments, units and names to an archive.",
    epilog="""\b
Examples:
  gridmill migrate-metadata my-forecast --store a.zarr
  gridmill migrate-metadata my-forecast --store a.zarr --keep-until 2027-03-01

\b
A variable with DataVar(previously=…) is renamed by copies inside the store;
nothing is fetched from the provider. With --keep-until, updates fill both
names; gridmill remove-variable removes the former one after that date.

\b
Exits with 1 if other differences remain, with 3 if there is no difference.
""",
)
@archive_options
@click.option(
    "--keep-until",
    metavar="DATE",
    help="Keep former names of renamed variables until this date.  [default: remove them now]",
)
@click.option(
    "--grace",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    help="Wait this long before objects of former names are deleted (plain Zarr).",
)
@who_option
@yes_option
@now_option
@output_options
def migrate_metadata(
    archive: ArchiveOptions,
    keep_until: str | None,
    grace: float,
    who: str,
    yes: bool,
    now: str | None,
    output: Output,
) -> ExitCode:
    """List differences between template and archive, and apply changed descriptions.

    Applies attributes in one step, if neither stored bytes nor decoded values depend on them.
    All other differences are only listed. Asks for confirmation before renames and before
    attributes, unless --yes is given.
    """
    from gridmill.display.terminal.by_hand import (
        migration_content,
        show_migration,
        show_truncation,
        truncation_content,
    )
    from gridmill.operations.migrate import migrate_metadata as migrate
    from gridmill.operations.migrate import migration_of
    from gridmill.operations.variables.renaming import former_names, rename_variables, renames_of

    dataset = archive.open()
    moment = present(now)
    pairs, ended = renames_of(dataset), former_names(dataset)
    if pairs or (ended and keep_until is None):
        confirm(f"{_of_names(pairs, ended, keep_until)} in {dataset.where}?", yes=yes)
        renaming = rename_variables(
            dataset, keep_until=keep_until, who=who, grace_s=grace, now=moment
        )
        if code_by_hand(renaming) is ExitCode.FAILED or not output.as_json:
            output.show(truncation_content(renaming, dataset.store.url), show_truncation)
        if code_by_hand(renaming) is ExitCode.FAILED:
            return ExitCode.FAILED
    migration = migration_of(dataset, now=moment)
    report = None
    if migration.permitted:
        if not output.as_json:
            output.show(migration_content(migration), show_migration)
        elif not yes:
            click.echo("\n".join(map(str, migration.permitted)), err=True)
        confirm(f"Change {len(migration.permitted)} attributes of {dataset.where}?", yes=yes)
    if migration.permitted or dataset.replicas:  # whether all replicas are reached shows then
        report = migrate(dataset, who=who, now=moment)
    output.show(migration_content(migration, report), show_migration)
    code = ExitCode.SUCCESS if report is None else code_by_hand(report)
    if migration.refused or code is ExitCode.FAILED:
        return ExitCode.FAILED
    return code if migration.permitted or pairs or ended else ExitCode.NOTHING_NEW


def _of_names(pairs: Mapping[str, str], ended: Sequence[str], keep_until: str | None) -> str:
    """Say what becomes of names: those that readers get, and those that they lose."""
    renamed = ", ".join(f"{old} to {new}" for old, new in pairs.items())
    former = ", ".join(dict.fromkeys((*pairs, *ended)))
    if keep_until is not None:
        return f"Rename {renamed}, and keep the former {', '.join(pairs)} until {keep_until},"
    return f"Rename {renamed}, and delete the former {former}," if pairs else f"Delete {former}"
