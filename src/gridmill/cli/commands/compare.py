"""`gridmill compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from gridmill.cli.exit_codes import ExitCode
from gridmill.cli.importing import collect_from_now
from gridmill.cli.options.declaring import parse_options, parse_variables
from gridmill.cli.output.output import Output, output_options

__all__ = ["compare"]

FORMAT = "Format of {}: zarr or icechunk.  [default: by its address]"
OPTION = "Passed to {}'s file system; the value may be JSON."


@click.command(
    short_help="Compare two archives as a reader sees them.",
    epilog="""\b
Examples:
  gridmill compare a.zarr s3://bucket/a.icechunk
  gridmill compare old.zarr new.zarr --variables temperature_2m --blocks 100 --json
""",
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--variables",
    metavar="NAME,…",
    multiple=True,
    callback=parse_variables,
    help="Compare the values of these variables only.",
)
@click.option(
    "--blocks",
    metavar="N",
    type=click.IntRange(min=1),
    help="Compare the values of N blocks per variable, evenly spread.  [default: all values]",
)
@click.option("--a-format", metavar="NAME", help=FORMAT.format("A"))
@click.option("--b-format", metavar="NAME", help=FORMAT.format("B"))
@click.option(
    "--a-option",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_options,
    help=OPTION.format("A"),
)
@click.option(
    "--b-option",
    metavar="KEY=VALUE",
    multiple=True,
    callback=parse_options,
    help=OPTION.format("B"),
)
@output_options
def compare(
    a: str,
    b: str,
    variables: list[str] | None,
    blocks: int | None,
    a_format: str | None,
    b_format: str | None,
    a_option: Mapping[str, Any],
    b_option: Mapping[str, Any],
    output: Output,
) -> ExitCode:
    """Compare structure, attributes, extent, values and read costs of two archives.

    Either may be written by another program; nothing is written. Values are compared as readers
    decode them, where both archives have the label. Chunks, shards and compression do not count
    as differences; their cost is shown. Exits with 0 if readers see the same in both, with 1 if
    not.
    """
    from gridmill.display.terminal.elsewhere.comparison import comparison_content, show_comparison
    from gridmill.operations.elsewhere.comparing import compare as compare_archives
    from gridmill.stores.opening import open_store

    collect_from_now()

    sides = [
        open_store(url, "", format=kind, storage_options=options or None)
        for url, kind, options in ((a, a_format, a_option), (b, b_format, b_option))
    ]
    found = compare_archives(*sides, variables=variables, blocks=blocks)
    output.show(comparison_content(found), show_comparison)
    return ExitCode.SUCCESS if found.is_same else ExitCode.FAILED
