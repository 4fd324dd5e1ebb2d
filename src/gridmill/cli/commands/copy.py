"""`gridmill copy`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.options.archive import ArchiveOptions, archive_options, now_option, present
from gridmill.cli.options.confirmation import who_option
from gridmill.cli.options.declaring import parse_named, parse_options
from gridmill.cli.output.output import Output, output_options
from gridmill.cli.verdict import code_by_hand

__all__ = ["copy"]


@click.command(
    short_help="Copy an archive to another store, format or cloud.",
    epilog="""\b
Examples:
  gridmill copy my-forecast --store a.zarr --to s3://bucket/a.zarr
  gridmill copy my-forecast --store a.zarr --to s3://bucket/a.icechunk
  gridmill update my-forecast --store s3://bucket/a.icechunk
""",
)
@archive_options
@click.option("--to", metavar="URL", required=True, help="URL or path of the copy.")
@click.option("--to-state", metavar="URL", help="Records of the copy.  [default: <to>.gridmill]")
@click.option("--to-format", metavar="NAME", help="Format of the copy.  [default: by its address]")
@click.option(
    "--to-format-version",
    metavar="N",
    type=int,
    help="Version of Icechunk's format for a new copy.  [default: 1]",
)
@click.option(
    "--to-option",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_options,
    help="Passed to the copy's file system; the value may be JSON.",
)
@click.option(
    "--to-cache-control",
    metavar="KIND=VALUE",
    multiple=True,
    callback=parse_named,
    help="As --cache-control, for the copy.",
)
@click.option("--lossy", is_flag=True, help="Allow rewritten values to lose precision.")
@who_option
@now_option
@output_options
def copy(
    archive: ArchiveOptions,
    to: str,
    to_state: str | None,
    to_format: str | None,
    to_format_version: int | None,
    to_option: Mapping[str, Any],
    to_cache_control: Mapping[str, str],
    lossy: bool,
    who: str,
    now: str | None,
    output: Output,
) -> ExitCode:
    """Copy an archive, with its records and declaration, to another store, format or cloud.

    Objects are copied unchanged and compared with their recorded checksums. An archive that
    another program created, in Zarr v2 or v3 or in Icechunk, is decoded and rewritten as the
    dataset declares it; values must stay equal. While the copy runs, its readers see nothing or
    its first positions. If interrupted, rerun to resume. Updates can then continue the copy.
    """
    from gridmill.display.terminal.elsewhere.moving import copied_content, show_copied
    from gridmill.operations.elsewhere.copying import copy_archive

    target = replace(
        archive,
        store=to,
        state=to_state,
        store_format=to_format,
        storage_options=to_option,
        cache_control=to_cache_control,
        replicas=(),
        format_version=to_format_version,
        staged=False,
    )
    dataset = replace(archive, replicas=()).open()
    done = copy_archive(dataset, target.open(), who=who, lossy=lossy, now=present(now))
    output.show(copied_content(done), show_copied)
    return code_by_hand(done.report)
