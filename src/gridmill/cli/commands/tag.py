"""`gridmill tag`."""

from __future__ import annotations

from datetime import datetime

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options
from gridmill.cli.options.confirmation import confirm, yes_option
from gridmill.cli.options.durations import parse_moment
from gridmill.cli.output.output import Output, output_options

__all__ = ["tag"]


@click.command(
    short_help="Name and keep a version of an Icechunk archive.",
    epilog="""\b
Examples:
  gridmill tag my-forecast release-3 --store a.icechunk
  gridmill tag my-forecast before-friday --at 2025-06-27T12:00 --store a.icechunk
  gridmill tag my-forecast --list --store a.icechunk
  gridmill tag my-forecast release-3 --delete --store a.icechunk

\b
Readers open one with repository.readonly_session(tag="release-3"). Plain Zarr
keeps no versions.
""",
)
@archive_options
@click.argument("name", required=False)
@click.option(
    "--at",
    metavar="TIME",
    callback=parse_moment,
    help="Name what was published at this time (UTC) instead.",
)
@click.option("--list", "as_list", is_flag=True, help="List the tags, earliest version first.")
@click.option("--delete", is_flag=True, help="Delete the tag NAME.")
@yes_option
@output_options
def tag(
    archive: ArchiveOptions,
    name: str | None,
    at: datetime | None,
    as_list: bool,
    delete: bool,
    yes: bool,
    output: Output,
) -> ExitCode:
    """Name the version that readers see now, and keep it until the tag is deleted.

    A tag does not move, and gridmill upkeep keeps its snapshot. After a tag is deleted, the
    next upkeep deletes what only that tag held, and Icechunk does not allow its name again.
    """
    if as_list == (name is not None):
        raise click.UsageError("give either NAME or --list", click.get_current_context())
    if at is not None and (as_list or delete):
        raise click.UsageError("--at goes with a new tag", click.get_current_context())
    if delete and as_list:
        raise click.UsageError("--delete goes with NAME", click.get_current_context())
    from gridmill.display.terminal.provenance.tags import show_tags, tags_content
    from gridmill.operations.versions.tags import delete_tag, list_tags, tag_archive

    dataset = archive.open()
    if name is None:
        output.show(tags_content(dataset, list_tags(dataset), "tags"), show_tags)
    elif delete:
        where = dataset.where
        confirm(f"Readers will no longer be able to open {name} of {where}. Delete it?", yes=yes)
        output.show(tags_content(dataset, [delete_tag(dataset, name)], "deleted"), show_tags)
    else:
        output.show(tags_content(dataset, [tag_archive(dataset, name, at)], "tagged"), show_tags)
    return ExitCode.SUCCESS
