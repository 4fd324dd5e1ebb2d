"""`gridmill headers`."""

from __future__ import annotations

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["headers"]


@click.command(
    short_help="Set Cache-Control and Content-Type of existing objects.",
    epilog="""\b
Examples:
  gridmill headers my-forecast --store s3://bucket/a.zarr --dry-run
  gridmill headers my-forecast --store s3://bucket/a.zarr --cache-control data=max-age=300

\b
Objects with the right headers are skipped: if interrupted, rerun. In a bucket
that keeps versions, each copy adds one. Exits with 3 if nothing had to change.
""",
)
@archive_options
@click.option("--dry-run", is_flag=True, help="Only count the objects that would change.")
@now_option
@output_options
def headers(archive: ArchiveOptions, dry_run: bool, now: str | None, output: Output) -> ExitCode:
    """Set the headers of existing objects to those that new objects get.

    Each object is copied onto itself inside the bucket, unless it was replaced meanwhile. Its
    content, metadata, tags, storage class and encryption stay. S3-compatible buckets only.
    """
    from gridmill.display.terminal.archive import headers_content, show_headers
    from gridmill.operations.objects.headers import relabel

    dataset = archive.open()
    done = relabel(dataset, dry_run=dry_run, now=present(now))
    output.show(headers_content(dataset.store.url, done), show_headers)
    code = ExitCode.SUCCESS if done.report is None else code_by_hand(done.report)
    return code if done.changed or code is ExitCode.FAILED else ExitCode.NOTHING_NEW
