"""`gridmill adopt`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import confirm, who_option, yes_option
from gridmill.cli.output.output import Output, output_options

__all__ = ["adopt"]


@click.command(
    short_help="Adopt an archive that another program created.",
    epilog="""\b
Examples:
  gridmill adopt my-forecast --store s3://bucket/a.zarr --dry-run
  gridmill adopt my-forecast --store s3://bucket/a.zarr
  gridmill update my-forecast --store s3://bucket/a.zarr
""",
)
@archive_options
@click.option("--dry-run", is_flag=True, help="Only show whether it fits, and what would change.")
@who_option
@yes_option
@now_option
@output_options
def adopt(
    archive: ArchiveOptions, dry_run: bool, who: str, yes: bool, now: str | None, output: Output
) -> ExitCode:
    """Adopt a Zarr or Icechunk archive that another program created.

    Compares it with the dataset's declaration. If they differ, lists every difference with its
    remedy and writes nothing. If they match, writes records, which mark its values as unproven,
    and metadata that decode to the same values. Data objects are not changed, and no source
    file is requested. Places without values become gaps. The next update appends to it.
    """
    from gridmill.display.terminal.elsewhere.moving import adoption_content, show_adoption
    from gridmill.operations.elsewhere.adopt import adopt as take_over

    dataset = archive.open()
    if not dry_run:
        confirm(f"Adopt {dataset.where}? Nothing else may write it from then on.", yes=yes)
    done = take_over(dataset, who=who, dry_run=dry_run, now=present(now))
    content = adoption_content(done, dataset.dataset_id, dataset.store.url)
    output.show(content, show_adoption)
    return ExitCode.SUCCESS
